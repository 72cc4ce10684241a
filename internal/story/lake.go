package story

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path"
	"regexp"
	"sort"
	"strconv"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/linkedin/goavro/v2"
	"github.com/moldau-io/moldau/internal/servers"
	"github.com/parquet-go/parquet-go"
)

// S3Client returns a client of a test server.
func S3Client(s *servers.S3) *s3.Client {
	return s3.New(s3.Options{
		BaseEndpoint: aws.String(s.Endpoint), Region: s.Region, UsePathStyle: true,
		Credentials: credentials.NewStaticCredentialsProvider(s.AccessKey, s.SecretKey, ""),
	})
}

// MakeBucket makes a bucket.
func MakeBucket(ctx context.Context, s *servers.S3, name string) error {
	_, err := S3Client(s).CreateBucket(ctx, &s3.CreateBucketInput{Bucket: aws.String(name)})
	return err
}

// LakeRecord is one record of an object: its place in the log, as its object's name and its own columns tell, and its columns.
type LakeRecord struct {
	Partition int32
	Offset    int64
	Fields    map[string]any
}

// Lake is all that the objects of one topic hold.
type Lake struct {
	Objects int
	Bytes   int64
	Records []LakeRecord // by partition and offset
}

var objectName = regexp.MustCompile(`^(.+)\+(\d+)\+(\d+)\.`)

// Object is an S3 object.
type Object struct {
	Key  string
	Body []byte
}

// ReadLake reads all objects of a topic with the libraries that this package knows. Records must carry their offset in the column
// offsetField (InsertField puts it there).
func ReadLake(ctx context.Context, s *servers.S3, bucket, topic, offsetField string) (*Lake, error) {
	objects, err := ReadObjects(ctx, s, bucket, topic)
	if err != nil {
		return nil, err
	}
	return MakeLake(topic, objects, offsetField, func(o Object) ([]map[string]any, error) { return DecodeObject(o.Key, o.Body) })
}

// ReadObjects brings all objects of a topic.
func ReadObjects(ctx context.Context, s *servers.S3, bucket, topic string) ([]Object, error) {
	cl := S3Client(s)
	var objects []Object
	pages := s3.NewListObjectsV2Paginator(cl, &s3.ListObjectsV2Input{Bucket: aws.String(bucket), Prefix: aws.String("topics/" + topic + "/")})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, err
		}
		for _, o := range page.Contents {
			out, err := cl.GetObject(ctx, &s3.GetObjectInput{Bucket: aws.String(bucket), Key: o.Key})
			if err != nil {
				return nil, err
			}
			b, err := io.ReadAll(out.Body)
			if err := errors.Join(err, out.Body.Close()); err != nil {
				return nil, err
			}
			objects = append(objects, Object{*o.Key, b})
		}
	}
	return objects, nil
}

// MakeLake puts the records of a topic's objects in order. Objects are named topic+partition+offset, and hold what the name says.
func MakeLake(topic string, objects []Object, offsetField string, decode func(Object) ([]map[string]any, error)) (*Lake, error) {
	lake := &Lake{}
	for _, o := range objects {
		m := objectName.FindStringSubmatch(path.Base(o.Key))
		if m == nil || m[1] != topic {
			return nil, fmt.Errorf("object %s has an odd name", o.Key)
		}
		partition, _ := strconv.ParseInt(m[2], 10, 32)
		first, _ := strconv.ParseInt(m[3], 10, 64)
		rows, err := decode(o)
		if err != nil {
			return nil, fmt.Errorf("object %s: %w", o.Key, err)
		}
		for i, r := range rows {
			off, err := (Column{Name: offsetField, Kind: Int}).Canonical(r[offsetField])
			if err != nil {
				return nil, fmt.Errorf("object %s: %w", o.Key, err)
			}
			n, _ := strconv.ParseInt(off, 10, 64)
			if i == 0 && n != first {
				return nil, fmt.Errorf("object %s begins with offset %d", o.Key, n)
			}
			lake.Records = append(lake.Records, LakeRecord{int32(partition), n, r})
		}
		lake.Objects++
		lake.Bytes += int64(len(o.Body))
	}
	sort.SliceStable(lake.Records, func(i, j int) bool {
		a, b := lake.Records[i], lake.Records[j]
		return a.Partition < b.Partition || a.Partition == b.Partition && a.Offset < b.Offset
	})
	return lake, nil
}

