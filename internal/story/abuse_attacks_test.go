package story

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// requestFrame is a whole request.
func requestFrame(req kmsg.Request, correlation int32) []byte {
	return kmsg.NewRequestFormatter(kmsg.FormatterClientID("abuse")).AppendRequest(nil, req, correlation)
}

func closeAll(conns []net.Conn) {
	for _, nc := range conns {
		if nc != nil {
			_ = nc.Close()
		}
	}
}

// open makes n connections, as many at a time as there are in parallel, and leaves out those that fail.
func (a *abused) open(n int, dial func(i int) (net.Conn, error)) (conns []net.Conn, failed error) {
	var mu sync.Mutex
	var wg sync.WaitGroup
	slots := make(chan struct{}, 32)
	for i := range n {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			nc, err := dial(i)
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				failed = err
				return
			}
			conns = append(conns, nc)
		})
	}
	wg.Wait()
	return conns, failed
}

// dialTLS connects with a whole handshake.
func (a *abused) dialTLS(from string) (net.Conn, error) {
	nc, err := abuseDial(from, a.secure)
	if err != nil {
		return nil, err
	}
	cfg := a.tls.Clone()
	cfg.ServerName = "localhost"
	tc := tls.Client(nc, cfg)
	_ = nc.SetDeadline(time.Now().Add(20 * time.Second))
	if err := tc.Handshake(); err != nil {
		_ = nc.Close()
		return nil, err
	}
	_ = nc.SetDeadline(time.Time{})
	return tc, nil
}

// ask sends a request and reads its answer away.
func askRaw(nc net.Conn, req kmsg.Request) error {
	if _, err := nc.Write(requestFrame(req, 1)); err != nil {
		return err
	}
	var size [4]byte
	if _, err := io.ReadFull(nc, size[:]); err != nil {
		return err
	}
	_, err := io.CopyN(io.Discard, nc, int64(binary.BigEndian.Uint32(size[:])))
	return err
}

// login authenticates with PLAIN.
func (a *abused) login(from string) (net.Conn, error) {
	nc, err := a.dialTLS(from)
	if err != nil {
		return nil, err
	}
	hs := kmsg.NewPtrSASLHandshakeRequest()
	hs.Version, hs.Mechanism = 1, "PLAIN"
	auth := kmsg.NewPtrSASLAuthenticateRequest()
	auth.Version, auth.SASLAuthBytes = 2, []byte("\x00abuse\x00"+abusePassword)
	_ = nc.SetDeadline(time.Now().Add(20 * time.Second))
	if err := errors.Join(askRaw(nc, hs), askRaw(nc, auth)); err != nil {
		_ = nc.Close()
		return nil, err
	}
	_ = nc.SetDeadline(time.Time{})
	return nc, nil
}

// slowLoris sends a byte of a request each second on each of its connections: on the plain listener, in handshakes, and after them.
func (a *abused) slowLoris(ctx context.Context) string {
	meta := kmsg.NewPtrMetadataRequest()
	meta.Version = 9
	frame := requestFrame(meta, 1)
	hello := []byte{22, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3}
	var shaken atomic.Int64
	conns, failed := a.open(a.n, func(i int) (net.Conn, error) {
		switch i % 4 {
		case 0, 1:
			return abuseDial("", a.plain)
		case 2:
			return abuseDial("", a.secure)
		}
		if shaken.Add(1) > 500 { // each costs the attacker as much as the hub
			return abuseDial("", a.secure)
		}
		return a.dialTLS("")
	})
	defer closeAll(conns)
	sent := 0
	for round := 0; round == 0 || ctx.Err() == nil; round++ {
		for _, nc := range conns {
			text := frame
			if _, ok := nc.(*tls.Conn); !ok && nc.RemoteAddr().String() == a.secure {
				text = hello
			}
			_ = nc.SetWriteDeadline(time.Now().Add(time.Second))
			if n, _ := nc.Write(text[round%len(text):][:1]); n > 0 {
				sent++
			}
		}
		select {
		case <-ctx.Done():
		case <-time.After(time.Second):
		}
	}
	return fmt.Sprintf("%d connections, %d bytes%s", len(conns), sent, because(failed))
}

func because(err error) string {
	if err == nil {
		return ""
	}
	return fmt.Sprintf(" (the attacker was stopped by: %v)", err)
}

