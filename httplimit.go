package moldau

import (
	"net"
	"sync"
)

// maxHTTPConns is how many connections an HTTP listener serves at once; more wait to be accepted. Each is an open file, and
// the log needs some as well.
const maxHTTPConns = 1000

// limited is a listener that has at most so many connections open as slots has room for.
type limited struct {
	net.Listener
	slots  chan struct{}
	closed chan struct{}
	once   sync.Once
}

func limitConns(l net.Listener, n int) net.Listener {
	return &limited{Listener: l, slots: make(chan struct{}, n), closed: make(chan struct{})}
}

// Accept implements [net.Listener].
func (l *limited) Accept() (net.Conn, error) {
	select {
	case l.slots <- struct{}{}:
	case <-l.closed:
		return nil, net.ErrClosed
	}
	c, err := l.Listener.Accept()
	if err != nil {
		<-l.slots
		return nil, err
	}
	return &limitedConn{Conn: c, done: sync.OnceFunc(func() { <-l.slots })}, nil
}

// Close implements [net.Listener].
func (l *limited) Close() error {
	l.once.Do(func() { close(l.closed) })
	return l.Listener.Close()
}

type limitedConn struct {
	net.Conn
	done func()
}

// Close implements [net.Conn].
func (c *limitedConn) Close() error {
	defer c.done()
	return c.Conn.Close()
}
