package clientprops

import (
	"fmt"
	"maps"
	"slices"
	"sort"
	"strconv"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// Config is what a set of client properties says.
type Config struct {
	// Bootstrap is bootstrap.servers, or nil.
	Bootstrap []string
	// GroupID is group.id, or "".
	GroupID string
	// common are options of any client; producer and consumer those of one that produces or consumes.
	common, producer, consumer []kgo.Opt
}

// AdminOptions are the options of a client that asks and orders.
func (c *Config) AdminOptions() []kgo.Opt { return slices.Clone(c.common) }

// ProducerOptions are those of one that produces.
func (c *Config) ProducerOptions() []kgo.Opt {
	return append(slices.Clone(c.common), c.producer...)
}

// ConsumerOptions are those of one that consumes.
func (c *Config) ConsumerOptions() []kgo.Opt {
	return append(slices.Clone(c.common), c.consumer...)
}

type setter func(c *Config, v string) error

func duration(v string) (time.Duration, error) {
	n, err := strconv.ParseInt(v, 10, 32)
	if err != nil || n < 0 {
		return 0, fmt.Errorf("%q is no number of milliseconds", v)
	}
	return time.Duration(n) * time.Millisecond, nil
}

func millis(opt func(time.Duration) kgo.Opt, list func(*Config) *[]kgo.Opt) setter {
	return func(c *Config, v string) error {
		d, err := duration(v)
		if err != nil {
			return err
		}
		l := list(c)
		*l = append(*l, opt(d))
		return nil
	}
}

func bytesOpt(opt func(int32) kgo.Opt, list func(*Config) *[]kgo.Opt) setter {
	return func(c *Config, v string) error {
		n, err := strconv.ParseInt(v, 10, 32)
		if err != nil || n < 0 {
			return fmt.Errorf("%q is no number of bytes", v)
		}
		l := list(c)
		*l = append(*l, opt(int32(n)))
		return nil
	}
}

func common(c *Config) *[]kgo.Opt   { return &c.common }
func producer(c *Config) *[]kgo.Opt { return &c.producer }
func consumer(c *Config) *[]kgo.Opt { return &c.consumer }

// only accepts the values that mean what is done anyway.
func only(values ...string) setter {
	return func(_ *Config, v string) error {
		if slices.Contains(values, v) {
			return nil
		}
		return fmt.Errorf("%q is not supported, only %s", v, strings.Join(values, " or "))
	}
}

// keys are the properties that act. Those of sasl and ssl are read together, in security.go.
var keys = map[string]setter{
	"bootstrap.servers": func(c *Config, v string) error { c.Bootstrap = SplitServers(v); return nil },
	"client.id":         func(c *Config, v string) error { c.common = append(c.common, kgo.ClientID(v)); return nil },
	"group.id":          func(c *Config, v string) error { c.GroupID = v; return nil },
	"client.rack":       func(c *Config, v string) error { c.consumer = append(c.consumer, kgo.Rack(v)); return nil },
	"group.instance.id": func(c *Config, v string) error { c.consumer = append(c.consumer, kgo.InstanceID(v)); return nil },
	"client.dns.lookup": only("use_all_dns_ips"),

	"request.timeout.ms":                    millis(func(d time.Duration) kgo.Opt { return kgo.RequestTimeoutOverhead(d) }, common),
	"connections.max.idle.ms":               millis(func(d time.Duration) kgo.Opt { return kgo.ConnIdleTimeout(d) }, common),
	"metadata.max.age.ms":                   millis(func(d time.Duration) kgo.Opt { return kgo.MetadataMaxAge(d) }, common),
	"socket.connection.setup.timeout.ms":    millis(func(d time.Duration) kgo.Opt { return kgo.DialTimeout(d) }, common),
	"default.api.timeout.ms":                millis(func(d time.Duration) kgo.Opt { return kgo.RetryTimeout(d) }, common),
	"linger.ms":                             millis(func(d time.Duration) kgo.Opt { return kgo.ProducerLinger(d) }, producer),
	"delivery.timeout.ms":                   millis(func(d time.Duration) kgo.Opt { return kgo.RecordDeliveryTimeout(d) }, producer),
	"transaction.timeout.ms":                millis(func(d time.Duration) kgo.Opt { return kgo.TransactionTimeout(d) }, producer),
	"fetch.max.wait.ms":                     millis(func(d time.Duration) kgo.Opt { return kgo.FetchMaxWait(d) }, consumer),
	"session.timeout.ms":                    millis(func(d time.Duration) kgo.Opt { return kgo.SessionTimeout(d) }, consumer),
	"heartbeat.interval.ms":                 millis(func(d time.Duration) kgo.Opt { return kgo.HeartbeatInterval(d) }, consumer),
	"auto.commit.interval.ms":               millis(func(d time.Duration) kgo.Opt { return kgo.AutoCommitInterval(d) }, consumer),
	"batch.size":                            bytesOpt(func(n int32) kgo.Opt { return kgo.ProducerBatchMaxBytes(n) }, producer),
	"max.request.size":                      bytesOpt(func(n int32) kgo.Opt { return kgo.BrokerMaxWriteBytes(max(n, 1<<20)) }, common),
	"buffer.memory":                         bytesOpt(func(n int32) kgo.Opt { return kgo.MaxBufferedBytes(int(n)) }, producer),
	"max.in.flight.requests.per.connection": bytesOpt(func(n int32) kgo.Opt { return kgo.MaxProduceRequestsInflightPerBroker(int(n)) }, producer),
	"fetch.min.bytes":                       bytesOpt(func(n int32) kgo.Opt { return kgo.FetchMinBytes(n) }, consumer),
	"fetch.max.bytes":                       bytesOpt(func(n int32) kgo.Opt { return kgo.FetchMaxBytes(n) }, consumer),
	"max.partition.fetch.bytes":             bytesOpt(func(n int32) kgo.Opt { return kgo.FetchMaxPartitionBytes(n) }, consumer),
	"retries":                               bytesOpt(func(n int32) kgo.Opt { return kgo.RecordRetries(int(n)) }, producer),
	"transactional.id":                      func(c *Config, v string) error { c.producer = append(c.producer, kgo.TransactionalID(v)); return nil },
	"acks":                                  func(c *Config, v string) error { return add(&c.producer, v, Acks) },
	"compression.type":                      func(c *Config, v string) error { return add(&c.producer, v, Compression) },
	"isolation.level":                       func(c *Config, v string) error { return add(&c.consumer, v, Isolation) },
	"auto.offset.reset":                     func(c *Config, v string) error { return add(&c.consumer, v, reset) },
	"enable.auto.commit":                    only("true"),
	"check.crcs":                            only("true"),
	"allow.auto.create.topics":              only("false"),
	"group.protocol":                        only("classic"),
	"enable.idempotence":                    func(c *Config, v string) error { return add(&c.producer, v, idempotence) },
}

// byteKeys are keys that name Java classes for keys and values, with those that stand for what is done anyway: bytes are passed as they are.
var byteKeys = []string{"key.serializer", "value.serializer", "key.deserializer", "value.deserializer"}

// isPlain says whether a class of byteKeys leaves text and bytes as they are.
func isPlain(class string) bool {
	name := class[strings.LastIndexByte(class, '.')+1:]
	name = strings.TrimSuffix(strings.TrimSuffix(name, "Serializer"), "Deserializer")
	return name == "String" || name == "ByteArray"
}

// refused are keys that Kafka's clients know and this one does not act on, with what to do instead.
var refused = map[string]string{
	"sasl.kerberos.service.name":                  "Kerberos is not supported: use SCRAM, PLAIN, OAUTHBEARER or a client certificate",
	"ssl.provider":                                "Go's own TLS is used",
	"ssl.cipher.suites":                           "Go chooses safe cipher suites by itself: leave it out",
	"ssl.trustmanager.algorithm":                  "Go's own TLS is used",
	"ssl.keymanager.algorithm":                    "Go's own TLS is used",
	"ssl.secure.random.implementation":            "Go's own TLS is used",
	"ssl.engine.factory.class":                    "Java classes cannot be loaded",
	"security.providers":                          "Java classes cannot be loaded",
	"partitioner.class":                           "Java classes cannot be loaded: choose with --partition or a key",
	"partitioner.adaptive.partitioning.enable":    "leave it out: records without a key stay with one partition until a batch is full",
	"interceptor.classes":                         "Java classes cannot be loaded",
	"metric.reporters":                            "Java classes cannot be loaded",
	"partition.assignment.strategy":               "leave it out: groups are read with the cooperative-sticky strategy",
	"sasl.client.callback.handler.class":          "Java classes cannot be loaded",
	"sasl.login.class":                            "Java classes cannot be loaded",
	"key.converter":                               "it is a worker's key",
	"value.converter":                             "it is a worker's key",
	"enable.metrics.push":                         "client metrics are not pushed",
	"sasl.oauthbearer.jwt.retriever.class":        "Java classes cannot be loaded",
	"sasl.oauthbearer.jwt.validator.class":        "Java classes cannot be loaded",
	"sasl.oauthbearer.assertion.private.key.file": "client assertions are not supported: use a client secret",
}

func add(l *[]kgo.Opt, v string, f func(string) ([]kgo.Opt, error)) error {
	o, err := f(v)
	if err == nil {
		*l = append(*l, o...)
	}
	return err
}

// Acks is the option of acks: all, -1, 1 or 0.
func Acks(v string) ([]kgo.Opt, error) {
	switch v {
	case "all", "-1":
		return []kgo.Opt{kgo.RequiredAcks(kgo.AllISRAcks())}, nil
	case "1":
		return []kgo.Opt{kgo.RequiredAcks(kgo.LeaderAck()), kgo.DisableIdempotentWrite()}, nil
	case "0":
		return []kgo.Opt{kgo.RequiredAcks(kgo.NoAck()), kgo.DisableIdempotentWrite()}, nil
	}
	return nil, fmt.Errorf("%q must be all, 1 or 0", v)
}

func idempotence(v string) ([]kgo.Opt, error) {
	switch v {
	case "true":
		return nil, nil
	case "false":
		return []kgo.Opt{kgo.DisableIdempotentWrite()}, nil
	}
	return nil, fmt.Errorf("%q must be true or false", v)
}

// Compression is the option of compression.type.
func Compression(v string) ([]kgo.Opt, error) {
	codecs := map[string]kgo.CompressionCodec{"none": kgo.NoCompression(), "gzip": kgo.GzipCompression(), "snappy": kgo.SnappyCompression(), "lz4": kgo.Lz4Compression(), "zstd": kgo.ZstdCompression()}
	c, ok := codecs[v]
	if !ok {
		return nil, fmt.Errorf("%q must be none, gzip, snappy, lz4 or zstd", v)
	}
	return []kgo.Opt{kgo.ProducerBatchCompression(c)}, nil
}

// Isolation is the option of isolation.level.
func Isolation(v string) ([]kgo.Opt, error) {
	switch v {
	case "read_committed":
		return []kgo.Opt{kgo.FetchIsolationLevel(kgo.ReadCommitted())}, nil
	case "read_uncommitted":
		return []kgo.Opt{kgo.FetchIsolationLevel(kgo.ReadUncommitted())}, nil
	}
	return nil, fmt.Errorf("%q must be read_committed or read_uncommitted", v)
}

func reset(v string) ([]kgo.Opt, error) {
	switch v {
	case "earliest":
		return []kgo.Opt{kgo.ConsumeResetOffset(kgo.NewOffset().AtStart())}, nil
	case "latest":
		return []kgo.Opt{kgo.ConsumeResetOffset(kgo.NewOffset().AtEnd())}, nil
	case "none":
		return []kgo.Opt{kgo.ConsumeResetOffset(kgo.NoResetOffset())}, nil
	}
	return nil, fmt.Errorf("%q must be earliest, latest or none", v)
}

// SplitServers splits host:port,host:port.
func SplitServers(v string) []string {
	var l []string
	for s := range strings.SplitSeq(v, ",") {
		if s = strings.TrimSpace(s); s != "" {
			l = append(l, s)
		}
	}
	return l
}

// New makes a Config of properties.
func New(props map[string]string) (*Config, error) {
	c := &Config{}
	for _, k := range slices.Sorted(maps.Keys(props)) {
		v := props[k]
		if set, ok := keys[k]; ok {
			if err := set(c, v); err != nil {
				return nil, fmt.Errorf("%s: %w", k, err)
			}
			continue
		}
		if slices.Contains(securityKeys, k) {
			continue
		}
		if slices.Contains(byteKeys, k) {
			if !isPlain(v) {
				return nil, fmt.Errorf("%s: %s is not loaded: text and bytes are passed as they are, and consume reads Avro with --value avro", k, v)
			}
			continue
		}
		if why, ok := refused[k]; ok {
			return nil, fmt.Errorf("%s is not supported: %s", k, why)
		}
		return nil, fmt.Errorf("%s is not a client property that moldau knows%s", k, nearest(k))
	}
	o, err := security(props)
	if err != nil {
		return nil, err
	}
	c.common = append(c.common, o...)
	return c, nil
}

// nearest is ": did you mean x?" for the known key with the smallest edit distance, if it is small.
func nearest(k string) string {
	all := append(slices.Collect(maps.Keys(keys)), securityKeys...)
	sort.Strings(all)
	best, at := "", 1+len(k)/3
	for _, c := range all {
		if d := distance(k, c); d < at {
			best, at = c, d
		}
	}
	if best == "" {
		return ""
	}
	return ": did you mean " + best + "?"
}

func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := 1; i <= len(a); i++ {
		prev := row[0]
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			prev, row[j] = row[j], min(row[j]+1, row[j-1]+1, prev+cost)
		}
	}
	return row[len(b)]
}
