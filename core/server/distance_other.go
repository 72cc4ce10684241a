//go:build !linux

package server

import (
	"net"
	"time"
)

func tcpRoundTrip(*net.TCPConn) (time.Duration, bool) { return 0, false }
