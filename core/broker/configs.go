package broker

import (
	"fmt"
	"strconv"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau-io/moldau/core/config"
	"github.com/moldau-io/moldau/core/metadata"
)

func (b *Broker) brokerName() string { return strconv.Itoa(int(b.set.nodeID)) }

// createdConfigs is the configuration of a topic just created, as CreateTopics answers it.
func (b *Broker) createdConfigs(overrides map[string]string) []kmsg.CreateTopicsResponseTopicConfig {
	l := b.layers(b.image(), "")
	l.Topic = overrides
	entries := config.DescribeTopic(l, nil)
	out := make([]kmsg.CreateTopicsResponseTopicConfig, 0, len(entries))
	for i := range entries {
		e := &entries[i]
		out = append(out, kmsg.CreateTopicsResponseTopicConfig{Name: e.Name, Value: e.Value, ReadOnly: e.ReadOnly, Source: int8(e.Source), IsSensitive: e.Sensitive})
	}
	return out
}

func (b *Broker) describeConfigs(c call, req *kmsg.DescribeConfigsRequest) kmsg.Response {
	resp := req.ResponseKind().(*kmsg.DescribeConfigsResponse)
	im := b.image()
	for i := range req.Resources {
		q := &req.Resources[i]
		if len(q.ConfigNames) == 0 {
			q.ConfigNames = nil // no names mean all of them, as null does
		}
		r := kmsg.NewDescribeConfigsResponseResource()
		r.ResourceType, r.ResourceName = q.ResourceType, q.ResourceName
		entries, err := b.describeResource(im, metadata.ResourceType(q.ResourceType), q.ResourceName, q.ConfigNames)
		if err != nil {
			r.ErrorCode, r.ErrorMessage = codeOf(err), messageOf(err)
			if r.ErrorMessage == nil {
				r.ErrorMessage = new(string)
			}
			resp.Resources = append(resp.Resources, r)
			continue
		}
		r.ErrorMessage = new(string) // Kafka's "no error" is an empty text here
		for k := range entries {
			r.Configs = append(r.Configs, configEntry(req, &entries[k]))
		}
		resp.Resources = append(resp.Resources, r)
	}
	return resp
}

func configEntry(req *kmsg.DescribeConfigsRequest, e *config.Entry) kmsg.DescribeConfigsResponseResourceConfig {
	out := kmsg.NewDescribeConfigsResponseResourceConfig()
	out.Name, out.Value, out.ReadOnly, out.IsSensitive = e.Name, e.Value, e.ReadOnly, e.Sensitive
	out.IsDefault = e.IsDefault()
	out.Source = kmsg.ConfigSource(e.Source)
	out.ConfigType = kmsg.ConfigType(e.Type)
	if req.IncludeDocumentation || e.Source == config.SourceLogger { // loggers have none, which Kafka says in any case
		out.Documentation = &e.Doc
	}
	if !req.IncludeSynonyms {
		return out
	}
	for _, s := range e.Synonyms {
		out.ConfigSynonyms = append(out.ConfigSynonyms, kmsg.DescribeConfigsResponseResourceConfigConfigSynonym{Name: s.Name, Value: s.Value, Source: kmsg.ConfigSource(s.Source)})
	}
	return out
}

// describeResource describes one resource; its errors are Kafka's.
func (b *Broker) describeResource(im *metadata.Image, kind metadata.ResourceType, name string, keys []string) ([]config.Entry, error) {
	refuse := func(e *kerr.Error, format string, args ...any) error {
		return &metadata.Error{Code: e.Code, Message: fmt.Sprintf(format, args...)}
	}
	switch kind {
	case metadata.TopicResource:
		if err := metadata.ValidateTopicName(name); err != nil {
			return nil, err
		}
		if im.Topic(name) == nil {
			return nil, &metadata.Error{Code: kerr.UnknownTopicOrPartition.Code}
		}
		return config.DescribeTopic(b.layers(im, name), keys), nil
	case metadata.BrokerResource:
		if name == "" {
			return config.DescribeCluster(b.layers(im, ""), keys), nil
		}
		if err := b.checkOwnID(name, " or empty string,"); err != nil {
			return nil, err
		}
		return config.DescribeBroker(b.layers(im, ""), keys), nil
	case metadata.BrokerLoggerResource:
		if name == "" {
			return nil, refuse(kerr.InvalidRequest, "Broker id must not be empty")
		}
		if err := b.checkOwnID(name, ""); err != nil {
			return nil, err
		}
		return b.loggerEntries(keys), nil
	case metadata.GroupResource:
		if name == "" {
			return nil, refuse(kerr.InvalidRequest, "Group name must not be empty")
		}
		return config.DescribeGroup(im.Configs(kind, name), b.layers(im, ""), keys), nil
	case metadata.ClientMetricsResource:
		if name == "" {
			return nil, refuse(kerr.InvalidRequest, "Client metrics subscription name must not be empty")
		}
		return config.DescribeClientMetrics(im.Configs(kind, name), keys), nil
	}
	return nil, refuse(kerr.InvalidRequest, malformed)
}

