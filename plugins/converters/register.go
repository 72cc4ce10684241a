package converters

import (
	"github.com/moldau-io/moldau/plugins"
	"github.com/moldau-io/moldau/plugins/configdef"
)

// Version is what the REST API reports for these plugins: the release of Kafka Connect that they follow.
const Version = "4.3.1"

const javaPackage = "org.apache.kafka.connect."

// Register adds all converters and header converters except Avro, which needs a registry client (see [AvroSpec]).
func Register(r *plugins.Registry) {
	add := func(class, short string, def *configdef.Def, conv func() plugins.Converter, header func() plugins.HeaderConverter) {
		r.AddConverter(&plugins.Spec[plugins.Converter]{Class: class, Aliases: []string{short}, Version: Version, Config: def, New: conv})
		r.AddHeaderConverter(&plugins.Spec[plugins.HeaderConverter]{Class: class, Aliases: []string{short}, Version: Version, Config: def, New: header})
	}
	add(javaPackage+"json.JsonConverter", "JsonConverter", jsonDef,
		func() plugins.Converter { return NewJSONConverter() },
		func() plugins.HeaderConverter { return &jsonHeaders{} })
	add(javaPackage+"storage.StringConverter", "StringConverter", stringDef,
		func() plugins.Converter { return &StringConverter{} },
		func() plugins.HeaderConverter { return &stringHeaders{} })
	for _, p := range []struct {
		class, short string
		p            primitive
	}{
		{"converters.ByteArrayConverter", "ByteArrayConverter", byteArray},
		{"converters.BooleanConverter", "BooleanConverter", boolean},
		{"converters.ShortConverter", "ShortConverter", short},
		{"converters.IntegerConverter", "IntegerConverter", integer},
		{"converters.LongConverter", "LongConverter", long},
		{"converters.FloatConverter", "FloatConverter", float},
		{"converters.DoubleConverter", "DoubleConverter", double},
	} {
		add(javaPackage+p.class, p.short, converterTypeDef,
			func() plugins.Converter { c := p.p; return &c },
			func() plugins.HeaderConverter { return &primitiveHeaders{p.p} })
	}
	r.AddHeaderConverter(&plugins.Spec[plugins.HeaderConverter]{Class: javaPackage + "storage.SimpleHeaderConverter", Aliases: []string{"SimpleHeaderConverter"},
		Version: Version, Config: converterTypeDef, New: func() plugins.HeaderConverter { return SimpleHeaderConverter{} }})
}
