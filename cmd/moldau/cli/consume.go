package cli

import (
	"bufio"
	"bytes"
	"context"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/moldau-io/moldau/cmd/moldau/clientprops"
)

type consumeFlags struct {
	group, offset, format, isolation, value, key, registry string
	fromBeginning, untilEnd, regex                         bool
	partitions                                             []int32
	max                                                    int64
	idle                                                   time.Duration
}

func (a *app) consumeCommand() *cobra.Command {
	var f consumeFlags
	c := &cobra.Command{
		Use: "consume TOPIC...", Short: "Consume records",
		Long: `Consume records and print them. Without flags: the values of new records, one a line, until interrupted.

--offset is where to start: start, end, a number, +N (N after the first), -N (N before the last), @TIME (2006-01-02T15:04:05Z, milliseconds, or
-1h). With --group the group's commits decide and --offset only counts where there are none.

--format json prints one JSON object a record; any other format is a layout with %-verbs, as kcat's and rpk's:
  %t topic  %p partition  %o offset  %e leader epoch  %k key  %v value  %K key length  %V value length  %d{ms}... timestamp  %h{...} headers  %i count
such as --format '%t[%p]@%o %k=%v\n'.`,
		Args: cobra.MinimumNArgs(1), ValidArgsFunction: a.names(topicNames), Annotations: map[string]string{"ends": "interrupt"},
		Example: `  moldau consume orders --from-beginning --max 10 --format '%p %o %k %v\n'
  moldau consume shop.public.orders --offset -5 --value avro --until-end`,
		RunE: func(c *cobra.Command, args []string) error { return a.consume(c.Context(), args, f) },
	}
	fl := c.Flags()
	fl.StringVarP(&f.group, "group", "g", "", "consume as a member of this group and commit what was printed")
	fl.StringVarP(&f.offset, "offset", "o", "end", "where to start: start, end, N, +N, -N, @TIME")
	fl.BoolVar(&f.fromBeginning, "from-beginning", false, "--offset start")
	fl.BoolVar(&f.untilEnd, "until-end", false, "end at the end that the partitions have now, instead of waiting for more")
	fl.Int32SliceVarP(&f.partitions, "partition", "p", nil, "these partitions only")
	fl.Int64VarP(&f.max, "max", "n", 0, "end after so many records")
	fl.DurationVar(&f.idle, "idle", 0, "end when nothing came for so long")
	fl.StringVarP(&f.format, "format", "f", "", `json, or a layout with %-verbs; default '%v\n'`)
	fl.StringVar(&f.isolation, "isolation", "", "read_committed or read_uncommitted (default)")
	fl.StringVar(&f.value, "value", "", "decode values: avro by the registry, json, string, hex, base64")
	fl.StringVar(&f.key, "key", "", "decode keys, as --value")
	fl.StringVar(&f.registry, "registry-url", "", "the Schema Registry; default $"+envSchemas+", http://127.0.0.1:8081")
	fl.BoolVar(&f.regex, "regex", false, "the topics are regular expressions")
	c.MarkFlagsMutuallyExclusive("offset", "from-beginning")
	c.MarkFlagsMutuallyExclusive("group", "partition")
	c.MarkFlagsMutuallyExclusive("regex", "partition")
	complete(c, "format", fixed("json"))
	complete(c, "isolation", fixed("read_committed", "read_uncommitted"))
	complete(c, "value", fixed("avro", "json", "string", "hex", "base64"))
	complete(c, "key", fixed("avro", "json", "string", "hex", "base64"))
	complete(c, "offset", fixed("start", "end"))
	complete(c, "group", a.names(groupNames))
	return c
}

// startAt reads --offset.
func startAt(s string, now time.Time) (kgo.Offset, error) {
	o := kgo.NewOffset()
	switch {
	case s == "start" || s == "earliest" || s == "beginning":
		return o.AtStart(), nil
	case s == "end" || s == "latest":
		return o.AtEnd(), nil
	case strings.HasPrefix(s, "@"):
		t, err := moment(s[1:], now)
		return o.AfterMilli(t.UnixMilli()), err
	}
	n, err := strconv.ParseInt(strings.TrimLeft(s, "+-"), 10, 64)
	if err != nil {
		return o, fmt.Errorf("%q must be start, end, N, +N, -N or @TIME", s)
	}
	switch s[0] {
	case '+':
		return o.AtStart().Relative(n), nil
	case '-':
		return o.AtEnd().Relative(-n), nil
	}
	return o.At(n), nil
}

