package connect

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"os"
	"regexp"
	"sort"
	"strconv"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sasl"
	"github.com/twmb/franz-go/pkg/sasl/plain"
	"github.com/twmb/franz-go/pkg/sasl/scram"

	"github.com/moldau-io/moldau/plugins/configdef"
)

// Client properties by Kafka's names, as they come in producer.*, consumer.*, admin.* and in the .override. families of connectors.
// One definition a side: what is not in it is refused by name.

func clientKeys() []configdef.Key {
	positive := configdef.AtLeast(1)
	keys := []configdef.Key{
		{Name: "bootstrap.servers", Type: configdef.List, Doc: "Brokers to start from."},
		{Name: "client.id", Type: configdef.String, Doc: "Client id."},
		{Name: "client.rack", Type: configdef.String, Doc: "Rack of the client."},
		{Name: "request.timeout.ms", Type: configdef.Int, Check: positive, Doc: "How long to wait for an answer."},
		{Name: "metadata.max.age.ms", Type: configdef.Long, Check: positive, Doc: "How old metadata may be."},
		{Name: "connections.max.idle.ms", Type: configdef.Long, Check: positive, Doc: "When to close idle connections."},
		{Name: "socket.connection.setup.timeout.ms", Type: configdef.Long, Check: positive, Doc: "How long connecting may take."},
		{Name: "retries", Type: configdef.Int, Doc: "How often to send a request again; producing is retried until it times out."},
		{Name: "retry.backoff.ms", Type: configdef.Long, Doc: "First pause before a retry."},
		{Name: "retry.backoff.max.ms", Type: configdef.Long, Doc: "Longest pause before a retry."},
	}
	return append(keys, securityKeys()...)
}

func securityKeys() []configdef.Key {
	return []configdef.Key{
		{Name: "security.protocol", Type: configdef.String, Check: configdef.OneOf(true, "PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"), Doc: "Protocol to reach brokers with."},
		{Name: "sasl.mechanism", Type: configdef.String, Check: configdef.OneOf(true, "PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"), Doc: "SASL mechanism."},
		{Name: "sasl.jaas.config", Type: configdef.Password, Doc: "Login module with username and password."},
		{Name: "ssl.truststore.location", Type: configdef.String, Doc: "PEM file with the certificates to trust."},
		{Name: "ssl.truststore.certificates", Type: configdef.Password, Doc: "Certificates to trust, in PEM."},
		{Name: "ssl.truststore.type", Type: configdef.String, Default: "PEM", Unsupported: "only PEM is read", Doc: "Type of the trust store."},
		{Name: "ssl.keystore.location", Type: configdef.String, Doc: "PEM file with the client's certificate and key."},
		{Name: "ssl.keystore.certificate.chain", Type: configdef.Password, Doc: "The client's certificate chain, in PEM."},
		{Name: "ssl.keystore.key", Type: configdef.Password, Doc: "The client's key, in PEM."},
		{Name: "ssl.keystore.type", Type: configdef.String, Default: "PEM", Unsupported: "only PEM is read", Doc: "Type of the key store."},
		{Name: "ssl.endpoint.identification.algorithm", Type: configdef.String, Default: "https", Check: configdef.OneOf(true, "https", ""), Doc: "Empty: do not check the broker's host name."},
	}
}

