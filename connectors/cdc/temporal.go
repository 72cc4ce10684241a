package cdc

import (
	"math"
	"strconv"
	"time"

	"github.com/moldau-io/moldau/plugins/data"
)

// TimeMode is time.precision.mode.
type TimeMode string

// The ways to write dates and times.
const (
	TimeAdaptive       TimeMode = "adaptive"
	TimeAdaptiveMicros TimeMode = "adaptive_time_microseconds"
	TimeConnect        TimeMode = "connect"
	TimeIsoString      TimeMode = "isostring"
	TimeMicros         TimeMode = "microseconds"
	TimeNanos          TimeMode = "nanoseconds"
)

const (
	microsPerDay = int64(24 * time.Hour / time.Microsecond)
	microsPerSec = int64(1_000_000)
)

// DateSchema starts the schema of a date.
func (m TimeMode) DateSchema() *data.Builder {
	switch m {
	case TimeConnect:
		return Semantic(data.TypeInt32, data.LogicalDate)
	case TimeIsoString:
		return Semantic(data.TypeString, SchemaIsoDate)
	}
	return Semantic(data.TypeInt32, SchemaDate)
}

// Date encodes days since 1970-01-01.
func (m TimeMode) Date(a *Arena, days int64) data.Value {
	if m == TimeIsoString {
		return data.StringBytes(a.Keep(append(appendDate(a.Scratch(16), days), 'Z')))
	}
	return data.Int32(int32(days))
}

// TimeSchema starts the schema of a time of day with fsp digits of fraction (0-6).
func (m TimeMode) TimeSchema(fsp int) *data.Builder {
	switch m {
	case TimeConnect:
		return Semantic(data.TypeInt32, data.LogicalTime)
	case TimeIsoString:
		return Semantic(data.TypeString, SchemaIsoTime)
	case TimeNanos:
		return Semantic(data.TypeInt64, SchemaNanoTime)
	case TimeAdaptive:
		if fsp <= 3 {
			return Semantic(data.TypeInt32, SchemaTime)
		}
	}
	return Semantic(data.TypeInt64, SchemaMicroTime)
}

// Time encodes microseconds since midnight. 24:00:00 is kept but by isostring, which writes 00:00:00.
func (m TimeMode) Time(a *Arena, micros int64, fsp int) data.Value {
	switch m {
	case TimeConnect:
		return data.Int32(int32(micros / 1000))
	case TimeIsoString:
		return data.StringBytes(a.Keep(append(appendClock(a.Scratch(24), floorMod(micros, microsPerDay)), 'Z')))
	case TimeNanos:
		return data.Int64(micros * 1000)
	case TimeAdaptive:
		if fsp <= 3 {
			return data.Int32(int32(micros / 1000))
		}
	}
	return data.Int64(micros)
}

// TimestampSchema starts the schema of a timestamp without time zone with fsp digits of fraction (0-6).
func (m TimeMode) TimestampSchema(fsp int) *data.Builder {
	switch m {
	case TimeConnect:
		return Semantic(data.TypeInt64, data.LogicalTimestamp)
	case TimeIsoString:
		return Semantic(data.TypeString, SchemaIsoTimestamp)
	case TimeNanos:
		return Semantic(data.TypeInt64, SchemaNanoTimestamp)
	case TimeAdaptive, TimeAdaptiveMicros:
		if fsp <= 3 {
			return Semantic(data.TypeInt64, SchemaTimestamp)
		}
	}
	return Semantic(data.TypeInt64, SchemaMicroTimestamp)
}

// InfinityMicros and NegInfinityMicros stand for infinite timestamps: what Java's PostgreSQL driver, and so Debezium, uses.
const (
	InfinityMicros    = int64(9223372036825200000)
	NegInfinityMicros = int64(-9223372036832400000)
)

// Timestamp encodes microseconds since the epoch. In nanoseconds mode what does not fit becomes null, the infinities the largest and
// smallest number.
func (m TimeMode) Timestamp(a *Arena, micros int64, fsp int) data.Value {
	switch m {
	case TimeConnect:
		return data.Int64(floorDiv(micros, 1000))
	case TimeIsoString:
		b := appendDate(a.Scratch(40), floorDiv(micros, microsPerDay))
		b = append(b, 'T')
		b = appendClock(b, floorMod(micros, microsPerDay))
		return data.StringBytes(a.Keep(append(b, 'Z')))
	case TimeNanos:
		switch {
		case micros == InfinityMicros:
			return data.Int64(math.MaxInt64)
		case micros == NegInfinityMicros:
			return data.Int64(math.MinInt64)
		case micros > math.MaxInt64/1000 || micros < math.MinInt64/1000:
			return data.Null
		}
		return data.Int64(micros * 1000)
	case TimeAdaptive, TimeAdaptiveMicros:
		if fsp <= 3 {
			return data.Int64(floorDiv(micros, 1000))
		}
	}
	return data.Int64(micros)
}