func (a *app) consume(ctx context.Context, topics []string, f consumeFlags) error {
	if f.fromBeginning {
		f.offset = "start"
	}
	at, err := startAt(f.offset, time.Now())
	if err != nil {
		return usage(fmt.Errorf("--offset: %w", err), "")
	}
	write, err := a.printer(f)
	if err != nil {
		return err
	}
	conf, err := a.properties()
	if err != nil {
		return err
	}
	if f.group == "" {
		f.group = conf.GroupID
	}
	opts := append(a.clientOptions(conf), kgo.FetchMaxWait(500*time.Millisecond))
	opts = append(opts, conf.ConsumerOptions()...)
	if f.isolation != "" {
		o, err := clientprops.Isolation(f.isolation)
		if err != nil {
			return usage(fmt.Errorf("--isolation: %w", err), "")
		}
		opts = append(opts, o...)
	}
	adm, actx, done, err := a.admin(ctx)
	if err != nil {
		return err
	}
	defer done()
	if err := checkTopics(actx, adm, topics, f); err != nil {
		return err
	}
	goal := end{}
	if f.untilEnd {
		// The end of a partition may be a marker of a transaction: it is fetched to be seen, and not printed.
		opts = append(opts, kgo.KeepControlRecords())
		if f.regex {
			return usagef("name the topics", "--until-end and --regex do not go together")
		}
		if goal, err = a.endOf(actx, adm, topics, f); err != nil || goal.reached() {
			return err
		}
	}
	cl, err := kgo.NewClient(append(opts, f.assignment(topics, at)...)...)
	if err != nil {
		return usage(fmt.Errorf("client properties: %w", err), "")
	}
	defer cl.CloseAllowingRebalance()
	out := bufio.NewWriterSize(a.Out, 64<<10)
	defer func() { _ = out.Flush() }()
	run := consumption{flags: f, client: cl, goal: goal, out: out, write: write}
	for {
		if over, err := run.poll(ctx); over || err != nil {
			return err
		}
	}
}

// checkTopics says which of the topics and partitions is not there.
func checkTopics(ctx context.Context, adm *kadm.Client, topics []string, f consumeFlags) error {
	if f.regex {
		return nil
	}
	there, err := adm.ListTopicsWithInternal(ctx, topics...)
	if err != nil {
		return fmt.Errorf("look for the topics: %w", err)
	}
	for _, t := range topics {
		if err := there[t].Err; err != nil {
			return fmt.Errorf("topic %s: %w", t, err)
		}
		for _, p := range f.partitions {
			if _, ok := there[t].Partitions[p]; !ok {
				return notFound("topic %s has no partition %d: it has %d", t, p, len(there[t].Partitions))
			}
		}
	}
	return nil
}

// assignment is what the client consumes, and from where.
func (f *consumeFlags) assignment(topics []string, at kgo.Offset) []kgo.Opt {
	if len(f.partitions) > 0 {
		m := map[string]map[int32]kgo.Offset{}
		for _, t := range topics {
			m[t] = map[int32]kgo.Offset{}
			for _, p := range f.partitions {
				m[t][p] = at
			}
		}
		return []kgo.Opt{kgo.ConsumePartitions(m)}
	}
	opts := []kgo.Opt{kgo.ConsumeTopics(topics...), kgo.ConsumeStartOffset(at), kgo.ConsumeResetOffset(at)}
	if f.regex {
		opts = append(opts, kgo.ConsumeRegex())
	}
	if f.group != "" {
		opts = append(opts, kgo.ConsumerGroup(f.group), kgo.DisableAutoCommit(), kgo.BlockRebalanceOnPoll())
	}
	return opts
}

// consumption is consuming under way.
type consumption struct {
	flags  consumeFlags
	client *kgo.Client
	goal   end
	out    *bufio.Writer
	write  recordWriter
	n      int64 // printed
}

// mostAtOnce bounds the records of one poll.
const mostAtOnce = 10_000

