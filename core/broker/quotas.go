package broker

import (
	"github.com/moldau-io/moldau/core/metadata"
	"github.com/moldau-io/moldau/core/server"
)

// quotas are the limits of clients.
type quotas struct{}

// quotaSession is what quotas keep of a connection.
type quotaSession struct{}

// update takes over the quotas of an image.
func (q *quotas) update(*metadata.Image) {}

// admitConnection says when a new connection is served.
func (b *Broker) admitConnection(listener, host string) server.Admission { return server.Admission{} }
