package cli

import (
	"bufio"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/moldau-io/moldau/cmd/moldau/clientprops"
	"github.com/moldau-io/moldau/core/kafkaclient"
)

// maxLine bounds a line of input, which becomes one record.
const maxLine = 64 << 20

type produceFlags struct {
	separator, format, acks, compression, key string
	headers, files                            []string
	partition                                 int32
	fromJSON, tombstone                       bool
	transactionalID                           string
}

func (a *app) produceCommand() *cobra.Command {
	var p produceFlags
	c := &cobra.Command{
		Use: "produce TOPIC", Short: "Produce records from lines, files or JSON",
		Long: `Produce records. Without flags each line of the standard input is the value of a record.

  --key-separator :   a line is KEY:VALUE
  --from-json         each line is {"key":...,"value":...,"headers":{...},"partition":0,"timestamp":ms}, as consume --format json
                      writes it; key_base64 and value_base64 hold bytes; a value of null is a tombstone
  --file F            each file is one record
  --format '%k %v\n'  a layout with %-verbs: %k key, %v value, %t topic, %p partition, %d timestamp, %h{...} headers; numbers before
                      them as in %K{4}%k (see franz-go's record reader)`,
		Args: cobra.ExactArgs(1), ValidArgsFunction: a.names(topicNames),
		Example: `  echo 'k1:hello' | moldau produce orders --key-separator :
  moldau produce orders --file a.json --file b.json --header source=backfill`,
		RunE: func(c *cobra.Command, args []string) error { return a.produce(c.Context(), args[0], p) },
	}
	f := c.Flags()
	f.StringVar(&p.separator, "key-separator", "", "what parts key and value of a line")
	f.StringVarP(&p.key, "key", "k", "", "the key of every record")
	f.StringArrayVarP(&p.headers, "header", "H", nil, "a header of every record, KEY=VALUE; may be repeated")
	f.StringArrayVar(&p.files, "file", nil, "a file whose content is one record; may be repeated")
	f.StringVarP(&p.format, "format", "f", "", "how the input is laid out, in %-verbs")
	f.BoolVar(&p.fromJSON, "from-json", false, "each line is a record as JSON")
	f.BoolVarP(&p.tombstone, "tombstone", "Z", false, "an empty value is a tombstone")
	f.Int32VarP(&p.partition, "partition", "p", -1, "the partition; -1 chooses by the key")
	f.StringVar(&p.acks, "acks", "", "all, 1 or 0; default all")
	f.StringVar(&p.compression, "compression", "", "none, gzip, snappy, lz4 or zstd; default snappy")
	f.StringVar(&p.transactionalID, "transactional-id", "", "send all records in one transaction with this id")
	c.MarkFlagsMutuallyExclusive("key-separator", "format", "from-json", "file")
	c.MarkFlagsMutuallyExclusive("key", "key-separator")
	complete(c, "acks", fixed("all", "1", "0"))
	complete(c, "compression", fixed("none", "gzip", "snappy", "lz4", "zstd"))
	return c
}

// tuning reads the flags that produce and bench share.
func tuning(acks, compression string) ([]kgo.Opt, error) {
	var opts []kgo.Opt
	if acks != "" {
		o, err := clientprops.Acks(acks)
		if err != nil {
			return nil, usage(fmt.Errorf("--acks: %w", err), "")
		}
		opts = append(opts, o...)
	}
	if compression != "" {
		o, err := clientprops.Compression(compression)
		if err != nil {
			return nil, usage(fmt.Errorf("--compression: %w", err), "")
		}
		opts = append(opts, o...)
	}
	return opts, nil
}

