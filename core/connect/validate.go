package connect

import (
	"context"
	"fmt"
	"strings"

	"github.com/moldau-io/moldau/core/connect/api"
	"github.com/moldau-io/moldau/plugins"
	"github.com/moldau-io/moldau/plugins/configdef"
)

// part is one definition's share of a connector configuration: the keys below prefix.
type part struct {
	prefix string
	def    *configdef.Def
	group  string // replaces the group of the keys when not ""
	values configdef.Values
	result *configdef.Result
}

// parsed is a connector configuration taken apart, with references resolved.
type parsed struct {
	spec     *plugins.ConnectorSpec
	resolved map[string]string
	base     configdef.Values
	own      configdef.Values
	parts    []*part
	secrets  *redactor
}

func (w *Worker) resolve(ctx context.Context, raw map[string]string) (map[string]string, error) {
	if w.cfg.Resolver == nil {
		return raw, nil
	}
	return w.cfg.Resolver.Resolve(ctx, raw)
}

// below returns the settings under prefix, without it.
func below(raw map[string]string, prefix string) map[string]string {
	m := map[string]string{}
	for k, v := range raw {
		if strings.HasPrefix(k, prefix) {
			m[k[len(prefix):]] = v
		}
	}
	return m
}

// javaMap renders a map as java.util.HashMap.toString does.
func javaMap(m map[string]string) string {
	var parts []string
	for _, k := range hashMapOrder(m) {
		parts = append(parts, k+"="+m[k])
	}
	return "{" + strings.Join(parts, ", ") + "}"
}

// parse takes a configuration apart by all definitions that have a say in it. An error here means that there is no telling what the
// configuration should look like; everything else is in the results of the parts.
func (w *Worker) parse(ctx context.Context, raw map[string]string) (*parsed, error) {
	if _, ok := raw["connector.class"]; !ok {
		return nil, &api.Error{Code: 400, Message: fmt.Sprintf("Connector config %s contains no connector type", javaMap(raw))}
	}
	resolved, err := w.resolve(ctx, raw)
	if err != nil {
		return nil, &api.Error{Code: 400, Message: err.Error()}
	}
	spec, ok := w.cfg.Plugins.Connector(resolved["connector.class"])
	if !ok {
		return nil, &api.Error{Code: 400, Message: w.unknownClass(resolved["connector.class"])}
	}
	p := &parsed{spec: spec, resolved: resolved, secrets: newRedactor(raw, resolved)}
	def := sourceDef
	if spec.Kind == plugins.KindSink {
		def = sinkDef
	}
	base := p.add("", def(w.workerDefaults()), "")
	p.base = base.values
	if v, ok := base.result.Get("tasks.max"); ok && len(v.Errors) > 0 && strings.HasSuffix(v.Errors[0], "Not a number of type INT") {
		base.result.Error("tasks.max", "Invalid value null for configuration tasks.max: Value must be non-null") // so says the original
	}
	if spec.Kind == plugins.KindSink {
		checkSink(resolved, w.set.groupID, base.result)
	} else if topicRules(resolved, base.result) != nil && !w.set.topicCreation {
		w.log.Warn("topic.creation.* of a connector is not used: topic.creation.enable is false", "connector", raw["name"])
	}
	w.parseChain(p, base)
	own := p.add("", ownDef(spec, base.def), "")
	p.own = own.values
	if spec.Kind == plugins.KindSource {
		w.checkExactlyOnce(p, base)
	}
	w.parseConverters(p, base)
	w.parseOverrides(p, base)
	p.secrets.addPasswords(p)
	return p, nil
}

// ownDef is the connector's definition without the keys that the worker defines.
func ownDef(spec *plugins.ConnectorSpec, base *configdef.Def) *configdef.Def {
	if spec.Config == nil {
		return configdef.NewDef()
	}
	return spec.Config
}