var clientDefs = map[string]*configdef.Def{
	"admin": configdef.NewDef(clientKeys()...).Add(
		configdef.Key{Name: "default.api.timeout.ms", Type: configdef.Int, Check: configdef.AtLeast(1), Doc: "How long a call may take with all its retries."}),
	"producer": configdef.NewDef(clientKeys()...).Add(
		configdef.Key{Name: "acks", Type: configdef.String, Check: configdef.OneOf(true, "all", "-1", "1", "0"), Doc: "Acknowledgements to wait for."},
		configdef.Key{Name: "enable.idempotence", Type: configdef.Boolean, Doc: "Let the broker drop duplicates of retries; the default here, which keeps order as well."},
		configdef.Key{Name: "max.in.flight.requests.per.connection", Type: configdef.Int, Check: configdef.Between(1, 5), Doc: "Requests under way at once; only used without idempotence."},
		configdef.Key{Name: "batch.size", Type: configdef.Int, Doc: "Batches are filled with what is waiting, up to max.request.size, and so are never smaller than this while there is more."},
		configdef.Key{Name: "max.request.size", Type: configdef.Int, Check: configdef.AtLeast(1024), Doc: "Largest batch and record, in bytes."},
		configdef.Key{Name: "linger.ms", Type: configdef.Long, Check: configdef.AtLeast(0), Doc: "How long to wait for more records before sending."},
		configdef.Key{Name: "compression.type", Type: configdef.String, Check: configdef.OneOf(true, "none", "gzip", "snappy", "lz4", "zstd"), Doc: "Codec of batches."},
		configdef.Key{Name: "buffer.memory", Type: configdef.Long, Check: configdef.AtLeast(1 << 16), Doc: "Bytes of records under way at once; polling waits when they are used up."},
		configdef.Key{Name: "delivery.timeout.ms", Type: configdef.Int, Check: configdef.AtLeast(1), Doc: "When to give a record up. Kafka Connect's default is never."},
		configdef.Key{Name: "max.block.ms", Type: configdef.Long, Doc: "Sending waits for room without limit, as Kafka Connect's default says.", Default: "9223372036854775807", Unsupported: "sending waits for room without limit"},
		configdef.Key{Name: "partitioner.class", Type: configdef.String, Default: "", Unsupported: "records are partitioned by the hash of their key, as Kafka's default does"},
		configdef.Key{Name: "transactional.id", Type: configdef.String, Default: "", Unsupported: "the worker gives each task its own, GROUP-CONNECTOR-TASK, as Kafka Connect does"},
		configdef.Key{Name: "transaction.timeout.ms", Type: configdef.Int, Default: 60000, Check: configdef.AtLeast(1), Doc: "When the broker aborts a transaction that has not ended."},
	),
	"consumer": configdef.NewDef(clientKeys()...).Add(
		configdef.Key{Name: "group.id", Type: configdef.String, Check: configdef.NonEmpty, Doc: "Consumer group; connect-NAME by default."},
		configdef.Key{Name: "group.instance.id", Type: configdef.String, Default: "", Unsupported: "tasks of one connector would share it"},
		configdef.Key{Name: "group.protocol", Type: configdef.String, Default: "classic", Unsupported: "sink tasks use the classic protocol"},
		configdef.Key{Name: "max.poll.records", Type: configdef.Int, Default: 500, Check: configdef.AtLeast(1), Doc: "Most records in one put."},
		configdef.Key{Name: "max.poll.interval.ms", Type: configdef.Int, Default: 300000, Check: configdef.AtLeast(1), Doc: "How long a rebalance waits for a task that is busy."},
		configdef.Key{Name: "session.timeout.ms", Type: configdef.Int, Default: 45000, Check: configdef.AtLeast(1), Doc: "How long a silent task keeps its partitions."},
		configdef.Key{Name: "heartbeat.interval.ms", Type: configdef.Int, Default: 3000, Check: configdef.AtLeast(1), Doc: "Time between two signs of life."},
		configdef.Key{Name: "auto.offset.reset", Type: configdef.String, Default: "earliest", Check: configdef.OneOf(true, "earliest", "latest", "none"), Doc: "Where to start without a committed offset."},
		configdef.Key{Name: "isolation.level", Type: configdef.String, Default: "read_committed", Check: configdef.OneOf(true, "read_committed", "read_uncommitted"),
			Doc: "Whether records of open and aborted transactions are seen. Kafka's default is read_uncommitted."},
		configdef.Key{Name: "enable.auto.commit", Type: configdef.Boolean, Default: false, Unsupported: "the worker commits what the task says is safe"},
		configdef.Key{Name: "fetch.min.bytes", Type: configdef.Int, Default: 1, Check: configdef.AtLeast(0), Doc: "Least bytes of a fetch."},
		configdef.Key{Name: "fetch.max.bytes", Type: configdef.Int, Default: 52428800, Check: configdef.AtLeast(1), Doc: "Most bytes of a fetch."},
		configdef.Key{Name: "max.partition.fetch.bytes", Type: configdef.Int, Default: 1048576, Check: configdef.AtLeast(1), Doc: "Most bytes of a partition in a fetch."},
		configdef.Key{Name: "fetch.max.wait.ms", Type: configdef.Int, Default: 500, Check: configdef.AtLeast(0), Doc: "How long a broker may hold a fetch."},
		configdef.Key{Name: "check.crcs", Type: configdef.Boolean, Default: true, Doc: "Check the checksums of batches."},
		configdef.Key{Name: "allow.auto.create.topics", Type: configdef.Boolean, Default: true, Doc: "Let brokers create the topics that are subscribed to."},
		configdef.Key{Name: "partition.assignment.strategy", Type: configdef.List, Default: "org.apache.kafka.clients.consumer.CooperativeStickyAssignor",
			Check: checkAssignors, Doc: "How partitions are spread over tasks: Range, RoundRobin, Sticky or CooperativeStickyAssignor."},
	),
}