// DecodeObject reads the records of an object by the ending of its name: .avro, .parquet or .json.
func DecodeObject(name string, b []byte) ([]map[string]any, error) {
	var rows []map[string]any
	switch {
	case strings.HasSuffix(name, ".avro"):
		r, err := goavro.NewOCFReader(bytes.NewReader(b))
		if err != nil {
			return nil, err
		}
		for r.Scan() {
			v, err := r.Read()
			if err != nil {
				return nil, err
			}
			row, ok := v.(map[string]any)
			if !ok {
				return nil, fmt.Errorf("a record is a %T", v)
			}
			rows = append(rows, row)
		}
		return rows, r.Err()
	case strings.HasSuffix(name, ".parquet"):
		f, err := parquet.OpenFile(bytes.NewReader(b), int64(len(b)))
		if err != nil {
			return nil, err
		}
		r := parquet.NewGenericReader[map[string]any](f, f.Schema())
		defer func() { _ = r.Close() }()
		for {
			buf := make([]map[string]any, 256)
			for i := range buf {
				buf[i] = map[string]any{}
			}
			n, err := r.Read(buf)
			rows = append(rows, buf[:n]...)
			if errors.Is(err, io.EOF) {
				return rows, nil
			}
			if err != nil {
				return nil, err
			}
		}
	case strings.HasSuffix(name, ".json"):
		sc := bufio.NewScanner(bytes.NewReader(b))
		sc.Buffer(nil, 64<<20)
		for sc.Scan() {
			d := json.NewDecoder(bytes.NewReader(sc.Bytes()))
			d.UseNumber()
			var row map[string]any
			if err := d.Decode(&row); err != nil {
				return nil, err
			}
			rows = append(rows, row)
		}
		return rows, sc.Err()
	}
	return nil, errors.New("an unknown format")
}

// Gaps compares the offsets of a lake with the log's ends: offsets that are there twice, and how many are not there at all. Offsets in
// skip (tombstones that the sink was told to leave out) may be absent.
func (l *Lake) Gaps(ends map[int32]int64, skip map[int32]map[int64]bool) (missing, doubled int64) {
	seen := map[int32]map[int64]bool{}
	for _, r := range l.Records {
		m := seen[r.Partition]
		if m == nil {
			m = map[int64]bool{}
			seen[r.Partition] = m
		}
		if m[r.Offset] {
			doubled++
		}
		m[r.Offset] = true
	}
	for p, end := range ends {
		for o := range end {
			if !seen[p][o] && !skip[p][o] {
				missing++
			}
		}
	}
	return missing, doubled
}

// Fold replays the records in log order into the table's final content. Rows are flat (ExtractNewRecordState with deletes rewritten):
// deletedField is "true" on a delete.
func (l *Lake) Fold(t Table, deletedField string) (Rows, error) {
	rows := Rows{}
	for _, r := range l.Records {
		key, err := t.column(t.Key).Canonical(r.Fields[t.Key])
		if err != nil {
			return nil, fmt.Errorf("%s partition %d offset %d: %w", t.Topic, r.Partition, r.Offset, err)
		}
		// A delete carries the key; what else it holds depends on the table's replica identity.
		if del, _ := (Column{Name: deletedField, Kind: Text}).Canonical(r.Fields[deletedField]); del == "true" {
			delete(rows, key)
			continue
		}
		row := make([]string, len(t.Columns))
		for i, c := range t.Columns {
			if row[i], err = c.Canonical(r.Fields[c.Name]); err != nil {
				return nil, fmt.Errorf("%s partition %d offset %d: %w", t.Topic, r.Partition, r.Offset, err)
			}
		}
		rows[key] = row
	}
	return rows, nil
}
