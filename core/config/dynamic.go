package config

import (
	"fmt"
	"slices"
	"strings"
)

// ValidateBrokerUpdate judges which keys may be changed at run time, for one broker or (cluster) for all, with
// Kafka's texts.
func ValidateBrokerUpdate(keys []string, cluster bool) error {
	var fixed, single []string
	for _, n := range keys {
		k := BrokerKeys.Key(n)
		switch {
		case k == nil:
			if strings.HasPrefix(n, "listener.name.") {
				if _, _, lk := splitListenerKey(n); lk != nil {
					fixed = append(fixed, n)
					continue
				}
				return checkListenerKey(n, "")
			}
			return BrokerKeys.UnknownError(n)
		case k.Update == ReadOnly:
			fixed = append(fixed, n)
		case k.Update == PerBroker && cluster:
			single = append(single, n)
		}
	}
	slices.Sort(fixed)
	slices.Sort(single)
	if len(fixed) > 0 {
		return invalid(fmt.Sprintf("Cannot update these configs dynamically: [%s]", strings.Join(fixed, ", ")))
	}
	if len(single) > 0 {
		return invalid(fmt.Sprintf("Cannot update these configs at default cluster level, broker id must be specified: [%s]", strings.Join(single, ", ")))
	}
	return nil
}

// ValidateBroker judges overrides that were set at run time for one broker or for all.
func ValidateBroker(overrides map[string]string) error {
	if err := BrokerKeys.Validate(overrides); err != nil {
		return err
	}
	return checkRetention("log.retention.ms", overrides)
}

// ValidateGroup judges the overrides of a group, on a broker with these properties.
func ValidateGroup(overrides, static map[string]string) error {
	if err := GroupKeys.Validate(overrides); err != nil {
		return err
	}
	return checkGroupBounds(overrides, static)
}
