package story

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/moldau-io/moldau/internal/servers"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// gate is a TCP proxy that can refuse: while it is shut its port is closed and its connections are cut.
type gate struct {
	addr, target string
	mu           sync.Mutex
	l            net.Listener
	conns        map[net.Conn]bool
}

func newGate(t *testing.T, target string) *gate {
	g := &gate{target: target, addr: fmt.Sprintf("127.0.0.1:%d", servers.FreePort()), conns: map[net.Conn]bool{}}
	require.NoError(t, g.open())
	t.Cleanup(g.shut)
	return g
}

func (g *gate) open() error {
	l, err := net.Listen("tcp", g.addr)
	if err != nil {
		return err
	}
	g.mu.Lock()
	g.l = l
	g.mu.Unlock()
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go g.carry(c)
		}
	}()
	return nil
}

func (g *gate) carry(c net.Conn) {
	d, err := net.Dial("tcp", g.target)
	if err != nil {
		c.Close()
		return
	}
	g.mu.Lock()
	g.conns[c], g.conns[d] = true, true
	g.mu.Unlock()
	go func() { _, _ = io.Copy(d, c); d.Close(); c.Close() }()
	_, _ = io.Copy(c, d)
	c.Close()
	d.Close()
	g.mu.Lock()
	delete(g.conns, c)
	delete(g.conns, d)
	g.mu.Unlock()
}

func (g *gate) shut() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.l != nil {
		g.l.Close()
	}
	for c := range g.conns {
		c.Close()
	}
}