func (p *parsed) add(prefix string, def *configdef.Def, group string) *part {
	if def == nil {
		def = configdef.NewDef()
	}
	x := &part{prefix: prefix, def: def, group: group}
	raw := p.resolved
	if prefix != "" {
		raw = below(raw, prefix)
	}
	x.values, x.result = def.Validate(raw)
	p.parts = append(p.parts, x)
	return x
}

func (w *Worker) unknownClass(class string) string {
	var names []string
	for _, i := range w.cfg.Plugins.List(true) {
		names = append(names, i.Class)
	}
	text := fmt.Sprintf("Failed to find any class that implements Connector and which name matches %s, available connectors are: %s", class, strings.Join(names, ", "))
	if near := configdef.Nearest(class, names); near != "" {
		text += ". Did you mean " + near + "?"
	}
	return text
}

const classMissing = "Invalid value %s for configuration %s: Class %s could not be found."

// parseChain adds the definitions of the transforms and predicates in use.
func (w *Worker) parseChain(p *parsed, base *part) {
	predicates := map[string]bool{}
	for _, a := range splitList(p.resolved["predicates"]) {
		predicates[a] = true
	}
	for _, a := range splitList(p.resolved["transforms"]) {
		prefix, class := "transforms."+a+".", strings.TrimSpace(p.resolved["transforms."+a+".type"])
		keys := configdef.NewDef(
			configdef.Key{Name: "type", Type: configdef.Class, Required: true, Importance: configdef.High, Width: configdef.WidthLong, Display: "Transformation type for " + a, Doc: "Class of the transform."},
			configdef.Key{Name: "plugin.version", Type: configdef.String, Importance: configdef.High, Width: configdef.WidthLong, Display: "Transformation version for " + a, Unsupported: oneVersion, Doc: "Version of the plugin."},
			configdef.Key{Name: "negate", Type: configdef.Boolean, Default: false, Doc: "Apply the transform where its predicate does not hold."},
			configdef.Key{Name: "predicate", Type: configdef.String, Doc: "Alias of the predicate that decides whether the transform applies."},
		)
		spec, ok := w.cfg.Plugins.Transform(class)
		if ok && spec.Config != nil {
			keys = keys.Merge(spec.Config)
		}
		x := p.add(prefix, keys, "Transforms: "+a)
		if class != "" && !ok {
			x.result.Error("type", classMissing, class, prefix+"type", class)
		}
		pred := strings.TrimSpace(p.resolved[prefix+"predicate"])
		if pred != "" && !predicates[pred] {
			x.result.Error("predicate", "Invalid value %s for configuration %spredicate: there is no predicate of this name in predicates", pred, prefix)
		}
		if _, set := p.resolved[prefix+"negate"]; set && pred == "" {
			x.result.Error("negate", "Invalid value %s for configuration %snegate: there is no predicate to negate", p.resolved[prefix+"negate"], prefix)
		}
	}
	for a := range predicates {
		prefix := "predicates." + a + "."
		class := strings.TrimSpace(p.resolved[prefix+"type"])
		keys := configdef.NewDef(
			configdef.Key{Name: "type", Type: configdef.Class, Required: true, Importance: configdef.High, Width: configdef.WidthLong, Display: "Predicate type for " + a, Doc: "Class of the predicate."},
			configdef.Key{Name: "plugin.version", Type: configdef.String, Importance: configdef.High, Width: configdef.WidthLong, Display: "Predicate version for " + a, Unsupported: oneVersion, Doc: "Version of the plugin."},
		)
		spec, ok := w.cfg.Plugins.Predicate(class)
		if ok && spec.Config != nil {
			keys = keys.Merge(spec.Config)
		}
		x := p.add(prefix, keys, "Predicates: "+a)
		if class != "" && !ok {
			x.result.Error("type", classMissing, class, prefix+"type", class)
		}
	}
	_ = base
}

