package mysql

import (
	"encoding/binary"
	"errors"
	"math"
	"net/netip"
	"strconv"

	"github.com/moldau-io/moldau/connectors/cdc"
	"github.com/moldau-io/moldau/plugins/data"
)

// This file decodes single values as they lie in a row image or as the server prints them.

var errValue = errors.New("the value is malformed")

// decimalBytes is the size of 0 to 9 digits.
var decimalBytes = [10]int{0, 1, 1, 2, 2, 3, 3, 4, 4, 4}

// decimalSize is the size of a decimal(p, s) in a row image.
func decimalSize(p, s int) int {
	i := p - s
	return i/9*4 + decimalBytes[i%9] + s/9*4 + decimalBytes[s%9]
}

// appendDecimal appends the plain text of a decimal; b has decimalSize(p, s) bytes at least.
func appendDecimal(dst, b []byte, p, s int) []byte {
	var tmp [32]byte
	d := tmp[:copy(tmp[:], b[:decimalSize(p, s)])]
	mask := byte(0)
	if d[0]&0x80 == 0 {
		mask = 0xff
		dst = append(dst, '-')
	}
	d[0] ^= 0x80
	for i := range d {
		d[i] ^= mask
	}
	at := len(dst)
	group := func(digits int) {
		n := decimalBytes[digits]
		v := bigEndian(d[:n])
		d = d[n:]
		if len(dst) == at { // leading zeros
			if v != 0 {
				dst = strconv.AppendUint(dst, v, 10)
			}
			return
		}
		dst = appendDigits(dst, v, digits)
	}
	i := p - s
	if i%9 > 0 {
		group(i % 9)
	}
	for range i / 9 {
		group(9)
	}
	if len(dst) == at {
		dst = append(dst, '0')
	}
	if s == 0 {
		return dst
	}
	dst = append(dst, '.')
	for range s / 9 {
		group(9)
	}
	if s%9 > 0 {
		group(s % 9)
	}
	return dst
}

// appendDigits appends v with exactly n digits.
func appendDigits(dst []byte, v uint64, n int) []byte {
	at := len(dst)
	for range n {
		dst = append(dst, '0')
	}
	for i := at + n - 1; i >= at && v > 0; i-- {
		dst[i] = byte('0' + v%10)
		v /= 10
	}
	return dst
}

// decimalInt64 reads a decimal of up to 18 digits as its unscaled value.
func decimalInt64(b []byte, p, s int) int64 {
	var tmp [16]byte
	d := tmp[:copy(tmp[:], b[:decimalSize(p, s)])]
	mask := byte(0)
	if d[0]&0x80 == 0 {
		mask = 0xff
	}
	d[0] ^= 0x80
	v := int64(0)
	group := func(digits int) {
		n := decimalBytes[digits]
		g := int64(0)
		for _, c := range d[:n] {
			g = g<<8 | int64(c^mask)
		}
		d = d[n:]
		v = v*tens[digits] + g
	}
	i := p - s
	if i%9 > 0 {
		group(i % 9)
	}
	for range i / 9 {
		group(9)
	}
	for range s / 9 {
		group(9)
	}
	if s%9 > 0 {
		group(s % 9)
	}
	if mask != 0 {
		v = -v
	}
	return v
}

var tens = [...]int64{1, 10, 100, 1000, 10_000, 100_000, 1_000_000, 10_000_000, 100_000_000, 1_000_000_000}

// adjustYear applies enable.time.adjuster: years of two digits mean 1970 to 2069.
func adjustYear(y int64) int64 {
	switch {
	case y >= 0 && y <= 69:
		return y + 2000
	case y >= 70 && y <= 99:
		return y + 1900
	}
	return y
}

// monthDays are the days of the months in a leap year.
var monthDays = [...]int{0, 31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31}

// valid reports whether the date exists. Zero dates do not.
func valid(y int64, m, d int) bool {
	if m < 1 || m > 12 || d < 1 || d > monthDays[m] {
		return false
	}
	return m != 2 || d < 29 || y%4 == 0 && (y%100 != 0 || y%400 == 0)
}