var assignors = map[string]func() kgo.GroupBalancer{
	"RangeAssignor":             kgo.RangeBalancer,
	"RoundRobinAssignor":        kgo.RoundRobinBalancer,
	"StickyAssignor":            kgo.StickyBalancer,
	"CooperativeStickyAssignor": kgo.CooperativeStickyBalancer,
}

func checkAssignors(v any) string {
	list, _ := v.([]string)
	for _, s := range list {
		if assignors[strings.TrimPrefix(s, "org.apache.kafka.clients.consumer.")] == nil {
			return "only RangeAssignor, RoundRobinAssignor, StickyAssignor and CooperativeStickyAssignor are known"
		}
	}
	return ""
}

// clientOpts turns the client properties of a side (admin, producer or consumer) into options. The error names every property that is
// unknown or not supported.
func clientOpts(side string, props map[string]string) ([]kgo.Opt, error) {
	v, err := clientDefs[side].Parse(props)
	if err != nil {
		return nil, fmt.Errorf("%s client: %w", side, err)
	}
	opts, err := securityOpts(v)
	if err != nil {
		return nil, fmt.Errorf("%s client: %w", side, err)
	}
	add := func(o ...kgo.Opt) { opts = append(opts, o...) }
	if v.IsSet("bootstrap.servers") {
		add(kgo.SeedBrokers(v.List("bootstrap.servers")...))
	}
	if v.IsSet("client.id") {
		add(kgo.ClientID(v.Str("client.id")))
	}
	if v.IsSet("client.rack") {
		add(kgo.Rack(v.Str("client.rack")))
	}
	age := 5 * time.Minute
	if side == "consumer" {
		age = 10 * time.Second // new topics and partitions are found this soon; Kafka's default is five minutes
	}
	if v.IsSet("metadata.max.age.ms") {
		age = max(v.Millis("metadata.max.age.ms"), time.Second)
	}
	add(kgo.MetadataMaxAge(age), kgo.MetadataMinAge(250*time.Millisecond))
	if v.IsSet("connections.max.idle.ms") {
		add(kgo.ConnIdleTimeout(max(v.Millis("connections.max.idle.ms"), time.Second)))
	}
	if v.IsSet("socket.connection.setup.timeout.ms") {
		add(kgo.DialTimeout(v.Millis("socket.connection.setup.timeout.ms")))
	}
	if v.IsSet("retries") {
		add(kgo.RequestRetries(int(v.Int("retries"))))
	}
	if v.IsSet("retry.backoff.ms") || v.IsSet("retry.backoff.max.ms") {
		add(kgo.RetryBackoffFn(backoff(v)))
	}
	if v.IsSet("request.timeout.ms") {
		add(kgo.RequestTimeoutOverhead(min(max(v.Millis("request.timeout.ms"), 100*time.Millisecond), 15*time.Minute)))
	}
	switch side {
	case "producer":
		add(producerOpts(v)...)
	case "consumer":
		add(consumerOpts(v)...)
	}
	return opts, nil
}

