package schemaregistry

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"

	"github.com/moldau-io/moldau/schemaregistry/avro"
)

// Record is a record of the schemas topic. A nil Value is a tombstone.
type Record struct {
	Key, Value []byte
	Offset     int64
	// Expected is the offset that the writer decided for, if Decided says that it named one. At another offset the record is
	// refused: something that the writer had not read came before it.
	Expected int64
	Decided  bool
	// Time the record was written, in milliseconds since 1970.
	Time int64
}

// expectedHeader is the record header that carries Record.Expected: the topic's id (16 bytes, so that a copy of the topic, whose
// offsets are others, is not judged by it) and the offset (8 bytes, big endian). Other registries do not look at headers.
const expectedHeader = "moldau.registry.expected"

func encodeExpected(topic [16]byte, offset int64) []byte {
	return binary.BigEndian.AppendUint64(slices.Clone(topic[:]), uint64(offset)) //nolint:gosec // offsets are not negative
}

// decodeExpected returns the offset of a header, and whether the header is about this topic.
func decodeExpected(topic [16]byte, value []byte) (int64, bool) {
	if len(value) != 24 || [16]byte(value) != topic {
		return 0, false
	}
	return int64(binary.BigEndian.Uint64(value[16:])), true //nolint:gosec // what is no offset equals none
}

// keyType is the kind of a record. Confluent's reader dies on a kind it does not know: never invent one.
type keyType string

const (
	keyNoop          keyType = "NOOP"
	keySchema        keyType = "SCHEMA"
	keyConfig        keyType = "CONFIG"
	keyMode          keyType = "MODE"
	keyDeleteSubject keyType = "DELETE_SUBJECT"
	keyClearSubject  keyType = "CLEAR_SUBJECT"
	keyContext       keyType = "CONTEXT"
)

// tenant is the tenant of CONTEXT records in every registry outside of Confluent's cloud.
const tenant = "default"

// key is what a record's key means. Subject is "" for the registry's own config and mode.
type key struct {
	kind    keyType
	subject string
	version int
	context string
}

// canonical returns the bytes that today's Confluent writes for the key. Compaction compares bytes, so order and spacing matter.
func (k key) canonical() string {
	b := []byte(`{"keytype":"` + string(k.kind) + `"`)
	magic := "0"
	switch k.kind {
	case keySchema:
		b = append(b, `,"subject":`+quote(k.subject)+`,"version":`+strconv.Itoa(k.version)...)
		magic = "1"
	case keyContext:
		b = append(b, `,"tenant":"`+tenant+`","context":`+quote(k.context)...)
	case keyNoop:
	case keyConfig, keyMode, keyDeleteSubject, keyClearSubject:
		if k.subject != "" || k.kind == keyDeleteSubject {
			b = append(b, `,"subject":`+quote(k.subject)...)
		}
	}
	return string(append(b, `,"magic":`+magic+`}`...))
}

// quote prints a JSON string as Java does; encoding/json would escape <, > and &.
func quote(s string) string { return avro.StringValue(s).String() }

// maxKey bounds keys: a subject may be as long as a topic's name and more, not as long as a book.
const maxKey = 64 << 10

var errUnknownKey = errors.New("unknown key type")

func parseKey(b []byte) (key, error) {
	if len(b) > maxKey {
		return key{}, fmt.Errorf("key of %d bytes", len(b))
	}
	var raw struct {
		Keytype string  `json:"keytype"`
		Subject *string `json:"subject"`
		Version int     `json:"version"`
		Magic   int     `json:"magic"`
		Context string  `json:"context"`
	}
	if err := json.Unmarshal(b, &raw); err != nil {
		return key{}, fmt.Errorf("key is not json: %w", err)
	}
	k := key{kind: keyType(raw.Keytype), version: raw.Version, context: raw.Context}
	if raw.Subject != nil {
		k.subject = normalSubject(*raw.Subject)
	}
	switch k.kind {
	case keySchema:
		if raw.Magic != 0 && raw.Magic != 1 {
			return key{}, fmt.Errorf("schema key of magic %d", raw.Magic)
		}
		if raw.Subject == nil || raw.Version <= 0 {
			return key{}, errors.New("schema key without subject or version")
		}
	case keyNoop, keyConfig, keyMode, keyDeleteSubject, keyClearSubject, keyContext:
		if raw.Magic != 0 {
			return key{}, fmt.Errorf("%s key of magic %d", k.kind, raw.Magic)
		}
		if k.kind == keyDeleteSubject && raw.Subject == nil {
			return key{}, errors.New("delete key without subject")
		}
		k.version = 0
	default:
		return key{}, fmt.Errorf("%w %q", errUnknownKey, raw.Keytype)
	}
	if k.kind != keyContext {
		k.context = ""
	}
	return k, nil
}

