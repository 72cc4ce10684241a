package broker_test

import (
	"bytes"
	"cmp"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"hash/crc32"
	"net"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
	"gopkg.in/yaml.v3"

	"github.com/moldau-io/moldau/core/broker/brokertest"
	"github.com/moldau-io/moldau/core/log/batch"
	"github.com/moldau-io/moldau/plugins/javaregex"
)

// A file of testdata/answers is a conversation: lines of requests ("> ") and what Apache Kafka 4.3.1 answered to each. A request is
// an API, a version and the request's fields in YAML, those that are left out have their defaults; "> p=InitProducerId/4 {...}" keeps
// the answer under a name whose fields later requests may use: "$p.ProducerID". Topic ids are written as topic names, records as
// what makes them (see records in this file). Answers leave out what is zero. "> ~Api/1 {...}" is a request whose answer differs on
// purpose: a line "#~ why" above says why (docs/protocol.md lists these), "< " is Kafka's answer and the line below it the one given here.
//
// To add a case, add its "> " line and record: a Kafka with empty data, node.id=1, group.consumer.assignment.interval.ms=0,
// group.min.session.timeout.ms=100, group.initial.rebalance.delay.ms=0, num.partitions=1, log.retention.hours=168 and
// log.segment.bytes=1073741824, then, for all files together since the first producer id is 0,
//
//	go test ./core/broker -run TestAnswersAreKafkas -args -record-answers=127.0.0.1:9092
var (
	recordAnswers = flag.String("record-answers", "", "record the answers of the Apache Kafka at this address")
	writeAnswers  = flag.Bool("write-answers", false, "write the answers of this broker beside the recorded ones, to look at all differences")
)

// answers is one conversation.
type answers struct {
	*raw
	addr  string
	kafka bool
	kept  map[string]reflect.Value
	ids   map[[16]byte]string
	uuids map[string]string
	pids  map[int64]string
}

var apiKeys = func() map[string]int16 {
	m := map[string]int16{}
	for k := range int16(kmsg.MaxKey + 1) {
		m[kmsg.NameForKey(k)] = k
	}
	return m
}()

var (
	requestLine = regexp.MustCompile(`^> (~?)(?:(\w+)=)?(\w+)/(\d+) (\{.*)$`)
	keptField   = regexp.MustCompile(`\$(\w+)((?:\.\w+)+)`)
	uuidHex     = regexp.MustCompile(`[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}`)
	uuidText    = regexp.MustCompile(`[A-Za-z0-9_-]+`)
	timeText    = regexp.MustCompile(`-?\b(1[789]\d{11}|92233702\d{11})\b`)
	hostPort    = regexp.MustCompile(`127\.0\.0\.1:\d+`)
)

func (a *answers) dial() {
	nc, err := net.Dial("tcp", a.addr)
	require.NoError(a.t, err)
	a.t.Cleanup(func() { _ = nc.Close() })
	require.NoError(a.t, nc.SetDeadline(time.Now().Add(2*time.Minute)))
	a.raw = &raw{t: a.t, nc: nc}
}

// run reads a conversation and gives it with the answers of the broker.
func (a *answers) run(text string) string {
	var out []string
	lines := strings.Split(strings.TrimRight(text, "\n"), "\n")
	for i := 0; i < len(lines); i++ {
		line := lines[i]
		switch {
		case strings.HasPrefix(line, "#") || line == "":
			out = append(out, line)
		case line == "> ~new connection" || line == "> new connection":
			out = append(out, line)
			a.dial()
		case strings.HasPrefix(line, "> sleep "):
			out = append(out, line)
			d, err := time.ParseDuration(strings.TrimPrefix(line, "> sleep "))
			require.NoError(a.t, err)
			if a.kafka { // here what is answered has happened
				time.Sleep(d)
			}
		case strings.HasPrefix(line, "> "):
			out = append(out, line)
			m := requestLine.FindStringSubmatch(line)
			require.NotNil(a.t, m, line)
			answer := a.ask(m[2], m[3], m[4], m[5])
			if m[1] == "" {
				out = append(out, answer)
				break
			}
			for ; i+1 < len(lines) && lines[i+1] != "" && !strings.HasPrefix(lines[i+1], ">") && !strings.HasPrefix(lines[i+1], "#"); i++ {
				kafkas := strings.HasPrefix(lines[i+1], "< ")
				switch {
				case a.kafka && kafkas:
					out = append(out, "< "+answer)
				case a.kafka || kafkas:
					out = append(out, lines[i+1])
				default:
					out = append(out, answer)
				}
			}
		}
	}
	return strings.Join(out, "\n") + "\n"
}

