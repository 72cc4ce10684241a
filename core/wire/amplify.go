package wire

import (
	"reflect"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// amplification is, by API key, how many bytes of memory a byte of a request may become when kmsg decodes it: the largest ratio of an
// array element's size in memory to its smallest encoding in any version served.
var amplification = func() []int {
	out := make([]int, len(byKey))
	for _, a := range apis {
		req := kmsg.RequestForKey(a.Key)
		if req == nil {
			continue
		}
		worst := 2
		for v := a.MinServed; v <= a.Max; v++ {
			worst = max(worst, ratio(reflect.TypeOf(req).Elem(), schemas[a.Key], v, v >= a.Flexible))
		}
		out[a.Key] = worst
	}
	return out
}()

// ratio is the worst ratio among the arrays of a struct.
func ratio(t reflect.Type, fields []field, version int16, flexible bool) int {
	worst := 1
	for i := range fields {
		f := &fields[i]
		sf, ok := t.FieldByName(f.name)
		if !ok || version < f.min || version > f.max {
			continue
		}
		ft := sf.Type
		if ft.Kind() == reflect.Pointer {
			ft = ft.Elem()
		}
		switch f.kind {
		case kindArray:
			elem := ft.Elem()
			n := f.minSize(version, flexible)
			worst = max(worst, (int(elem.Size())+n-1)/n)
			if f.ofStructs {
				worst = max(worst, ratio(elem, f.fields, version, flexible))
			}
		case kindStruct, kindNullableStruct:
			worst = max(worst, ratio(ft, f.fields, version, flexible))
		}
	}
	return worst
}

// DecodedSize bounds the memory that DecodeRequest takes for a body of n bytes of an API.
func DecodedSize(key int16, n int) int64 {
	if key < 0 || int(key) >= len(amplification) {
		return int64(n)
	}
	return int64(n) * int64(max(amplification[key], 1))
}