// dateValue is the value of a date, null when there is no such day.
func (x *coding) date(a *cdc.Arena, y int64, m, d int) data.Value {
	if y == 0 && m == 0 && d == 0 {
		return data.Null
	}
	if x.adjust {
		y = adjustYear(y)
	}
	if !valid(y, m, d) {
		return data.Null
	}
	return x.time.Date(a, cdc.DaysFromCivil(y, m, d))
}

// datetime is the value of a date and time of day.
func (x *coding) datetime(a *cdc.Arena, y int64, m, d int, micros int64, fsp int) data.Value {
	if y == 0 && m == 0 && d == 0 {
		return data.Null
	}
	if x.adjust {
		y = adjustYear(y)
	}
	if !valid(y, m, d) {
		return data.Null
	}
	return x.time.Timestamp(a, cdc.DaysFromCivil(y, m, d)*microsPerDay+micros, fsp)
}

const (
	microsPerSec = int64(1_000_000)
	microsPerDay = 86400 * microsPerSec
)

// clock is the value of a TIME, which may be negative or longer than a day.
func (x *coding) clock(a *cdc.Arena, micros int64, fsp int) data.Value {
	switch x.time {
	case cdc.TimeConnect, cdc.TimeIsoString: // times of day only
		if micros < 0 || micros >= microsPerDay {
			return data.Null
		}
	}
	return x.time.Time(a, micros, fsp)
}

// fraction reads the fraction of a second with fsp digits in (fsp+1)/2 bytes as microseconds.
func fraction(b []byte, fsp int) int64 {
	switch (fsp + 1) / 2 {
	case 1:
		return int64(b[0]) * 10_000
	case 2:
		return int64(binary.BigEndian.Uint16(b)) * 100
	case 3:
		return int64(b[0])<<16 | int64(b[1])<<8 | int64(b[2])
	}
	return 0
}

// datetime2 reads a DATETIME of MySQL 5.6 and later: 5 bytes and the fraction.
func (x *coding) datetime2(a *cdc.Arena, b []byte, fsp int) data.Value {
	v := int64(bigEndian(b[:5])) - 0x8000000000
	if v <= 0 {
		return data.Null
	}
	ym := v >> 22
	hms := v & 0x1ffff
	micros := (hms>>12*3600+hms>>6&63*60+hms&63)*microsPerSec + fraction(b[5:], fsp)
	return x.datetime(a, ym/13, int(ym%13), int(v>>17&31), micros, fsp)
}

// time2 reads a TIME of MySQL 5.6 and later as microseconds: 3 bytes and the fraction, of which negative ones count down.
func time2(b []byte, fsp int) int64 {
	n := (fsp + 1) / 2
	bits := uint(8 * n)
	v := int64(bigEndian(b[:3+n])) - 0x800000<<bits
	neg := v < 0
	if neg {
		v = -v
	}
	hms, frac := v>>bits, v&(1<<bits-1)
	switch n {
	case 1:
		frac *= 10_000
	case 2:
		frac *= 100
	}
	micros := (hms>>12&0x3ff*3600+hms>>6&63*60+hms&63)*microsPerSec + frac
	if neg {
		return -micros
	}
	return micros
}

// digits reads a run of digits of s from i on.
func digits(s []byte, i int) (v int64, end int, ok bool) {
	end = i
	for end < len(s) && s[end] >= '0' && s[end] <= '9' && end-i < 9 {
		v = v*10 + int64(s[end]-'0')
		end++
	}
	return v, end, end > i
}

// textDate reads YYYY-MM-DD from the start of s.
func textDate(s []byte) (y int64, m, d int, rest []byte, ok bool) {
	y, i, ok1 := digits(s, 0)
	if !ok1 || i >= len(s) || s[i] != '-' {
		return 0, 0, 0, nil, false
	}
	m64, i, ok2 := digits(s, i+1)
	if !ok2 || i >= len(s) || s[i] != '-' {
		return 0, 0, 0, nil, false
	}
	d64, i, ok3 := digits(s, i+1)
	return y, int(m64), int(d64), s[i:], ok3
}

