package cdc

import (
	"encoding/json"
	"fmt"
	"math"
	"strconv"
)

// OffsetInt reads a whole number of a stored offset, whatever JSON or another store made of it.
func OffsetInt(v any) (int64, error) {
	switch n := v.(type) {
	case int64:
		return n, nil
	case int:
		return int64(n), nil
	case float64:
		if n != math.Trunc(n) || math.Abs(n) > 1<<53 {
			return 0, fmt.Errorf("%v is no whole number", n)
		}
		return int64(n), nil
	case json.Number:
		return n.Int64()
	case string:
		return strconv.ParseInt(n, 10, 64)
	}
	return 0, fmt.Errorf("%v is no number", v)
}