func (a *app) produce(ctx context.Context, topic string, p produceFlags) error {
	conf, err := a.properties()
	if err != nil {
		return err
	}
	opts := append(a.clientOptions(conf), kgo.DefaultProduceTopic(topic))
	opts = append(opts, conf.ProducerOptions()...)
	more, err := tuning(p.acks, p.compression)
	if err != nil {
		return err
	}
	opts = append(opts, more...)
	if p.transactionalID != "" {
		opts = append(opts, kgo.TransactionalID(p.transactionalID))
	}
	headers, err := headerFlags(p.headers)
	if err != nil {
		return err
	}
	next, err := a.input(topic, p)
	if err != nil {
		return err
	}
	opts = append(opts, kgo.RecordPartitioner(chosen{kgo.StickyKeyPartitioner(nil)}))
	cl, err := kgo.NewClient(opts...)
	if err != nil {
		return usage(fmt.Errorf("client properties: %w", err), "")
	}
	defer cl.Close()
	pctx, cancel := context.WithTimeout(ctx, a.timeout)
	err = cl.Ping(pctx)
	cancel()
	if err != nil {
		return unreachable(conf.Bootstrap, err)
	}
	if p.transactionalID != "" {
		if err := cl.BeginTransaction(); err != nil {
			return fmt.Errorf("begin transaction: %w", err)
		}
	}
	x := production{client: cl, flags: p, headers: headers}
	bad := x.send(ctx, next)
	if bad == nil {
		bad = ctx.Err() // what was read goes out, but for a transaction, which is of all records or none
	}
	sent, err := x.finish(ctx, a.timeout, bad == nil)
	switch {
	case errors.Is(err, kerr.UnknownTopicOrPartition):
		err = fmt.Errorf("produce to %s (%d records were acknowledged): %w", topic, sent, err)
		return &Error{Code: exitNotFound, Err: err, Remedy: "moldau topic create " + topic + " makes the topic"}
	case err != nil:
		return fmt.Errorf("produce to %s (%d records were acknowledged): %w", topic, sent, err)
	case bad != nil:
		return bad
	}
	return a.done(map[string]any{"topic": topic, "records": sent}, "%d records produced to %s", sent, topic)
}

// production is producing under way.
type production struct {
	client  *kgo.Client
	flags   produceFlags
	headers []kgo.RecordHeader

	mu     sync.Mutex
	failed error // the first failure
	sent   int   // records that were acknowledged
}

// acknowledged is told of each record's fate.
func (x *production) acknowledged(_ *kgo.Record, err error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if err == nil {
		x.sent++
	} else if x.failed == nil {
		x.failed = err
	}
}

// send sends what next gives until it is over, one failed, or ctx ends. The error is of what was read.
func (x *production) send(ctx context.Context, next func() (*kgo.Record, error)) error {
	type read struct {
		record *kgo.Record
		err    error
	}
	// Beside this goroutine, since nothing ends a read of a terminal.
	reads, over := make(chan read, 64), make(chan struct{})
	defer close(over)
	go func() {
		for {
			r, err := next()
			select {
			case reads <- read{r, err}:
			case <-over:
				return
			}
			if err != nil {
				return
			}
		}
	}()
	for n := 1; ; n++ {
		var r read
		select {
		case <-ctx.Done():
			return nil
		case r = <-reads:
		}
		if errors.Is(r.err, io.EOF) {
			return nil
		}
		if r.err != nil {
			return usage(fmt.Errorf("record %d: %w", n, r.err), "")
		}
		if x.flags.key != "" {
			r.record.Key = []byte(x.flags.key)
		}
		r.record.Headers = append(r.record.Headers, x.headers...)
		if x.flags.tombstone && len(r.record.Value) == 0 {
			r.record.Value = nil
		}
		x.mu.Lock()
		failed := x.failed != nil
		x.mu.Unlock()
		if failed {
			return nil
		}
		x.client.Produce(ctx, r.record, x.acknowledged)
	}
}