func backoff(v configdef.Values) func(int) time.Duration {
	first, most := 100*time.Millisecond, time.Second
	if v.IsSet("retry.backoff.ms") {
		first = v.Millis("retry.backoff.ms")
	}
	if v.IsSet("retry.backoff.max.ms") {
		most = v.Millis("retry.backoff.max.ms")
	}
	return func(n int) time.Duration { return min(first<<min(max(n-1, 0), 20), max(most, first)) }
}

// Defaults of producers: what Kafka Connect's tasks use, with idempotence on top.
const (
	defaultBufferMemory   = 32 << 20
	defaultMaxRequestSize = 1048576
)

// transactional turns the properties of a producer into those of one with transactions: what contradicts them is taken out and named.
func transactional(props map[string]string) (out map[string]string, dropped []string) {
	out = merged(props)
	drop := func(key string, ok ...string) {
		s, set := out[key]
		for _, v := range ok {
			set = set && !strings.EqualFold(strings.TrimSpace(s), v)
		}
		if set {
			dropped = append(dropped, key+"="+s)
		}
		delete(out, key)
	}
	drop("enable.idempotence", "true")
	drop("acks", "all", "-1")
	drop("max.in.flight.requests.per.connection", "1", "2", "3", "4", "5")
	return out, dropped
}

// transactionOpts are the options of a producer with transactions beside those of producerOpts.
func transactionOpts(id string, props map[string]string) []kgo.Opt {
	timeout := time.Duration(intProp(props, "transaction.timeout.ms", 60000)) * time.Millisecond
	return []kgo.Opt{kgo.TransactionalID(id), kgo.TransactionTimeout(timeout), kgo.ConcurrentTransactionsBackoff(2 * time.Millisecond)}
}

// maxRequestSize is the most bytes of a batch, and so of a record.
func maxRequestSize(props map[string]string) int {
	size := max(defaultMaxRequestSize, intProp(props, "batch.size", 0))
	return intProp(props, "max.request.size", size)
}

func producerOpts(v configdef.Values) []kgo.Opt {
	var o []kgo.Opt
	acks, idempotent := kgo.AllISRAcks(), true
	if v.IsSet("enable.idempotence") {
		idempotent = v.Bool("enable.idempotence")
	}
	if v.IsSet("acks") {
		switch v.Str("acks") {
		case "0":
			acks, idempotent = kgo.NoAck(), false
		case "1":
			acks, idempotent = kgo.LeaderAck(), false
		}
	}
	o = append(o, kgo.RequiredAcks(acks))
	if !idempotent {
		inflight := 1
		if v.IsSet("max.in.flight.requests.per.connection") {
			inflight = int(v.Int("max.in.flight.requests.per.connection"))
		}
		o = append(o, kgo.DisableIdempotentWrite(), kgo.MaxProduceRequestsInflightPerBroker(inflight))
	}
	size := int64(maxRequestSize(v.Raw()))
	// The protocol's own frame needs a little room above the batch.
	o = append(o, kgo.ProducerBatchMaxBytes(int32(min(size, 1<<30-1024))), kgo.BrokerMaxWriteBytes(int32(min(max(2*size, 100<<20), 1<<30))))
	linger := time.Duration(0)
	if v.IsSet("linger.ms") {
		linger = min(v.Millis("linger.ms"), time.Minute)
	}
	o = append(o, kgo.ProducerLinger(linger))
	memory := int64(defaultBufferMemory)
	if v.IsSet("buffer.memory") {
		memory = v.Int("buffer.memory")
	}
	o = append(o, kgo.MaxBufferedBytes(int(memory)), kgo.MaxBufferedRecords(1<<20))
	codec := kgo.NoCompression()
	if v.IsSet("compression.type") {
		switch strings.ToLower(v.Str("compression.type")) {
		case "gzip":
			codec = kgo.GzipCompression()
		case "snappy":
			codec = kgo.SnappyCompression()
		case "lz4":
			codec = kgo.Lz4Compression()
		case "zstd":
			codec = kgo.ZstdCompression()
		}
	}
	o = append(o, kgo.ProducerBatchCompression(codec))
	if v.IsSet("delivery.timeout.ms") && v.Int("delivery.timeout.ms") < 1<<31-1 {
		o = append(o, kgo.RecordDeliveryTimeout(v.Millis("delivery.timeout.ms")))
	}
	if v.IsSet("request.timeout.ms") {
		o = append(o, kgo.ProduceRequestTimeout(max(v.Millis("request.timeout.ms"), 100*time.Millisecond)))
	}
	return o
}