// comeAgain are the codes of what is not ready yet.
var comeAgain = []int16{
	kerr.CoordinatorLoadInProgress.Code, kerr.CoordinatorNotAvailable.Code, kerr.NotCoordinator.Code, kerr.ConcurrentTransactions.Code, kerr.LeaderNotAvailable.Code,
}

func (a *answers) ask(name, api, version, fields string) string {
	key, ok := apiKeys[api]
	require.True(a.t, ok, "no API %s", api)
	fields = keptField.ReplaceAllStringFunc(fields, func(ref string) string {
		m := keptField.FindStringSubmatch(ref)
		v, ok := a.kept[m[1]]
		require.True(a.t, ok, "nothing is kept as %s", m[1])
		for f := range strings.SplitSeq(m[2][1:], ".") {
			for v.Kind() == reflect.Pointer {
				v = v.Elem()
			}
			if n, err := strconv.Atoi(f); err == nil {
				v = v.Index(n)
			} else {
				v = v.FieldByName(f)
			}
			require.True(a.t, v.IsValid(), ref)
		}
		for v.Kind() == reflect.Pointer {
			v = v.Elem()
		}
		return fmt.Sprint(v.Interface())
	})
	var tree any
	require.NoError(a.t, yaml.Unmarshal([]byte(fields), &tree), fields)
	req := kmsg.RequestForKey(key)
	v, err := strconv.ParseInt(version, 10, 16)
	require.NoError(a.t, err)
	a.fill(reflect.ValueOf(req).Elem(), tree)
	req.SetVersion(int16(v))
	var resp kmsg.Response
	for range 100 {
		resp = req.ResponseKind()
		corr := a.send(req)
		if p, isProduce := req.(*kmsg.ProduceRequest); isProduce && p.Acks == 0 {
			return "(no answer)"
		}
		require.NoError(a.t, a.nc.SetDeadline(time.Now().Add(5*time.Second)))
		got, b, err := a.frame()
		if err != nil {
			a.dial()
			if errors.Is(err, os.ErrDeadlineExceeded) {
				return "(no answer)"
			}
			return "(the connection is closed)"
		}
		require.Equal(a.t, corr, got)
		if resp.IsFlexible() && resp.Key() != 18 {
			b = b[1:]
		}
		require.NoError(a.t, resp.ReadFrom(b), "%s/%s %s", api, version, fields)
		if !slices.ContainsFunc(comeAgain, func(c int16) bool { return hasCode(reflect.ValueOf(resp), c) }) {
			break
		}
		time.Sleep(20 * time.Millisecond)
	}
	a.meet(reflect.ValueOf(resp))
	if name != "" {
		a.kept[name] = reflect.ValueOf(resp)
	}
	if a.kafka && strings.Contains("CreateTopics DeleteTopics CreatePartitions AlterConfigs IncrementalAlterConfigs UpdateFeatures AlterClientQuotas AlterUserScramCredentials", api) {
		time.Sleep(400 * time.Millisecond) // until the change has reached the broker
	}
	var w bytes.Buffer
	a.write(&w, reflect.ValueOf(resp).Elem(), "")
	return w.String()
}

func hasCode(v reflect.Value, c int16) bool {
	switch v.Kind() {
	case reflect.Pointer:
		return !v.IsNil() && hasCode(v.Elem(), c)
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Type().Field(i).Name == "ErrorCode" && v.Field(i).Int() == int64(c) || hasCode(v.Field(i), c) {
				return true
			}
		}
	case reflect.Slice:
		if v.Type().Elem().Kind() != reflect.Struct {
			return false
		}
		for i := range v.Len() {
			if hasCode(v.Index(i), c) {
				return true
			}
		}
	}
	return false
}

