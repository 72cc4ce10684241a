//go:build unix

package broker

import (
	"errors"
	"net"
	"os"

	"golang.org/x/sys/unix"
)

// setBacklog bounds the connections of a listener that wait to be accepted. Listening again on a socket that listens changes nothing else.
func setBacklog(l net.Listener, n int) error {
	tl, ok := l.(*net.TCPListener)
	if !ok {
		return nil
	}
	raw, err := tl.SyscallConn()
	if err != nil {
		return err
	}
	var lerr error
	cerr := raw.Control(func(fd uintptr) { lerr = os.NewSyscallError("listen", unix.Listen(int(fd), n)) })
	return errors.Join(cerr, lerr)
}