// finish waits for what was sent and ends the transaction: good is whether all was read. It returns how many records count, and the first
// failure.
func (x *production) finish(ctx context.Context, timeout time.Duration, good bool) (sent int, failed error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), timeout)
	defer cancel()
	err := x.client.Flush(ctx)
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.failed == nil {
		x.failed = err
	}
	if x.flags.transactionalID == "" {
		return x.sent, x.failed
	}
	end := kgo.TryCommit
	if x.failed != nil || !good {
		end, x.sent = kgo.TryAbort, 0
	}
	if err := kafkaclient.EndTransaction(ctx, x.client, end); err != nil && x.failed == nil {
		x.failed = fmt.Errorf("end transaction: %w", err)
	}
	return x.sent, x.failed
}

// chosen is a partitioner for which a partition that a record names counts.
type chosen struct{ kgo.Partitioner }

// ForTopic implements kgo.Partitioner.
func (c chosen) ForTopic(t string) kgo.TopicPartitioner {
	return chosenTopic{c.Partitioner.ForTopic(t)}
}

type chosenTopic struct{ kgo.TopicPartitioner }

// named is where a record keeps the partition that was asked for, since 0 is also what a record has that asks for none.
type named struct{}

func (t chosenTopic) RequiresConsistency(r *kgo.Record) bool {
	if _, ok := partitionOf(r); ok {
		return true
	}
	return t.TopicPartitioner.RequiresConsistency(r)
}

func (t chosenTopic) Partition(r *kgo.Record, n int) int {
	if p, ok := partitionOf(r); ok {
		return int(p)
	}
	return t.TopicPartitioner.Partition(r, n)
}

func (t chosenTopic) OnNewBatch() {
	if o, ok := t.TopicPartitioner.(kgo.TopicPartitionerOnNewBatch); ok {
		o.OnNewBatch()
	}
}

func partitionOf(r *kgo.Record) (int32, bool) {
	if r.Context == nil {
		return 0, false
	}
	p, ok := r.Context.Value(named{}).(int32)
	return p, ok
}

func toPartition(r *kgo.Record, p int32) *kgo.Record {
	if p >= 0 {
		r.Context = context.WithValue(context.Background(), named{}, p)
	}
	return r
}

func headerFlags(l []string) ([]kgo.RecordHeader, error) {
	var hs []kgo.RecordHeader
	for _, h := range l {
		k, v, ok := strings.Cut(h, "=")
		if !ok {
			return nil, usagef("write --header KEY=VALUE", "--header %q is no KEY=VALUE", h)
		}
		hs = append(hs, kgo.RecordHeader{Key: k, Value: []byte(v)})
	}
	return hs, nil
}

// input returns a function that gives record after record, then io.EOF.
func (a *app) input(topic string, p produceFlags) (func() (*kgo.Record, error), error) {
	switch {
	case len(p.files) > 0:
		files := p.files
		return func() (*kgo.Record, error) {
			if len(files) == 0 {
				return nil, io.EOF
			}
			b, err := os.ReadFile(files[0])
			files = files[1:]
			if err != nil {
				return nil, fmt.Errorf("--file: %w", err)
			}
			return toPartition(&kgo.Record{Value: b}, p.partition), nil
		}, nil
	case p.format != "":
		rd, err := kgo.NewRecordReader(a.In, strings.NewReplacer(`\n`, "\n", `\t`, "\t", `\r`, "\r").Replace(p.format))
		if err != nil {
			return nil, usage(fmt.Errorf("--format: %w", err), "")
		}
		byFormat := strings.Contains(p.format, "%p")
		return func() (*kgo.Record, error) {
			r, err := rd.ReadRecord()
			if err != nil {
				return nil, err
			}
			if r.Topic == "" {
				r.Topic = topic
			}
			part := p.partition
			if byFormat {
				part = r.Partition
			}
			return toPartition(r, part), nil
		}, nil
	}
	sc := bufio.NewScanner(a.In)
	sc.Buffer(make([]byte, 64<<10), maxLine)
	return func() (*kgo.Record, error) {
		if !sc.Scan() {
			if err := sc.Err(); err != nil {
				return nil, err
			}
			return nil, io.EOF
		}
		line := append([]byte(nil), sc.Bytes()...)
		if p.fromJSON {
			return recordOfJSON(line, p.partition)
		}
		r := &kgo.Record{Value: line}
		if p.separator != "" {
			k, v, ok := strings.Cut(string(line), p.separator)
			if !ok {
				return nil, fmt.Errorf("the line has no --key-separator %q", p.separator)
			}
			r.Key, r.Value = []byte(k), []byte(v)
		}
		return toPartition(r, p.partition), nil
	}, nil
}

