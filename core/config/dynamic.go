package config

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// TxnVerification is the property that says whether writes of older clients are held against the transaction they name. It can be
// changed at run time.
const TxnVerification = "transaction.partition.verification.enable"

const (
	leaderThrottle     = "leader.replication.throttled.rate"
	followerThrottle   = "follower.replication.throttled.rate"
	moveThrottle       = "replica.alter.log.dirs.io.max.bytes.per.second"
	assignmentInterval = "group.consumer.assignment.interval.ms"
	cordonedDirs       = "cordoned.log.dirs"
	dedupeBuffer       = "log.cleaner.dedupe.buffer.size"
	cleanerThreads     = "log.cleaner.threads"
	cleanerThrottle    = "log.cleaner.io.max.bytes.per.second"
	perIPOverrides     = "max.connections.per.ip.overrides"
)

// InEffect are the broker's properties with what was set at run time. Only fields of keys that can be set so may differ from the file's;
// what the file's need to be resolved (listeners, for one) is not in it.
func InEffect(l Layers) *Broker {
	values := map[string]string{}
	for _, m := range []map[string]string{l.Static, l.Cluster, l.Broker} {
		maps.Copy(values, m)
	}
	b := &Broker{}
	b.fill(values)
	return b
}

// PerIPOverrides parses max.connections.per.ip.overrides: numbers of connections by address or name of a host.
func PerIPOverrides(s string) (map[string]int, error) {
	out := map[string]int{}
	for pair := range strings.SplitSeq(s, ",") {
		if pair = strings.TrimSpace(pair); pair == "" {
			continue
		}
		i := strings.LastIndexByte(pair, ':')
		if i < 0 {
			return nil, invalid(fmt.Sprintf("Error parsing configuration property 'max.connections.per.ip.overrides': begin 0, end -1, length %d", len(pair)))
		}
		n, err := strconv.ParseInt(strings.TrimSpace(pair[i+1:]), 10, 32)
		if err != nil {
			return nil, invalid(fmt.Sprintf("For input string: %q", strings.TrimSpace(pair[i+1:])))
		}
		out[strings.Trim(strings.TrimSpace(pair[:i]), "[]")] = int(n)
	}
	return out, nil
}

// checkNumbers judges numbers whose bounds hang on others, with Kafka's texts. dynamic says that they were set at run time.
func checkNumbers(b *Broker, set map[string]string, dynamic bool) error {
	has := func(key string) bool { _, ok := set[key]; return ok }
	if _, err := PerIPOverrides(b.MaxConnectionsPerIPOverrides); err != nil {
		return err
	}
	if b.MaxConnectionsPerIP == 0 && strings.TrimSpace(b.MaxConnectionsPerIPOverrides) == "" {
		return invalid("requirement failed: max.connections.per.ip can be set to zero only if max.connections.per.ip.overrides property is set.")
	}
	for _, lowest := range []struct {
		key string
		min int64
	}{{"log.roll.ms", 1}, {"log.roll.jitter.ms", 0}} {
		if s, ok := set[lowest.key]; ok {
			if v, _ := parse(Long, s); v.Int < lowest.min {
				return invalid(fmt.Sprintf("requirement failed: %s must be greater than or equal to %d", lowest.key, lowest.min))
			}
		}
	}
	if has(cleanerThreads) && b.LogCleanerThreads < 1 {
		return invalid("Invalid value 0 for configuration log.cleaner.threads: Value must be at least 1") // Kafka divides by it
	}
	if (has(dedupeBuffer) || has(cleanerThreads)) && b.LogCleanerEnable && b.LogCleanerDedupeBufferSize/int64(max(b.LogCleanerThreads, 1)) <= 1<<20 {
		return invalid("requirement failed: log.cleaner.dedupe.buffer.size must be at least 1MB per cleaner thread.")
	}
	if !dynamic {
		return nil
	}
	for _, zero := range []struct {
		key   string
		value int32
	}{{"max.connections", b.MaxConnections}, {"max.connection.creation.rate", b.MaxConnectionRate}} {
		if has(zero.key) && zero.value == 0 {
			return noLimit(zero.key)
		}
	}
	return nil
}

// Cordoned are the directories that get no new partitions.
func Cordoned(l Layers) []string {
	if v := l.brokerValue(BrokerKeys.Key(cordonedDirs)); v != nil {
		return splitDirs(*v)
	}
	return nil
}

