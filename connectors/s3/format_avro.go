package s3

import (
	"bytes"
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io"

	"github.com/klauspost/compress/flate"
	"github.com/klauspost/compress/snappy"
	"github.com/moldau-io/moldau/plugins"
	"github.com/moldau-io/moldau/plugins/converters/avrodata"
	"github.com/moldau-io/moldau/plugins/data"
)

// avroFormat writes Avro object container files: a header with schema and codec, then blocks of records, as the Avro specification's
// section "Object Container Files" says.
type avroFormat struct{ codec string }

func newAvroFormat(codec string) (format, error) {
	switch codec {
	case "null", "deflate", "snappy":
		return &avroFormat{codec}, nil
	}
	return nil, fmt.Errorf("avro.codec %q is not known", codec)
}

func (f *avroFormat) extension() string { return ".avro" }
func (f *avroFormat) perSchema() bool   { return true }

// avroBlock is the number of bytes after which a block is closed; the original's default.
const avroBlock = 64 << 10

func (f *avroFormat) newEncoder(w io.Writer, topic string, s *data.Schema) (encoder, error) {
	if s == nil {
		return nil, needsStruct(&plugins.SinkRecord{Topic: topic}, "AvroFormat")
	}
	enc, err := avroEncoderFor(s)
	if err != nil {
		return nil, err
	}
	e := &avroEncoder{w: w, enc: enc, codec: f.codec}
	if _, err := rand.Read(e.sync[:]); err != nil {
		return nil, err
	}
	head := append([]byte("Obj\x01"), binary.AppendVarint(nil, 2)...)
	for _, kv := range [][2]string{{"avro.schema", enc.Text()}, {"avro.codec", f.codec}} {
		for _, s := range kv {
			head = append(binary.AppendVarint(head, int64(len(s))), s...)
		}
	}
	head = append(head, 0)
	_, err = w.Write(append(head, e.sync[:]...))
	return e, err
}

// avroEncoderFor compiles a schema once.
func avroEncoderFor(s *data.Schema) (*avrodata.Encoder, error) {
	slot := s.Slot(data.SlotSink)
	if p := slot.Load(); p != nil {
		if c, ok := (*p).(*avrodata.Encoder); ok {
			return c, nil
		}
	}
	enc, err := avrodata.NewEncoder(s, avrodata.DefaultConfig())
	if err != nil {
		return nil, &plugins.DataError{Err: fmt.Errorf("schema %q as Avro: %w", s.Name(), err)}
	}
	var a any = enc
	slot.Store(&a)
	return enc, nil
}

// avroEncoder collects records into a block and writes it when it is full.
type avroEncoder struct {
	w     io.Writer
	enc   *avrodata.Encoder
	codec string
	sync  [16]byte
	block []byte
	count int64
	packd []byte
	flate *flate.Writer
}

func (e *avroEncoder) write(r *plugins.SinkRecord) error {
	was := len(e.block)
	b, err := e.enc.Append(e.block, r.Value)
	if err != nil {
		e.block = e.block[:was]
		return plugins.Dataf("%s-%d offset %d: %w", r.Topic, r.Partition, r.Offset, err)
	}
	e.block = b
	if e.count++; len(e.block) >= avroBlock {
		return e.flush()
	}
	return nil
}

func (e *avroEncoder) flush() error {
	if e.count == 0 {
		return nil
	}
	body := e.block
	switch e.codec {
	case "snappy":
		e.packd = append(e.packd[:0], snappy.Encode(e.packd[:cap(e.packd)], body)...)
		body = binary.BigEndian.AppendUint32(e.packd, crc32.ChecksumIEEE(body))
	case "deflate":
		out := bytes.NewBuffer(e.packd[:0])
		if e.flate == nil {
			var err error
			if e.flate, err = flate.NewWriter(out, flate.DefaultCompression); err != nil {
				return err
			}
		} else {
			e.flate.Reset(out)
		}
		if _, err := e.flate.Write(body); err != nil {
			return err
		}
		if err := e.flate.Close(); err != nil {
			return err
		}
		e.packd = out.Bytes()
		body = e.packd
	}
	head := binary.AppendVarint(binary.AppendVarint(make([]byte, 0, 20), e.count), int64(len(body)))
	for _, b := range [][]byte{head, body, e.sync[:]} {
		if _, err := e.w.Write(b); err != nil {
			return err
		}
	}
	e.block, e.count = e.block[:0], 0
	return nil
}

func (e *avroEncoder) held() int64  { return int64(cap(e.block)) }
func (e *avroEncoder) close() error { return e.flush() }
