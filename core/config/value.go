package config

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
)

// Value is a parsed value. Only the field of the key's type is set.
type Value struct {
	Bool bool
	Int  int64 // Int, Short and Long
	Num  float64
	Text string // String, Class and Password
	List []string
	typ  Type
}

// String renders the value as Kafka shows it: numbers without spaces, lists joined by commas.
func (v Value) String() string {
	switch v.typ {
	case Boolean:
		return strconv.FormatBool(v.Bool)
	case Int, Short, Long:
		return strconv.FormatInt(v.Int, 10)
	case Double:
		return javaDouble(v.Num)
	case List:
		return strings.Join(v.List, ",")
	}
	return v.Text
}

// javaDouble renders a number as Java does: at least one digit behind the point, and an exponent for
// numbers of 10^7 or more and below 10^-3.
func javaDouble(f float64) string {
	if a := math.Abs(f); a != 0 && (a >= 1e7 || a < 1e-3) && !math.IsInf(f, 0) {
		s := strconv.FormatFloat(f, 'E', -1, 64)
		mant, exp, _ := strings.Cut(s, "E")
		if !strings.Contains(mant, ".") {
			mant += ".0"
		}
		n, err := strconv.Atoi(exp)
		if err != nil {
			return s
		}
		return mant + "E" + strconv.Itoa(n)
	}
	s := strconv.FormatFloat(f, 'f', -1, 64)
	if !strings.ContainsAny(s, ".IN") {
		s += ".0"
	}
	return s
}

// Check judges a parsed value of the key of that name. It returns the whole text of what is wrong, "" for nothing.
type Check func(name string, v Value) string

// Parse reads and judges a value. The error has Kafka's text. Values of unsupported keys other than the
// default are refused.
func (k *Key) Parse(s string) (Value, error) {
	v, problem := parse(k.Type, s)
	if problem != "" {
		return v, k.bad(s, problem)
	}
	if k.Check != nil {
		if problem := k.Check(k.Name, v); problem != "" {
			return v, invalid(problem)
		}
	}
	if k.Unsupported != "" && !k.isDefault(v) {
		def := "no value"
		if k.Default != nil {
			def = "the default " + *k.Default
			if *k.Default == "" {
				def = "the empty default"
			}
		}
		return v, k.bad(v.String(), fmt.Sprintf("moldau does not support this configuration yet (%s); it accepts %s only", k.Unsupported, def))
	}
	return v, nil
}

func (k *Key) bad(value, problem string) error {
	if k.Sensitive() {
		value = "[hidden]"
	}
	return invalid(refusal(k.Name, value, problem))
}

// refusal is Kafka's text for a bad value.
func refusal(name, value, problem string) string {
	return fmt.Sprintf("Invalid value %s for configuration %s: %s", value, name, problem)
}

func (k *Key) isDefault(v Value) bool {
	if k.Default == nil {
		return v.String() == ""
	}
	d, problem := parse(k.Type, *k.Default)
	return problem == "" && d.String() == v.String()
}

// parse reads a value of the type; the spaces around it do not count.
func parse(t Type, s string) (v Value, problem string) {
	v.typ = t
	trimmed := strings.TrimSpace(s)
	integer := func(bits int) string {
		n, err := strconv.ParseInt(strings.TrimPrefix(trimmed, "+"), 10, bits)
		if err != nil || strings.HasPrefix(trimmed, "+-") {
			return "Not a number of type " + t.String()
		}
		v.Int = n
		return ""
	}
	switch t {
	case Boolean:
		switch strings.ToLower(trimmed) {
		case "true":
			v.Bool = true
		case "false":
		default:
			return v, "Expected value to be either true or false"
		}
	case Int:
		problem = integer(32)
	case Short:
		problem = integer(16)
	case Long:
		problem = integer(64)
	case Double:
		f, err := strconv.ParseFloat(trimmed, 64)
		if err != nil || strings.ContainsAny(trimmed, "_xXpP") || math.IsNaN(f) || math.IsInf(f, 0) {
			return v, "Not a number of type DOUBLE"
		}
		v.Num = f
	case List:
		if trimmed != "" {
			for e := range strings.SplitSeq(trimmed, ",") {
				if e = strings.TrimSpace(e); !slices.Contains(v.List, e) {
					v.List = append(v.List, e)
				}
			}
		}
	default:
		v.Text = trimmed
	}
	return v, problem
}

