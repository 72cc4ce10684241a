package metadata

import (
	"errors"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/twmb/franz-go/pkg/kerr"
)

// AlterOp is what an incremental alteration does with a key, with Kafka's numbers.
type AlterOp int8

// The operations.
const (
	OpSet      AlterOp = 0
	OpDelete   AlterOp = 1
	OpAppend   AlterOp = 2
	OpSubtract AlterOp = 3
)

// String returns the operation as Kafka names it.
func (op AlterOp) String() string {
	switch op {
	case OpSet:
		return "SET"
	case OpDelete:
		return "DELETE"
	case OpAppend:
		return "APPEND"
	case OpSubtract:
		return "SUBTRACT"
	}
	return "UNKNOWN(" + strconv.Itoa(int(op)) + ")"
}

// ConfigOp is one operation of an incremental alteration.
type ConfigOp struct {
	Key   string
	Value *string // not looked at by OpDelete
	Op    AlterOp
}

// AlterConfig asks for an incremental alteration of one resource.
type AlterConfig struct {
	Resource ConfigResource
	Ops      []ConfigOp
}

// ReplaceConfig asks to replace all overrides of one resource (the old AlterConfigs request).
type ReplaceConfig struct {
	Resource ConfigResource
	Configs  []ConfigValue
}

// AlterConfigResult is the answer for one resource.
type AlterConfigResult struct {
	Resource ConfigResource
	Err      *Error
}

// IncrementalAlterConfigs decides on an IncrementalAlterConfigs request. For validate-only requests the
// caller drops the records. The broker logger resource is not the controller's: brokers answer it.
func IncrementalAlterConfigs(im *Image, rules Rules, alter []AlterConfig) ([]Record, []AlterConfigResult) {
	count := map[ConfigResource]int{}
	for _, a := range alter {
		count[a.Resource]++
	}
	var records []Record
	results := make([]AlterConfigResult, 0, len(alter))
	for _, a := range alter {
		res := AlterConfigResult{Resource: a.Resource}
		if count[a.Resource] > 1 {
			res.Err = ErrRepeated
		} else {
			var rs []Record
			if rs, res.Err = incrementalAlter(im, &rules, a); res.Err == nil {
				records = append(records, rs...)
			}
		}
		results = append(results, res)
	}
	return records, results
}

// ErrRepeated refuses a resource that a request names more than once.
var ErrRepeated = refuse(kerr.InvalidRequest, "Each resource must appear at most once.")

// CheckOps refuses operations that no resource takes: two for one key, and those that need a value and have none.
func CheckOps(ops []ConfigOp) *Error {
	keys := map[string]bool{}
	var nulls []string
	for _, op := range ops {
		if keys[op.Key] {
			return refuse(kerr.InvalidRequest, "Error due to duplicate config keys")
		}
		keys[op.Key] = true
		if op.Op != OpDelete && op.Value == nil {
			nulls = append(nulls, op.Key)
		}
	}
	if len(nulls) > 0 {
		return refuse(kerr.InvalidRequest, "Null value not supported for : %s", joinKeys(nulls))
	}
	return nil
}

func incrementalAlter(im *Image, rules *Rules, a AlterConfig) ([]Record, *Error) {
	if err := CheckOps(a.Ops); err != nil {
		return nil, err
	}
	updated := make([]string, len(a.Ops))
	for i, op := range a.Ops {
		updated[i] = op.Key
	}
	if err := checkResource(im, rules, a.Resource, updated); err != nil {
		return nil, err
	}
	if r := (ConfigResource{BrokerResource, ""}); a.Resource == r && elrEnabled(im) {
		for _, op := range a.Ops {
			if op.Op == OpDelete && op.Key == minInSyncReplicas {
				return nil, refuse(kerr.InvalidConfig, "Cluster-level min.insync.replicas cannot be removed while ELR is enabled.")
			}
		}
	}
	next := maps.Clone(im.configs[a.Resource])
	if next == nil {
		next = map[string]string{}
	}
	for _, op := range a.Ops {
		switch op.Op {
		case OpSet:
			next[op.Key] = *op.Value
		case OpDelete:
			delete(next, op.Key)
		case OpAppend, OpSubtract:
			var def string
			ok := true
			if rules.Configs != nil {
				def, ok = rules.Configs.ListDefault(a.Resource.Type, op.Key)
			}
			if !ok {
				return nil, refuse(kerr.InvalidConfig, "Can't %s to key %s because its type is not LIST.", op.Op, op.Key)
			}
			current, set := next[op.Key]
			if !set {
				current = def
			}
			next[op.Key] = editList(current, *op.Value, op.Op == OpAppend)
		default:
			return nil, refuse(kerr.InvalidRequest, "Unknown operation type %d for config key %s", op.Op, op.Key)
		}
	}
	return replaceOverrides(im, rules, a.Resource, next)
}

// editList adds the elements of a comma separated list that are not there yet, or removes those that are. As in Kafka, elements are
// compared with the blanks around them, and of nothing is added an empty element, which no list may have.
func editList(current, change string, add bool) string {
	list := slices.DeleteFunc(splitList(current), func(v string) bool { return v == "" })
	for _, v := range splitList(change) {
		at := slices.Index(list, v)
		switch {
		case add && at < 0:
			list = append(list, v)
		case !add && at >= 0:
			list = slices.Delete(list, at, at+1)
		}
	}
	return strings.Join(list, ",")
}

// splitList splits at commas as Java does: without the empty elements at the end, but for the text that is empty as a whole.
func splitList(s string) []string {
	list := strings.Split(s, ",")
	for len(list) > 0 && s != "" && list[len(list)-1] == "" {
		list = list[:len(list)-1]
	}
	return list
}