// meet learns the ids of topics that answers name.
func (a *answers) meet(v reflect.Value) {
	switch v.Kind() {
	case reflect.Pointer:
		if !v.IsNil() {
			a.meet(v.Elem())
		}
	case reflect.Struct:
		id, name := v.FieldByName("TopicID"), v.FieldByName("Topic")
		if id.IsValid() && name.IsValid() {
			for name.Kind() == reflect.Pointer {
				name = name.Elem()
			}
			if b := id.Interface().([16]byte); name.IsValid() && name.Kind() == reflect.String && name.String() != "" && !id.IsZero() && !madeUp(b) && a.ids[id.Interface().([16]byte)] == "" {
				a.ids[id.Interface().([16]byte)] = name.String()
			}
		}
		for i := range v.NumField() {
			a.meet(v.Field(i))
		}
	case reflect.Slice:
		if v.Type().Elem().Kind() == reflect.Struct {
			for i := range v.Len() {
				a.meet(v.Index(i))
			}
		}
	}
}

// fill sets the fields of a request from YAML.
func (a *answers) fill(v reflect.Value, tree any) {
	if v.Kind() == reflect.Struct {
		if d, ok := v.Addr().Interface().(interface{ Default() }); ok {
			d.Default()
		}
	}
	switch x := tree.(type) {
	case nil:
		v.SetZero()
	case map[string]any:
		if v.Kind() == reflect.Pointer {
			v.Set(reflect.New(v.Type().Elem()))
			v = v.Elem()
			if d, ok := v.Addr().Interface().(interface{ Default() }); ok {
				d.Default()
			}
		}
		for k, e := range x {
			f := v.FieldByName(k)
			require.True(a.t, f.IsValid(), "%s has no field %s", v.Type(), k)
			switch {
			case k == "Records":
				f.SetBytes(a.records(e))
			case k == "TopicID" || k == "TopicIDs":
				a.fillID(f, e)
			default:
				a.fill(f, e)
			}
		}
	case []any:
		f := reflect.MakeSlice(v.Type(), len(x), len(x))
		for i := range x {
			a.fill(f.Index(i), x[i])
		}
		v.Set(f)
	case string:
		if n, ok := strings.CutPrefix(x, "long "); ok { // a name of that many letters
			c, err := strconv.Atoi(n)
			require.NoError(a.t, err)
			x = strings.Repeat("n", c)
		}
		switch v.Kind() {
		case reflect.Pointer:
			v.Set(reflect.ValueOf(&x))
		case reflect.Slice:
			v.SetBytes([]byte(x))
		case reflect.Array:
			a.fillID(v, x)
		default:
			require.Equal(a.t, reflect.String, v.Kind(), "%q for a %s", x, v.Type())
			v.SetString(x)
		}
	case bool:
		v.SetBool(x)
	case float64:
		v.SetFloat(x)
	case int:
		switch v.Kind() {
		case reflect.Float64:
			v.SetFloat(float64(x))
		case reflect.Uint16:
			v.SetUint(uint64(x))
		case reflect.String:
			v.SetString(strconv.Itoa(x))
		case reflect.Pointer:
			s := strconv.Itoa(x)
			v.Set(reflect.ValueOf(&s))
		default:
			v.SetInt(int64(x))
		}
	default:
		require.Fail(a.t, "what is this?", "%T %v", tree, tree)
	}
}

func (a *answers) fillID(v reflect.Value, name any) {
	for id, n := range a.ids {
		if n == name {
			v.Set(reflect.ValueOf(id))
			return
		}
	}
	require.Contains(a.t, []any{"unknown", "unknown2"}, name, "the id of a topic that no answer has named")
	v.Set(reflect.ValueOf([16]byte{7, byte(len(name.(string))), 9: 3}))
}

// madeUp says whether an id is that of no topic, see fillID.
func madeUp(id [16]byte) bool { return id[0] == 7 && id[9] == 3 }