// announcers announce frames of a MiB, send as much as makes the hub set memory aside for them, and then a byte each second.
func (a *abused) announcers(ctx context.Context) string {
	head := make([]byte, 20<<10)
	binary.BigEndian.PutUint32(head, 1<<20)
	copy(head[4:], requestFrame(kmsg.NewPtrProduceRequest(), 1)[4:])
	opened := 0
	var last error
	for ctx.Err() == nil {
		conns, failed := a.open(max(a.n/4, 40), func(int) (net.Conn, error) {
			nc, err := abuseDial("", a.plain)
			if err == nil {
				_ = nc.SetWriteDeadline(time.Now().Add(time.Second))
				_, _ = nc.Write(head)
			}
			return nc, err
		})
		opened += len(conns)
		if failed != nil {
			last = failed
		}
		for again := time.Now().Add(5 * time.Second); ctx.Err() == nil && time.Now().Before(again); {
			for _, nc := range conns {
				_ = nc.SetWriteDeadline(time.Now().Add(time.Second))
				_, _ = nc.Write([]byte{0})
			}
			select {
			case <-ctx.Done():
			case <-time.After(time.Second):
			}
		}
		closeAll(conns)
	}
	return fmt.Sprintf("%d connections%s", opened, because(last))
}

// lengths sends frames whose lengths are not to be believed, and expects to be shown the door.
func (a *abused) lengths(ctx context.Context) string {
	var sent atomic.Int64
	bad := []uint32{1<<31 - 1, 1 << 31, 1<<32 - 1, 100<<20 + 1, 0, 3}
	var counts []byte // a request whose count of topics is 2^31-1
	counts = append(counts, 0, 0, 0, 18, 0, 3, 0, 1, 0, 0, 0, 1, 0, 4, 'e', 'v', 'i', 'l', 0x7f, 0xff, 0xff, 0xff)
	try := func(nc net.Conn, err error, frame []byte) {
		if err != nil {
			return
		}
		defer nc.Close()
		_, _ = nc.Write(frame)
		_ = nc.SetReadDeadline(time.Now().Add(20 * time.Second))
		n, err := nc.Read(make([]byte, 1))
		if n > 0 {
			err = errors.New("it was answered")
		}
		var ne net.Error
		if err == nil || errors.As(err, &ne) && ne.Timeout() || n > 0 {
			a.t.Errorf("a frame that begins with %x does not close the connection: %v", frame[:4], err)
		}
		sent.Add(1)
	}
	var wg sync.WaitGroup
	for worker := range 8 {
		wg.Go(func() {
			for i := worker; i < a.n || ctx.Err() == nil; i += 8 {
				frame := binary.BigEndian.AppendUint32(nil, bad[i%len(bad)])
				frame = append(frame, make([]byte, 64)...)
				switch i % 16 {
				case 0:
					nc, err := a.login("")
					try(nc, err, frame)
				case 1:
					nc, err := a.dialTLS("")
					try(nc, err, frame)
				case 2, 3:
					nc, err := abuseDial("", a.plain)
					try(nc, err, counts)
				case 4: // larger than before authentication, and not after it
					nc, err := a.dialTLS("")
					try(nc, err, append(binary.BigEndian.AppendUint32(nil, 1<<20), make([]byte, 64)...))
				default:
					nc, err := abuseDial("", a.plain)
					try(nc, err, frame)
				}
			}
		})
	}
	wg.Wait()
	return fmt.Sprintf("%d frames", sent.Load())
}

// bodies sends large and compressed bodies to the REST listeners.
func (a *abused) bodies(ctx context.Context) string {
	zeros := bytes.Repeat([]byte{' '}, 64<<20)
	gz := gzipZeros(a.t, 256<<20)
	sent := 0
	client := &http.Client{Timeout: 30 * time.Second}
	for i := 0; i < 8 || ctx.Err() == nil && i < a.n; i++ {
		url := a.hub.Endpoints.Registry + "/subjects/evil/versions"
		if i%2 == 1 {
			url = a.hub.Endpoints.Connect + "/connectors"
		}
		body, encoding := zeros, ""
		if i%4 >= 2 {
			body, encoding = gz, "gzip"
		}
		req, err := http.NewRequestWithContext(a.t.Context(), http.MethodPost, url, io.MultiReader(strings.NewReader(`{"schema":"`), bytes.NewReader(body)))
		require.NoError(a.t, err)
		req.Header.Set("Content-Type", "application/json")
		if encoding != "" {
			req.Header.Set("Content-Encoding", encoding)
		}
		resp, err := client.Do(req)
		sent++
		if err != nil {
			continue // cut off while it was sending
		}
		_, _ = io.Copy(io.Discard, resp.Body)
		_ = resp.Body.Close()
		require.GreaterOrEqual(a.t, resp.StatusCode, 400, "%s of %d bytes %s", url, len(body), encoding)
	}
	return fmt.Sprintf("%d requests", sent)
}

