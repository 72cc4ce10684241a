//go:build !unix

package broker

import (
	"errors"
	"net"
)

// setBacklog cannot be done here.
func setBacklog(net.Listener, int) error {
	return errors.New("this operating system does not let it be set: leave the property out")
}
