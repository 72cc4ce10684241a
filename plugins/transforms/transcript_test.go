package transforms

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/moldau-io/moldau/plugins"
	"github.com/moldau-io/moldau/plugins/converters"
	"github.com/moldau-io/moldau/plugins/plugintest"
)

// transcript is what Apache Kafka Connect 4.3.1 and Debezium 3.6.1 made of records: each case has a transform, its configuration, a
// record in the form of the JSON converter with schemas, and the resulting record or the error. Values are numbers into a list.
type transcript struct {
	Values []json.RawMessage `json:"values"`
	Cases  []struct {
		Name   string            `json:"name"`
		Class  string            `json:"class"`
		Config map[string]string `json:"config"`
		Record transcriptRecord  `json:"record"`
		Want   struct {
			transcriptRecord
			Dropped bool   `json:"dropped"`
			Error   string `json:"error"`
		} `json:"want"`
	} `json:"cases"`
}

type transcriptRecord struct {
	Topic     string `json:"topic"`
	Partition *int32 `json:"partition"`
	Offset    *int64 `json:"offset"`
	Timestamp *int64 `json:"timestamp"`
	Key       *int   `json:"key"`
	Value     *int   `json:"value"`
	Headers   []struct {
		Key   string `json:"key"`
		Value *int   `json:"value"`
	} `json:"headers"`
}

// better are the cases in which the original fails without need, and we do what was asked for.
var better = map[string]string{
	"mask {'fields': 'id,name,n,f,d,ok,ts,day,dec,arr,m,i8,i16'}": "a decimal is masked by the zero of its scale",
	"setschema {'schema.name': 'N'} prim":                         "schemas of primitives have names too",
	"setschema {'schema.version': '9'} prim":                      "schemas of primitives have versions too",
	"setschema {'schema.name': 'N', 'schema.version': '2'} prim":  "schemas of primitives have both",
	"flatten defaults": "a struct's default serves its fields",
}

func TestRecordsComeOutAsKafkaConnectAndDebeziumMakeThem(t *testing.T) {
	b, err := os.ReadFile("testdata/kafka-connect-4.3.1.json")
	require.NoError(t, err)
	var tr transcript
	require.NoError(t, json.Unmarshal(b, &tr))
	form := plugintest.JSONForm(t, converters.Register)
	ctx := context.Background()
	reg := plugins.NewRegistry()
	Register(reg)
	value := func(i *int) []byte {
		if i == nil {
			return nil
		}
		return tr.Values[*i]
	}
	for _, c := range tr.Cases {
		t.Run(c.Name, func(t *testing.T) {
			rec := plugins.Record{Topic: c.Record.Topic, Partition: plugins.NoPartition, Timestamp: plugins.NoTimestamp}
			if c.Record.Partition != nil {
				rec.Partition = *c.Record.Partition
			}
			if c.Record.Timestamp != nil {
				rec.Timestamp = *c.Record.Timestamp
			}
			if c.Record.Offset != nil {
				rec.Offset, rec.IsSink = *c.Record.Offset, true
			}
			var err error
			rec.KeySchema, rec.Key, err = form.ToData(ctx, "", value(c.Record.Key))
			require.NoError(t, err)
			rec.ValueSchema, rec.Value, err = form.ToData(ctx, "", value(c.Record.Value))
			require.NoError(t, err)
			for _, h := range c.Record.Headers {
				hd := plugins.Record{}
				hd.KeySchema, hd.Key, err = form.ToData(ctx, "", value(h.Value))
				require.NoError(t, err)
				rec.Headers = append(rec.Headers, dataHeader(h.Key, hd))
			}
			keep, err := run(reg, c.Class, c.Config, &rec)
			if better[c.Name] != "" {
				require.NotEmpty(t, c.Want.Error)
				require.NoError(t, err)
				return
			}
			if c.Want.Error != "" {
				if err == nil { // the transform let it pass, the converter does not
					_, err = form.FromData(ctx, nil, "", rec.ValueSchema, rec.Value)
				}
				require.Error(t, err, "want: %s", c.Want.Error)
				if os.Getenv("SHOW") != "" {
					t.Logf("\n want %s\n have %s", c.Want.Error, err)
				}
				return
			}
			require.NoError(t, err)
			require.Equal(t, !c.Want.Dropped, keep)
			if !keep {
				return
			}
			require.Equal(t, c.Want.Topic, rec.Topic)
			for _, part := range []struct {
				name string
				want *int
				have func() ([]byte, error)
			}{
				{"key", c.Want.Key, func() ([]byte, error) { return form.FromData(ctx, nil, "", rec.KeySchema, rec.Key) }},
				{"value", c.Want.Value, func() ([]byte, error) { return form.FromData(ctx, nil, "", rec.ValueSchema, rec.Value) }},
			} {
				have, err := part.have()
				require.NoError(t, err)
				require.Equal(t, plugintest.Numbers(t, value(part.want)), plugintest.Numbers(t, have), part.name)
			}
			require.Len(t, rec.Headers, len(c.Want.Headers))
			for i, h := range c.Want.Headers {
				require.Equal(t, h.Key, rec.Headers[i].Key)
				have, err := form.FromData(ctx, nil, "", rec.Headers[i].Schema, rec.Headers[i].Value)
				require.NoError(t, err)
				require.Equal(t, plugintest.Numbers(t, value(h.Value)), plugintest.Numbers(t, have))
			}
		})
	}
}

// run configures a transform and applies it twice, the second time to see that what was derived serves again.
func run(reg *plugins.Registry, class string, config map[string]string, rec *plugins.Record) (bool, error) {
	spec, ok := reg.Transform(class)
	if !ok {
		return false, errors.New("no such transform")
	}
	cfg, err := spec.Config.Parse(config)
	if err != nil {
		return false, err
	}
	tr := spec.New()
	if tc, ok := tr.(*timestampConverter); ok {
		tc.now = func() time.Time { return time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC) }
	}
	if err := tr.Configure(cfg); err != nil {
		return false, err
	}
	first := *rec
	if _, err := tr.Apply(&first); err != nil {
		return false, err
	}
	keep, err := tr.Apply(rec)
	if err == nil && keep && (rec.ValueSchema != first.ValueSchema || rec.KeySchema != first.KeySchema) {
		return false, errors.New("the second record got another schema")
	}
	return keep, err
}
