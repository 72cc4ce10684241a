package connect

import (
	"context"
	"fmt"
	"strings"

	"github.com/moldau-io/moldau/plugins"
	"github.com/moldau-io/moldau/plugins/configdef"
)

// link is one transform of a connector with the predicate that decides whether it applies.
type link struct {
	transform plugins.Transform
	class     string
	predicate plugins.Predicate // nil: always
	negate    bool
}

// chain is what happens to a record between connector and converters.
type chain []link

// apply runs the record through the chain. failed is the class of the transform that failed.
func (c chain) apply(r *plugins.Record) (keep bool, failed string, err error) {
	for i := range c {
		l := &c[i]
		if l.predicate != nil && l.predicate.Test(r) == l.negate {
			continue
		}
		keep, err := l.transform.Apply(r)
		if err != nil {
			return false, l.class, err
		}
		if !keep {
			return false, "", nil
		}
	}
	return true, "", nil
}

func (c chain) close() {
	for i := range c {
		_ = c[i].transform.Close()
		if c[i].predicate != nil {
			_ = c[i].predicate.Close()
		}
	}
}

func values(def *configdef.Def, props map[string]string) (configdef.Values, error) {
	if def == nil {
		def = configdef.NewDef()
	}
	v, r := def.Validate(props)
	return v, r.Err()
}

// buildChain makes the transforms and predicates of a connector.
func (w *Worker) buildChain(resolved map[string]string) (c chain, err error) {
	defer func() {
		if err != nil {
			c.close()
			c = nil
		}
	}()
	for _, a := range splitList(resolved["transforms"]) {
		prefix := "transforms." + a + "."
		spec, ok := w.cfg.Plugins.Transform(resolved[prefix+"type"])
		if !ok {
			return c, fmt.Errorf(classMissing, resolved[prefix+"type"], prefix+"type", resolved[prefix+"type"])
		}
		l := link{transform: spec.New(), class: spec.Class, negate: strings.EqualFold(strings.TrimSpace(resolved[prefix+"negate"]), "true")}
		v, err := values(spec.Config, below(resolved, prefix))
		if err == nil {
			err = l.transform.Configure(v)
		}
		if err != nil {
			return c, fmt.Errorf("transform %q: %w", a, err)
		}
		c = append(c, l)
		p := strings.TrimSpace(resolved[prefix+"predicate"])
		if p == "" {
			continue
		}
		prefix = "predicates." + p + "."
		ps, ok := w.cfg.Plugins.Predicate(resolved[prefix+"type"])
		if !ok {
			return c, fmt.Errorf(classMissing, resolved[prefix+"type"], prefix+"type", resolved[prefix+"type"])
		}
		pred := ps.New()
		if v, err = values(ps.Config, below(resolved, prefix)); err == nil {
			err = pred.Configure(v)
		}
		if err != nil {
			return c, fmt.Errorf("predicate %q: %w", p, err)
		}
		c[len(c)-1].predicate = pred
	}
	return c, nil
}

// codecs are the converters of a task.
type codecs struct {
	key, value                       plugins.Converter
	header                           plugins.HeaderConverter
	keyClass, valueClass, headerClas string
}

func (w *Worker) buildCodecs(ctx context.Context, resolved map[string]string, env plugins.ConverterEnv) (*codecs, error) {
	c := &codecs{}
	one := func(kind string, isKey bool) (plugins.Converter, string, error) {
		class, props := w.converterProps(resolved, kind)
		spec, ok := w.cfg.Plugins.Converter(class)
		if !ok {
			return nil, "", fmt.Errorf(classMissing, class, kind, class)
		}
		conv := spec.New()
		v, err := values(spec.Config, props)
		if err == nil {
			err = conv.Configure(ctx, env, v, isKey)
		}
		if err != nil {
			return nil, "", fmt.Errorf("%s: %w", kind, err)
		}
		return conv, spec.Class, nil
	}
	var err error
	if c.key, c.keyClass, err = one("key.converter", true); err != nil {
		return nil, err
	}
	if c.value, c.valueClass, err = one("value.converter", false); err != nil {
		return nil, err
	}
	class, props := w.converterProps(resolved, "header.converter")
	spec, ok := w.cfg.Plugins.HeaderConverter(class)
	if !ok {
		return nil, fmt.Errorf(classMissing, class, "header.converter", class)
	}
	c.header, c.headerClas = spec.New(), spec.Class
	v, err := values(spec.Config, props)
	if err == nil {
		err = c.header.Configure(ctx, env, v)
	}
	if err != nil {
		return nil, fmt.Errorf("header.converter: %w", err)
	}
	return c, nil
}
