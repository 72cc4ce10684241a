package avrodata

import (
	"testing"

	"github.com/moldau-io/moldau/plugins/data"
)

func BenchmarkAvroEncodeEnvelope(b *testing.B) {
	s := envelopeSchema()
	v := envelopeValue(s)
	e, err := NewEncoder(s, DefaultConfig())
	if err != nil {
		b.Fatal(err)
	}
	var dst []byte
	b.ReportAllocs()
	for b.Loop() {
		if dst, err = e.Append(dst[:0], v); err != nil {
			b.Fatal(err)
		}
	}
	b.SetBytes(int64(len(dst)))
}

func BenchmarkAvroDecodeEnvelope(b *testing.B) {
	s := envelopeSchema()
	e, err := NewEncoder(s, DefaultConfig())
	if err != nil {
		b.Fatal(err)
	}
	enc, err := e.Append(nil, envelopeValue(s))
	if err != nil {
		b.Fatal(err)
	}
	d, err := NewDecoder(e.Schema(), 1, DefaultConfig())
	if err != nil {
		b.Fatal(err)
	}
	var v data.Value
	b.ReportAllocs()
	b.SetBytes(int64(len(enc)))
	for b.Loop() {
		if v, err = d.Decode(enc); err != nil {
			b.Fatal(err)
		}
	}
	_ = v
}
