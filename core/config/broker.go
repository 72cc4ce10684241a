package config

import (
	"errors"
	"fmt"
	"maps"
	"net"
	"os"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Broker holds the broker's properties that are not defaults of topic configs, parsed. Fields whose property ends in
// .ms are durations. The tag of a field names its property.
type Broker struct {
	NodeID                  int32    `config:"node.id"`
	BrokerID                int32    `config:"broker.id"`
	Roles                   []string `config:"process.roles"`
	Rack                    string   `config:"broker.rack"`
	Voters                  []string `config:"controller.quorum.voters"`
	BootstrapControllers    []string `config:"controller.quorum.bootstrap.servers"`
	ControllerListenerNames []string `config:"controller.listener.names"`
	ListenerNames           []string `config:"listeners"`
	AdvertisedNames         []string `config:"advertised.listeners"`
	ProtocolMap             string   `config:"listener.security.protocol.map"`
	InterBrokerListenerName string   `config:"inter.broker.listener.name"`
	// Listeners are the parsed listeners, Advertised what clients are told, by listener name. Port 0 in Advertised
	// means the port that the listener got.
	Listeners  []Endpoint
	Advertised []Endpoint

	LogDirs         []string `config:"log.dirs"`
	LogDir          string   `config:"log.dir"`
	CordonedLogDirs []string `config:"cordoned.log.dirs"`
	// MoveBytesPerSecond is how fast partitions are moved between log directories. Replication has no bytes on a single node: any rate holds.
	MoveBytesPerSecond    int64  `config:"replica.alter.log.dirs.io.max.bytes.per.second"`
	LeaderThrottledRate   int64  `config:"leader.replication.throttled.rate"`
	FollowerThrottledRate int64  `config:"follower.replication.throttled.rate"`
	MetadataLogDir        string `config:"metadata.log.dir"`

	ElectionTimeout       time.Duration `config:"controller.quorum.election.timeout.ms"`
	MetadataSnapshotBytes int64         `config:"metadata.log.max.record.bytes.between.snapshots"`
	MetadataSegmentBytes  int64         `config:"metadata.log.segment.bytes"`

	AutoCreateTopics         bool  `config:"auto.create.topics.enable"`
	NumPartitions            int32 `config:"num.partitions"`
	DefaultReplicationFactor int16 `config:"default.replication.factor"`
	DeleteTopics             bool  `config:"delete.topic.enable"`

	SocketRequestMaxBytes int32         `config:"socket.request.max.bytes"`
	SocketReceiveBuffer   int32         `config:"socket.receive.buffer.bytes"`
	SocketSendBuffer      int32         `config:"socket.send.buffer.bytes"`
	SocketListenBacklog   int32         `config:"socket.listen.backlog.size"`
	QueuedMaxRequestBytes int64         `config:"queued.max.request.bytes"`
	MaxConnections        int32         `config:"max.connections"`
	MaxConnectionsPerIP   int32         `config:"max.connections.per.ip"`
	ConnectionsMaxIdle    time.Duration `config:"connections.max.idle.ms"`
	// MaxConnectionsPerIPOverrides are read with [PerIPOverrides].
	MaxConnectionsPerIPOverrides string `config:"max.connections.per.ip.overrides"`
	FetchMaxBytes                int32  `config:"fetch.max.bytes"`
	FetchSessionCacheSlots       int32  `config:"max.incremental.fetch.session.cache.slots"`

	GroupMinSessionTimeout     time.Duration `config:"group.min.session.timeout.ms"`
	GroupMaxSessionTimeout     time.Duration `config:"group.max.session.timeout.ms"`
	GroupInitialRebalanceDelay time.Duration `config:"group.initial.rebalance.delay.ms"`
	GroupMaxSize               int32         `config:"group.max.size"`

	GroupConsumerSessionTimeout        time.Duration `config:"group.consumer.session.timeout.ms"`
	GroupConsumerMinSessionTimeout     time.Duration `config:"group.consumer.min.session.timeout.ms"`
	GroupConsumerMaxSessionTimeout     time.Duration `config:"group.consumer.max.session.timeout.ms"`
	GroupConsumerHeartbeatInterval     time.Duration `config:"group.consumer.heartbeat.interval.ms"`
	GroupConsumerMinHeartbeatInterval  time.Duration `config:"group.consumer.min.heartbeat.interval.ms"`
	GroupConsumerMaxHeartbeatInterval  time.Duration `config:"group.consumer.max.heartbeat.interval.ms"`
	GroupConsumerAssignmentInterval    time.Duration `config:"group.consumer.assignment.interval.ms"`
	GroupConsumerMinAssignmentInterval time.Duration `config:"group.consumer.min.assignment.interval.ms"`
	GroupConsumerMaxAssignmentInterval time.Duration `config:"group.consumer.max.assignment.interval.ms"`
	GroupConsumerMaxSize               int32         `config:"group.consumer.max.size"`
	GroupConsumerAssignors             []string      `config:"group.consumer.assignors"`
	GroupConsumerMigrationPolicy       string        `config:"group.consumer.migration.policy"`
	GroupConsumerRegexRefresh          time.Duration `config:"group.consumer.regex.refresh.interval.ms"`

	OffsetsTopicPartitions   int32         `config:"offsets.topic.num.partitions"`
	OffsetsTopicReplication  int16         `config:"offsets.topic.replication.factor"`
	OffsetsTopicSegmentBytes int32         `config:"offsets.topic.segment.bytes"`
	OffsetMetadataMaxBytes   int32         `config:"offset.metadata.max.bytes"`
	OffsetsRetentionMinutes  int32         `config:"offsets.retention.minutes"`
	OffsetsRetentionCheck    time.Duration `config:"offsets.retention.check.interval.ms"`
	OffsetsCommitTimeout     time.Duration `config:"offsets.commit.timeout.ms"`
	ProducerIDExpiration     time.Duration `config:"producer.id.expiration.ms"`

	TransactionLogPartitions   int32         `config:"transaction.state.log.num.partitions"`
	TransactionLogReplication  int16         `config:"transaction.state.log.replication.factor"`
	TransactionLogMinISR       int32         `config:"transaction.state.log.min.isr"`
	TransactionLogSegmentBytes int32         `config:"transaction.state.log.segment.bytes"`
	TransactionMaxTimeout      time.Duration `config:"transaction.max.timeout.ms"`
	TransactionalIDExpiration  time.Duration `config:"transactional.id.expiration.ms"`
	TransactionAbortCheck      time.Duration `config:"transaction.abort.timed.out.transaction.cleanup.interval.ms"`
	TransactionExpireCheck     time.Duration `config:"transaction.remove.expired.transaction.cleanup.interval.ms"`
	TransactionVerification    bool          `config:"transaction.partition.verification.enable"`
	AddPartitionsBackoff       time.Duration `config:"add.partitions.to.txn.retry.backoff.ms"`
	AddPartitionsBackoffMax    time.Duration `config:"add.partitions.to.txn.retry.backoff.max.ms"`

	// What __share_group_state is made with. There are no share groups, so it is not made; what is given is described.
	ShareStateMinISR       int16 `config:"share.coordinator.state.topic.min.isr"`
	ShareStatePartitions   int32 `config:"share.coordinator.state.topic.num.partitions"`
	ShareStateReplication  int16 `config:"share.coordinator.state.topic.replication.factor"`
	ShareStateSegmentBytes int32 `config:"share.coordinator.state.topic.segment.bytes"`

	LogRetentionCheckInterval  time.Duration `config:"log.retention.check.interval.ms"`
	LogCheckpointInterval      time.Duration `config:"log.flush.offset.checkpoint.interval.ms"`
	LogCleanerEnable           bool          `config:"log.cleaner.enable"`
	LogCleanerBackoff          time.Duration `config:"log.cleaner.backoff.ms"`
	LogCleanerDedupeBufferSize int64         `config:"log.cleaner.dedupe.buffer.size"`
	LogCleanerThreads          int32         `config:"log.cleaner.threads"`
	// LogCleanerMaxBytesPerSecond is no bound when it is negative or no number.
	LogCleanerMaxBytesPerSecond float64 `config:"log.cleaner.io.max.bytes.per.second"`
	RecoveryThreads             int32   `config:"num.recovery.threads.per.data.dir"`
	// Durability is log.durability: "fsync" or "os".
	Durability string `config:"log.durability"`

	// How a login to Kerberos is renewed. GSSAPI is refused where it is enabled, so nothing logs in; clients may set these all the same.
	KerberosMinTimeBeforeRelogin time.Duration `config:"sasl.kerberos.min.time.before.relogin"`
	KerberosRenewJitter          float64       `config:"sasl.kerberos.ticket.renew.jitter"`
	KerberosRenewWindowFactor    float64       `config:"sasl.kerberos.ticket.renew.window.factor"`

	// AuthorizerClass is authorizer.class.name: "" or StandardAuthorizer.
	AuthorizerClass        string        `config:"authorizer.class.name"`
	SuperUsers             string        `config:"super.users"`
	AllowEveryoneIfNoACL   bool          `config:"allow.everyone.if.no.acl.found"`
	ScramBootstrap         string        `config:"scram.bootstrap.credentials"`
	FailedAuthDelay        time.Duration `config:"connection.failed.authentication.delay.ms"`
	MaxConnectionRate      int32         `config:"max.connection.creation.rate"`
	SaslMaxReceiveSize     int32         `config:"sasl.server.max.receive.size"`
	QuotaWindows           int32         `config:"quota.window.num"`
	QuotaWindowSeconds     int32         `config:"quota.window.size.seconds"`
	ControllerQuotaWindows int32         `config:"controller.quota.window.num"`
	// ControllerQuotaWindowSeconds is how long a sample of the quota on changes of metadata is.
	ControllerQuotaWindowSeconds int32 `config:"controller.quota.window.size.seconds"`

	// Static are the properties as they were given: the static layer of Layers.
	Static map[string]string
	// secure are the same with the names of listeners' properties in lower case, for ListenerValue.
	secure map[string]string
}

// Endpoint is one listener.
type Endpoint struct {
	Name     string
	Host     string // "" for all interfaces
	Port     uint16 // 0 for any free port
	Protocol string // PLAINTEXT, SSL, SASL_PLAINTEXT or SASL_SSL
}

// String returns NAME://host:port.
func (e Endpoint) String() string {
	return e.Name + "://" + net.JoinHostPort(e.Host, strconv.Itoa(int(e.Port)))
}

// ParseBroker reads a broker's properties. The error names every bad one.
func ParseBroker(static map[string]string) (*Broker, error) {
	b := &Broker{Static: maps.Clone(static)}
	if b.Static == nil {
		b.Static = map[string]string{}
	}
	var errs []error
	for _, n := range sortedKeys(static) {
		if err := checkBrokerKey(n, static[n]); err != nil {
			errs = append(errs, err)
		}
	}
	if len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	b.nameNode()
	b.fill(b.Static)
	if err := b.cross(); err != nil {
		return nil, err
	}
	return b, nil
}

// nameNode gives each of node.id and broker.id what the other has, as Kafka does, and both of them 1 when neither is set.
func (b *Broker) nameNode() {
	node, hasNode := b.Static["node.id"]
	id, hasID := b.Static["broker.id"]
	switch {
	case hasNode && !hasID:
		b.Static["broker.id"] = node
	case hasID && !hasNode:
		b.Static["node.id"] = id
	case !hasNode:
		b.Static["node.id"], b.Static["broker.id"] = "1", "1"
	}
}

// checkBrokerKey judges one property by itself.
func checkBrokerKey(name, value string) error {
	k := BrokerKeys.Key(name)
	if k == nil {
		if strings.HasPrefix(name, listenerPrefix) {
			return checkListenerKey(name, value)
		}
		return BrokerKeys.UnknownError(name)
	}
	_, err := k.Parse(value)
	return err
}

// fill sets the tagged fields from the given values, which are valid, and the defaults.
func (b *Broker) fill(values map[string]string) {
	rv := reflect.ValueOf(b).Elem()
	for i := range rv.NumField() {
		f, name := rv.Field(i), rv.Type().Field(i).Tag.Get("config")
		if name == "" {
			continue
		}
		k := BrokerKeys.Key(name)
		s, ok := values[name]
		if !ok {
			if k.Default == nil {
				continue
			}
			s = *k.Default
		}
		v, _ := parse(k.Type, s)
		switch f.Interface().(type) {
		case time.Duration:
			f.SetInt(int64(millis(v.Int)))
		case []string:
			f.Set(reflect.ValueOf(v.List))
		case string:
			f.SetString(v.String())
		case bool:
			f.SetBool(v.Bool)
		case float64:
			f.SetFloat(v.Num)
		default:
			f.SetInt(v.Int)
		}
	}
}

// millis is a duration of that many milliseconds, the longest one when they are more.
func millis(n int64) time.Duration {
	if n > int64(time.Duration(1<<63-1)/time.Millisecond) {
		return 1<<63 - 1
	}
	return time.Duration(n) * time.Millisecond
}

// cross judges what concerns several properties, and resolves the listeners.
func (b *Broker) cross() error {
	if b.NodeID != b.BrokerID {
		return invalid(fmt.Sprintf("You must set `node.id` to the same value as `broker.id`: they are %d and %d", b.NodeID, b.BrokerID))
	}
	if b.NodeID < 0 {
		return invalid(fmt.Sprintf("Invalid value %d for configuration broker.id: Value must be at least 0", b.NodeID))
	}
	if len(b.LogDirs) == 0 {
		b.LogDirs = splitDirs(b.LogDir)
	}
	if len(b.LogDirs) == 0 {
		return invalid("At least one log directory must be defined via log.dirs or log.dir.")
	}
	if err := checkCordoned(b.CordonedLogDirs, b.LogDirs); err != nil {
		return err
	}
	if !slices.Contains(b.Roles, "broker") || !slices.Contains(b.Roles, "controller") {
		return invalid(fmt.Sprintf("Invalid value %s for configuration process.roles: moldau does not split the roles yet; it accepts broker,controller only", strings.Join(b.Roles, ",")))
	}
	if err := b.checkVoters(); err != nil {
		return err
	}
	for _, name := range []string{"log.retention.ms", "log.retention.minutes", "log.retention.hours"} {
		if err := checkRetention(name, b.Static); err != nil {
			return err
		}
	}
	if err := checkNumbers(b, b.Static, false); err != nil {
		return err
	}
	if err := ValidateTopic(TopicDefaults(Layers{Static: b.Static})); err != nil {
		return err
	}
	if err := b.checkConsumerGroups(); err != nil {
		return err
	}
	if err := b.resolveListeners(); err != nil {
		return err
	}
	if err := b.checkBootstrapControllers(); err != nil {
		return err
	}
	return b.checkSecurity()
}

// checkVoters refuses voters other than this node: controllers do not talk over the network yet.
func (b *Broker) checkVoters() error {
	for _, v := range b.Voters {
		id, _, ok := strings.Cut(v, "@")
		n, err := strconv.ParseInt(id, 10, 32)
		if !ok || err != nil {
			return invalid(fmt.Sprintf("Invalid value %s for configuration controller.quorum.voters: want id@host:port", v))
		}
		if int32(n) != b.NodeID || len(b.Voters) > 1 {
			return invalid(fmt.Sprintf("Invalid value %s for configuration controller.quorum.voters: moldau does not support several controllers yet; it accepts this node (%d) only", strings.Join(b.Voters, ","), b.NodeID))
		}
	}
	return nil
}

// checkBootstrapControllers refuses addresses of controllers that are not this node's: it would not ask there.
func (b *Broker) checkBootstrapControllers() error {
	const property = "controller.quorum.bootstrap.servers"
	for _, s := range b.BootstrapControllers {
		host, port, err := net.SplitHostPort(s)
		p, bad := strconv.ParseUint(port, 10, 16)
		if err != nil || bad != nil || host == "" {
			return invalid(fmt.Sprintf("Failed to parse host name from %s for the configuration %s. Each entry should be in the form \"{host}:{port}\"", s, property))
		}
		if !b.isOwnController(host, uint16(p)) {
			return invalid(refusal(property, s, fmt.Sprintf("moldau does not support several controllers yet; it accepts addresses of this node's listeners in controller.listener.names (%s) only",
				strings.Join(b.ControllerListenerNames, ","))))
		}
	}
	return nil
}

// isOwnController says whether a listener for controllers is at this address, or advertised with it.
func (b *Broker) isOwnController(host string, port uint16) bool {
	for _, e := range slices.Concat(b.Listeners, b.Advertised) {
		if e.Port != port || !slices.Contains(b.ControllerListenerNames, e.Name) {
			continue
		}
		everywhere := e.Host == "" || net.ParseIP(e.Host).IsUnspecified()
		if strings.EqualFold(e.Host, host) || isLoopback(host) && (everywhere || isLoopback(e.Host)) {
			return true
		}
		if name, err := os.Hostname(); everywhere && err == nil && strings.EqualFold(name, host) {
			return true
		}
	}
	return false
}

func isLoopback(host string) bool {
	return strings.EqualFold(host, "localhost") || net.ParseIP(host).IsLoopback()
}

func splitDirs(s string) []string {
	v, _ := parse(List, s)
	return v.List
}

// checkRetention refuses a retention of zero.
func checkRetention(name string, values map[string]string) error {
	s, ok := values[name]
	if !ok {
		return nil
	}
	if v, _ := parse(Long, s); v.Int == 0 {
		return invalid(fmt.Sprintf("requirement failed: %s must be unlimited (-1) or, greater than or equal to 1", name))
	}
	return nil
}

func (b *Broker) resolveListeners() error {
	protocols := map[string]string{}
	for pair := range strings.SplitSeq(b.ProtocolMap, ",") {
		if pair = strings.TrimSpace(pair); pair == "" {
			continue
		}
		i := strings.LastIndexByte(pair, ':')
		if i <= 0 || i == len(pair)-1 {
			return invalid(fmt.Sprintf("Error parsing configuration property 'listener.security.protocol.map': %s is not NAME:PROTOCOL", pair))
		}
		name, proto := strings.ToUpper(pair[:i]), strings.ToUpper(pair[i+1:])
		if !slices.Contains(securityProtocols, proto) {
			return invalid(fmt.Sprintf("Invalid value %s for configuration listener.security.protocol.map: the protocol must be one of: %s", pair, strings.Join(securityProtocols, ", ")))
		}
		protocols[name] = proto
	}
	parse := func(property string, list []string) ([]Endpoint, error) {
		var out []Endpoint
		for _, s := range list {
			e, err := ParseEndpoint(s)
			if err != nil {
				return nil, invalid(fmt.Sprintf("Invalid value %s for configuration %s: %s", s, property, err))
			}
			p, ok := protocols[e.Name]
			if !ok && slices.Contains(b.ControllerListenerNames, e.Name) {
				p, ok = "PLAINTEXT", true // Kafka maps controller listeners so when the map has its default
			}
			if !ok {
				return nil, invalid(fmt.Sprintf("No security protocol defined for listener %s; add %s:PLAINTEXT to listener.security.protocol.map", e.Name, e.Name))
			}
			e.Protocol = p
			if slices.ContainsFunc(out, func(o Endpoint) bool { return o.Name == e.Name }) {
				return nil, invalid(fmt.Sprintf("Each listener must have a different name, %s: %s", property, strings.Join(list, ",")))
			}
			if property == "listeners" && e.Port != 0 && slices.ContainsFunc(out, func(o Endpoint) bool { return o.Port == e.Port && o.Host == e.Host }) {
				return nil, invalid(fmt.Sprintf("Each listener must have a different port, %s: %s", property, strings.Join(list, ",")))
			}
			out = append(out, e)
		}
		return out, nil
	}
	var err error
	if b.Listeners, err = parse("listeners", b.ListenerNames); err != nil {
		return err
	}
	if len(b.Listeners) == 0 {
		return invalid("Invalid value  for configuration listeners: at least one listener is needed, such as PLAINTEXT://127.0.0.1:9092")
	}
	if b.Advertised, err = parse("advertised.listeners", b.AdvertisedNames); err != nil {
		return err
	}
	if len(b.Advertised) == 0 {
		b.Advertised = slices.Clone(b.Listeners)
	}
	for _, a := range b.Advertised {
		if !slices.ContainsFunc(b.Listeners, func(l Endpoint) bool { return l.Name == a.Name }) {
			return invalid(fmt.Sprintf("advertised.listeners listener names must be equal to or a subset of the ones defined in listeners: %s is not there", a.Name))
		}
		if a.Host == "0.0.0.0" || a.Host == "::" {
			return invalid("advertised.listeners cannot use the nonroutable meta-address 0.0.0.0. Use a routable IP address.")
		}
	}
	if b.InterBrokerListenerName == "" {
		for _, l := range b.Listeners {
			if !slices.Contains(b.ControllerListenerNames, l.Name) {
				b.InterBrokerListenerName = l.Name
				break
			}
		}
	}
	if !slices.ContainsFunc(b.Listeners, func(l Endpoint) bool { return l.Name == b.InterBrokerListenerName }) && slices.Contains(b.Roles, "broker") {
		return invalid(fmt.Sprintf("inter.broker.listener.name must be a listener name defined in listeners: %s is not there", b.InterBrokerListenerName))
	}
	return nil
}

var securityProtocols = []string{"PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"}

// ParseEndpoint reads NAME://host:port; an IPv6 host is in brackets, an empty host means all interfaces. The protocol
// is left empty.
func ParseEndpoint(s string) (Endpoint, error) {
	name, addr, ok := strings.Cut(s, "://")
	if !ok || name == "" {
		return Endpoint{}, fmt.Errorf("want NAME://host:port")
	}
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return Endpoint{}, fmt.Errorf("want NAME://host:port")
	}
	p, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		return Endpoint{}, fmt.Errorf("the port %q is not a number up to 65535", port)
	}
	return Endpoint{Name: strings.ToUpper(name), Host: host, Port: uint16(p)}, nil
}
