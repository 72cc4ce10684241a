package cdc

import (
	"crypto/md5"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"hash"
	"sort"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/moldau-io/moldau/plugins/data"
)

// Mapper changes the values of matching character columns: the column.mask.* and column.truncate.* settings.
type Mapper struct {
	columns      *Patterns
	param, value string // what the column's schema tells
	apply        func(a *Arena, v data.Value) data.Value
}

// hashes by the names of Java's MessageDigest.
var hashes = map[string]func() hash.Hash{
	"MD5": md5.New, "SHA-1": sha1.New, "SHA": sha1.New, "SHA-224": sha256.New224, "SHA-256": sha256.New,
	"SHA-384": sha512.New384, "SHA-512": sha512.New,
}

const (
	maskPrefix     = "column.mask."
	truncatePrefix = "column.truncate."
)

// parseMappers reads the masking and truncating keys of raw; their parameters are part of the key.
func parseMappers(raw map[string]string) ([]Mapper, error) {
	keys := make([]string, 0, 4)
	for k := range raw {
		if strings.HasPrefix(k, maskPrefix) || strings.HasPrefix(k, truncatePrefix) {
			keys = append(keys, k)
		}
	}
	sort.Strings(keys)
	var out []Mapper
	for _, k := range keys {
		m, err := parseMapper(k)
		if err == nil {
			m.columns, err = ParsePatterns(raw[k])
		}
		if err != nil {
			return nil, fmt.Errorf("invalid value %s for configuration %s: %w", raw[k], k, err)
		}
		out = append(out, m)
	}
	return out, nil
}

func parseMapper(key string) (Mapper, error) {
	chars := func(s string) (int, error) {
		n, ok := strings.CutSuffix(s, ".chars")
		v, err := strconv.Atoi(n)
		if !ok || err != nil || v < 0 {
			return 0, fmt.Errorf("the key must end in a length and .chars, as in column.mask.with.12.chars")
		}
		return v, nil
	}
	if s, ok := strings.CutPrefix(key, truncatePrefix+"to."); ok {
		n, err := chars(s)
		return Mapper{param: "truncateLength", value: strconv.Itoa(n), apply: func(a *Arena, v data.Value) data.Value {
			if v.IsNull() || utf8.RuneCountInString(v.Str()) <= n {
				return v
			}
			s, end := v.Str(), 0
			for i := 0; i < n; i++ {
				_, w := utf8.DecodeRuneInString(s[end:])
				end += w
			}
			return data.String(s[:end])
		}}, err
	}
	if s, ok := strings.CutPrefix(key, maskPrefix+"with."); ok {
		n, err := chars(s)
		if err != nil {
			return Mapper{}, err
		}
		stars := data.String(strings.Repeat("*", n))
		return Mapper{param: "masked", value: "true", apply: func(*Arena, data.Value) data.Value { return stars }}, nil
	}
	if s, ok := strings.CutPrefix(key, maskPrefix+"hash."); ok {
		s, v2 := strings.CutPrefix(s, "v2.")
		alg, salt, ok := strings.Cut(s, ".with.salt.")
		newHash := hashes[strings.ToUpper(alg)]
		if !ok || newHash == nil {
			return Mapper{}, fmt.Errorf("the key must be column.mask.hash.ALGORITHM.with.salt.SALT with one of MD5, SHA-1, SHA-224, SHA-256, SHA-384, SHA-512")
		}
		return Mapper{param: "masked", value: "true", apply: func(a *Arena, v data.Value) data.Value {
			if v.IsNull() {
				return v
			}
			h := newHash()
			h.Write([]byte(salt))
			if !v2 {
				h.Write(javaStringHeader(len(v.Str())))
			}
			h.Write(v.Bytes())
			sum := h.Sum(nil)
			b := a.Alloc(hex.EncodedLen(len(sum)))
			hex.Encode(b, sum)
			return data.StringBytes(b)
		}}, nil
	}
	return Mapper{}, fmt.Errorf("unknown kind of column mask; known are column.mask.with.N.chars, column.mask.hash.ALGORITHM.with.salt.SALT, column.truncate.to.N.chars")
}

// javaStringHeader is what Java's serialization puts before a string: the first version of Debezium's hash covers it.
func javaStringHeader(n int) []byte {
	h := []byte{0xac, 0xed, 0x00, 0x05}
	if n <= 0xffff {
		return binary.BigEndian.AppendUint16(append(h, 0x74), uint16(n))
	}
	return binary.BigEndian.AppendUint64(append(h, 0x7c), uint64(n))
}