// VerifiesTxns is the value in effect of [TxnVerification].
func VerifiesTxns(l Layers) bool {
	v := l.brokerValue(BrokerKeys.Key(TxnVerification))
	return v != nil && *v == "true"
}

// AssignmentIntervalMs is the group.consumer.assignment.interval.ms that was set at run time, or -1.
func AssignmentIntervalMs(l Layers) int32 {
	l.Static = nil
	v, src, _ := l.find(assignmentInterval)
	if p, problem := parse(Int, v); src != SourceDefault && problem == "" {
		return int32(p.Int)
	}
	return -1
}

// ValidateBrokerUpdate judges which keys may be changed at run time, for one broker or (cluster) for all, with
// Kafka's texts.
func ValidateBrokerUpdate(keys []string, cluster bool) error {
	var fixed, bare, single []string
	remedy := ""
	for _, n := range keys {
		k := BrokerKeys.Key(n)
		switch {
		case k == nil:
			if strings.HasPrefix(n, "listener.name.") {
				if _, _, ok := storeKey(n); ok {
					if cluster {
						single = append(single, n)
					}
					continue
				}
				if _, _, ok := limitKey(n); ok {
					continue
				}
				if _, _, lk := splitListenerKey(n); lk != nil {
					fixed = append(fixed, n)
					remedy = ". A listener takes them when the broker starts: set them in its configuration and restart it"
					continue
				}
				return checkListenerKey(n, "")
			}
			return BrokerKeys.UnknownError(n)
		case slices.Contains(storeKeys, n):
			bare = append(bare, n)
		case k.Update == ReadOnly:
			fixed = append(fixed, n)
		case k.Update == PerBroker && cluster:
			single = append(single, n)
		}
	}
	slices.Sort(fixed)
	slices.Sort(bare)
	slices.Sort(single)
	if len(fixed) > 0 {
		return invalid(fmt.Sprintf("Cannot update these configs dynamically: [%s]%s", strings.Join(fixed, ", "), remedy))
	}
	if len(bare) > 0 {
		return invalid(fmt.Sprintf("These security configs can be dynamically updated only per-listener using the listener prefix: [%s]", strings.Join(bare, ", ")))
	}
	if len(single) > 0 {
		return invalid(fmt.Sprintf("Cannot update these configs at default cluster level, broker id must be specified: [%s]", strings.Join(single, ", ")))
	}
	return nil
}

// ValidateBroker judges overrides that were set at run time for one broker or for all, on a broker with these properties.
func ValidateBroker(overrides, static map[string]string) error {
	overrides, err := withoutStores(overrides)
	if err != nil {
		return err
	}
	if overrides, err = withoutLimits(overrides); err != nil {
		return err
	}
	if err := BrokerKeys.Validate(overrides); err != nil {
		return err
	}
	if v, ok := overrides[cordonedDirs]; ok {
		l := Layers{Static: static}
		dirs := l.brokerValue(BrokerKeys.Key("log.dirs"))
		if dirs == nil {
			dirs = l.brokerValue(BrokerKeys.Key("log.dir"))
		}
		if err := checkCordoned(splitDirs(v), splitDirs(*dirs)); err != nil {
			return err
		}
	}
	if v, ok := overrides[assignmentInterval]; ok {
		// As for the override of a group, but for the name.
		if err := checkGroupBounds(map[string]string{"consumer.assignment.interval.ms": v}, static); err != nil {
			return invalid("group." + err.Error())
		}
	}
	l := Layers{Broker: overrides, Static: static}
	if err := checkNumbers(InEffect(l), overrides, true); err != nil {
		return err
	}
	if err := checkRetention("log.retention.ms", overrides); err != nil {
		return err
	}
	return ValidateTopic(TopicDefaults(l))
}

func checkCordoned(cordoned, dirs []string) error {
	var missing []string
	for _, d := range cordoned {
		if d != "*" && !slices.Contains(dirs, d) && !slices.Contains(missing, d) {
			missing = append(missing, d)
		}
	}
	if len(missing) > 0 {
		return invalid("requirement failed: All entries in cordoned.log.dirs must be present in log.dirs or log.dir. Missing entries : " + strings.Join(missing, ", "))
	}
	return nil
}

// ValidateGroup judges the overrides of a group, on a broker with these properties.
func ValidateGroup(overrides, static map[string]string) error {
	if err := GroupKeys.Validate(overrides); err != nil {
		return err
	}
	return checkGroupBounds(overrides, static)
}
