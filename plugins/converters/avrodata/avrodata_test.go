package avrodata

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/moldau-io/moldau/plugins/data"
	"github.com/moldau-io/moldau/schemaregistry/avro"
)

func TestAnEnvelopeComesBackAsItWent(t *testing.T) {
	s := envelopeSchema()
	v := envelopeValue(s)
	e, err := NewEncoder(s, DefaultConfig())
	require.NoError(t, err)
	b, err := e.Append(nil, v)
	require.NoError(t, err)
	parsed, err := avro.Parse(e.Text(), avro.Options{Strict: true})
	require.NoError(t, err)
	d, err := NewDecoder(parsed, 0, DefaultConfig())
	require.NoError(t, err)
	got, err := d.Decode(b)
	require.NoError(t, err)
	require.Equal(t, v.String(), got.String())
	t.Log(e.Text())
	require.True(t, s.Equal(d.Schema()))
	require.True(t, v.Equal(got))

	again, err := NewEncoder(d.Schema(), DefaultConfig())
	require.NoError(t, err)
	require.Equal(t, e.Text(), again.Text())
}

func TestEncodingAllocatesNothing(t *testing.T) {
	s := envelopeSchema()
	v := envelopeValue(s)
	e, err := NewEncoder(s, DefaultConfig())
	require.NoError(t, err)
	dst := make([]byte, 0, 4096)
	require.Zero(t, testing.AllocsPerRun(100, func() {
		if _, err := e.Append(dst, v); err != nil {
			t.Fatal(err)
		}
	}))
	_ = data.Null
}
