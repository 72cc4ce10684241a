package story

import (
	"testing"

	"github.com/moldau-io/moldau/internal/servers"
	"github.com/stretchr/testify/require"
)

// TestOnApacheKafka has Apache Kafka as the log: the hub plays only the roles of connect and registry. A table of PostgreSQL evolves on
// its way into objects and an index, and the hub's own topics are Kafka's.
func TestOnApacheKafka(t *testing.T) {
	pg, lake, search, kafka := servers.TestPostgres(t), servers.TestS3(t), servers.TestOpenSearch(t), servers.TestKafka(t)
	c := postgresCapture(t, pg, unique("onkafka"))
	group := unique("worker-")
	c.hub = startHub(t, func(h *Hub) {
		h.Roles = "connect,registry"
		h.Set = []string{
			"connect.bootstrap.servers=" + kafka.Bootstrap, "registry.bootstrap.servers=" + kafka.Bootstrap, "connect.group.id=" + group,
			"connect.config.storage.topic=" + group + "-configs", "connect.offset.storage.topic=" + group + "-offsets", "connect.status.storage.topic=" + group + "-status",
			"registry.kafkastore.topic=" + group + "-schemas",
		}
	})
	require.Empty(t, c.hub.Endpoints.Kafka, "no broker is part of it")
	c.bootstrap = kafka.Bootstrap
	c.sinks = []captureSink{
		toLake(lake, bucket(t, lake), c.table.Topic, "io.confluent.connect.s3.format.parquet.ParquetFormat", ""),
		toIndex(search, c.table.Topic),
	}
	c.run(t)
	for _, topic := range []string{group + "-configs", group + "-offsets", group + "-status", group + "-schemas"} {
		log, err := readLog(t.Context(), kafka.Bootstrap, topic)
		require.NoError(t, err)
		require.NotZero(t, log.records, topic)
	}
}
