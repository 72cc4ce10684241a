package server

import (
	"net"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestBothEndsOnOneMachine also covers the addresses of this machine that are not its loopback's.
func TestBothEndsOnOneMachine(t *testing.T) {
	hosts := []string{"127.0.0.1", "::1"}
	addrs, err := net.InterfaceAddrs()
	require.NoError(t, err)
	for _, a := range addrs {
		if n, ok := a.(*net.IPNet); ok && !n.IP.IsLoopback() && !n.IP.IsLinkLocalUnicast() {
			hosts = append(hosts, n.IP.String())
		}
	}
	for _, host := range hosts {
		l, err := net.Listen("tcp", net.JoinHostPort(host, "0"))
		if err != nil {
			t.Logf("%s is not to be listened on: %v", host, err)
			continue
		}
		dialed, err := net.Dial("tcp", l.Addr().String())
		require.NoError(t, err)
		accepted, err := l.Accept()
		require.NoError(t, err)
		assert.True(t, sameMachine(accepted.LocalAddr(), accepted.RemoteAddr()), host)
		require.NoError(t, accepted.Close())
		require.NoError(t, dialed.Close())
		require.NoError(t, l.Close())
	}
}

func TestEndsOnDifferentMachines(t *testing.T) {
	tcp := func(ip string) net.Addr { return &net.TCPAddr{IP: net.ParseIP(ip), Port: 9092} }
	assert.False(t, sameMachine(tcp("10.0.0.1"), tcp("10.0.0.2")))
	assert.False(t, sameMachine(tcp("2001:db8::1"), tcp("2001:db8::2")))
	assert.True(t, sameMachine(tcp("10.0.0.1"), tcp("::ffff:10.0.0.1")), "a listener of both families")
	unix := &net.UnixAddr{Name: "x", Net: "unix"}
	assert.False(t, sameMachine(unix, unix), "it has no such buffer")
}