// poll prints the next records and commits them, and says whether that was all.
func (x *consumption) poll(ctx context.Context) (over bool, err error) {
	f := &x.flags
	pctx, cancel := ctx, context.CancelFunc(func() {})
	if f.idle > 0 {
		pctx, cancel = context.WithTimeout(ctx, f.idle)
	}
	most := mostAtOnce
	if f.max > 0 {
		most = int(min(f.max-x.n, mostAtOnce))
	}
	fs := x.client.PollRecords(pctx, most)
	defer x.client.AllowRebalance()
	idle := pctx.Err() != nil
	cancel()
	if ctx.Err() != nil {
		return true, ctx.Err()
	}
	for _, e := range fs.Errors() {
		if !errors.Is(e.Err, context.DeadlineExceeded) {
			return true, fmt.Errorf("consume %s: %w", partitionName(e.Topic, e.Partition), e.Err)
		}
	}
	printed, failed := x.print(fs)
	if err := x.out.Flush(); err != nil {
		return true, err
	}
	if f.group != "" && len(printed) > 0 {
		if err := x.client.CommitRecords(ctx, printed...); err != nil {
			return true, fmt.Errorf("commit offsets of group %s: %w", f.group, err)
		}
	}
	return f.max > 0 && x.n >= f.max || f.untilEnd && x.goal.reached() || idle, failed
}

// print writes the records that are wanted, up to one that cannot be printed.
func (x *consumption) print(fs kgo.Fetches) (printed []*kgo.Record, failed error) {
	fs.EachPartition(func(p kgo.FetchTopicPartition) {
		for _, r := range p.Records {
			if failed != nil || r.Attrs.IsControl() || x.flags.untilEnd && !x.goal.wants(r) {
				continue
			}
			if failed = x.write(x.out, &p.FetchPartition, r); failed == nil {
				x.n++
				printed = append(printed, r)
			}
		}
		x.goal.at(p.Topic, p.Partition, p.Records)
	})
	return printed, failed
}

// end is what is still to come of each partition until --until-end: the offset that ends it.
type end map[string]map[int32]int64

func (a *app) endOf(ctx context.Context, adm *kadm.Client, topics []string, f consumeFlags) (end, error) {
	list := adm.ListEndOffsets
	if f.isolation == "read_committed" {
		list = adm.ListCommittedOffsets
	}
	ends, err := list(ctx, topics...)
	if err != nil {
		return nil, fmt.Errorf("list offsets: %w", err)
	}
	starts, err := adm.ListStartOffsets(ctx, topics...)
	if err != nil {
		return nil, fmt.Errorf("list offsets: %w", err)
	}
	if when, ok := strings.CutPrefix(f.offset, "@"); ok {
		t, err := moment(when, time.Now())
		if err != nil {
			return nil, usage(fmt.Errorf("--offset: %w", err), "")
		}
		if starts, err = adm.ListOffsetsAfterMilli(ctx, t.UnixMilli(), topics...); err != nil {
			return nil, fmt.Errorf("list offsets: %w", err)
		}
	}
	var committed kadm.OffsetResponses
	if f.group != "" {
		if committed, err = fetchOffsets(ctx, adm, f.group); err != nil {
			return nil, fmt.Errorf("fetch offsets of group %s: %w", f.group, err)
		}
	}
	e := end{}
	for _, o := range sortedOffsets(ends) {
		if o.Err != nil {
			return nil, fmt.Errorf("%s: %w", partitionName(o.Topic, o.Partition), o.Err)
		}
		if len(f.partitions) > 0 && !slices.Contains(f.partitions, o.Partition) {
			continue
		}
		s, _ := starts.Lookup(o.Topic, o.Partition)
		from := s.Offset
		if f.group != "" {
			if c, ok := committed.Lookup(o.Topic, o.Partition); ok && c.At >= 0 {
				from = max(from, c.At)
			} else if f.offset == "end" {
				from = o.Offset
			}
		} else if f.offset == "end" {
			from = o.Offset
		} else if n, err := strconv.ParseInt(f.offset, 10, 64); err == nil {
			switch f.offset[0] {
			case '+':
				from += n
			case '-':
				from = max(from, o.Offset+n)
			default:
				from = max(from, n)
			}
		}
		if from < o.Offset {
			if e[o.Topic] == nil {
				e[o.Topic] = map[int32]int64{}
			}
			e[o.Topic][o.Partition] = o.Offset
		}
	}
	return e, nil
}

func (e end) reached() bool { return len(e) == 0 }

func (e end) wants(r *kgo.Record) bool { return r.Offset < e[r.Topic][r.Partition] }

func (e end) pass(topic string, partition int32, next int64) {
	if stop, ok := e[topic][partition]; ok && next >= stop {
		delete(e[topic], partition)
		if len(e[topic]) == 0 {
			delete(e, topic)
		}
	}
}

func (e end) at(topic string, partition int32, l []*kgo.Record) {
	if len(l) > 0 {
		e.pass(topic, partition, l[len(l)-1].Offset+1)
	}
}

// recordWriter prints a record of a partition.
type recordWriter func(*bufio.Writer, *kgo.FetchPartition, *kgo.Record) error

