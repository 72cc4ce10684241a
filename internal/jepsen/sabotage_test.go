package jepsen

import (
	"bufio"
	"context"
	"encoding/binary"
	"hash/crc32"
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// saboteur stands between clients and the broker and breaks what passes, as a broken broker would.
type saboteur struct {
	t      testing.TB
	target string
	l      net.Listener
	how    sabotage
	mu     sync.Mutex
	rnd    *rand.Rand
	conns  int
}

// sabotage is one way of being broken. conn numbers the client's connection.
type sabotage struct {
	request  func(s *saboteur, conn int, req kmsg.Request)
	twice    func(s *saboteur, req kmsg.Request) bool // the request is done twice
	response func(s *saboteur, conn int, req kmsg.Request, resp kmsg.Response)
}

func newSaboteur(t testing.TB, target string, seed uint64, how sabotage) *saboteur {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	s := &saboteur{t: t, target: target, l: l, how: how, rnd: rand.New(rand.NewPCG(seed, 77))}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			s.mu.Lock()
			s.conns++
			n := s.conns
			s.mu.Unlock()
			go s.carry(c, n)
		}
	}()
	return s
}

// dial is where clients go for whatever broker they look for.
func (s *saboteur) dial(ctx context.Context, network, _ string) (net.Conn, error) {
	var d net.Dialer
	return d.DialContext(ctx, network, s.l.Addr().String())
}

// chance is true once in n times.
func (s *saboteur) chance(n int) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.rnd.IntN(n) == 0
}

func readFrame(r io.Reader) ([]byte, error) {
	var head [4]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return nil, err
	}
	b := make([]byte, binary.BigEndian.Uint32(head[:]))
	_, err := io.ReadFull(r, b)
	return b, err
}

func writeFrame(w io.Writer, parts ...[]byte) error {
	n := 0
	for _, p := range parts {
		n += len(p)
	}
	b := binary.BigEndian.AppendUint32(nil, uint32(n))
	for _, p := range parts {
		b = append(b, p...)
	}
	_, err := w.Write(b)
	return err
}

// again marks the correlation ids of requests that the client did not send.
const again = 1 << 30

func (s *saboteur) carry(client net.Conn, conn int) {
	defer client.Close()
	broker, err := net.Dial("tcp", s.target)
	if err != nil {
		return
	}
	defer broker.Close()
	var mu sync.Mutex
	waiting := map[uint32]kmsg.Request{}
	go func() {
		defer client.Close()
		r := bufio.NewReader(broker)
		for {
			b, err := readFrame(r)
			if err != nil {
				return
			}
			corr := binary.BigEndian.Uint32(b)
			mu.Lock()
			req := waiting[corr]
			delete(waiting, corr)
			mu.Unlock()
			if corr&again != 0 {
				continue
			}
			if req == nil || s.how.response == nil || req.Key() == 18 {
				if writeFrame(client, b) != nil {
					return
				}
				continue
			}
			resp := req.ResponseKind()
			head := 4
			if resp.IsFlexible() {
				head = 5
			}
			if resp.ReadFrom(b[head:]) != nil {
				return
			}
			s.how.response(s, conn, req, resp)
			if writeFrame(client, b[:head], resp.AppendTo(nil)) != nil {
				return
			}
		}
	}()
	defer broker.Close()
	r := bufio.NewReader(client)
	for {
		b, err := readFrame(r)
		if err != nil {
			return
		}
		key, version, corr := int16(binary.BigEndian.Uint16(b)), int16(binary.BigEndian.Uint16(b[2:])), binary.BigEndian.Uint32(b[4:])
		head := 10 + int(binary.BigEndian.Uint16(b[8:]))
		req := kmsg.RequestForKey(key)
		req.SetVersion(version)
		if req.IsFlexible() {
			head++
		}
		if req.ReadFrom(b[head:]) != nil {
			return
		}
		if s.how.request != nil {
			s.how.request(s, conn, req)
		}
		mu.Lock()
		waiting[corr] = req
		mu.Unlock()
		if writeFrame(broker, b[:head], req.AppendTo(nil)) != nil {
			return
		}
		if s.how.twice != nil && s.how.twice(s, req) {
			h := append([]byte{}, b[:head]...)
			binary.BigEndian.PutUint32(h[4:], corr|again)
			if writeFrame(broker, h, req.AppendTo(nil)) != nil {
				return
			}
		}
	}
}

// batches calls fn for each whole batch in records, and returns those that it keeps.
func batches(records []byte, fn func(batch []byte) bool) []byte {
	out := []byte{}
	for len(records) >= 61 {
		n := 12 + int(binary.BigEndian.Uint32(records[8:]))
		if n > len(records) {
			break
		}
		if fn(records[:n]) {
			out = append(out, records[:n]...)
		}
		records = records[n:]
	}
	return out
}

func isControl(b []byte) bool       { return b[22]&0x20 != 0 }
func isTransactional(b []byte) bool { return b[22]&0x10 != 0 }

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// seal makes the batch's checksum right again.
func seal(b []byte) { binary.BigEndian.PutUint32(b[17:], crc32.Checksum(b[21:], castagnoli)) }

