package wire

import (
	"math/rand"
	"reflect"
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// fillRandom sets every settable field of v to something random, to a bounded depth.
func fillRandom(rnd *rand.Rand, v reflect.Value) {
	switch v.Kind() {
	case reflect.Pointer:
		if rnd.Intn(3) > 0 && v.Type().Elem().Kind() != reflect.Invalid {
			v.Set(reflect.New(v.Type().Elem()))
			fillRandom(rnd, v.Elem())
		}
	case reflect.Struct:
		if v.Type() == reflect.TypeFor[kmsg.Tags]() {
			for n := rnd.Intn(3); n > 0; n-- {
				v.Addr().Interface().(*kmsg.Tags).Set(uint32(1000+rnd.Intn(1000)), []byte{1, 2, 3})
			}
			return
		}
		for i := 0; i < v.NumField(); i++ {
			if v.Type().Field(i).Name != "Version" || v.Field(i).Kind() != reflect.Int16 {
				fillRandom(rnd, v.Field(i))
			}
		}
	case reflect.Slice:
		n := rnd.Intn(4)
		v.Set(reflect.MakeSlice(v.Type(), n, n))
		for i := range n {
			fillRandom(rnd, v.Index(i))
		}
	case reflect.Array:
		for i := 0; i < v.Len(); i++ {
			fillRandom(rnd, v.Index(i))
		}
	case reflect.String:
		v.SetString("abcdefgh"[:rnd.Intn(9)])
	case reflect.Bool:
		v.SetBool(rnd.Intn(2) == 0)
	case reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		v.SetInt(int64(rnd.Intn(100)))
	case reflect.Uint8, reflect.Uint16, reflect.Uint32:
		v.SetUint(uint64(rnd.Intn(100)))
	case reflect.Float64:
		v.SetFloat(rnd.Float64())
	}
}

// randomRequest is a request of the API and version with random content.
func randomRequest(rnd *rand.Rand, key, version int16) kmsg.Request {
	req := kmsg.RequestForKey(key)
	req.SetVersion(version)
	v := reflect.ValueOf(req).Elem()
	for i := 0; i < v.NumField(); i++ {
		if v.Type().Field(i).Name != "Version" {
			fillRandom(rnd, v.Field(i))
		}
	}
	return req
}

func TestTheVersionTableAgreesWithKmsg(t *testing.T) {
	for _, a := range APIs() {
		req := kmsg.RequestForKey(a.Key)
		require.NotNil(t, req, a.Name)
		require.LessOrEqual(t, a.Max, req.MaxVersion(), a.Name)
		for v := a.Min; v <= a.Max; v++ {
			req.SetVersion(v)
			require.Equal(t, req.IsFlexible(), v >= a.Flexible, "%s %d", a.Name, v)
		}
		resp := req.ResponseKind()
		for v := a.Min; v <= a.Max; v++ {
			resp.SetVersion(v)
			require.Equal(t, resp.IsFlexible(), v >= a.Flexible, "%s %d response", a.Name, v)
		}
	}
}

func TestCheckWalksWhatKmsgEncodesToTheLastByte(t *testing.T) {
	rnd := rand.New(rand.NewSource(1))
	for _, a := range APIs() {
		for v := a.Min; v <= a.Max; v++ {
			for range 30 {
				body := randomRequest(rnd, a.Key, v).AppendTo(nil)
				require.NoError(t, Check(a.Key, v, body), "%s %d", a.Name, v)
				flexible := v >= a.Flexible
				r := reader{src: body}
				checkFields(&r, schemas[a.Key], v, flexible)
				r.tags(flexible, nil)
				require.Empty(t, r.src, "%s %d leaves bytes", a.Name, v)
				if len(body) > 0 {
					require.Error(t, Check(a.Key, v, body[:len(body)-1]), "%s %d cut short", a.Name, v)
				}
			}
		}
	}
}

func TestCheckRefusesCountsThatCannotBeTrue(t *testing.T) {
	// A Metadata request whose topics are announced as all that is left, though each takes more than a byte.
	body := make([]byte, 4+1000)
	body[2], body[3] = 1000>>8, 1000&0xff
	require.ErrorIs(t, Check(3, 1, body), ErrBadLength)
	// Four billion tagged fields in a flexible request of a few bytes.
	require.ErrorIs(t, Check(3, 12, []byte{0, 1, 0, 0xff, 0xff, 0xff, 0xff, 0x0f}), ErrBadLength)
}

func TestStringsAreNoLongerThanTwoBytesCanSay(t *testing.T) {
	id := strings.Repeat("x", maxString)
	req := kmsg.NewPtrInitProducerIDRequest()
	req.TransactionalID, req.Version = &id, 4
	_, err := DecodeRequest(Header{Key: req.Key(), Version: 4}, req.AppendTo(nil))
	require.NoError(t, err)
	for _, n := range []int{maxString + 1, 1<<16 + 1} { // whose length in two bytes would be another one
		id = strings.Repeat("x", n)
		_, err = DecodeRequest(Header{Key: req.Key(), Version: 4}, req.AppendTo(nil))
		require.ErrorIs(t, err, ErrLongString)
	}
}

func FuzzDecodeRequest(f *testing.F) {
	rnd := rand.New(rand.NewSource(2))
	for _, a := range APIs() {
		f.Add(a.Key, a.Max, randomRequest(rnd, a.Key, a.Max).AppendTo(nil))
		f.Add(a.Key, a.Min, randomRequest(rnd, a.Key, a.Min).AppendTo(nil))
	}
	f.Fuzz(func(t *testing.T, key, version int16, body []byte) {
		req, err := DecodeRequest(Header{Key: key, Version: version}, body)
		if err == nil {
			req.AppendTo(nil)
		}
	})
}

func TestDecodedSizeBoundsWhatDecodingTakes(t *testing.T) {
	// The worst Metadata request: topics without names.
	const n = 100_000
	body := make([]byte, 4+2*n)
	body[1], body[2], body[3] = n>>16, n>>8&0xff, n&0xff
	h := Header{Key: 3, Version: 1}
	bound := DecodedSize(3, len(body))
	require.Greater(t, bound, int64(len(body)))
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	_, err := DecodeRequest(h, body)
	runtime.ReadMemStats(&after)
	require.NoError(t, err)
	limit := 2 * bound // once for the array, once for what it points to
	if raceEnabled {
		limit = 3 * bound // the detector gives each small object a slot of its own
	}
	require.LessOrEqual(t, int64(after.TotalAlloc-before.TotalAlloc), limit)
	for _, a := range APIs() {
		require.Less(t, DecodedSize(a.Key, 1), int64(200), a.Name)
	}
}