// records are batches: null, text that is taken as it is, or maps with n (records), codec, producer (id, epoch, sequence), txn, key (null),
// ts (milliseconds from now), break (a field that is damaged), offset.
func (a *answers) records(e any) []byte {
	switch e := e.(type) {
	case nil:
		return nil
	case string:
		return []byte(e)
	case []any:
		out := []byte{}
		for _, x := range e {
			out = append(out, a.records(x)...)
		}
		return out
	}
	m := e.(map[string]any)
	get := func(k string, d int) int64 {
		switch x := m[k].(type) {
		case int:
			return int64(x)
		case int64:
			return x
		}
		return int64(d)
	}
	w := batch.Builder{BaseOffset: get("offset", 0)}
	if c, ok := m["codec"].(string); ok {
		codec, err := batch.ParseCodec(c)
		require.NoError(a.t, err)
		w.Codec = codec
	}
	if p, ok := m["producer"].([]any); ok {
		w.Idempotent, w.ProducerID, w.ProducerEpoch, w.BaseSequence = true, int64(p[0].(int)), int16(p[1].(int)), int32(p[2].(int))
	}
	w.Transactional, _ = m["txn"].(bool)
	w.Control, _ = m["control"].(bool)
	ts := time.Now().UnixMilli() + get("ts", 0)
	if at, ok := m["at"].(int); ok {
		ts = int64(at)
	}
	for i := range get("n", 1) {
		key := []byte(fmt.Sprint("k", i))
		if k, ok := m["key"]; ok && k == nil {
			key = nil
		}
		w.Append(ts+i, key, bytes.Repeat([]byte("v"), int(get("size", 1))))
	}
	b := w.MustBuild()
	what, _ := m["break"].(string)
	reseal := func() { putCRC(b) }
	switch what {
	case "":
	case "crc":
		b[17] ^= 1
	case "magic":
		b[16] = byte(get("magic", 3))
	case "count":
		b[60]++
		reseal()
	case "last offset":
		b[26]++
		reseal()
	case "codec":
		b[22] |= 7
		reseal()
	case "length":
		b[11]++
	case "cut":
		b = b[:len(b)-3]
	case "log append time":
		b[22] |= 8
		reseal()
	case "max timestamp":
		b[42]++
		reseal()
	default:
		require.Fail(a.t, "no such damage", what)
	}
	return b
}

// write writes an answer without what is zero, with stable names for what is random and in a stable order.
func (a *answers) write(w *bytes.Buffer, v reflect.Value, field string) {
	switch v.Kind() {
	case reflect.Pointer:
		a.write(w, v.Elem(), field)
	case reflect.Struct:
		w.WriteByte('{')
		first := true
		for i := range v.NumField() {
			name, f := v.Type().Field(i).Name, v.Field(i)
			if name == "Version" || name == "UnknownTags" || f.IsZero() || name == "ThrottleMillis" {
				continue
			}
			if name == "Configs" && strings.HasPrefix(v.Type().Name(), "CreateTopicsResponse") { // they have tests of their own
				continue
			}
			if !first {
				w.WriteString(", ")
			}
			first = false
			w.WriteString(name + ": ")
			a.write(w, f, name)
		}
		w.WriteByte('}')
	case reflect.Slice:
		if v.Type().Elem().Kind() == reflect.Uint8 {
			if field == "Records" || field == "RecordBatches" {
				a.writeBatches(w, v.Bytes())
				return
			}
			w.WriteString(a.name(fmt.Sprintf("%q", v.Bytes())))
			return
		}
		var parts []string
		for i := range v.Len() {
			var e bytes.Buffer
			a.write(&e, v.Index(i), field)
			parts = append(parts, e.String())
		}
		slices.SortStableFunc(parts, func(x, y string) int { return cmp.Compare(x, y) })
		w.WriteString("[" + strings.Join(parts, ", ") + "]")
	case reflect.Array:
		id := v.Interface().([16]byte)
		switch n := a.ids[id]; {
		case n != "":
			w.WriteString(n)
		case madeUp(id):
			w.WriteString("unknown")
		default:
			w.WriteString("some id")
		}
	case reflect.String:
		if field == "Dir" {
			w.WriteString("dir")
			return
		}
		w.WriteString(strconv.Quote(a.name(v.String())))
	case reflect.Int16:
		if strings.HasSuffix(field, "ErrorCode") {
			w.WriteString(code(int16(v.Int())))
			return
		}
		fmt.Fprint(w, v.Int())
	case reflect.Int64, reflect.Int32:
		switch n := v.Int(); {
		case field == "Port":
			w.WriteString("port")
		case field == "SessionID":
			w.WriteString("session")
		case (strings.HasSuffix(field, "Timestamp") || field == "LogAppendTime") && n > 1_600_000_000_000, field == "Size" || field == "TotalBytes" || field == "UsableBytes":
			w.WriteString("some")
		case field == "ProducerID" && n >= 0:
			if a.pids[n] == "" {
				a.pids[n] = fmt.Sprint("P", len(a.pids))
			}
			w.WriteString(a.pids[n])
		default:
			fmt.Fprint(w, n)
		}
	default:
		fmt.Fprint(w, v.Interface())
	}
}