// textClock reads [-]H:MM:SS[.ffffff] as microseconds.
func textClock(s []byte) (int64, bool) {
	neg := len(s) > 0 && s[0] == '-'
	if neg {
		s = s[1:]
	}
	h, i, ok := digits(s, 0)
	if !ok || i >= len(s) || s[i] != ':' {
		return 0, false
	}
	m, i, ok := digits(s, i+1)
	if !ok || i >= len(s) || s[i] != ':' {
		return 0, false
	}
	sec, i, ok := digits(s, i+1)
	if !ok {
		return 0, false
	}
	us := int64(0)
	if i < len(s) {
		if s[i] != '.' {
			return 0, false
		}
		f, end, ok := digits(s, i+1)
		if !ok || end != len(s) || end-i-1 > 6 {
			return 0, false
		}
		for n := end - i - 1; n < 6; n++ {
			f *= 10
		}
		us = f
	}
	us += (h*3600 + m*60 + sec) * microsPerSec
	if neg {
		us = -us
	}
	return us, true
}

// textDatetime reads YYYY-MM-DD HH:MM:SS[.ffffff]; the clock may be missing.
func textDatetime(s []byte) (y int64, m, d int, micros int64, ok bool) {
	y, m, d, rest, ok := textDate(s)
	if !ok || len(rest) == 0 {
		return y, m, d, 0, ok
	}
	if rest[0] != ' ' && rest[0] != 'T' {
		return 0, 0, 0, 0, false
	}
	micros, ok = textClock(rest[1:])
	return y, m, d, micros, ok
}

// geometry is the value of a geometry: a spatial reference and well-known binary.
func (x *coding) geometry(a *cdc.Arena, b []byte) (data.Value, error) {
	if len(b) < 4 {
		return data.Null, errValue
	}
	srid := data.Null
	if n := binary.LittleEndian.Uint32(b); n != 0 {
		srid = data.Int32(int32(n))
	}
	wkb := b[4:]
	if !x.point {
		v := a.Values(2)
		v[0], v[1] = data.Bytes(wkb), srid
		return a.Struct(x.schema, v), nil
	}
	if len(wkb) != 21 || wkb[0] > 1 {
		return data.Null, errValue
	}
	var order binary.ByteOrder = binary.BigEndian
	if wkb[0] == 1 {
		order = binary.LittleEndian
	}
	if order.Uint32(wkb[1:]) != 1 {
		return data.Null, errValue
	}
	v := a.Values(4)
	v[0], v[1] = data.Float64(math.Float64frombits(order.Uint64(wkb[5:]))), data.Float64(math.Float64frombits(order.Uint64(wkb[13:])))
	v[2], v[3] = data.Bytes(wkb), srid
	return a.Struct(x.schema, v), nil
}

// vector is the value of a VECTOR: little-endian floats.
func vector(a *cdc.Arena, b []byte) (data.Value, error) {
	if len(b)%4 != 0 {
		return data.Null, errValue
	}
	v := a.Values(len(b) / 4)
	for i := range v {
		v[i] = data.Float32(math.Float32frombits(binary.LittleEndian.Uint32(b[4*i:])))
	}
	return data.Array(v), nil
}

// address is the text of MariaDB's UUID, INET4 and INET6, whose trailing zeros a row image leaves out.
func (x *coding) address(a *cdc.Arena, b []byte) (data.Value, error) {
	if x.length != 16 && x.length != 4 || len(b) > x.length {
		return data.Null, errValue
	}
	var p [16]byte
	copy(p[:], b)
	switch {
	case x.length == 4:
		return data.String(netip.AddrFrom4([4]byte(p[:4])).String()), nil
	case x.kind == kindInet:
		return data.String(netip.AddrFrom16(p).String()), nil
	}
	// Versions 1 to 5 are kept with the parts in opposite order, so that they sort by time; others as they are.
	if p[8]&0x80 != 0 || p[6]&0x80 == 0 {
		var u [16]byte
		copy(u[0:], p[12:16])
		copy(u[4:], p[10:12])
		copy(u[6:], p[8:10])
		copy(u[8:], p[6:8])
		copy(u[10:], p[0:6])
		if v := u[6] >> 4; u[8]&0xc0 == 0x80 && v >= 1 && v <= 5 {
			p = u
		}
	}
	return a.String([]byte(formatUUID(p))), nil
}
