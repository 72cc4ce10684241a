package broker_test

import (
	"net"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/moldau-io/moldau/core/broker/brokertest"
)

// socketsOf looks at this process's sockets of the broker's port: the backlog of its listener, and the buffers of its ends of connections.
func socketsOf(t *testing.T, c *brokertest.Cluster) (backlog int, buffers [][2]int) {
	t.Helper()
	_, port, err := net.SplitHostPort(c.Addr())
	require.NoError(t, err)
	fds, err := os.ReadDir("/proc/self/fd")
	require.NoError(t, err)
	for _, e := range fds {
		fd, err := strconv.Atoi(e.Name())
		require.NoError(t, err)
		name, err := unix.Getsockname(fd)
		if err != nil {
			continue // no socket, or closed meanwhile
		}
		if in, ok := name.(*unix.SockaddrInet4); !ok || strconv.Itoa(in.Port) != port {
			continue
		}
		if listens, _ := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ACCEPTCONN); listens == 1 {
			info, err := unix.GetsockoptTCPInfo(fd, unix.IPPROTO_TCP, unix.TCP_INFO)
			require.NoError(t, err)
			backlog = int(info.Sacked) // of a listener
			continue
		}
		receive, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF)
		require.NoError(t, err)
		send, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUF)
		require.NoError(t, err)
		buffers = append(buffers, [2]int{receive, send})
	}
	return backlog, buffers
}

func TestSocketsGetTheBuffersAndTheBacklogThatAreConfigured(t *testing.T) {
	c := brokertest.Start(t, brokertest.With("socket.receive.buffer.bytes", "40000"), brokertest.With("socket.send.buffer.bytes", "50000"),
		brokertest.With("socket.listen.backlog.size", "7"))
	dial(t, c)
	require.Eventually(t, func() bool {
		backlog, buffers := socketsOf(t, c)
		return backlog == 7 && len(buffers) == 1 && buffers[0] == [2]int{80_000, 100_000} // Linux doubles them, for its own use
	}, 10*time.Second, time.Millisecond)
}

// TestAnswersToThisMachineStayInTheCache: unless it is set, the send buffer of a connection within a machine is bounded.
func TestAnswersToThisMachineStayInTheCache(t *testing.T) {
	c := brokertest.Start(t)
	dial(t, c)
	require.Eventually(t, func() bool {
		_, buffers := socketsOf(t, c)
		return len(buffers) == 1 && buffers[0][1] == local(t)
	}, 10*time.Second, time.Millisecond)
}

// local is the send buffer of a connection within a machine: what is asked for, as far as the system grants it.
func local(t *testing.T) int {
	t.Helper()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	require.NoError(t, err)
	defer unix.Close(fd)
	require.NoError(t, unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUF, 512<<10))
	n, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUF)
	require.NoError(t, err)
	return n
}

// TestKafkasDefaultsOfSocketsAreNotTakenUnasked: buffers of 100 KiB do not grow.
func TestKafkasDefaultsOfSocketsAreNotTakenUnasked(t *testing.T) {
	c := brokertest.Start(t, brokertest.With("socket.send.buffer.bytes", "-1"))
	dial(t, c)
	require.Eventually(t, func() bool {
		backlog, buffers := socketsOf(t, c)
		return len(buffers) == 1 && backlog != 50 && buffers[0][0] != 2*102_400 && buffers[0][1] != 2*102_400 && buffers[0][1] != local(t)
	}, 10*time.Second, time.Millisecond)
}