// checkOwnID makes sure that a broker resource is this broker; or says what else it might be.
func (b *Broker) checkOwnID(name, orElse string) error {
	id, err := strconv.ParseInt(name, 10, 32)
	if err != nil {
		return &metadata.Error{Code: kerr.InvalidRequest.Code, Message: "Broker id must be an integer, but it is: " + name}
	}
	if int32(id) != b.set.nodeID {
		return &metadata.Error{Code: kerr.InvalidRequest.Code, Message: fmt.Sprintf("Unexpected broker id, expected %d%s but received %s", b.set.nodeID, orElse, name)}
	}
	return nil
}

// checkNode is checkOwnID for changes, in the words that Kafka has for those.
func (b *Broker) checkNode(name, unexpected string) error {
	id, err := strconv.ParseInt(name, 10, 32)
	if err != nil {
		return &metadata.Error{Code: kerr.InvalidRequest.Code, Message: "Node id must be an integer, but it is: " + name}
	}
	if int32(id) != b.set.nodeID {
		return &metadata.Error{Code: kerr.InvalidRequest.Code, Message: fmt.Sprintf("%s %d, but received %s", unexpected, b.set.nodeID, name)}
	}
	return nil
}

// unalterable refuses the resources that are no matter of the metadata.
func (b *Broker) unalterable(res metadata.ConfigResource) error {
	switch res.Type {
	case metadata.BrokerResource:
		if res.Name != "" {
			return b.checkNode(res.Name, "Unexpected broker id, expected")
		}
	case metadata.TopicResource, metadata.GroupResource, metadata.ClientMetricsResource:
	default:
		return &metadata.Error{Code: kerr.InvalidRequest.Code, Message: fmt.Sprintf("Unknown resource type %d", res.Type)}
	}
	return nil
}

// configErrors are the errors of a request that alters configs, by resource.
type configErrors map[metadata.ConfigResource]error

// of is the code and the text to answer for a resource.
func (e configErrors) of(res metadata.ConfigResource) (int16, *string) {
	return codeOf(e[res]), messageOf(e[res])
}

func configResource(kind kmsg.ConfigResourceType, name string) metadata.ConfigResource {
	return metadata.ConfigResource{Type: metadata.ResourceType(kind), Name: name}
}

// alterTimeoutMs is how long a change of configs may take; the requests have no timeout of their own.
const alterTimeoutMs = 30_000

func (b *Broker) incrementalAlterConfigs(c call, req *kmsg.IncrementalAlterConfigsRequest) kmsg.Response {
	resp := req.ResponseKind().(*kmsg.IncrementalAlterConfigsResponse)
	errs := configErrors{}
	var alter []metadata.AlterConfig
	var resources []metadata.ConfigResource
	again := twice(req.Resources, func(q *kmsg.IncrementalAlterConfigsRequestResource) string {
		return resourceKey(q.ResourceType, q.ResourceName)
	})
	for i := range req.Resources {
		q := &req.Resources[i]
		a := metadata.AlterConfig{Resource: configResource(q.ResourceType, q.ResourceName)}
		keys := make([]string, 0, len(q.Configs))
		for _, cfg := range q.Configs {
			keys = append(keys, cfg.Name)
			a.Ops = append(a.Ops, metadata.ConfigOp{Key: cfg.Name, Value: cfg.Value, Op: metadata.AlterOp(cfg.Op)})
		}
		var err error
		loggers := a.Resource.Type == metadata.BrokerLoggerResource // no matter of the metadata
		switch {
		case loggers && again[resourceKey(q.ResourceType, q.ResourceName)]:
			err = metadata.ErrRepeated
		case loggers:
			err = b.alterLoggers(a, req.ValidateOnly)
		default:
			if err = b.unalterable(a.Resource); err == nil {
				err = b.checkStores(a.Resource, keys, b.altered(a.Resource, a.Ops))
			}
		}
		if err != nil {
			errs[a.Resource] = err
		}
		if err != nil || loggers {
			continue
		}
		alter, resources = append(alter, a), append(resources, a.Resource)
	}
	b.decideConfigs(c, errs, resources, req.ValidateOnly, func(im *metadata.Image) ([]metadata.Record, []metadata.AlterConfigResult) {
		return metadata.IncrementalAlterConfigs(im, b.rules, alter)
	})
	for i := range req.Resources {
		q := &req.Resources[i]
		r := kmsg.NewIncrementalAlterConfigsResponseResource()
		r.ResourceType, r.ResourceName = q.ResourceType, q.ResourceName
		r.ErrorCode, r.ErrorMessage = errs.of(configResource(q.ResourceType, q.ResourceName))
		resp.Resources = append(resp.Resources, r)
	}
	return resp
}