// TestNothingIsLostThroughFiftyKills kills the hub with SIGKILL at random moments, its start included, while rows change in
// PostgreSQL and flow to S3 and a search index; PostgreSQL is restarted meanwhile, and both sinks refuse for a while. In the end no row
// is missing, S3 holds every offset of the topic exactly once, and the index holds exactly the table's rows.
//
// MOLDAU_KILLS sets the number of kills (50), MOLDAU_SEED the seed of the moments.
func TestNothingIsLostThroughFiftyKills(t *testing.T) {
	kills := 50
	if s := os.Getenv("MOLDAU_KILLS"); s != "" {
		var err error
		kills, err = strconv.Atoi(s)
		require.NoError(t, err)
	}
	seed := uint64(time.Now().UnixNano())
	if s := os.Getenv("MOLDAU_SEED"); s != "" {
		var err error
		seed, err = strconv.ParseUint(s, 10, 64)
		require.NoError(t, err)
	}
	t.Logf("MOLDAU_SEED=%d", seed)
	rnd := rand.New(rand.NewPCG(seed, 1))

	pg, s3, search := servers.TestPostgres(t), servers.TestS3(t), servers.TestOpenSearch(t)
	if pg.Process == nil {
		t.Skip("a PostgreSQL that is not ours cannot be restarted")
	}
	ctx := t.Context()
	db := scratchDatabase(t, pg)
	s3Gate := newGate(t, strings.TrimPrefix(s3.Endpoint, "http://"))
	esGate := newGate(t, strings.TrimPrefix(search.URL, "http://"))
	bucket := fmt.Sprintf("crash-%d", seed%1_000_000)
	require.NoError(t, MakeBucket(ctx, s3, bucket))

	c, err := pgx.Connect(ctx, db)
	require.NoError(t, err)
	_, err = c.Exec(ctx, OrdersDDL)
	require.NoError(t, err)
	require.NoError(t, InsertOrders(ctx, c, 1, 3000))
	require.NoError(t, c.Close(ctx))

	u, err := url.Parse(db)
	require.NoError(t, err)
	hub := startHub(t)
	prefix := "crash" + strconv.FormatUint(seed%1_000_000, 10)
	table := Orders(prefix)
	sink := map[string]string{
		"connector.class": "io.confluent.connect.s3.S3SinkConnector", "topics": table.Topic, "s3.bucket.name": bucket, "s3.region": s3.Region, "store.url": "http://" + s3Gate.addr,
		"aws.access.key.id": s3.AccessKey, "aws.secret.access.key": s3.SecretKey, "format.class": "io.confluent.connect.s3.format.avro.AvroFormat", "flush.size": "400",
		"transforms": "unwrap,place", "transforms.unwrap.type": "io.debezium.transforms.ExtractNewRecordState", "transforms.unwrap.delete.tombstone.handling.mode": "rewrite",
		"transforms.place.type": "org.apache.kafka.connect.transforms.InsertField$Value", "transforms.place.offset.field": "__offset",
	}
	for _, cn := range []Connector{
		{"source", map[string]string{
			"connector.class": "io.debezium.connector.postgresql.PostgresConnector", "plugin.name": "pgoutput", "database.hostname": u.Hostname(), "database.port": u.Port(),
			"database.user": "moldau", "database.password": "moldau", "database.dbname": strings.TrimPrefix(u.Path, "/"), "topic.prefix": prefix, "slot.name": prefix, "publication.name": prefix,
			"publication.autocreate.mode": "filtered", "table.include.list": `shop\.orders`, "topic.creation.default.partitions": "3", "topic.creation.default.replication.factor": "-1",
		}},
		{"lake", sink},
		{"index", map[string]string{
			"connector.class": "io.confluent.connect.elasticsearch.ElasticsearchSinkConnector", "topics": table.Topic, "connection.url": "http://" + esGate.addr, "schema.ignore": "true",
			"behavior.on.null.values": "delete", "transforms": "unwrap,id", "transforms.unwrap.type": "io.debezium.transforms.ExtractNewRecordState",
			"transforms.id.type": "org.apache.kafka.connect.transforms.ExtractField$Key", "transforms.id.field": "id",
		}},
	} {
		require.NoError(t, hub.Create(ctx, cn))
	}

	// The workload goes on until the kills are through; it outlives restarts of the database.
	stop, done := make(chan struct{}), make(chan error, 1)
	changes := 0
	go func() { done <- workload(ctx, db, stop, &changes) }()

	downAt := map[int]bool{kills / 4: true, kills / 2: true}
	var outages sync.WaitGroup
	for k := range kills {
		if k == kills/3 {
			require.NoError(t, pg.Stop())
			require.NoError(t, pg.Process.Start(ctx))
		}
		if downAt[k] {
			g := s3Gate
			if k == kills/2 {
				g = esGate
			}
			outages.Go(func() {
				g.shut()
				select {
				case <-time.After(30 * time.Second):
				case <-ctx.Done():
				}
				if err := g.open(); err != nil {
					t.Errorf("open the gate again: %v", err)
				}
			})
		}
		// Some kills hit the start, most of them the work.
		pause := time.Duration(rnd.Int64N(int64(2 * time.Second)))
		select {
		case err := <-done:
			t.Fatalf("the workload ended: %v", err)
		case <-time.After(pause):
		}
		require.NoError(t, hub.Kill())
		require.NoError(t, hub.Launch())
	}
	require.NoError(t, hub.WaitUp(ctx))
	outages.Wait()
	close(stop)
	require.NoError(t, <-done)
	t.Logf("%d kills, %d statements", kills, changes)

	want, err := PostgresRows(ctx, db, table)
	require.NoError(t, err)
	// A rotation by the clock brings the last objects out.
	sink["rotate.schedule.interval.ms"], sink["timezone"] = "1000", "UTC"
	require.NoError(t, REST(ctx, http.MethodPut, hub.Endpoints.Connect+"/connectors/lake/config", sink, nil))
	eventually(t, 3*time.Minute, func(ctx context.Context) error {
		for _, n := range []string{"source", "lake", "index"} {
			st, err := hub.Status(ctx, n)
			if err != nil {
				return err
			}
			if f := st.Failed(); f != "" {
				t.Fatalf("connector %s failed: %s", n, f)
			}
		}
		got, err := IndexRows(ctx, search.URL, strings.ToLower(table.Topic), table)
		if err != nil {
			return err
		}
		if m, e, d, ex := Diff(table, want, got); m+e+d > 0 {
			return fmt.Errorf("index: %d missing, %d extra, %d different: %v", m, e, d, ex)
		}
		ends, stones, err := logContent(ctx, hub.Endpoints.Kafka, table.Topic)
		if err != nil {
			return err
		}
		lake, err := ReadLake(ctx, s3, bucket, table.Topic, "__offset")
		if err != nil {
			return err
		}
		missing, doubled := lake.Gaps(ends, stones)
		if doubled > 0 {
			t.Fatalf("%d offsets are in two objects", doubled)
		}
		if missing > 0 {
			return fmt.Errorf("lake: %d offsets are in no object yet", missing)
		}
		rows, err := lake.Fold(table, "__deleted")
		if err != nil {
			return err
		}
		if m, e, d, ex := Diff(table, want, rows); m+e+d > 0 {
			return fmt.Errorf("lake: %d missing, %d extra, %d different: %v", m, e, d, ex)
		}
		total := int64(0)
		for _, e := range ends {
			total += e
		}
		t.Logf("%d rows, %d records in the log, %d objects", len(want), total, lake.Objects)
		return nil
	})
}

