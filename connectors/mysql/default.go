package mysql

import (
	"encoding/hex"
	"strconv"
	"strings"

	"github.com/moldau-io/moldau/connectors/cdc"
	"github.com/moldau-io/moldau/plugins/data"
)

// defaultValue is the default that the column's schema tells: a literal, or the zero of time for one that is computed from the clock.
// Other expressions are not told.
func (x *coding) defaultValue() (data.Value, bool) {
	c := x.info
	if c == nil || !c.hasDef || c.generated() {
		return data.Null, false
	}
	a := &cdc.Arena{}
	text := c.def
	if strings.HasPrefix(strings.ToLower(strings.TrimLeft(text, "(")), "current_timestamp") || strings.EqualFold(text, "now()") {
		switch x.kind {
		case kindDatetime, kindTimestamp, kindDate, kindTime:
			return x.zero, true
		}
		return data.Null, false
	}
	if strings.Contains(strings.ToUpper(c.extra), "DEFAULT_GENERATED") {
		return data.Null, false
	}
	if c.quoted { // MariaDB prints expressions: literals are quoted or numbers, NULL is a word
		switch {
		case strings.EqualFold(text, "NULL"):
			return data.Null, false
		case len(text) >= 2 && text[0] == '\'' && text[len(text)-1] == '\'':
			text = strings.ReplaceAll(strings.ReplaceAll(text[1:len(text)-1], "''", "'"), `\\`, `\`)
		case strings.HasPrefix(text, "b'") || text != "" && (text[0] == '-' || text[0] == '.' || text[0] >= '0' && text[0] <= '9'):
		default:
			return data.Null, false
		}
	}
	switch x.kind {
	case kindJSON, kindGeometry, kindVector, kindUnknown:
		return data.Null, false
	case kindBit:
		s := strings.TrimSuffix(strings.TrimPrefix(text, "b'"), "'")
		n, err := strconv.ParseUint(s, 2, 64)
		if err != nil {
			return data.Null, false
		}
		v, err := x.bits(a, []byte{byte(n >> 56), byte(n >> 48), byte(n >> 40), byte(n >> 32), byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n)})
		return v, err == nil
	case kindFixed, kindBinary:
		if h, ok := strings.CutPrefix(text, "0x"); ok && !c.quoted { // MySQL 8 prints bytes so
			if b, err := hex.DecodeString(h); err == nil {
				text = string(b)
			}
		}
		if n := x.length - len(text); x.kind == kindFixed && n > 0 {
			text += strings.Repeat("\x00", n)
		}
	}
	v, err := x.parse(a, []byte(text))
	if err != nil {
		return data.Null, false
	}
	if v.IsNull() { // a zero date
		if x.nullable {
			return data.Null, false
		}
		return x.zero, !x.zero.IsNull()
	}
	return v, true
}