// converterProps finds class and settings of a converter: the connector's own when it names a class, else the worker's.
func (w *Worker) converterProps(resolved map[string]string, kind string) (class string, props map[string]string) {
	if c := strings.TrimSpace(resolved[kind]); c != "" {
		return c, below(resolved, kind+".")
	}
	return w.set.values.Str(kind), w.set.withPrefix(kind + ".")
}

// parseConverters adds the definitions of converters that the connector names.
func (w *Worker) parseConverters(p *parsed, base *part) {
	for _, kind := range []string{"key.converter", "value.converter", "header.converter"} {
		class, _ := w.converterProps(p.resolved, kind)
		var (
			def *configdef.Def
			ok  bool
		)
		if kind == "header.converter" {
			var s *plugins.Spec[plugins.HeaderConverter]
			if s, ok = w.cfg.Plugins.HeaderConverter(class); ok {
				def = s.Config
			}
		} else {
			var s *plugins.Spec[plugins.Converter]
			if s, ok = w.cfg.Plugins.Converter(class); ok {
				def = s.Config
			}
		}
		if !ok {
			base.result.Error(kind, classMissing, class, kind, class)
			continue
		}
		if strings.TrimSpace(p.resolved[kind]) != "" {
			p.add(kind+".", def, "")
		}
	}
}

// parseOverrides checks the client settings of the connector.
func (w *Worker) parseOverrides(p *parsed, base *part) {
	allowed := strings.EqualFold(w.set.values.Str("connector.client.config.override.policy"), "All")
	for _, side := range []string{"producer", "consumer", "admin"} {
		prefix := side + ".override."
		props := below(p.resolved, prefix)
		if len(props) == 0 {
			continue
		}
		if !allowed {
			for _, k := range sortedKeys(props) {
				base.result.Error(prefix+k, "The 'None' policy does not allow '%s' to be overridden in the connector configuration.", k)
			}
			continue
		}
		if p.spec.Kind == plugins.KindSource && side == "consumer" {
			for _, k := range sortedKeys(props) {
				base.result.Error(prefix+k, "Invalid value %s for configuration %s: a source connector has no consumer", props[k], prefix+k)
			}
			continue
		}
		vals, res := clientDefs[side].Validate(props)
		clientDefs[side].RefuseUnknown(props, res)
		_ = vals
		for _, v := range res.Values {
			for _, e := range v.Errors {
				base.result.Error(prefix+v.Key.Name, "%s", strings.ReplaceAll(e, "configuration "+v.Key.Name+":", "configuration "+prefix+v.Key.Name+":"))
			}
		}
		if res.ErrorCount() == 0 {
			if _, err := clientOpts(side, props); err != nil {
				base.result.Error(strings.TrimSuffix(prefix, "."), "%s", err)
			}
		}
	}
}

func (p *parsed) errorCount() int {
	n := 0
	for _, x := range p.parts {
		n += x.result.ErrorCount()
	}
	return n
}

// validateWorld lets the connector look outside; only when the definitions found nothing.
func (p *parsed) validateWorld(ctx context.Context) (err error) {
	if p.errorCount() > 0 {
		return nil
	}
	for _, x := range p.parts {
		if x.prefix == "" && x.def == p.ownPart().def {
			return guard(func() error {
				p.spec.New().Validate(ctx, p.own, x.result)
				return nil
			})
		}
	}
	return nil
}

func (p *parsed) ownPart() *part {
	n := 0
	for _, x := range p.parts {
		if x.prefix == "" {
			if n++; n == 2 {
				return x
			}
		}
	}
	return p.parts[0]
}

// warnUnknown logs keys that nothing knows: a connector takes them, as in Kafka Connect, but a typo should not go unseen.
func (w *Worker) warnUnknown(name string, p *parsed) {
	for _, k := range sortedKeys(p.resolved) {
		known := strings.HasPrefix(k, "producer.override.") || strings.HasPrefix(k, "consumer.override.") || strings.HasPrefix(k, "admin.override.") || strings.HasPrefix(k, "topic.creation.")
		for _, x := range p.parts {
			if rest, ok := strings.CutPrefix(k, x.prefix); ok && x.def.Known(rest) {
				known = true
			}
		}
		if !known {
			hint := p.ownPart().def.Suggest(k)
			w.log.Warn("the configuration of a connector has a key that is not known", "connector", name, "key", k, "did_you_mean", hint)
		}
	}
}