// workload inserts, updates and deletes orders until stop. A statement whose outcome is unknown is simply followed by others: the table
// itself is the truth in the end.
func workload(ctx context.Context, db string, stop chan struct{}, statements *int) error {
	next, oldest := 3001, 1
	var c *pgx.Conn
	defer func() {
		if c != nil {
			c.Close(ctx)
		}
	}()
	tick := time.NewTicker(25 * time.Millisecond)
	defer tick.Stop()
	for i := 0; ; i++ {
		select {
		case <-stop:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
		if c == nil || c.IsClosed() {
			var err error
			if c, err = pgx.Connect(ctx, db); err != nil {
				c = nil
				continue
			}
			var top *int
			if err := c.QueryRow(ctx, "SELECT max(id) FROM shop.orders").Scan(&top); err == nil && top != nil {
				next = *top + 1
			}
		}
		var err error
		switch i % 4 {
		case 0, 1:
			if err = InsertOrders(ctx, c, next, 15); err == nil {
				next += 15
			}
		case 2:
			err = UpdateOrders(ctx, c, oldest+(i*7)%max(next-oldest-20, 1), 12)
		case 3:
			if err = DeleteOrders(ctx, c, oldest, 8); err == nil {
				oldest += 8
			}
		}
		if err == nil {
			*statements++
		}
	}
}

// scratchDatabase makes a database of the test's own and returns its URL.
func scratchDatabase(t *testing.T, pg *servers.Postgres) string {
	t.Helper()
	c, err := pgx.Connect(t.Context(), pg.URL)
	require.NoError(t, err)
	defer c.Close(t.Context())
	name := fmt.Sprintf("db%d", time.Now().UnixNano())
	_, err = c.Exec(t.Context(), "CREATE DATABASE "+name)
	require.NoError(t, err)
	u, err := url.Parse(pg.URL)
	require.NoError(t, err)
	u.Path = "/" + name
	return u.String()
}

// logContent reads a topic and returns the end of each partition and the offsets of tombstones.
func logContent(ctx context.Context, bootstrap, topic string) (ends map[int32]int64, stones map[int32]map[int64]bool, err error) {
	cl, err := kgo.NewClient(kgo.SeedBrokers(bootstrap), kgo.ConsumeTopics(topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	if err != nil {
		return nil, nil, err
	}
	defer cl.Close()
	listed, err := kadm.NewClient(cl).ListEndOffsets(ctx, topic)
	if err != nil {
		return nil, nil, err
	}
	ends, stones = map[int32]int64{}, map[int32]map[int64]bool{}
	left := int64(0)
	listed.Each(func(o kadm.ListedOffset) { ends[o.Partition] = o.Offset; left += o.Offset })
	for left > 0 {
		fs := cl.PollFetches(ctx)
		if err := fs.Err0(); err != nil {
			return nil, nil, err
		}
		fs.EachRecord(func(r *kgo.Record) {
			if r.Offset >= ends[r.Partition] {
				return
			}
			left--
			if r.Value == nil {
				if stones[r.Partition] == nil {
					stones[r.Partition] = map[int64]bool{}
				}
				stones[r.Partition][r.Offset] = true
			}
		})
	}
	return ends, stones, nil
}
