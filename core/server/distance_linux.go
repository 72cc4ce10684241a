package server

import (
	"net"
	"time"

	"golang.org/x/sys/unix"
)

// tcpRoundTrip asks the kernel (TCP_INFO). The smoothed round trip holds what the peer waited with acknowledgements; the shortest does not.
func tcpRoundTrip(nc *net.TCPConn) (time.Duration, bool) {
	raw, err := nc.SyscallConn()
	if err != nil {
		return 0, false
	}
	var info *unix.TCPInfo
	if cerr := raw.Control(func(fd uintptr) { info, err = unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO) }); cerr != nil || err != nil {
		return 0, false
	}
	if info.Min_rtt == 0 || info.Min_rtt == 1<<32-1 { // nothing was measured yet
		return 0, false
	}
	return time.Duration(info.Min_rtt) * time.Microsecond, true
}
