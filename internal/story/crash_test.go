package story

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
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
	"github.com/linkedin/goavro/v2"
	"github.com/moldau-io/moldau/internal/servers"
	"github.com/stretchr/testify/require"
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
// is missing, the log holds every change exactly once for readers of committed records, S3 holds every offset of the topic exactly
// once, and the index holds exactly the table's rows.
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
	_, err = c.Exec(ctx, auditDDL)
	require.NoError(t, err)
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
			"behavior.on.null.values": "delete", "read.timeout.ms": "30000", "transforms": "unwrap,id", "transforms.unwrap.type": "io.debezium.transforms.ExtractNewRecordState",
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
		log, err := readLog(ctx, hub.Endpoints.Kafka, table.Topic)
		if err != nil {
			return err
		}
		streamed, err := exactlyOnce(ctx, db, hub.Endpoints.Registry, log.all)
		if errors.Is(err, errDoubled) {
			t.Fatal(err)
		}
		if err != nil {
			return err
		}
		got, err := IndexRows(ctx, search.URL, strings.ToLower(table.Topic), table)
		if err != nil {
			return err
		}
		if m, e, d, ex := Diff(table, want, got); m+e+d > 0 {
			return fmt.Errorf("index: %d missing, %d extra, %d different: %v", m, e, d, ex)
		}
		lake, err := ReadLake(ctx, s3, bucket, table.Topic, "__offset")
		if err != nil {
			return err
		}
		missing, doubled := lake.Gaps(log.ends, log.stoneAt)
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
		require.Greater(t, streamed, 0)
		t.Logf("%d rows, %d records in the log, %d changes streamed, each once, %d objects", len(want), log.records, streamed, lake.Objects)
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

// auditDDL makes the database keep a list of the changes that were committed: what the log has to hold, each once.
const auditDDL = `CREATE TABLE shop.audit (tx bigint, op text, id bigint);
CREATE FUNCTION shop.note() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
	INSERT INTO shop.audit VALUES (txid_current() & 4294967295, CASE TG_OP WHEN 'INSERT' THEN 'c' WHEN 'UPDATE' THEN 'u' ELSE 'd' END, CASE TG_OP WHEN 'DELETE' THEN OLD.id ELSE NEW.id END);
	RETURN NULL;
END $$;
CREATE TRIGGER note AFTER INSERT OR UPDATE OR DELETE ON shop.orders FOR EACH ROW EXECUTE FUNCTION shop.note()`

// change is one change of a row; a transaction of the workload changes a row once.
type change struct {
	tx int64
	op string
	id int64
}

func audited(ctx context.Context, db string) (map[change]bool, error) {
	c, err := pgx.Connect(ctx, db)
	if err != nil {
		return nil, err
	}
	defer c.Close(ctx)
	rows, err := c.Query(ctx, "SELECT tx, op, id FROM shop.audit")
	if err != nil {
		return nil, err
	}
	out := map[change]bool{}
	var ch change
	_, err = pgx.ForEachRow(rows, []any{&ch.tx, &ch.op, &ch.id}, func() error { out[ch] = true; return nil })
	return out, err
}

// inLog counts the changes among the records of a topic, and the tombstones of each row.
func inLog(ctx context.Context, registry string, recs []*kgo.Record) (changes map[change]int, deletes, stones int, err error) {
	codecs := map[uint32]*goavro.Codec{}
	inner := func(v any) any { // of a union
		if m, ok := v.(map[string]any); ok && len(m) == 1 {
			for _, x := range m {
				return x
			}
		}
		return v
	}
	changes = map[change]int{}
	for _, r := range recs {
		if r.Value == nil {
			stones++
			continue
		}
		id := binary.BigEndian.Uint32(r.Value[1:])
		if codecs[id] == nil {
			var a struct{ Schema string }
			if err := REST(ctx, http.MethodGet, fmt.Sprintf("%s/schemas/ids/%d", registry, id), nil, &a); err != nil {
				return nil, 0, 0, err
			}
			if codecs[id], err = goavro.NewCodec(a.Schema); err != nil {
				return nil, 0, 0, err
			}
		}
		v, _, err := codecs[id].NativeFromBinary(r.Value[5:])
		if err != nil {
			return nil, 0, 0, fmt.Errorf("offset %d: %w", r.Offset, err)
		}
		row := v.(map[string]any)
		ch := change{op: row["op"].(string)}
		if ch.op == "r" {
			continue
		}
		side := "after"
		if ch.op == "d" {
			side = "before"
			deletes++
		}
		ch.tx, _ = inner(row["source"].(map[string]any)["txId"]).(int64)
		switch n := inner(row[side]).(map[string]any)["id"].(type) {
		case int32:
			ch.id = int64(n)
		case int64:
			ch.id = n
		}
		changes[ch]++
	}
	return changes, deletes, stones, nil
}

// exactlyOnce holds the log against the database's own list of changes. What was committed before the first change that was streamed is in
// the snapshot, which is not held against anything here: one that is interrupted is taken again.
func exactlyOnce(ctx context.Context, db, registry string, recs []*kgo.Record) (total int, err error) {
	want, err := audited(ctx, db)
	if err != nil {
		return 0, err
	}
	have, deletes, stones, err := inLog(ctx, registry, recs)
	if err != nil {
		return 0, err
	}
	first := int64(math.MaxInt64)
	for ch, n := range have {
		if n != 1 {
			return 0, fmt.Errorf("%w: change %+v is in the log %d times", errDoubled, ch, n)
		}
		if !want[ch] {
			return 0, fmt.Errorf("%w: change %+v is in the log, and was never committed", errDoubled, ch)
		}
		first = min(first, ch.tx)
	}
	for ch := range want {
		if ch.tx >= first && have[ch] == 0 {
			return 0, fmt.Errorf("change %+v is not in the log", ch)
		}
	}
	if deletes != stones {
		return 0, fmt.Errorf("%w: %d deletes and %d tombstones", errDoubled, deletes, stones)
	}
	return len(have), nil
}

// errDoubled says that waiting will not help.
var errDoubled = errors.New("not exactly once")