func (a *answers) writeBatches(w *bytes.Buffer, b []byte) {
	w.WriteByte('[')
	for sep := ""; len(b) > 0; sep = ", " {
		x, rest, err := batch.Next(b)
		if err != nil {
			fmt.Fprintf(w, "%s%d bytes", sep, len(b))
			break
		}
		fmt.Fprintf(w, "%s%d..%d n=%d epoch=%d codec=%d", sep, x.BaseOffset(), x.LastOffset(), x.RecordCount(), x.LeaderEpoch(), x[batch.OffsetAttributes+1])
		b = rest
	}
	w.WriteByte(']')
}

// name replaces what is random or of the machine in a text.
func (a *answers) name(s string) string {
	s = hostPort.ReplaceAllString(s, "host:port")
	for id, n := range a.ids {
		s = strings.ReplaceAll(s, uuidBase64(id), "id of "+n)
	}
	for id, n := range a.pids {
		if id > 999 {
			s = strings.ReplaceAll(s, fmt.Sprint(id), n)
		}
	}
	s = timeText.ReplaceAllString(s, "time")
	label := func(u string) string {
		if a.uuids[u] == "" {
			a.uuids[u] = fmt.Sprint("uuid", len(a.uuids)+1)
		}
		return a.uuids[u]
	}
	s = uuidHex.ReplaceAllStringFunc(s, label)
	return uuidText.ReplaceAllStringFunc(s, func(u string) string {
		if len(u) != 22 || strings.ToLower(u) == u || strings.ToUpper(u) == u {
			return u
		}
		return label(u)
	})
}

func TestAnswersAreKafkas(t *testing.T) {
	files, err := filepath.Glob("testdata/answers/*.txt")
	require.NoError(t, err)
	require.NotEmpty(t, files)
	addr := *recordAnswers
	if addr == "" {
		addr = brokertest.Start(t, brokertest.With("group.consumer.assignment.interval.ms", "0"), brokertest.With("group.min.session.timeout.ms", "100"),
			brokertest.With("num.partitions", "1"), brokertest.With("log.retention.hours", "168"), brokertest.With("log.segment.bytes", "1073741824"),
			brokertest.WithPatterns(func(s string) error { _, err := javaregex.Compile(s); return err })).Addr()
	}
	for _, path := range files {
		t.Run(strings.TrimSuffix(filepath.Base(path), ".txt"), func(t *testing.T) {
			want, err := os.ReadFile(path)
			require.NoError(t, err)
			a := &answers{raw: &raw{t: t}, addr: addr, kafka: *recordAnswers != "", kept: map[string]reflect.Value{}, ids: map[[16]byte]string{}, uuids: map[string]string{}, pids: map[int64]string{}}
			a.dial()
			got := a.run(string(want))
			if a.kafka {
				require.NoError(t, os.WriteFile(path, []byte(got), 0o644))
				return
			}
			if *writeAnswers {
				require.NoError(t, os.WriteFile(path+".got", []byte(got), 0o644))
			}
			require.Equal(t, string(want), got)
		})
	}
}

// putCRC writes the checksum of a batch anew.
func putCRC(b []byte) {
	binary.BigEndian.PutUint32(b[17:], crc32.Checksum(b[21:], crc32.MakeTable(crc32.Castagnoli)))
}

func uuidBase64(id [16]byte) string { return base64.RawURLEncoding.EncodeToString(id[:]) }
