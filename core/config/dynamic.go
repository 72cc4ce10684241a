package config

import (
	"fmt"
	"slices"
	"strings"
)

// TxnVerification is the property that says whether writes of older clients are held against the transaction they name. It can be
// changed at run time.
const TxnVerification = "transaction.partition.verification.enable"

const (
	assignmentInterval = "group.consumer.assignment.interval.ms"
	cordonedDirs       = "cordoned.log.dirs"
)

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
				if _, _, lk := splitListenerKey(n); lk != nil {
					fixed = append(fixed, n)
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
		return invalid(fmt.Sprintf("Cannot update these configs dynamically: [%s]", strings.Join(fixed, ", ")))
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
	return checkRetention("log.retention.ms", overrides)
}

func checkCordoned(cordoned, dirs []string) error {
	for _, d := range cordoned {
		if d != "*" && !slices.Contains(dirs, d) {
			return invalid("All entries in cordoned.log.dirs must be present in log.dirs or log.dir. Missing entry: " + d)
		}
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