// ZonedTimestamp writes an instant as Debezium's ZonedTimestamp in UTC, with exactly fsp digits of fraction.
func ZonedTimestamp(a *Arena, micros int64, fsp int) data.Value {
	b := appendDate(a.Scratch(40), floorDiv(micros, microsPerDay))
	b = append(b, 'T')
	us := floorMod(micros, microsPerDay)
	b = appendHMS(b, us/microsPerSec)
	b = appendFraction(b, us%microsPerSec, fsp)
	return data.StringBytes(a.Keep(append(b, 'Z')))
}

// ZonedTime writes a time of day as Debezium's ZonedTime in UTC: fraction only where there is one, without trailing zeros.
func ZonedTime(a *Arena, micros int64) data.Value {
	return data.StringBytes(a.Keep(append(appendClock(a.Scratch(24), floorMod(micros, microsPerDay)), 'Z')))
}

// DaysFromCivil returns the days since 1970-01-01 of a date of the proleptic Gregorian calendar; year 0 is 1 BC.
func DaysFromCivil(y int64, m, d int) int64 {
	if m <= 2 {
		y--
	}
	era := floorDiv(y, 400)
	yoe := y - era*400
	mp := int64(m+9) % 12
	doy := (153*mp+2)/5 + int64(d) - 1
	doe := yoe*365 + yoe/4 - yoe/100 + doy
	return era*146097 + doe - 719468
}

// CivilFromDays is the inverse of DaysFromCivil.
func CivilFromDays(days int64) (y int64, m, d int) {
	days += 719468
	era := floorDiv(days, 146097)
	doe := days - era*146097
	yoe := (doe - doe/1460 + doe/36524 - doe/146096) / 365
	doy := doe - (365*yoe + yoe/4 - yoe/100)
	mp := (5*doy + 2) / 153
	d = int(doy - (153*mp+2)/5 + 1)
	m = int(mp) + 3
	if m > 12 {
		m -= 12
	}
	y = yoe + era*400
	if m <= 2 {
		y++
	}
	return y, m, d
}

func floorDiv(a, b int64) int64 {
	q := a / b
	if a%b != 0 && (a < 0) != (b < 0) {
		q--
	}
	return q
}

func floorMod(a, b int64) int64 { return a - floorDiv(a, b)*b }

// appendDate writes YYYY-MM-DD as Java's ISO_LOCAL_DATE does: a sign before years outside 0-9999.
func appendDate(b []byte, days int64) []byte {
	y, m, d := CivilFromDays(days)
	switch {
	case y > 9999:
		b = append(b, '+')
	case y < 0:
		b = append(b, '-')
		y = -y
	}
	if y > 9999 {
		b = strconv.AppendInt(b, y, 10)
	} else {
		b = append(b, byte('0'+y/1000), byte('0'+y/100%10), byte('0'+y/10%10), byte('0'+y%10))
	}
	return append(b, '-', byte('0'+m/10), byte('0'+m%10), '-', byte('0'+d/10), byte('0'+d%10))
}

func appendHMS(b []byte, s int64) []byte {
	h, mi, se := s/3600, s/60%60, s%60
	return append(b, byte('0'+h/10), byte('0'+h%10), ':', byte('0'+mi/10), byte('0'+mi%10), ':', byte('0'+se/10), byte('0'+se%10))
}

// appendFraction writes exactly n digits of a second's micros behind a point, or nothing for 0.
func appendFraction(b []byte, micros int64, n int) []byte {
	if n <= 0 {
		return b
	}
	b = append(b, '.')
	for div := int64(100_000); n > 0; n-- {
		if div == 0 {
			b = append(b, '0')
			continue
		}
		b = append(b, byte('0'+micros/div%10))
		div /= 10
	}
	return b
}

// appendClock writes HH:MM:SS and the fraction without trailing zeros.
func appendClock(b []byte, micros int64) []byte {
	b = appendHMS(b, micros/microsPerSec)
	us := micros % microsPerSec
	if us == 0 {
		return b
	}
	n := 6
	for us%10 == 0 {
		us /= 10
		n--
	}
	return appendFraction(b, micros%microsPerSec, n)
}