func (b *Broker) alterConfigs(c call, req *kmsg.AlterConfigsRequest) kmsg.Response {
	resp := req.ResponseKind().(*kmsg.AlterConfigsResponse)
	errs := configErrors{}
	var replace []metadata.ReplaceConfig
	var resources []metadata.ConfigResource
	for i := range req.Resources {
		q := &req.Resources[i]
		a := metadata.ReplaceConfig{Resource: configResource(q.ResourceType, q.ResourceName)}
		keys, next := make([]string, 0, len(q.Configs)), map[string]string{}
		for _, cfg := range q.Configs {
			keys = append(keys, cfg.Name)
			if cfg.Value != nil {
				next[cfg.Name] = *cfg.Value
			}
			a.Configs = append(a.Configs, metadata.ConfigValue{Key: cfg.Name, Value: cfg.Value})
		}
		err := b.unalterable(a.Resource) // loggers too, which only the incremental request knows
		if err == nil {
			err = b.checkStores(a.Resource, keys, next)
		}
		if err != nil {
			errs[a.Resource] = err
			continue
		}
		replace, resources = append(replace, a), append(resources, a.Resource)
	}
	b.decideConfigs(c, errs, resources, req.ValidateOnly, func(im *metadata.Image) ([]metadata.Record, []metadata.AlterConfigResult) {
		return metadata.AlterConfigs(im, b.rules, replace)
	})
	for i := range req.Resources {
		q := &req.Resources[i]
		r := kmsg.NewAlterConfigsResponseResource()
		r.ResourceType, r.ResourceName = q.ResourceType, q.ResourceName
		r.ErrorCode, r.ErrorMessage = errs.of(configResource(q.ResourceType, q.ResourceName))
		resp.Resources = append(resp.Resources, r)
	}
	return resp
}

// decideConfigs runs a change of the resources' configs and files its errors by resource.
func (b *Broker) decideConfigs(c call, errs configErrors, resources []metadata.ConfigResource, validateOnly bool, fn func(im *metadata.Image) ([]metadata.Record, []metadata.AlterConfigResult)) {
	if len(resources) == 0 {
		return
	}
	results, err := decided(c, alterTimeoutMs, validateOnly, fn)
	if err != nil {
		b.log.Warn("a change of configs was not made", "error", err)
		for _, r := range resources {
			errs[r] = err
		}
	}
	for i := range results {
		if results[i].Err != nil {
			errs[results[i].Resource] = results[i].Err
		}
	}
}

func (b *Broker) listConfigResources(c call, req *kmsg.ListConfigResourcesRequest) kmsg.Response {
	resp := req.ResponseKind().(*kmsg.ListConfigResourcesResponse)
	im := b.image()
	kinds := req.ResourceTypes
	if req.Version == 0 {
		kinds = []int8{int8(metadata.ClientMetricsResource)}
	} else if len(kinds) == 0 {
		kinds = []int8{int8(metadata.TopicResource), int8(metadata.BrokerResource), int8(metadata.BrokerLoggerResource), int8(metadata.ClientMetricsResource), int8(metadata.GroupResource)}
	}
	add := func(kind metadata.ResourceType, name string) {
		resp.ConfigResources = append(resp.ConfigResources, kmsg.ListConfigResourcesResponseConfigResource{Name: name, Type: int8(kind)})
	}
	for _, k := range kinds {
		switch kind := metadata.ResourceType(k); kind {
		case metadata.TopicResource:
			for _, t := range im.Topics() {
				add(kind, t.Name)
			}
		case metadata.BrokerResource, metadata.BrokerLoggerResource:
			for _, br := range im.Brokers() {
				add(kind, strconv.Itoa(int(br.ID)))
			}
		case metadata.ClientMetricsResource, metadata.GroupResource:
			for _, r := range im.ConfigResources() {
				if r.Type == kind {
					add(kind, r.Name)
				}
			}
		default:
			resp.ErrorCode = kerr.UnsupportedVersion.Code
			resp.ConfigResources = nil
			return resp
		}
	}
	return resp
}