// AlterConfigs decides on the old AlterConfigs request, which replaces all overrides of each resource.
func AlterConfigs(im *Image, rules Rules, replace []ReplaceConfig) ([]Record, []AlterConfigResult) {
	count := map[ConfigResource]int{}
	for _, r := range replace {
		count[r.Resource]++
	}
	var records []Record
	results := make([]AlterConfigResult, 0, len(replace))
	for _, r := range replace {
		res := AlterConfigResult{Resource: r.Resource}
		if count[r.Resource] > 1 {
			res.Err = ErrRepeated
		} else {
			var rs []Record
			if rs, res.Err = replaceConfig(im, &rules, r); res.Err == nil {
				records = append(records, rs...)
			}
		}
		results = append(results, res)
	}
	return records, results
}

func replaceConfig(im *Image, rules *Rules, r ReplaceConfig) ([]Record, *Error) {
	next := map[string]string{}
	var nulls, updated []string
	for _, c := range r.Configs {
		if slices.Contains(updated, c.Key) {
			return nil, refuse(kerr.InvalidRequest, "Error due to duplicate config keys")
		}
		updated = append(updated, c.Key)
		if c.Value == nil {
			nulls = append(nulls, c.Key)
			continue
		}
		next[c.Key] = *c.Value
	}
	if len(nulls) > 0 {
		return nil, refuse(kerr.InvalidRequest, "Null value not supported for : %s", joinKeys(nulls))
	}
	if err := checkResource(im, rules, r.Resource, updated); err != nil {
		return nil, err
	}
	if _, keeps := next[minInSyncReplicas]; r.Resource == (ConfigResource{BrokerResource, ""}) && elrEnabled(im) && !keeps {
		return nil, refuse(kerr.InvalidConfig, "Cluster-level min.insync.replicas cannot be removed while ELR is enabled.")
	}
	return replaceOverrides(im, rules, r.Resource, next)
}

// checkResource judges whether the resource can have configs at all and whether these keys may be changed. Whether a topic is there is
// asked later, by replaceOverrides.
func checkResource(im *Image, rules *Rules, r ConfigResource, keys []string) *Error {
	switch r.Type {
	case TopicResource:
		if r.Name == "" {
			return refuse(kerr.InvalidRequest, "Default topic resources are not allowed.")
		}
		if err := ValidateTopicName(r.Name); err != nil {
			return err
		}
	case BrokerResource:
		if r.Name != "" {
			id, err := strconv.ParseInt(r.Name, 10, 32)
			if err != nil {
				return refuse(kerr.InvalidRequest, "Node id must be an integer, but it is: %s", r.Name)
			}
			if im.brokers[int32(id)] == nil {
				return refuse(kerr.InvalidRequest, "No node registered with id %d", id)
			}
			if elrEnabled(im) && slices.Contains(keys, minInSyncReplicas) {
				return refuse(kerr.InvalidConfig, "Broker-level min.insync.replicas cannot be altered while ELR is enabled.")
			}
		}
		if rules.Configs != nil {
			if err := rules.Configs.ValidateUpdate(r, keys); err != nil {
				return configError(err, kerr.InvalidRequest)
			}
		}
	case GroupResource:
		if r.Name == "" {
			return refuse(kerr.InvalidRequest, "Default group resources are not allowed.")
		}
	case ClientMetricsResource:
		if r.Name == "" {
			return refuse(kerr.InvalidRequest, "Subscription name can't be empty")
		}
	default:
		return refuse(kerr.InvalidRequest, "Unknown resource type %d", r.Type)
	}
	return nil
}

const minInSyncReplicas = "min.insync.replicas"

// replaceOverrides returns the records that turn the resource's overrides into next.
func replaceOverrides(im *Image, rules *Rules, r ConfigResource, next map[string]string) ([]Record, *Error) {
	if err := rules.validateConfigs(r, next); err != nil {
		return nil, err
	}
	// After the values, as in Kafka: a wrong value is named even where the topic is missing too.
	if r.Type == TopicResource && im.topics[r.Name] == nil {
		return nil, refuse(kerr.UnknownTopicOrPartition, "The topic '%s' does not exist.", r.Name)
	}
	now := im.configs[r]
	all := map[string]bool{}
	for k := range now {
		all[k] = true
	}
	for k := range next {
		all[k] = true
	}
	var records []Record
	wipe := false
	for _, k := range slices.Sorted(maps.Keys(all)) {
		was, had := now[k]
		v, has := next[k]
		if had == has && was == v {
			continue
		}
		rec := &ConfigRecord{Resource: r, Key: k}
		if has {
			rec.Value = &v
		}
		records = append(records, rec)
		wipe = wipe || k == minInSyncReplicas
	}
	// Eligible leader replicas were computed under the old minimum.
	if wipe && elrEnabled(im) {
		switch {
		case r.Type == TopicResource:
			records = append(records, &ClearELRRecord{Topic: r.Name})
		case r.Type == BrokerResource && r.Name == "":
			records = append(records, &ClearELRRecord{})
		}
	}
	return records, nil
}

func (r *Rules) validateConfigs(res ConfigResource, overrides map[string]string) *Error {
	if r.Configs == nil {
		return nil
	}
	code := kerr.InvalidConfig
	if res.Type == BrokerResource {
		code = kerr.InvalidRequest
	}
	if err := r.Configs.ValidateConfigs(res, overrides); err != nil {
		return configError(err, code)
	}
	return nil
}

func configError(err error, code *kerr.Error) *Error {
	var e *Error
	if errors.As(err, &e) {
		return e
	}
	return &Error{Code: code.Code, Message: err.Error()}
}
