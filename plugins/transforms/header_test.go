package transforms

import (
	"github.com/moldau-io/moldau/plugins"
	"github.com/moldau-io/moldau/plugins/data"
)

func dataHeader(key string, r plugins.Record) data.Header {
	return data.Header{Key: key, Schema: r.KeySchema, Value: r.Key}
}
