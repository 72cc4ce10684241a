package config

import (
	"math/big"
	"regexp"
	"strings"
)

// javaDuration is an ISO 8601 duration in days, hours, minutes and seconds, as Java reads it.
var javaDuration = regexp.MustCompile(`(?i)^([-+]?)P(?:([-+]?\d+)D)?(?:T(?:([-+]?\d+)H)?(?:([-+]?\d+)M)?(?:([-+]?\d+)(?:[.,](\d{0,9}))?S)?)?$`)

// shareReset judges share.auto.offset.reset, with Kafka's text.
func shareReset(name string, v Value) string {
	d, byDuration := strings.CutPrefix(v.Text, "by_duration:")
	if v.Text == "earliest" || v.Text == "latest" || byDuration && isPastDuration(d) {
		return ""
	}
	return refusal(name, v.Text, "Invalid value `"+v.Text+"` for configuration "+name+". The value must be either 'earliest', 'latest' or of the format 'by_duration:<PnDTnHnMn.nS>'.")
}

// isPastDuration says whether the text is a duration that is not negative and that Java can hold.
func isPastDuration(s string) bool {
	m := javaDuration.FindStringSubmatch(s)
	if m == nil || strings.HasSuffix(strings.ToUpper(s), "T") || m[2]+m[3]+m[4]+m[5] == "" {
		return false
	}
	total := new(big.Int) // nanoseconds
	for i, seconds := range []int64{86400, 3600, 60, 1} {
		n, ok := new(big.Int).SetString(strings.TrimPrefix(m[i+2], "+"), 10)
		if !ok {
			continue // not given
		}
		if n.Mul(n, big.NewInt(seconds)); !n.IsInt64() {
			return false
		}
		total.Add(total, n.Mul(n, big.NewInt(1e9)))
	}
	if m[6] != "" {
		nanos, _ := new(big.Int).SetString((m[6] + "00000000")[:9], 10)
		if strings.HasPrefix(m[5], "-") {
			nanos.Neg(nanos)
		}
		total.Add(total, nanos)
	}
	if m[1] == "-" {
		total.Neg(total)
	}
	return total.Sign() >= 0 && new(big.Int).Quo(total, big.NewInt(1e9)).IsInt64()
}