// schemaValue is the value of a SCHEMA record.
type schemaValue struct {
	Subject    string      `json:"subject"`
	Version    int         `json:"version"`
	ID         int         `json:"id"`
	MD5        string      `json:"md5,omitempty"`
	SchemaType string      `json:"schemaType,omitempty"`
	References []Reference `json:"references,omitempty"`
	Metadata   *Metadata   `json:"metadata,omitempty"`
	RuleSet    *RuleSet    `json:"ruleSet,omitempty"`
	Schema     string      `json:"schema"`
	Deleted    bool        `json:"deleted"`
}

// content builds the content that the value describes. An md5 in the value stands for text that is stored encrypted.
func (v *schemaValue) content() *content {
	c := &content{kind: v.SchemaType, text: v.Schema, refs: v.References, metadata: v.Metadata, rules: v.RuleSet, md5: v.MD5}
	if c.kind == "" {
		c.kind = TypeAvro
	}
	for i := range c.refs {
		c.refs[i].Subject = normalSubject(c.refs[i].Subject)
	}
	c.hash = hashContent(c.text, c.refs, c.metadata, c.rules)
	if raw, err := base64.StdEncoding.DecodeString(v.MD5); err == nil && len(raw) == len(c.hash) {
		c.hash = contentHash(raw)
	}
	return c
}

func marshal(v any) []byte {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		panic(err) // only types that this package defines are encoded
	}
	return bytes.TrimRight(b.Bytes(), "\n")
}

// schemaRecord returns the record of a version. AVRO is not named, as before Confluent 8: every release reads that.
func schemaRecord(subject string, version, id int, c *content, deleted bool) Record {
	v := schemaValue{Subject: subject, Version: version, ID: id, MD5: c.md5, SchemaType: c.kind, References: c.refs, Metadata: c.metadata,
		RuleSet: c.rules, Schema: c.text, Deleted: deleted}
	if v.SchemaType == TypeAvro {
		v.SchemaType = ""
	}
	return Record{Key: []byte(key{kind: keySchema, subject: subject, version: version}.canonical()), Value: marshal(v)}
}

func configRecord(subject string, c Config) Record {
	v := struct {
		Subject string `json:"subject,omitempty"`
		Config
	}{subject, c}
	return Record{Key: []byte(key{kind: keyConfig, subject: subject}.canonical()), Value: marshal(v)}
}

type modeValue struct {
	Subject string `json:"subject,omitempty"`
	Mode    string `json:"mode"`
}

func modeRecord(subject string, m Mode) Record {
	return Record{Key: []byte(key{kind: keyMode, subject: subject}.canonical()), Value: marshal(modeValue{subject, string(m)})}
}

type deleteValue struct {
	Subject string `json:"subject"`
	Version int    `json:"version"`
}

func deleteRecord(subject string, upTo int) Record {
	return Record{Key: []byte(key{kind: keyDeleteSubject, subject: subject}.canonical()), Value: marshal(deleteValue{subject, upTo})}
}

type clearValue struct {
	Subject string `json:"subject,omitempty"`
}

func clearRecord(subject string) Record {
	return Record{Key: []byte(key{kind: keyClearSubject, subject: subject}.canonical()), Value: marshal(clearValue{subject})}
}

type contextValue struct {
	Tenant  string `json:"tenant"`
	Context string `json:"context"`
}

func contextRecord(context string) Record {
	return Record{Key: []byte(key{kind: keyContext, context: context}.canonical()), Value: marshal(contextValue{tenant, context})}
}

func noopRecord() Record { return Record{Key: []byte(key{kind: keyNoop}.canonical())} }
