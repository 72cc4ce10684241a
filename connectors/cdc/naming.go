package cdc

import (
	"fmt"
	"strings"
)

// Topics makes topic names.
type Topics struct {
	Prefix, Delimiter            string
	Heartbeat, TransactionSuffix string
}

// Table returns a table's topic: prefix, then the parts of its name, sanitised.
func (t Topics) Table(id TableID) string {
	s := t.Prefix
	for _, p := range []string{id.Catalog, id.Schema, id.Table} {
		if p != "" {
			s += t.Delimiter + p
		}
	}
	return SanitizeTopic(s)
}

// Named returns the topic of a kind of record that belongs to no table, such as "message".
func (t Topics) Named(kind string) string { return SanitizeTopic(t.Prefix + t.Delimiter + kind) }

// Transaction returns the topic of transaction metadata.
func (t Topics) Transaction() string { return t.Named(t.TransactionSuffix) }

// HeartbeatTopic returns the topic of heartbeats.
func (t Topics) HeartbeatTopic() string { return SanitizeTopic(t.Heartbeat + t.Delimiter + t.Prefix) }

// SanitizeTopic replaces characters that Kafka refuses in topic names by "_" and cuts the name at Kafka's limit of 249.
func SanitizeTopic(s string) string {
	b := []byte(nil)
	for i, r := range s {
		if validTopicRune(r) {
			if b != nil {
				b = append(b, byte(r))
			}
			continue
		}
		if b == nil {
			b = append(make([]byte, 0, len(s)), s[:i]...)
		}
		b = append(b, '_')
	}
	if b != nil {
		s = string(b)
	}
	if len(s) > 249 {
		s = s[:249]
	}
	return s
}

func validTopicRune(r rune) bool {
	return r == '.' || r == '_' || r == '-' || r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z'
}

// NameAdjuster changes schema or field names to what a serialization format accepts.
type NameAdjuster string

// The adjustment modes.
const (
	AdjustNone        NameAdjuster = "none"
	AdjustAvro        NameAdjuster = "avro"
	AdjustAvroUnicode NameAdjuster = "avro_unicode"
)

// Field adjusts a field name.
func (m NameAdjuster) Field(s string) string { return m.adjust(s, false) }

// Schema adjusts a schema's full name, whose parts are separated by dots.
func (m NameAdjuster) Schema(s string) string { return m.adjust(s, true) }

func (m NameAdjuster) adjust(s string, dots bool) string {
	if m == AdjustNone || m == "" {
		return s
	}
	var sb strings.Builder
	first := true
	for _, r := range s {
		letter := r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z'
		digit := r >= '0' && r <= '9'
		switch {
		case letter, digit && !first:
			sb.WriteRune(r)
		case dots && r == '.':
			sb.WriteRune(r)
			first = true
			continue
		case m == AdjustAvroUnicode:
			fmt.Fprintf(&sb, "_u%04x", r)
		case digit:
			sb.WriteByte('_')
			sb.WriteRune(r)
		default:
			sb.WriteByte('_')
		}
		first = false
	}
	return sb.String()
}
