//go:build linux

package broker_test

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau-io/moldau/core/broker/brokertest"
)

// manyDir has the test binary be a broker on that directory until it is killed or its input ends.
const manyDir = "MOLDAU_TEST_BROKER_DIR"

// TestBrokerProcess is no test: TestTenThousandPartitions runs it as a process of its own, to kill it.
func TestBrokerProcess(t *testing.T) {
	dir := os.Getenv(manyDir)
	if dir == "" {
		t.Skip("only as a process of TestTenThousandPartitions")
	}
	began := time.Now()
	c := brokertest.Start(t, brokertest.In(dir), brokertest.With("log.durability", "fsync"))
	ready := time.Since(began).Milliseconds()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	fmt.Printf("READY %s %d %d %d\n", c.Addr(), ready, runtime.NumGoroutine(), m.HeapAlloc)
	_, _ = bufio.NewReader(os.Stdin).ReadString('\n')
	c.Stop(t)
}

// brokerProcess is a broker in a process of its own.
type brokerProcess struct {
	cmd   *exec.Cmd
	stdin interface{ Close() error }
	addr  string
	ready time.Duration
	// As the process came up.
	goroutines int
	heap       int64
}

func startProcess(t *testing.T, dir string) *brokerProcess {
	t.Helper()
	p := &brokerProcess{cmd: exec.Command(os.Args[0], "-test.run", "^TestBrokerProcess$", "-test.v")}
	p.cmd.Env = append(os.Environ(), manyDir+"="+dir)
	in, err := p.cmd.StdinPipe()
	require.NoError(t, err)
	out, err := p.cmd.StdoutPipe()
	require.NoError(t, err)
	p.stdin = in
	require.NoError(t, p.cmd.Start())
	t.Cleanup(func() { _ = p.cmd.Process.Kill() })
	sc := bufio.NewScanner(out)
	for sc.Scan() {
		if f := strings.Fields(sc.Text()); len(f) == 5 && f[0] == "READY" {
			ms, err := strconv.Atoi(f[2])
			require.NoError(t, err)
			p.addr, p.ready = f[1], time.Duration(ms)*time.Millisecond
			p.goroutines, err = strconv.Atoi(f[3])
			require.NoError(t, err)
			p.heap, err = strconv.ParseInt(f[4], 10, 64)
			require.NoError(t, err)
			go func() {
				for sc.Scan() { //nolint:revive // drained
				}
			}()
			return p
		}
	}
	t.Fatal("the broker did not come up")
	return nil
}

// usage is the processor time and the resident memory of the process.
func (p *brokerProcess) usage(t *testing.T) (cpu time.Duration, rss int64, files int) {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.cmd.Process.Pid))
	require.NoError(t, err)
	f := strings.Fields(string(b[strings.LastIndexByte(string(b), ')')+1:]))
	user, _ := strconv.Atoi(f[11])
	sys, _ := strconv.Atoi(f[12])
	pages, _ := strconv.ParseInt(f[21], 10, 64)
	fds, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", p.cmd.Process.Pid))
	require.NoError(t, err)
	return time.Duration(user+sys) * 10 * time.Millisecond, pages * int64(os.Getpagesize()), len(fds)
}

// startLimit is how long a start may take: five seconds, and more on a machine that is busy with other things.
func startLimit() time.Duration {
	b, err := os.ReadFile("/proc/loadavg")
	if err == nil {
		if load, err := strconv.ParseFloat(strings.Fields(string(b))[0], 64); err == nil && load > float64(2*runtime.NumCPU()) {
			return time.Minute
		}
	}
	return 5 * time.Second
}