// handshakes opens TLS handshakes and abandons them: most after the client's hello, some after the first bytes, some when they are done. A ring of them stays open.
func (a *abused) handshakes(ctx context.Context) string {
	total := int64(12 * a.n)
	hello := clientHello(a.t)
	ring := make(chan net.Conn, min(a.n, 8000))
	var done, failed atomic.Int64
	var why atomic.Value
	var wg sync.WaitGroup
	began := time.Now()
	for worker := range 16 {
		wg.Go(func() {
			for i := worker; done.Load()+failed.Load() < total; i += 16 {
				nc, err := abuseDial(fmt.Sprintf("127.0.%d.%d", 1+i%200, 1+i/200%250), a.secure)
				if err == nil {
					_ = nc.SetDeadline(time.Now().Add(10 * time.Second))
					switch i % 16 {
					case 0:
						_, err = nc.Write(hello[:5+i%100])
					case 1:
						cfg := a.tls.Clone()
						cfg.ServerName = "localhost"
						err = tls.Client(nc, cfg).Handshake()
					default:
						if _, err = nc.Write(hello); err == nil && i%16 < 8 {
							_, err = nc.Read(make([]byte, 1)) // the hub has done its part
						}
					}
					if err != nil {
						_ = nc.Close()
					}
				}
				if err != nil {
					failed.Add(1)
					why.Store(err.Error())
					continue
				}
				done.Add(1)
				for put := false; !put; {
					select {
					case ring <- nc:
						put = true
					default:
						select {
						case old := <-ring:
							_ = old.Close()
						default:
						}
					}
				}
			}
		})
	}
	wg.Wait()
	took := time.Since(began)
	open := len(ring)
	close(ring)
	for nc := range ring {
		_ = nc.Close()
	}
	text := fmt.Sprintf("%d handshakes, %d open at the end, %.0f a second", done.Load(), open, float64(done.Load())/took.Seconds())
	if f := failed.Load(); f > 0 {
		text += fmt.Sprintf("; %d failed: %v", f, why.Load())
	}
	require.Less(a.t, failed.Load(), total/10, "%v", why.Load())
	return text
}

// authentications stop in the middle of SCRAM, or fail it.
func (a *abused) authentications(ctx context.Context) string {
	n := min(a.n, 2000)
	hs := kmsg.NewPtrSASLHandshakeRequest()
	hs.Version, hs.Mechanism = 1, "SCRAM-SHA-256"
	first := kmsg.NewPtrSASLAuthenticateRequest()
	first.Version, first.SASLAuthBytes = 2, []byte("n,,n=nobody,r=fyko+d2lbbFgONRv9qkxdawL")
	conns, failed := a.open(n, func(i int) (net.Conn, error) {
		nc, err := a.dialTLS("")
		if err != nil {
			return nil, err
		}
		_ = nc.SetDeadline(time.Now().Add(20 * time.Second))
		err = askRaw(nc, hs)
		if err == nil && i%2 == 0 {
			_, err = nc.Write(requestFrame(first, 2))
		}
		return nc, err
	})
	defer closeAll(conns)
	<-ctx.Done()
	return fmt.Sprintf("%d connections%s", len(conns), because(failed))
}