// infos renders the results as the validate endpoint answers.
func (p *parsed) infos(raw map[string]string) *api.ConfigInfos {
	out := &api.ConfigInfos{Name: p.resolved["connector.class"], Groups: []string{}, Configs: []api.ConfigInfo{}}
	seen := map[string]int{}
	order := map[string]int{}
	groups := map[string]bool{}
	for _, x := range p.parts {
		for _, v := range x.result.Values {
			if v.Key.Internal {
				continue
			}
			name := x.prefix + v.Key.Name
			if i, dup := seen[name]; dup {
				out.Configs[i].Value.Errors = append(out.Configs[i].Value.Errors, p.errors(x, v)...)
				continue
			}
			group := v.Key.Group
			if x.group != "" {
				group = x.group
			}
			info := keyInfo(v.Key, name, group, order)
			if group != "" && !groups[group] {
				groups[group] = true
				out.Groups = append(out.Groups, group)
			}
			val := api.ConfigValueInfo{Name: name, Value: v.Value, RecommendedValues: append([]string{}, v.Recommended...), Errors: p.errors(x, v), Visible: v.Visible}
			if s, ok := raw[name]; ok && p.resolved[name] != s {
				val.Value = &s // a reference is shown as it was written
			}
			if v.Key.Type == configdef.Password && val.Value != nil {
				hidden := "[hidden]"
				val.Value = &hidden
			}
			seen[name] = len(out.Configs)
			out.Configs = append(out.Configs, api.ConfigInfo{Definition: info, Value: val})
		}
	}
	for _, c := range out.Configs {
		out.ErrorCount += len(c.Value.Errors)
	}
	return out
}

func (p *parsed) errors(x *part, v *configdef.Value) []string {
	out := []string{}
	for _, e := range v.Errors {
		if x.prefix != "" {
			e = strings.ReplaceAll(e, "configuration "+v.Key.Name+":", "configuration "+x.prefix+v.Key.Name+":")
			e = strings.ReplaceAll(e, "configuration \""+v.Key.Name+"\"", "configuration \""+x.prefix+v.Key.Name+"\"")
		}
		out = append(out, p.secrets.clean(e))
	}
	return out
}

func keyInfo(k *configdef.Key, name, group string, order map[string]int) *api.ConfigKeyInfo {
	info := &api.ConfigKeyInfo{
		Name: name, Type: string(k.Type), Required: k.Required, Importance: string(k.Importance), Documentation: k.Doc,
		OrderInGroup: -1, Width: string(k.Width), DisplayName: k.Display, Dependents: append([]string{}, k.Dependents...),
	}
	if info.DisplayName == "" {
		info.DisplayName = k.Name
	}
	if d, ok := k.DefaultText(); ok {
		if k.Type == configdef.Password {
			d = "[hidden]"
		}
		info.DefaultValue = &d
	}
	if group != "" {
		order[group]++
		info.Group, info.OrderInGroup = &group, order[group]
	}
	return info
}

// invalid is the answer to a configuration with errors.
func invalid(infos *api.ConfigInfos) error {
	var sb strings.Builder
	fmt.Fprintf(&sb, "Connector configuration is invalid and contains the following %d error(s):", infos.ErrorCount)
	for _, c := range infos.Configs {
		for _, e := range c.Value.Errors {
			sb.WriteString("\n" + e)
		}
	}
	sb.WriteString("\nYou can also find the above list of errors at the endpoint `/connector-plugins/{connectorType}/config/validate`")
	return &api.Error{Code: 400, Message: sb.String()}
}