// TestTenThousandPartitions makes ten thousand partitions on one node, writes to them, and measures how long a start takes, after an
// orderly stop and after kills, how long the stop, and what idling costs. One partition in a hundred has two segments, one in ten an index
// with entries. It is a minute's work: MOLDAU_TEST_MANY=10000 runs it; otherwise there are 500. The figures are in docs/benchmarks.md.
func TestTenThousandPartitions(t *testing.T) {
	n := 500
	if s := os.Getenv("MOLDAU_TEST_MANY"); s != "" {
		var err error
		n, err = strconv.Atoi(s)
		require.NoError(t, err)
	}
	dir := t.TempDir()
	p := startProcess(t, dir)
	goroutines, heap := p.goroutines, p.heap
	client := func() *kgo.Client {
		cl, err := kgo.NewClient(kgo.SeedBrokers(p.addr), kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.ProducerBatchCompression(kgo.NoCompression()))
		require.NoError(t, err)
		return cl
	}
	cl := client()
	began := time.Now()
	const perTopic = 100
	for i := 0; i < n; i += perTopic {
		req := kmsg.NewPtrCreateTopicsRequest()
		tp := kmsg.NewCreateTopicsRequestTopic()
		tp.Topic, tp.NumPartitions, tp.ReplicationFactor = fmt.Sprint("topic", i/perTopic), perTopic, 1
		c := kmsg.NewCreateTopicsRequestTopicConfig()
		c.Name, c.Value = "segment.bytes", kmsg.StringPtr("1048576")
		tp.Configs = append(tp.Configs, c)
		req.Topics = append(req.Topics, tp)
		resp, err := req.RequestWith(context.Background(), cl)
		require.NoError(t, err)
		require.Zero(t, resp.Topics[0].ErrorCode)
	}
	t.Logf("%d partitions made in %v", n, time.Since(began).Round(time.Millisecond))
	// Records in every partition, so that all have something to open.
	write := func(every, count, size int) {
		began := time.Now()
		written := 0
		for range count {
			var rs []*kgo.Record
			for i := 0; i < n; i += every {
				rs = append(rs, &kgo.Record{Topic: fmt.Sprint("topic", i/perTopic), Partition: int32(i % perTopic), Value: make([]byte, size)})
			}
			require.NoError(t, cl.ProduceSync(context.Background(), rs...).FirstErr())
			written = len(rs)
		}
		t.Logf("%d times %d bytes into each of %d partitions: %v", count, size, written, time.Since(began).Round(time.Millisecond))
	}
	stop := func() {
		cl.Close()
		began := time.Now()
		require.NoError(t, p.stdin.Close())
		require.NoError(t, p.cmd.Wait())
		t.Logf("orderly stop: %v", time.Since(began).Round(time.Millisecond))
	}
	kill := func() {
		cl.Close()
		require.NoError(t, p.cmd.Process.Signal(syscall.SIGKILL))
		_ = p.cmd.Wait()
	}
	start := func(after string) {
		p = startProcess(t, dir)
		t.Logf("start after %s: %v", after, p.ready)
		require.Less(t, p.ready, startLimit())
		cl = client()
	}
	write(1, 1, 100)
	write(10, 3, 5_000)
	write(100, 2, 800_000)
	_, rss, files := p.usage(t)
	t.Logf("all were written to: %d MiB resident, %d open files", rss>>20, files)
	require.Less(t, files, 2200, "a thousand to be written to, a thousand to be read")
	stop()
	start("an orderly stop")
	idle := 2 * time.Second
	if n >= 10_000 {
		idle = 30 * time.Second
	}
	before, _, _ := p.usage(t)
	time.Sleep(idle) // what is measured is that nothing happens
	after, rss, files := p.usage(t)
	t.Logf("idle: %.2f%% of a processor, %d MiB resident, %d open files, %d goroutines (%d without partitions), %d bytes of heap for a partition",
		100*float64(after-before)/float64(idle), rss>>20, files, p.goroutines, goroutines, (p.heap-heap)/int64(n))
	require.Less(t, files, 100)
	require.Less(t, p.goroutines, goroutines+20)
	require.Less(t, float64(after-before)/float64(idle), 0.2)
	kill()
	start("a kill when nothing was written")
	write(10, 1, 100)
	kill()
	start("a kill when a tenth was written to")
	write(1, 1, 100)
	kill()
	start("a kill when all were written to")
	stop()
	names, err := filepath.Glob(filepath.Join(dir, "data", "topic*"))
	require.NoError(t, err)
	require.Len(t, names, n)
}