func consumerOpts(v configdef.Values) []kgo.Opt {
	level := kgo.ReadCommitted()
	if strings.EqualFold(v.Str("isolation.level"), "read_uncommitted") {
		level = kgo.ReadUncommitted()
	}
	reset := kgo.NewOffset().AtStart()
	switch strings.ToLower(v.Str("auto.offset.reset")) {
	case "latest":
		reset = kgo.NewOffset().AtEnd()
	case "none":
		reset = kgo.NoResetOffset()
	}
	var balancers []kgo.GroupBalancer
	for _, s := range v.List("partition.assignment.strategy") {
		balancers = append(balancers, assignors[strings.TrimPrefix(s, "org.apache.kafka.clients.consumer.")]())
	}
	session := v.Millis("session.timeout.ms")
	o := []kgo.Opt{
		kgo.FetchIsolationLevel(level), kgo.ConsumeResetOffset(reset),
		kgo.SessionTimeout(session), kgo.HeartbeatInterval(v.Millis("heartbeat.interval.ms")), kgo.RebalanceTimeout(v.Millis("max.poll.interval.ms")),
		kgo.FetchMinBytes(int32(v.Int("fetch.min.bytes"))), kgo.FetchMaxBytes(int32(v.Int("fetch.max.bytes"))),
		kgo.BrokerMaxReadBytes(int32(min(2*max(v.Int("fetch.max.bytes"), 64<<20), 1<<30))),
		kgo.FetchMaxPartitionBytes(int32(v.Int("max.partition.fetch.bytes"))), kgo.FetchMaxWait(v.Millis("fetch.max.wait.ms")),
	}
	if len(balancers) > 0 {
		o = append(o, kgo.Balancers(balancers...))
	}
	if !v.Bool("check.crcs") {
		o = append(o, kgo.DisableFetchCRCValidation())
	}
	if v.Bool("allow.auto.create.topics") {
		o = append(o, kgo.AllowAutoTopicCreation())
	}
	return o
}

var jaasOption = regexp.MustCompile(`(\w+)\s*=\s*"((?:[^"\\]|\\.)*)"`)

func securityOpts(v configdef.Values) ([]kgo.Opt, error) {
	protocol := strings.ToUpper(v.Str("security.protocol"))
	var opts []kgo.Opt
	if strings.HasSuffix(protocol, "SSL") {
		t, err := tlsConfig(v)
		if err != nil {
			return nil, err
		}
		opts = append(opts, kgo.DialTLSConfig(t))
	}
	if strings.HasPrefix(protocol, "SASL") {
		m, err := saslMechanism(v.Str("sasl.mechanism"), v.Str("sasl.jaas.config"))
		if err != nil {
			return nil, err
		}
		opts = append(opts, kgo.SASL(m))
	}
	return opts, nil
}

