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
	fmt.Printf("READY %s %d\n", c.Addr(), time.Since(began).Milliseconds())
	_, _ = bufio.NewReader(os.Stdin).ReadString('\n')
	c.Stop(t)
}

// brokerProcess is a broker in a process of its own.
type brokerProcess struct {
	cmd   *exec.Cmd
	stdin interface{ Close() error }
	addr  string
	ready time.Duration
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
		if f := strings.Fields(sc.Text()); len(f) == 3 && f[0] == "READY" {
			ms, err := strconv.Atoi(f[2])
			require.NoError(t, err)
			p.addr, p.ready = f[1], time.Duration(ms)*time.Millisecond
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

// TestTenThousandPartitions makes ten thousand partitions on one node, writes to some, and measures how long a start takes, after an orderly
// stop and after a kill, and what idling costs. It is a minute's work: MOLDAU_TEST_MANY=10000 runs it; otherwise there are 500.
func TestTenThousandPartitions(t *testing.T) {
	n := 500
	if s := os.Getenv("MOLDAU_TEST_MANY"); s != "" {
		var err error
		n, err = strconv.Atoi(s)
		require.NoError(t, err)
	}
	dir := t.TempDir()
	p := startProcess(t, dir)
	cl, err := kgo.NewClient(kgo.SeedBrokers(p.addr), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	require.NoError(t, err)
	began := time.Now()
	const perTopic = 100
	for i := 0; i < n; i += perTopic {
		req := kmsg.NewPtrCreateTopicsRequest()
		tp := kmsg.NewCreateTopicsRequestTopic()
		tp.Topic, tp.NumPartitions, tp.ReplicationFactor = fmt.Sprint("topic", i/perTopic), perTopic, 1
		req.Topics = append(req.Topics, tp)
		resp, err := req.RequestWith(context.Background(), cl)
		require.NoError(t, err)
		require.Zero(t, resp.Topics[0].ErrorCode)
	}
	t.Logf("%d partitions made in %v", n, time.Since(began).Round(time.Millisecond))
	// A record in every partition, so that all have something to open.
	write := func(every int) {
		began := time.Now()
		var rs []*kgo.Record
		for i := 0; i < n; i += every {
			rs = append(rs, &kgo.Record{Topic: fmt.Sprint("topic", i/perTopic), Partition: int32(i % perTopic), Value: make([]byte, 100)})
		}
		require.NoError(t, cl.ProduceSync(context.Background(), rs...).FirstErr())
		t.Logf("a record in %d partitions: %v", len(rs), time.Since(began).Round(time.Millisecond))
	}
	write(1)
	cl.Close()
	began = time.Now()
	require.NoError(t, p.stdin.Close())
	require.NoError(t, p.cmd.Wait())
	t.Logf("orderly stop: %v", time.Since(began).Round(time.Millisecond))
	p = startProcess(t, dir)
	t.Logf("start after an orderly stop: %v", p.ready)
	require.Less(t, p.ready, startLimit())
	idle := 2 * time.Second
	if n >= 10_000 {
		idle = 30 * time.Second
	}
	before, _, _ := p.usage(t)
	time.Sleep(idle) // what is measured is that nothing happens
	after, rss, files := p.usage(t)
	t.Logf("idle: %.2f%% of a processor, %d MiB resident, %d open files", 100*float64(after-before)/float64(idle), rss>>20, files)
	require.Less(t, files, 1500)
	require.Less(t, float64(after-before)/float64(idle), 0.2)
	cl, err = kgo.NewClient(kgo.SeedBrokers(p.addr), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	require.NoError(t, err)
	write(10)
	cl.Close()
	_, rss, files = p.usage(t)
	t.Logf("after writes to a tenth: %d MiB resident, %d open files", rss>>20, files)
	require.NoError(t, p.cmd.Process.Signal(syscall.SIGKILL))
	_ = p.cmd.Wait()
	p = startProcess(t, dir)
	t.Logf("start after a kill: %v", p.ready)
	require.Less(t, p.ready, startLimit())
	require.NoError(t, p.cmd.Process.Signal(syscall.SIGKILL))
	_ = p.cmd.Wait()
	names, err := filepath.Glob(filepath.Join(dir, "data", "topic*"))
	require.NoError(t, err)
	require.Len(t, names, n)
}