func (v Value) number() float64 {
	if v.typ == Double {
		return v.Num
	}
	return float64(v.Int)
}

func short(f float64) string { return strconv.FormatFloat(f, 'f', -1, 64) }

func atLeast(low float64) Check {
	return func(name string, v Value) string {
		if v.number() < low {
			return refusal(name, v.String(), "Value must be at least "+short(low))
		}
		return ""
	}
}

func between(low, high float64) Check {
	return func(name string, v Value) string {
		if v.number() < low {
			return refusal(name, v.String(), "Value must be at least "+short(low))
		}
		if v.number() > high {
			return refusal(name, v.String(), "Value must be no more than "+short(high))
		}
		return ""
	}
}

func betweenOr(low, high, other float64) Check {
	return func(name string, v Value) string {
		if n := v.number(); n != other && (n < low || n > high) {
			return refusal(name, v.String(), fmt.Sprintf("Value must be between %s and %s or equal to %s", short(low), short(high), short(other)))
		}
		return ""
	}
}

// socketBuffer refuses 0, with which Kafka takes no connections, and less than -1, with which it does not listen.
func socketBuffer(name string, v Value) string {
	if v.Int < 1 && v.Int != -1 {
		return refusal(name, v.String(), "Value must be at least 1, or -1 for what the operating system gives")
	}
	return ""
}

func oneOf(values ...string) Check {
	return func(name string, v Value) string {
		if !slices.Contains(values, v.Text) {
			return refusal(name, v.String(), "String must be one of: "+strings.Join(values, ", "))
		}
		return ""
	}
}

func oneOfFold(values ...string) Check {
	return func(name string, v Value) string {
		if !slices.ContainsFunc(values, func(x string) bool { return strings.EqualFold(x, v.Text) }) {
			return refusal(name, v.String(), "String must be one of (case insensitive): "+strings.Join(values, ", "))
		}
		return ""
	}
}

// noneEmpty refuses a list with an element that is empty.
func noneEmpty(name string, v Value) string {
	if slices.Contains(v.List, "") {
		return fmt.Sprintf("Configuration '%s' values must not be empty.", name)
	}
	return ""
}

// eachOf judges the elements of a list.
func eachOf(values ...string) Check {
	return func(name string, v Value) string {
		for _, e := range v.List {
			if e == "" {
				return fmt.Sprintf("Configuration '%s' values must not be empty.", name)
			}
			if !slices.Contains(values, e) {
				return refusal(name, e, "String must be one of: "+strings.Join(values, ", "))
			}
		}
		return ""
	}
}

func nonEmpty(name string, v Value) string {
	if v.Text == "" {
		return refusal(name, v.String(), "String must be non-empty")
	}
	return ""
}

// throttledReplicas judges a list of partition:broker, or the star.
func throttledReplicas(name string, v Value) string {
	if len(v.List) == 0 || len(v.List) == 1 && v.List[0] == "*" {
		return ""
	}
	for _, e := range v.List {
		p, b, ok := strings.Cut(e, ":")
		if e == "" {
			continue
		}
		if !ok || !digits(p) || !digits(b) {
			return refusal(name, "["+strings.Join(v.List, ", ")+"]", name+" must be the literal '*' or a list of replicas in the following format: [partitionId]:[brokerId],[partitionId]:[brokerId],...")
		}
	}
	return ""
}

func digits(s string) bool {
	return s != "" && strings.Trim(s, "0123456789") == ""
}