func saslMechanism(mechanism, jaas string) (sasl.Mechanism, error) {
	o := map[string]string{}
	for _, m := range jaasOption.FindAllStringSubmatch(jaas, -1) {
		o[m[1]] = strings.NewReplacer(`\"`, `"`, `\\`, `\`).Replace(m[2])
	}
	if o["username"] == "" {
		return nil, fmt.Errorf(`sasl.jaas.config names no username: it should read like org.apache.kafka.common.security.plain.PlainLoginModule required username="u" password="p";`)
	}
	switch strings.ToUpper(mechanism) {
	case "PLAIN":
		return plain.Auth{User: o["username"], Pass: o["password"]}.AsMechanism(), nil
	case "SCRAM-SHA-256":
		return scram.Auth{User: o["username"], Pass: o["password"]}.AsSha256Mechanism(), nil
	case "SCRAM-SHA-512":
		return scram.Auth{User: o["username"], Pass: o["password"]}.AsSha512Mechanism(), nil
	}
	return nil, fmt.Errorf("sasl.mechanism %q is not supported; use PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512", mechanism)
}

func tlsConfig(v configdef.Values) (*tls.Config, error) {
	t := &tls.Config{MinVersion: tls.VersionTLS12}
	roots, err := inlineOrFile(v, "ssl.truststore.certificates", "ssl.truststore.location")
	if err != nil {
		return nil, err
	}
	if roots != nil {
		t.RootCAs = x509.NewCertPool()
		if !t.RootCAs.AppendCertsFromPEM(roots) {
			return nil, fmt.Errorf("ssl.truststore: no PEM certificate in it")
		}
	}
	chain, err := inlineOrFile(v, "ssl.keystore.certificate.chain", "ssl.keystore.location")
	if err != nil {
		return nil, err
	}
	if chain != nil {
		key := chain
		if v.IsSet("ssl.keystore.key") {
			key = []byte(v.Str("ssl.keystore.key"))
		}
		c, err := tls.X509KeyPair(chain, key)
		if err != nil {
			return nil, fmt.Errorf("ssl.keystore: %w", err)
		}
		t.Certificates = []tls.Certificate{c}
	}
	if v.IsSet("ssl.endpoint.identification.algorithm") && v.Str("ssl.endpoint.identification.algorithm") == "" {
		// Kafka's way to say: check the chain, not the name.
		t.InsecureSkipVerify = true
		pool := t.RootCAs
		t.VerifyConnection = func(cs tls.ConnectionState) error {
			o := x509.VerifyOptions{Roots: pool, Intermediates: x509.NewCertPool()}
			for _, c := range cs.PeerCertificates[1:] {
				o.Intermediates.AddCert(c)
			}
			_, err := cs.PeerCertificates[0].Verify(o)
			return err
		}
	}
	return t, nil
}

func inlineOrFile(v configdef.Values, inline, file string) ([]byte, error) {
	if v.IsSet(inline) {
		return []byte(v.Str(inline)), nil
	}
	if !v.IsSet(file) {
		return nil, nil
	}
	b, err := os.ReadFile(v.Str(file))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return b, nil
}

// ClientOptions returns the options that the client properties of a worker ask for (bootstrap.servers, security.protocol, sasl.*,
// ssl.*): what the caller of New adds to Config.KafkaOpts when the worker runs on a cluster elsewhere.
func ClientOptions(props map[string]string) ([]kgo.Opt, error) {
	own := map[string]string{}
	for _, k := range append(securityKeys(), configdef.Key{Name: "bootstrap.servers"}) {
		if s, ok := props[k.Name]; ok && s != "" {
			own[k.Name] = s
		}
	}
	return clientOpts("admin", own)
}

// merged joins property maps; the later ones win.
func merged(maps ...map[string]string) map[string]string {
	out := map[string]string{}
	for _, m := range maps {
		for k, v := range m {
			out[k] = v
		}
	}
	return out
}

func sortedKeys[V any](m map[string]V) []string {
	out := make([]string, 0, len(m))
	for k := range m {
		out = append(out, k)
	}
	sort.Strings(out)
	return out
}

// intProp reads a number from client properties, or gives def.
func intProp(m map[string]string, key string, def int) int {
	if n, err := strconv.Atoi(strings.TrimSpace(m[key])); err == nil {
		return n
	}
	return def
}

// IsClientSecurity reports whether key is one of the client security properties that ClientOptions reads.
func IsClientSecurity(key string) bool {
	for _, k := range securityKeys() {
		if k.Name == key {
			return true
		}
	}
	return false
}