// jsonRecord is a record as JSON: what consume writes and produce reads.
type jsonRecord struct {
	Topic       string       `json:"topic,omitempty"`
	Partition   *int32       `json:"partition,omitempty"`
	Offset      *int64       `json:"offset,omitempty"`
	Timestamp   *int64       `json:"timestamp,omitempty"`
	Key         any          `json:"key"`
	Value       any          `json:"value"`
	KeyBase64   string       `json:"key_base64,omitempty"`
	ValueBase64 string       `json:"value_base64,omitempty"`
	Headers     []jsonHeader `json:"headers,omitempty"`
}

type jsonHeader struct {
	Key         string  `json:"key"`
	Value       *string `json:"value"`
	ValueBase64 string  `json:"value_base64,omitempty"`
}

func recordOfJSON(line []byte, partition int32) (*kgo.Record, error) {
	var j struct {
		Partition   *int32          `json:"partition"`
		Timestamp   *int64          `json:"timestamp"`
		Key         json.RawMessage `json:"key"`
		Value       json.RawMessage `json:"value"`
		KeyBase64   string          `json:"key_base64"`
		ValueBase64 string          `json:"value_base64"`
		Headers     json.RawMessage `json:"headers"`
	}
	if err := json.Unmarshal(line, &j); err != nil {
		return nil, fmt.Errorf("no record as JSON: %w", err)
	}
	r := &kgo.Record{}
	var err error
	if r.Key, err = jsonBytes(j.Key, j.KeyBase64); err != nil {
		return nil, fmt.Errorf("key: %w", err)
	}
	if r.Value, err = jsonBytes(j.Value, j.ValueBase64); err != nil {
		return nil, fmt.Errorf("value: %w", err)
	}
	if j.Timestamp != nil {
		r.Timestamp = time.UnixMilli(*j.Timestamp)
	}
	if len(j.Headers) > 0 {
		var l []jsonHeader
		if json.Unmarshal(j.Headers, &l) != nil {
			var m map[string]string
			if err := json.Unmarshal(j.Headers, &m); err != nil {
				return nil, errors.New(`headers must be {"name":"value"} or [{"key":"name","value":"value"}]`)
			}
			for k, v := range m {
				l = append(l, jsonHeader{Key: k, Value: &v})
			}
		}
		for _, h := range l {
			hv := kgo.RecordHeader{Key: h.Key}
			if h.Value != nil {
				hv.Value = []byte(*h.Value)
			} else if h.ValueBase64 != "" {
				if hv.Value, err = base64.StdEncoding.DecodeString(h.ValueBase64); err != nil {
					return nil, fmt.Errorf("header %s: %w", h.Key, err)
				}
			}
			r.Headers = append(r.Headers, hv)
		}
	}
	if partition < 0 && j.Partition != nil {
		partition = *j.Partition
	}
	return toPartition(r, partition), nil
}

// jsonBytes are the bytes of a key or value: a string is its text, anything else its JSON, null and absent are nil.
func jsonBytes(raw json.RawMessage, b64 string) ([]byte, error) {
	if b64 != "" {
		return base64.StdEncoding.DecodeString(b64)
	}
	if len(raw) == 0 || string(raw) == "null" {
		return nil, nil
	}
	if raw[0] == '"' {
		var s string
		err := json.Unmarshal(raw, &s)
		return []byte(s), err
	}
	return raw, nil
}
