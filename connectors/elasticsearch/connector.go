package elasticsearch

import (
	"context"
	"errors"
	"net/http"

	"github.com/moldau-io/moldau/plugins"
	"github.com/moldau-io/moldau/plugins/configdef"
)

// Version is the release of the original whose behaviour this follows.
const Version = "15.0.0"

// Register adds the Elasticsearch sink.
func Register(r *plugins.Registry) {
	r.AddConnector(&plugins.ConnectorSpec{
		Class: "io.confluent.connect.elasticsearch.ElasticsearchSinkConnector", Aliases: []string{"elasticsearch", "opensearch", "ElasticsearchSinkConnector", "ElasticsearchSink"},
		Kind: plugins.KindSink, Version: Version, Config: definition(), New: func() plugins.Connector { return &connector{} },
	})
}

type connector struct{ raw map[string]string }

// Validate asks the server whether it takes these credentials. One that does not answer is no fault of the configuration.
func (c *connector) Validate(ctx context.Context, cfg configdef.Values, res *configdef.Result) {
	cl := newClient(newSettings(cfg))
	defer cl.close()
	_, err := cl.do(ctx, http.MethodGet, "/", "", nil)
	var a *answerError
	if errors.As(err, &a) && (a.status == http.StatusUnauthorized || a.status == http.StatusForbidden) {
		res.Error("connection.username", "The server at %s refuses these credentials (HTTP %d): check connection.username and connection.password", cfg.List("connection.url")[0], a.status)
	}
}

// Start implements [plugins.Connector].
func (c *connector) Start(_ context.Context, _ plugins.Env, cfg configdef.Values) error {
	c.raw = cfg.Raw()
	return nil
}

// TaskConfigs gives every task the whole configuration: the consumer group shares the partitions out.
func (c *connector) TaskConfigs(n int) ([]map[string]string, error) {
	out := make([]map[string]string, n)
	for i := range out {
		out[i] = c.raw
	}
	return out, nil
}

// Stop implements [plugins.Connector].
func (c *connector) Stop() error { return nil }

// NewSinkTask implements [plugins.SinkConnector].
func (c *connector) NewSinkTask() plugins.SinkTask { return &task{} }
