package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/moldau-io/moldau/internal/servers"
	"github.com/moldau-io/moldau/internal/story"
)

const noPeer = "no peer to be had"

// toS3 measures a sink from its creation until its last object is complete. The topic holds n records in one partition, and n is a
// multiple of flush.size.
func (b *bench) toS3(ctx context.Context, hub *story.Hub, store *servers.S3, topic, format, mode string, n int) error {
	bucket, name := b.unique("lake"), b.unique("s3")
	if err := story.MakeBucket(ctx, store, bucket); err != nil {
		return err
	}
	flush := b.flushSize()
	cl := story.S3Client(store)
	objects := func() int {
		res, err := cl.ListObjectsV2(ctx, &s3.ListObjectsV2Input{Bucket: aws.String(bucket)})
		if err != nil {
			return 0
		}
		return len(res.Contents)
	}
	began := time.Now()
	if err := hub.Create(ctx, story.Connector{Name: name, Config: map[string]string{
		"connector.class": "io.confluent.connect.s3.S3SinkConnector", "tasks.max": "1", "topics": topic,
		"s3.bucket.name": bucket, "s3.region": store.Region, "store.url": store.Endpoint,
		"aws.access.key.id": store.AccessKey, "aws.secret.access.key": store.SecretKey,
		"format.class": format, "flush.size": fmt.Sprint(flush),
	}}); err != nil {
		return err
	}
	defer func() { _ = hub.Delete(context.WithoutCancel(ctx), name) }()
	if err := b.until(ctx, hub, name, func() bool { return objects() >= n/flush }); err != nil {
		return err
	}
	b.rep.add("S3 sink, POST to last object", "moldau", mode, "records/s", float64(n)/time.Since(began).Seconds())
	return nil
}

// toIndex measures a sink from its creation until the index has taken n documents.
func (b *bench) toIndex(ctx context.Context, hub *story.Hub, search *servers.Search, topic, mode string, n int) error {
	name := b.unique("index")
	began := time.Now()
	if err := hub.Create(ctx, story.Connector{Name: name, Config: map[string]string{
		"connector.class": "io.confluent.connect.elasticsearch.ElasticsearchSinkConnector", "tasks.max": "1", "topics": topic,
		"connection.url": search.URL, "key.ignore": "false", "schema.ignore": "true", "write.method": "insert", "behavior.on.null.values": "delete",
		"transforms": "unwrap,id", "transforms.unwrap.type": "io.debezium.transforms.ExtractNewRecordState",
		"transforms.id.type": "org.apache.kafka.connect.transforms.ExtractField$Key", "transforms.id.field": "id",
	}}); err != nil {
		return err
	}
	index := search.URL + "/" + strings.ToLower(topic)
	defer func() {
		ctx := context.WithoutCancel(ctx)
		_ = hub.Delete(ctx, name)
		_ = story.REST(ctx, http.MethodDelete, index, nil, nil)
	}()
	if err := b.until(ctx, hub, name, func() bool {
		var st struct {
			All struct {
				Primaries struct {
					Indexing struct {
						Total json.Number `json:"index_total"`
					} `json:"indexing"`
				} `json:"primaries"`
			} `json:"_all"`
		}
		if story.REST(ctx, http.MethodGet, index+"/_stats/indexing", nil, &st) != nil {
			return false
		}
		total, _ := st.All.Primaries.Indexing.Total.Int64()
		return total >= int64(n)
	}); err != nil {
		return err
	}
	b.rep.add("Elasticsearch sink ("+search.Product+" "+search.Version+"), POST to last document", "moldau", mode, "records/s", float64(n)/time.Since(began).Seconds())
	return nil
}

func (b *bench) until(ctx context.Context, hub *story.Hub, connector string, done func() bool) error {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Minute)
	defer cancel()
	for i := 0; !done(); i++ {
		if i%50 == 49 {
			if err := failure(ctx, hub.Endpoints.Connect, connector); err != nil {
				return err
			}
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("connector %s is not done: %w", connector, ctx.Err())
		case <-time.After(20 * time.Millisecond):
		}
	}
	return nil
}
