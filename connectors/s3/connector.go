package s3

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/moldau-io/moldau/plugins"
	"github.com/moldau-io/moldau/plugins/configdef"
)

// Version is the release of the original whose behaviour this follows.
const Version = "11.0.0"

// Register adds the S3 sink.
func Register(r *plugins.Registry) {
	r.AddConnector(&plugins.ConnectorSpec{
		Class: "io.confluent.connect.s3.S3SinkConnector", Aliases: []string{"s3", "S3SinkConnector", "S3Sink"},
		Kind: plugins.KindSink, Version: Version, Config: definition(), New: func() plugins.Connector { return &connector{} },
	})
}

type connector struct{ raw map[string]string }

// Validate asks the store for the bucket.
func (c *connector) Validate(ctx context.Context, cfg configdef.Values, res *configdef.Result) {
	cl, err := newClient(ctx, cfg)
	if err != nil {
		res.Error("aws.access.key.id", "%v", err)
		return
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	bucket := cfg.Str("s3.bucket.name")
	if _, err := cl.HeadBucket(ctx, &s3.HeadBucketInput{Bucket: &bucket}); err != nil {
		switch status(err) {
		case http.StatusNotFound:
			res.Error("s3.bucket.name", "The bucket %q does not exist at %s: make it, or name another", bucket, endpoint(cfg))
		case http.StatusForbidden, http.StatusUnauthorized:
			res.Error("aws.access.key.id", "%s refuses these credentials for the bucket %q", endpoint(cfg), bucket)
		case http.StatusMovedPermanently, http.StatusBadRequest:
			res.Error("s3.region", "The bucket %q is not in region %q", bucket, cfg.Str("s3.region"))
		default:
			// A store that is down now may be up when the task runs: that is no fault of the configuration.
			if errors.Is(err, context.Canceled) {
				return
			}
		}
	}
}

func endpoint(cfg configdef.Values) string {
	if u := cfg.Str("store.url"); u != "" {
		return u
	}
	return "AWS " + cfg.Str("s3.region")
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