// nonReaders fetch as much as they may, again and again, and read nothing.
func (a *abused) nonReaders(ctx context.Context) string {
	cl := a.victims[0].producer
	_, err := kadm.NewClient(cl).CreateTopic(ctx, 1, 1, nil, "large")
	require.NoError(a.t, err)
	value := make([]byte, 900<<10)
	for i := range value {
		value[i] = byte(i * i >> 3)
	}
	records := make([]*kgo.Record, 60)
	for i := range records {
		records[i] = &kgo.Record{Topic: "large", Value: value}
	}
	require.NoError(a.t, cl.ProduceSync(a.t.Context(), records...).FirstErr())
	fetch := kmsg.NewPtrFetchRequest()
	fetch.Version, fetch.MaxBytes, fetch.MinBytes, fetch.MaxWaitMillis, fetch.SessionEpoch, fetch.ReplicaID = 11, 1<<31-1, 1, 500, -1, -1
	t := kmsg.NewFetchRequestTopic()
	t.Topic = "large"
	p := kmsg.NewFetchRequestTopicPartition()
	p.PartitionMaxBytes, p.CurrentLeaderEpoch = 1<<31-1, -1
	t.Partitions = append(t.Partitions, p)
	fetch.Topics = append(fetch.Topics, t)
	frames := bytes.Repeat(requestFrame(fetch, 1), 50)
	conns, failed := a.open(min(a.n, 500), func(int) (net.Conn, error) {
		nc, err := abuseDial("", a.plain)
		if err == nil {
			_ = nc.(*net.TCPConn).SetReadBuffer(4 << 10)
			_ = nc.SetWriteDeadline(time.Now().Add(time.Second))
			_, _ = nc.Write(frames)
		}
		return nc, err
	})
	defer closeAll(conns)
	<-ctx.Done()
	return fmt.Sprintf("%d connections, each 50 fetches of all%s", len(conns), because(failed))
}

// pipeliners send thousands of requests and read no answer.
func (a *abused) pipeliners(ctx context.Context) string {
	meta := kmsg.NewPtrMetadataRequest()
	meta.Version = 9 // all topics
	frames := bytes.Repeat(requestFrame(meta, 1), 1000)
	var sent atomic.Int64
	conns, failed := a.open(min(a.n, 500), func(int) (net.Conn, error) { return abuseDial("", a.plain) })
	defer closeAll(conns)
	var wg sync.WaitGroup
	for _, nc := range conns {
		wg.Go(func() {
			_ = nc.(*net.TCPConn).SetReadBuffer(4 << 10)
			_ = nc.SetWriteDeadline(time.Now().Add(a.pause))
			for range 5 {
				n, err := nc.Write(frames)
				sent.Add(int64(n) * 1000 / int64(len(frames)))
				if err != nil {
					return
				}
			}
		})
	}
	wg.Wait()
	<-ctx.Done()
	return fmt.Sprintf("%d connections, %d requests%s", len(conns), sent.Load(), because(failed))
}

// flood opens connections from each address as fast as it can, and keeps those that stay open.
func (a *abused) flood(ctx context.Context, from ...string) string {
	var opened, refused atomic.Int64
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			var kept []net.Conn
			defer func() { closeAll(kept) }()
			for k := 0; ctx.Err() == nil; k++ {
				d := net.Dialer{Timeout: 200 * time.Millisecond, LocalAddr: &net.TCPAddr{IP: net.ParseIP(from[(i+k)%len(from)])}}
				nc, err := d.DialContext(ctx, "tcp", a.plain)
				if err != nil {
					refused.Add(1)
					continue
				}
				_ = nc.(*net.TCPConn).SetLinger(0)
				opened.Add(1)
				if kept = append(kept, nc); len(kept) > 300 {
					_ = kept[0].Close()
					kept = kept[1:]
				}
				time.Sleep(time.Millisecond) // leave the processors to others
			}
		})
	}
	wg.Wait()
	return fmt.Sprintf("%d connections, %d more did not come through", opened.Load(), refused.Load())
}

// clientHello is the first flight of a handshake.
func clientHello(t require.TestingT) []byte {
	client, hub := net.Pipe()
	go func() {
		_ = tls.Client(client, &tls.Config{ServerName: "localhost"}).Handshake()
	}()
	defer client.Close()
	defer hub.Close()
	buf := make([]byte, 4096)
	n, err := hub.Read(buf)
	if err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
		require.NoError(t, err)
	}
	size := 5 + int(binary.BigEndian.Uint16(buf[3:]))
	if n < size {
		_, err = io.ReadFull(hub, buf[n:size])
		require.NoError(t, err)
	}
	return buf[:size]
}
