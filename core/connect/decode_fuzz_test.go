package connect

import (
	"bytes"
	"log/slog"
	"math"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"
)

func FuzzOffsetRecords(f *testing.F) {
	f.Add([]byte(`["c",{"filename":"x"}]`), []byte(`{"position":6}`))
	f.Add([]byte(`["c",null]`), []byte(`null`))
	f.Add([]byte(`["c",{"a":1,"b":1.5,"c":true,"d":null,"e":"\u0000é😀"}]`), []byte(`{"a":[1,{"x":1e400}]}`))
	f.Add([]byte(`["c",{}] `), []byte(`{"a":123456789012345678901234567890}`))
	f.Fuzz(func(t *testing.T, key, value []byte) {
		o := newOffsetStore("o", slog.New(slog.DiscardHandler))
		r := &kgo.Record{Key: key, Value: value}
		if o.apply(r) != nil {
			return
		}
		for name, m := range o.entries {
			for _, e := range m {
				require.Equal(t, e.offset, o.get(name, e.partition), "a position is found by its partition")
				back, err := o.render(name, sourceMark{partition: e.partition})
				require.NoError(t, err)
				require.Equal(t, key, back.Key, "a position keeps the bytes of its key")
				if b, err := appendJSON(nil, []any{name, e.partition}); err == nil {
					n2, p2, err := parseOffsetKey(b)
					require.NoError(t, err, "%s", b)
					require.Equal(t, name, n2)
					require.Equal(t, canonical(e.partition), canonical(p2))
				}
			}
		}
	})
}

func FuzzStatusRecords(f *testing.F) {
	f.Add("status-connector-a", []byte(`{"state":"RUNNING","trace":null,"worker_id":"h:1","generation":1,"version":"1"}`))
	f.Add("status-task-a-b-0", []byte(`{"state":"FAILED","trace":"x","worker_id":"h:1","generation":-1}`))
	f.Add("status-topic-t:connector-a:connector-b", []byte(`{"topic":{"name":"t","connector":"a","task":0,"discoverTimestamp":1}}`))
	f.Add("status-task-a-99999999999999999999", []byte(`{"state":"FAILED"}`))
	f.Fuzz(func(_ *testing.T, key string, value []byte) {
		s := newStatusStore("s", slog.New(slog.DiscardHandler))
		_ = s.apply(key, value)
		for _, id := range s.ids() {
			_ = s.info(id.connector, "source")
			_ = s.activeTopics(id.connector)
		}
		_ = s.apply(key, nil)
	})
}

func TestMembersComeInTheOrderOfAJavaHashMap(t *testing.T) {
	for _, want := range []string{ // as printed by Java 17
		"server,database", "lsn_proc,messageType,lsn_commit,lsn,txId,ts_usec,snapshot", "a,b,c,d,e,f,g,h,i,j,k,l,m,n,o,p",
		"ts_sec,file,pos,gtids,row,event,server_id", "filename,x😀,ünï",
	} {
		m := map[string]int{}
		for _, k := range strings.Split(want, ",") {
			m[k] = 1
		}
		require.Equal(t, want, strings.Join(hashMapOrder(m), ","))
	}
}

func TestJSONIsWrittenAsJacksonDoes(t *testing.T) {
	for _, c := range []struct {
		v    any
		want string
	}{
		{"a\"\\\b\t\n\f\r\x01\x7f/<>&é\u2028😀", `"a\"\\\b\t\n\f\r\u0001` + "\x7f/<>&é\u2028😀" + `"`},
		{map[string]any{"server": "x", "database": "y"}, `{"server":"x","database":"y"}`},
		{map[string]any(nil), "null"},
		{1.0, "1.0"}, {1e10, "1.0E10"}, {0.001, "0.001"}, {1e-5, "1.0E-5"}, {123456.789, "123456.789"}, {1234567890.5, "1.2345678905E9"},
	} {
		b, err := appendJSON(nil, c.v)
		require.NoError(t, err)
		require.Equal(t, c.want, string(b))
	}
	_, err := appendJSON(nil, math.Inf(1))
	require.Error(t, err)
	_, err = appendJSON(nil, map[string]any{"x": bytes.NewReader(nil)})
	require.ErrorContains(t, err, "x: a value of type *bytes.Reader cannot be stored")
}