func eachFetched(resp kmsg.Response, fn func(partition int32, records *[]byte, p *kmsg.FetchResponseTopicPartition)) {
	f, ok := resp.(*kmsg.FetchResponse)
	if !ok {
		return
	}
	for i := range f.Topics {
		for j := range f.Topics[i].Partitions {
			p := &f.Topics[i].Partitions[j]
			fn(p.Partition, &p.RecordBatches, p)
		}
	}
}

// The ways of being broken.
var (
	// ignoresIsolation serves what is not committed, and what is aborted.
	ignoresIsolation = sabotage{
		request: func(_ *saboteur, _ int, req kmsg.Request) {
			if f, ok := req.(*kmsg.FetchRequest); ok {
				f.IsolationLevel = 0
			}
		},
	}
	// forgetsSome serves some acknowledged batches to nobody.
	forgetsSome = sabotage{
		response: func(_ *saboteur, _ int, _ kmsg.Request, resp kmsg.Response) {
			eachFetched(resp, func(_ int32, records *[]byte, _ *kmsg.FetchResponseTopicPartition) {
				*records = batches(*records, func(b []byte) bool { return isControl(b) || binary.BigEndian.Uint64(b)%7 != 3 })
			})
		},
	}
	// losesAPartition has partition 1 empty.
	losesAPartition = sabotage{
		response: func(_ *saboteur, _ int, _ kmsg.Request, resp kmsg.Response) {
			eachFetched(resp, func(partition int32, records *[]byte, p *kmsg.FetchResponseTopicPartition) {
				if partition == 1 {
					*records, p.HighWatermark, p.LastStableOffset = []byte{}, 0, 0
				}
			})
			if l, ok := resp.(*kmsg.ListOffsetsResponse); ok {
				for i := range l.Topics {
					for j := range l.Topics[i].Partitions {
						if p := &l.Topics[i].Partitions[j]; p.Partition == 1 {
							p.Offset = 0
						}
					}
				}
			}
		},
	}
	// appendsTwice does not know that it has a batch already.
	appendsTwice = sabotage{
		request: func(_ *saboteur, _ int, req kmsg.Request) {
			if p, ok := req.(*kmsg.ProduceRequest); ok {
				for i := range p.Topics {
					for j := range p.Topics[i].Partitions {
						batches(p.Topics[i].Partitions[j].Records, func(b []byte) bool {
							if !isTransactional(b) {
								for k := 43; k < 57; k++ {
									b[k] = 0xff // no producer id, epoch, sequence
								}
								seal(b)
							}
							return true
						})
					}
				}
			}
		},
		twice: func(s *saboteur, req kmsg.Request) bool {
			p, ok := req.(*kmsg.ProduceRequest)
			return ok && p.TransactionID == nil && s.chance(4)
		},
	}
	// twistsValues gives some connections other bytes.
	twistsValues = sabotage{
		response: func(s *saboteur, conn int, _ kmsg.Request, resp kmsg.Response) {
			eachFetched(resp, func(_ int32, records *[]byte, _ *kmsg.FetchResponseTopicPartition) {
				batches(*records, func(b []byte) bool {
					if !isControl(b) && conn%2 == 0 && s.chance(5) {
						b[len(b)-2] ^= 0x55 // the last byte is the number of headers
						seal(b)
					}
					return true
				})
			})
		},
	}
	// skips passes over batches now and then.
	skips = sabotage{
		response: func(s *saboteur, _ int, _ kmsg.Request, resp kmsg.Response) {
			eachFetched(resp, func(_ int32, records *[]byte, _ *kmsg.FetchResponseTopicPartition) {
				n := 0
				*records = batches(*records, func(b []byte) bool {
					n++
					return isControl(b) || n%2 == 1 || !s.chance(3)
				})
			})
		},
	}
	// losesPlaces tells consumers now and then that their offset does not exist, and that the log ends before it.
	losesPlaces = sabotage{
		response: func(s *saboteur, _ int, _ kmsg.Request, resp kmsg.Response) {
			eachFetched(resp, func(_ int32, records *[]byte, p *kmsg.FetchResponseTopicPartition) {
				if s.chance(4) {
					*records, p.ErrorCode = nil, kerr.OffsetOutOfRange.Code
				}
			})
			if l, ok := resp.(*kmsg.ListOffsetsResponse); ok {
				for i := range l.Topics {
					for j := range l.Topics[i].Partitions {
						l.Topics[i].Partitions[j].Offset /= 4
					}
				}
			}
		},
	}
	// acknowledgesElsewhere answers with offsets that are too low.
	acknowledgesElsewhere = sabotage{
		response: func(s *saboteur, _ int, _ kmsg.Request, resp kmsg.Response) {
			if p, ok := resp.(*kmsg.ProduceResponse); ok {
				for i := range p.Topics {
					for j := range p.Topics[i].Partitions {
						if q := &p.Topics[i].Partitions[j]; q.ErrorCode == 0 && s.chance(3) {
							q.BaseOffset = max(q.BaseOffset-7, 0)
						}
					}
				}
			}
		},
	}
)
