package broker_test

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau-io/moldau/core/broker/brokertest"
	"github.com/moldau-io/moldau/core/log/batch"
)

// pipeline sends the same frame over and over with a bounded number in flight, and reads the answers. The frame's base offset is rewritten
// by the broker in its own copy, so it can be sent again as it is.
type pipeline struct {
	nc       net.Conn
	br       *bufio.Reader
	frame    []byte
	inflight int
	buf      []byte
}

func newPipeline(t testing.TB, c *brokertest.Cluster, frame []byte) *pipeline {
	nc, err := net.Dial("tcp", c.Addr())
	require.NoError(t, err)
	t.Cleanup(func() { _ = nc.Close() })
	return &pipeline{nc: nc, br: bufio.NewReaderSize(nc, 1<<20), frame: frame}
}

func (p *pipeline) send(t testing.TB) {
	if _, err := p.nc.Write(p.frame); err != nil {
		t.Fatal(err)
	}
	p.inflight++
}

func (p *pipeline) receive(t testing.TB) []byte {
	head, err := p.br.Peek(4)
	if err != nil {
		t.Fatal(err)
	}
	n := int(binary.BigEndian.Uint32(head)) + 4
	if cap(p.buf) < n {
		p.buf = make([]byte, n)
	}
	if _, err := io.ReadFull(p.br, p.buf[:n]); err != nil {
		t.Fatal(err)
	}
	p.inflight--
	return p.buf[:n]
}

func sized(count, size int) []byte {
	w := batch.Builder{}
	for range count {
		w.Append(time.Now().UnixMilli(), nil, make([]byte, size))
	}
	return w.MustBuild()
}

func BenchmarkProduce(b *testing.B) {
	for _, durability := range []string{"os", "fsync"} {
		for _, shape := range []struct{ count, size int }{{1, 100}, {10, 1000}, {100, 1000}, {900, 1000}} {
			b.Run(fmt.Sprintf("%s/%dx%d", durability, shape.count, shape.size), func(b *testing.B) {
				c := brokertest.Start(b, brokertest.With("log.durability", durability))
				c.CreateTopic(b, "t", 1)
				req := produceRequest(9, "t", -1, sized(shape.count, shape.size))
				p := newPipeline(b, c, frame(0, 9, 1, true, "bench", req.AppendTo(nil)))
				b.SetBytes(int64(shape.count * shape.size))
				b.ReportAllocs()
				b.ResetTimer()
				for range b.N {
					p.send(b)
					if p.inflight == 5 {
						p.receive(b)
					}
				}
				for p.inflight > 0 {
					p.receive(b)
				}
				b.ReportMetric(float64(b.N*shape.count)/b.Elapsed().Seconds(), "records/s")
			})
		}
	}
}

func BenchmarkFetch(b *testing.B) {
	c := brokertest.Start(b)
	c.CreateTopic(b, "t", 1)
	r := dial(b, c)
	for range 64 {
		ask[*kmsg.ProduceResponse](r, produceRequest(9, "t", -1, sized(900, 1000)))
	}
	req := fetchRequest(11, "t", 0, 0)
	p := newPipeline(b, c, frame(1, 11, 1, false, "bench", req.AppendTo(nil)))
	p.send(b)
	b.SetBytes(int64(len(p.receive(b))))
	b.ReportAllocs()
	b.ResetTimer()
	for range b.N {
		p.send(b)
		p.receive(b)
	}
}

func TestTheProducePathDoesNotAllocate(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	c := brokertest.Start(t)
	c.CreateTopic(t, "t", 1)
	p := newPipeline(t, c, frame(0, 9, 1, true, "bench", produceRequest(9, "t", -1, sized(1, 100)).AppendTo(nil)))
	ping := func() { p.send(t); p.receive(t) }
	for range 200 {
		ping()
	}
	// The client id's string is what is left.
	require.LessOrEqual(t, testing.AllocsPerRun(500, ping), 2.0)
}

func TestTheFetchPathHardlyAllocates(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	c := brokertest.Start(t)
	c.CreateTopic(t, "t", 1)
	ask[*kmsg.ProduceResponse](dial(t, c), produceRequest(9, "t", -1, sized(10, 100)))
	p := newPipeline(t, c, frame(1, 11, 1, false, "bench", fetchRequest(11, "t", 0, 0).AppendTo(nil)))
	ping := func() { p.send(t); p.receive(t) }
	for range 200 {
		ping()
	}
	require.LessOrEqual(t, testing.AllocsPerRun(500, ping), 3.0)
}
