package transforms

import (
	"github.com/moldau-io/moldau/plugins"
	"github.com/moldau-io/moldau/plugins/configdef"
)

// What the REST API reports as the version of these plugins: the releases that they follow.
const (
	KafkaVersion    = "4.3.1"
	DebeziumVersion = "3.6.1.Final"
)

const (
	kafkaPackage    = "org.apache.kafka.connect.transforms."
	debeziumPackage = "io.debezium.transforms."
)

// Register adds the transforms to r. Each has its Java class name and its simple name ("InsertField$Value").
func Register(r *plugins.Registry) {
	add := func(pkg, name, version string, def *configdef.Def, create func() plugins.Transform) {
		r.AddTransform(&plugins.Spec[plugins.Transform]{Class: pkg + name, Aliases: []string{name}, Version: version, Config: def, New: create})
	}
	one := func(name string, def *configdef.Def, create func() plugins.Transform) {
		add(kafkaPackage, name, KafkaVersion, def, create)
	}
	both := func(name string, def *configdef.Def, create func(side) plugins.Transform) {
		one(name+"$Key", def, func() plugins.Transform { return create(keySide) })
		one(name+"$Value", def, func() plugins.Transform { return create(valueSide) })
	}
	both("Cast", castDef, func(s side) plugins.Transform { return &cast{side: s} })
	one("DropHeaders", dropHeadersDef, func() plugins.Transform { return &dropHeaders{} })
	both("ExtractField", extractFieldDef, func(s side) plugins.Transform { return &extractField{side: s} })
	one("Filter", configdef.NewDef(), func() plugins.Transform { return filter{} })
	both("Flatten", flattenDef, func(s side) plugins.Transform { return &flatten{side: s} })
	both("HeaderFrom", headerFromDef, func(s side) plugins.Transform { return &headerFrom{side: s} })
	both("HoistField", hoistFieldDef, func(s side) plugins.Transform { return &hoistField{side: s} })
	both("InsertField", insertFieldDef, func(s side) plugins.Transform { return &insertField{side: s} })
	one("InsertHeader", insertHeaderDef, func() plugins.Transform { return &insertHeader{} })
	both("MaskField", maskFieldDef, func(s side) plugins.Transform { return &maskField{side: s} })
	one("RegexRouter", regexRouterDef, func() plugins.Transform { return &regexRouter{} })
	both("ReplaceField", replaceFieldDef, func(s side) plugins.Transform { return &replaceField{side: s} })
	both("SetSchemaMetadata", setSchemaMetadataDef, func(s side) plugins.Transform { return &setSchemaMetadata{side: s} })
	both("TimestampConverter", timestampConverterDef, func(s side) plugins.Transform { return newTimestampConverter(s) })
	one("TimestampRouter", timestampRouterDef, func() plugins.Transform { return &timestampRouter{} })
	one("ValueToKey", valueToKeyDef, func() plugins.Transform { return &valueToKey{} })
	add(debeziumPackage, "ExtractNewRecordState", DebeziumVersion, extractNewRecordStateDef, func() plugins.Transform { return &extractNewRecordState{} })
	add(debeziumPackage, "ByLogicalTableRouter", DebeziumVersion, byLogicalTableDef, func() plugins.Transform { return &byLogicalTable{} })
}
