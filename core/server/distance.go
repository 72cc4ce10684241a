package server

import (
	"net"
	"time"
)

// measuredFor is how long a round trip that was measured is taken for what it still is.
const measuredFor = time.Second

// RoundTrip is the shortest time that a packet to the peer and its acknowledgement took of late, as the kernel measured it; 0 within this process. ok is
// false where it is not known: on systems other than Linux. Only what writes an answer may call it (Request.RespondLater).
func (c *Conn) RoundTrip() (rtt time.Duration, ok bool) {
	now := time.Now()
	if now.Sub(c.measured) >= measuredFor {
		c.mu.Lock()
		nc := c.nc
		c.mu.Unlock()
		if t, is := nc.(interface{ NetConn() net.Conn }); is { // TLS
			nc = t.NetConn()
		}
		switch nc := nc.(type) {
		case *memoryConn:
			c.rtt, c.rttKnown = 0, true
		case *net.TCPConn:
			c.rtt, c.rttKnown = tcpRoundTrip(nc)
		default:
			c.rtt, c.rttKnown = 0, false
		}
		c.measured = now
	}
	return c.rtt, c.rttKnown
}