// printer returns what writes a record in the format that was asked for.
func (a *app) printer(f consumeFlags) (recordWriter, error) {
	dec := &decoder{url: a.registryURL(f.registry), timeout: a.timeout}
	for _, x := range []struct{ flag, as string }{{"value", f.value}, {"key", f.key}} {
		if x.as != "" && !slices.Contains([]string{"avro", "json", "string", "hex", "base64"}, x.as) {
			return nil, usagef("", "--%s %q must be avro, json, string, hex or base64", x.flag, x.as)
		}
	}
	if f.format == "json" || (f.format == "" && a.json) {
		return func(w *bufio.Writer, _ *kgo.FetchPartition, r *kgo.Record) error {
			j := jsonRecord{Topic: r.Topic, Partition: &r.Partition, Offset: &r.Offset}
			ms := r.Timestamp.UnixMilli()
			j.Timestamp = &ms
			var err error
			if j.Key, j.KeyBase64, err = dec.json(f.key, r.Key); err != nil {
				return fmt.Errorf("key of %s-%d@%d: %w", r.Topic, r.Partition, r.Offset, err)
			}
			if j.Value, j.ValueBase64, err = dec.json(f.value, r.Value); err != nil {
				return fmt.Errorf("value of %s-%d@%d: %w", r.Topic, r.Partition, r.Offset, err)
			}
			for _, h := range r.Headers {
				jh := jsonHeader{Key: h.Key}
				switch {
				case h.Value == nil:
				case utf8.Valid(h.Value):
					s := string(h.Value)
					jh.Value = &s
				default:
					jh.ValueBase64 = base64.StdEncoding.EncodeToString(h.Value)
				}
				j.Headers = append(j.Headers, jh)
			}
			e := json.NewEncoder(w)
			e.SetEscapeHTML(false)
			return e.Encode(j)
		}, nil
	}
	layout := f.format
	if layout == "" {
		layout = `%v\n`
	}
	rf, err := kgo.NewRecordFormatter(layout)
	if err != nil {
		return nil, usage(fmt.Errorf("--format: %w", err), "see moldau consume --help for the verbs")
	}
	var buf []byte
	return func(w *bufio.Writer, p *kgo.FetchPartition, r *kgo.Record) error {
		shown := *r
		var err error
		if shown.Key, err = dec.text(f.key, r.Key); err != nil {
			return fmt.Errorf("key of %s-%d@%d: %w", r.Topic, r.Partition, r.Offset, err)
		}
		if shown.Value, err = dec.text(f.value, r.Value); err != nil {
			return fmt.Errorf("value of %s-%d@%d: %w", r.Topic, r.Partition, r.Offset, err)
		}
		buf = rf.AppendPartitionRecord(buf[:0], p, &shown)
		_, err = w.Write(buf)
		return err
	}, nil
}

// text shows bytes as --value says.
func (d *decoder) text(as string, b []byte) ([]byte, error) {
	if b == nil {
		return nil, nil
	}
	switch as {
	case "avro":
		return d.avro(b)
	case "json":
		var out bytes.Buffer
		if err := json.Compact(&out, b); err != nil {
			return nil, fmt.Errorf("no JSON: %w", err)
		}
		return out.Bytes(), nil
	case "hex":
		return fmt.Appendf(nil, "%x", b), nil
	case "base64":
		return base64.StdEncoding.AppendEncode(nil, b), nil
	}
	return b, nil
}

// json shows bytes inside a JSON document: text as a string, what is no text as base64 beside it.
func (d *decoder) json(as string, b []byte) (v any, b64 string, err error) {
	if b == nil {
		return nil, "", nil
	}
	switch as {
	case "avro":
		t, err := d.avro(b)
		return json.RawMessage(t), "", err
	case "json":
		if !json.Valid(b) {
			return nil, "", errors.New("no JSON")
		}
		return json.RawMessage(b), "", nil
	case "hex":
		return fmt.Sprintf("%x", b), "", nil
	}
	if as == "base64" || !utf8.Valid(b) {
		return nil, base64.StdEncoding.EncodeToString(b), nil
	}
	return string(b), "", nil
}

// wireHeader is the magic byte and the schema's id before a value of the registry's serializers.
func wireHeader(b []byte) (id uint32, rest []byte, err error) {
	if len(b) < 5 || b[0] != 0 {
		return 0, nil, errors.New("it does not begin with a schema id: it is not written with the registry's serializer")
	}
	return binary.BigEndian.Uint32(b[1:]), b[5:], nil
}
