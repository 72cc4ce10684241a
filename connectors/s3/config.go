package s3

import (
	"fmt"
	"math"
	"os"
	"strings"
	"time"

	"github.com/moldau-io/moldau/plugins/configdef"
)

// Names of classes that the original's configs hold.
const (
	classAvro    = "io.confluent.connect.s3.format.avro.AvroFormat"
	classJSON    = "io.confluent.connect.s3.format.json.JsonFormat"
	classParquet = "io.confluent.connect.s3.format.parquet.ParquetFormat"
	classRaw     = "io.confluent.connect.s3.format.bytearray.ByteArrayFormat"

	partitionerPackage = "io.confluent.connect.storage.partitioner."
)

const minPart = 5 << 20 // S3's own minimum of a part

// definition returns the keys of the connector, those of the original with their defaults and then our own.
func definition() *configdef.Def {
	const (
		gStorage = "S3"
		gConn    = "Connector"
		gPart    = "Partitioner"
	)
	d := configdef.NewDef([]configdef.Key{
		{Name: "s3.bucket.name", Type: configdef.String, Required: true, Check: configdef.NonEmpty, Importance: configdef.High, Group: gStorage, Doc: "The S3 bucket."},
		{Name: "s3.region", Type: configdef.String, Default: "us-west-2", Importance: configdef.Medium, Group: gStorage, Doc: "The AWS region of the bucket."},
		{Name: "store.url", Type: configdef.String, Importance: configdef.Low, Group: gStorage, Doc: "The endpoint of an S3-compatible store (http://host:port); not set: AWS.", Check: checkURL},
		{Name: "aws.access.key.id", Type: configdef.String, Importance: configdef.High, Group: gStorage, Doc: "The access key; not set: the AWS default credential chain."},
		{Name: "aws.secret.access.key", Type: configdef.Password, Importance: configdef.High, Group: gStorage, Doc: "The secret key."},
		{Name: "s3.path.style.access.enabled", Type: configdef.Boolean, Default: true, Importance: configdef.Low, Group: gStorage, Doc: "Address buckets by path instead of by host name."},
		{Name: "s3.part.size", Type: configdef.Int, Default: 26214400, Check: configdef.Between(minPart, 2147483647), Importance: configdef.High, Group: gStorage, Doc: "The size in bytes of a part of a multipart upload."},
		{Name: "s3.part.retries", Type: configdef.Int, Default: 3, Check: configdef.AtLeast(0), Importance: configdef.Medium, Group: gStorage, Doc: "How often a failed request is tried again before the upload counts as failed. A failed upload is started again: a slow or absent store delays, it does not fail the task."},
		{Name: "s3.retry.backoff.ms", Type: configdef.Long, Default: 200, Check: configdef.AtLeast(0), Importance: configdef.Low, Group: gStorage, Doc: "The first pause before a retry; doubled each time, with jitter, up to retry.backoff.ms."},
		{Name: "s3.ssea.name", Type: configdef.String, Default: "", Check: configdef.OneOf(false, "", "AES256", "aws:kms"), Importance: configdef.Low, Group: gStorage, Doc: "The server-side encryption algorithm: AES256 or aws:kms."},
		{Name: "s3.sse.kms.key.id", Type: configdef.String, Default: "", Importance: configdef.Low, Group: gStorage, Doc: "The KMS key for aws:kms."},
		{Name: "s3.acl.canned", Type: configdef.String, Importance: configdef.Low, Group: gStorage, Doc: "A canned ACL for objects.", Check: configdef.OneOf(false, "private", "public-read", "public-read-write", "authenticated-read", "aws-exec-read", "bucket-owner-read", "bucket-owner-full-control", "log-delivery-write")},
		{Name: "enable.conditional.writes", Type: configdef.Boolean, Default: true, Importance: configdef.Low, Group: gStorage, Doc: "Write with If-None-Match, so that a second writer of the same object finds out instead of overwriting it."},

		{Name: "flush.size", Type: configdef.Int, Required: true, Check: configdef.AtLeast(1), Importance: configdef.High, Group: gConn, Doc: "Number of records of a topic partition after which its objects are closed."},
		{Name: "rotate.interval.ms", Type: configdef.Long, Default: -1, Importance: configdef.High, Group: gConn, Doc: "Close objects when a record's timestamp is this much after the first one's. Needs a time-based partitioner's timestamp.extractor, or takes record time. -1: off."},
		{Name: "rotate.schedule.interval.ms", Type: configdef.Long, Default: -1, Importance: configdef.Medium, Group: gConn, Doc: "Close objects at these wall-clock intervals, counted in the configured timezone from midnight. -1: off."},
		{Name: "rotate.file.on.partition.change", Type: configdef.Boolean, Default: true, Importance: configdef.Low, Group: gConn, Doc: "With rotate.interval.ms, close objects also when the partition path changes."},
		{Name: "retry.backoff.ms", Type: configdef.Long, Default: 5000, Check: configdef.AtLeast(0), Importance: configdef.Low, Group: gConn, Doc: "The pause before an upload that failed is started again."},
		{Name: "format.class", Type: configdef.Class, Required: true, Importance: configdef.High, Group: gConn, Doc: "The format of objects: Avro, JSON lines, Parquet or raw bytes; the original's class names or avro, json, parquet, bytearray.", Recommended: []string{classAvro, classJSON, classParquet, classRaw},
			Check: func(v any) string {
				if _, ok := formatName(v.(string)); !ok {
					return "must be one of " + strings.Join([]string{classAvro, classJSON, classParquet, classRaw}, ", ")
				}
				return ""
			}},
		{Name: "storage.class", Type: configdef.Class, Default: "io.confluent.connect.s3.storage.S3Storage", Check: configdef.OneOf(false, "io.confluent.connect.s3.storage.S3Storage"), Importance: configdef.Low, Group: gConn, Doc: "The storage layer; S3Storage is the only one."},
		{Name: "schema.compatibility", Type: configdef.String, Default: "NONE", Check: configdef.OneOf(true, "NONE"), Accepts: nil, Importance: configdef.High, Group: gConn, Doc: "How objects follow schema changes. NONE closes the object at every change; BACKWARD, FORWARD and FULL (projection) are not supported."},
		{Name: "avro.codec", Type: configdef.String, Default: "null", Check: configdef.OneOf(false, "null", "deflate", "snappy"), Importance: configdef.Low, Group: gConn, Doc: "The compression of Avro blocks: null, deflate or snappy."},
		{Name: "parquet.codec", Type: configdef.String, Default: "snappy", Check: configdef.OneOf(false, "none", "gzip", "snappy", "lz4", "zstd", "brotli"), Importance: configdef.Low, Group: gConn, Doc: "The compression of Parquet pages: none, gzip, snappy, lz4, brotli or zstd."},
		{Name: "s3.compression.type", Type: configdef.String, Default: "none", Check: configdef.OneOf(false, "none", "gzip"), Importance: configdef.Low, Group: gConn, Doc: "Compression of JSON and raw objects: none or gzip."},
		{Name: "s3.compression.level", Type: configdef.Int, Default: -1, Check: configdef.Between(-1, 9), Importance: configdef.Low, Group: gConn, Doc: "The gzip level, -1 to 9."},
		{Name: "json.decimal.format", Type: configdef.String, Default: "BASE64", Check: configdef.OneOf(true, "BASE64", "NUMERIC"), Importance: configdef.Low, Group: gConn, Doc: "How decimals are written in JSON."},
		{Name: "format.bytearray.extension", Type: configdef.String, Default: ".bin", Importance: configdef.Low, Group: gConn, Doc: "The ending of raw objects."},
		{Name: "format.bytearray.separator", Type: configdef.String, Importance: configdef.Low, Group: gConn, Doc: "What stands between the records of a raw object; not set: a line feed."},
		{Name: "behavior.on.null.values", Type: configdef.String, Default: "fail", Check: configdef.OneOf(true, "fail", "ignore"), Importance: configdef.Low, Group: gConn, Doc: "What to do with records whose value is null: fail or ignore. (write is not supported.)"},
		{Name: "report.null.values.to.dlq", Type: configdef.Boolean, Default: true, Importance: configdef.Low, Group: gConn, Doc: "With behavior.on.null.values=ignore, report such records to the dead-letter topic when there is one."},
		{Name: "topics.dir", Type: configdef.String, Default: "topics", Importance: configdef.High, Group: gConn, Doc: "The folder at the top."},
		{Name: "directory.delim", Type: configdef.String, Default: "/", Check: configdef.NonEmpty, Importance: configdef.Medium, Group: gConn, Doc: "What stands between folders."},
		{Name: "file.delim", Type: configdef.String, Default: "+", Importance: configdef.Medium, Group: gConn, Doc: "What stands between the parts of an object's name."},
		{Name: "filename.offset.zero.pad.width", Type: configdef.Int, Default: 10, Check: configdef.AtLeast(0), Importance: configdef.Low, Group: gConn, Doc: "To how many digits offsets in names are padded."},

		{Name: "partitioner.class", Type: configdef.Class, Default: partitionerPackage + "DefaultPartitioner", Importance: configdef.High, Group: gPart, Doc: "How paths are made: DefaultPartitioner, FieldPartitioner, TimeBasedPartitioner, DailyPartitioner or HourlyPartitioner.",
			Check: func(v any) string {
				if _, ok := partitionerName(v.(string)); !ok {
					return "must be one of the partitioners of " + partitionerPackage + ": DefaultPartitioner, FieldPartitioner, TimeBasedPartitioner, DailyPartitioner, HourlyPartitioner"
				}
				return ""
			}},
		{Name: "partition.field.name", Type: configdef.List, Default: "", Importance: configdef.Medium, Group: gPart, Doc: "The fields of FieldPartitioner."},
		{Name: "partition.duration.ms", Type: configdef.Long, Default: -1, Importance: configdef.Medium, Group: gPart, Doc: "The width of a time partition of TimeBasedPartitioner."},
		{Name: "path.format", Type: configdef.String, Default: "", Importance: configdef.Medium, Group: gPart, Doc: "The pattern of TimeBasedPartitioner's folders, such as 'year'=YYYY/'month'=MM/'day'=dd.",
			Check: func(v any) string {
				if _, err := parseJoda(v.(string)); err != nil {
					return err.Error()
				}
				return ""
			}},
		{Name: "locale", Type: configdef.String, Default: "", Importance: configdef.Medium, Group: gPart, Doc: "The locale of dates; English month and day names are the ones there are.",
			Check: func(v any) string {
				if s := strings.ToLower(v.(string)); s != "" && !strings.HasPrefix(s, "en") {
					return "only English locales are supported, such as en-US"
				}
				return ""
			}},
		{Name: "timezone", Type: configdef.String, Default: "", Importance: configdef.Medium, Group: gPart, Doc: "The timezone of dates and of rotate.schedule.interval.ms, such as UTC or Europe/Prague.",
			Check: func(v any) string {
				if s := v.(string); s != "" {
					if _, err := time.LoadLocation(s); err != nil {
						return "not a timezone that is known: " + err.Error()
					}
				}
				return ""
			}},
		{Name: "timestamp.extractor", Type: configdef.String, Default: "Wallclock", Importance: configdef.Medium, Group: gPart, Doc: "Where a record's time comes from: Wallclock, Record or RecordField.",
			Check: func(v any) string {
				if extractorName(v.(string)) == "" {
					return "must be one of Wallclock, Record, RecordField"
				}
				return ""
			}},
		{Name: "timestamp.field", Type: configdef.String, Default: "timestamp", Importance: configdef.Medium, Group: gPart, Doc: "The field of RecordField; dots lead into structs."},

		{Name: "moldau.buffer.bytes", Type: configdef.Long, Default: 96 << 20, Check: configdef.AtLeast(8 << 20), Importance: configdef.Low, Group: gConn, Doc: "Memory that all open objects of a task share; what does not fit goes to a scratch file. (moldau's own key.)"},
		{Name: "moldau.upload.concurrency", Type: configdef.Int, Default: 4, Check: configdef.Between(1, 64), Importance: configdef.Low, Group: gConn, Doc: "Uploads under way at once in a task. (moldau's own key.)"},
		{Name: "moldau.scratch.dir", Type: configdef.String, Default: "", Importance: configdef.Low, Group: gConn, Doc: "Where scratch files go; not set: the system's folder for temporary files. (moldau's own key.)"},

		{Name: "schema.cache.size", Type: configdef.Int, Default: 1000, Importance: configdef.Low, Group: gConn, Doc: "Has no effect: compiled schemas are kept with the schema itself, there is no cache to size."},
		{Name: "max.files.scan.limit", Type: configdef.Int, Default: 100, Importance: configdef.Low, Group: gStorage, Doc: "Has no effect: an object that is there tells in its metadata where it ends, nothing is scanned."},
		{Name: "s3.elastic.buffer.enable", Type: configdef.Boolean, Default: false, Importance: configdef.Low, Group: gStorage, Doc: "Has no effect: buffers always grow with what is in them, from moldau.buffer.bytes."},
		{Name: "s3.elastic.buffer.init.capacity", Type: configdef.Int, Default: 131072, Check: configdef.AtLeast(1), Importance: configdef.Low, Group: gStorage, Doc: "Has no effect, as s3.elastic.buffer.enable."},
		{Name: "s3.http.send.expect.continue", Type: configdef.Boolean, Default: true, Importance: configdef.Low, Group: gStorage, Doc: "Ask the store with Expect: 100-continue before large bodies are sent."},

		// These act only beside a key below that is refused.
		{Name: "keys.format.class", Type: configdef.Class, Default: classAvro, Importance: configdef.Low, Group: gConn, Doc: "The format of keys, with store.kafka.keys."},
		{Name: "headers.format.class", Type: configdef.Class, Default: classAvro, Importance: configdef.Low, Group: gConn, Doc: "The format of headers, with store.kafka.headers."},
		{Name: "tombstone.encoded.partition", Type: configdef.String, Default: "tombstone", Importance: configdef.Low, Group: gConn, Doc: "The partition path of tombstones, with behavior.on.null.values=write."},
		{Name: "s3.object.tagging.key.value.pairs", Type: configdef.List, Default: "", Importance: configdef.Low, Group: gStorage, Doc: "Further tags, with s3.object.tagging."},
		{Name: "s3.object.behavior.on.tagging.error", Type: configdef.String, Default: "ignore", Check: configdef.OneOf(true, "ignore", "fail"), Importance: configdef.Low, Group: gStorage, Doc: "What to do when tagging fails, with s3.object.tagging."},

		{Name: "connect.meta.data", Type: configdef.Boolean, Default: true, Importance: configdef.Low, Group: gConn, Doc: "Keep Connect's own properties in Avro schemas.", Unsupported: "schemas always carry them"},
		{Name: "enhanced.avro.schema.support", Type: configdef.Boolean, Default: true, Importance: configdef.Low, Group: gConn, Doc: "Keep names of enumerations and packages in Avro schemas.", Unsupported: "enhanced support is always on"},
		{Name: "allow.optional.map.keys", Type: configdef.Boolean, Default: false, Importance: configdef.Low, Group: gConn, Doc: "Write maps whose keys are optional.", Unsupported: "optional map keys are not written"},
		{Name: "store.kafka.keys", Type: configdef.Boolean, Default: false, Importance: configdef.Low, Group: gConn, Doc: "Store keys beside values.", Unsupported: "keys are not stored beside values"},
		{Name: "store.kafka.headers", Type: configdef.Boolean, Default: false, Importance: configdef.Low, Group: gConn, Doc: "Store headers beside values.", Unsupported: "headers are not stored beside values"},
		{Name: "s3.object.tagging", Type: configdef.Boolean, Default: false, Importance: configdef.Low, Group: gStorage, Doc: "Tag objects with their offsets.", Unsupported: "objects are not tagged"},
		{Name: "s3.wan.mode", Type: configdef.Boolean, Default: false, Importance: configdef.Low, Group: gStorage, Doc: "Use S3 transfer acceleration.", Unsupported: "the endpoint is chosen by store.url"},
		{Name: "s3.send.digest", Type: configdef.Boolean, Default: false, Importance: configdef.Low, Group: gStorage, Doc: "Send an MD5 digest with each part.", Unsupported: "digests are not sent; TLS and the signature protect what is under way"},
		{Name: "s3.sse.customer.key", Type: configdef.Password, Default: "", Importance: configdef.Low, Group: gStorage, Doc: "The key of SSE-C.", Unsupported: "customer keys are not supported"},
		{Name: "s3.proxy.url", Type: configdef.String, Default: "", Importance: configdef.Low, Group: gStorage, Doc: "A proxy.", Unsupported: "set HTTPS_PROXY in the hub's environment"},
		{Name: "s3.proxy.user", Type: configdef.String, Default: "", Importance: configdef.Low, Group: gStorage, Doc: "The proxy's user.", Unsupported: "set HTTPS_PROXY in the hub's environment"},
		{Name: "s3.proxy.password", Type: configdef.Password, Default: "", Importance: configdef.Low, Group: gStorage, Doc: "The proxy's password.", Unsupported: "set HTTPS_PROXY in the hub's environment"},
		{Name: "s3.credentials.provider.class", Type: configdef.Class, Default: "software.amazon.awssdk.auth.credentials.DefaultCredentialsProvider", Accepts: []string{"com.amazonaws.auth.DefaultAWSCredentialsProviderChain"}, Importance: configdef.Low, Group: gStorage, Doc: "Where credentials come from; the default is AWS's chain.", Unsupported: "credentials come from aws.access.key.id or the AWS default chain"},
		{Name: "partitioner.max.open.files", Type: configdef.Int, Default: -1, Importance: configdef.Low, Group: gPart, Doc: "Close the oldest object of a topic partition when more are open.", Unsupported: "objects are closed by count, time and schema; memory is bounded by moldau.buffer.bytes"},
		{Name: "max.write.duration.ms", Type: configdef.Long, Default: int64(math.MaxInt64), Importance: configdef.Low, Group: gConn, Doc: "How long one write may take.", Unsupported: "writes never hold the consumer up, uploads run beside them"},
		{Name: "s3.schema.partition.affix.type", Type: configdef.String, Default: "NONE", Importance: configdef.Low, Group: gPart, Doc: "Put the schema's name into the path.", Unsupported: "paths do not name the schema"},
	}...)
	d.Allow(configdef.Pattern{Prefix: "s3.credentials.provider.", Unsupported: "credentials come from aws.access.key.id or the AWS default chain"})
	d.CrossCheck(crossCheck)
	return d
}

func crossCheck(v configdef.Values, r *configdef.Result) {
	if v.Str("timezone") == "" && v.Int("rotate.schedule.interval.ms") > 0 {
		r.Error("timezone", "timezone configuration must be set when using scheduled rotation")
	}
	if (v.Str("aws.access.key.id") == "") != (v.Str("aws.secret.access.key") == "") {
		r.Error("aws.access.key.id", "aws.access.key.id and aws.secret.access.key must be set together, or neither")
	}
	switch p, _ := partitionerName(v.Str("partitioner.class")); p {
	case "field":
		if len(v.List("partition.field.name")) == 0 {
			r.Error("partition.field.name", "partition.field.name must name at least one field for FieldPartitioner")
		}
	case "time":
		if v.Int("partition.duration.ms") <= 0 {
			r.Error("partition.duration.ms", "partition.duration.ms must be positive for TimeBasedPartitioner")
		}
		if v.Str("path.format") == "" {
			r.Error("path.format", "path.format must be set for TimeBasedPartitioner, such as 'year'=YYYY/'month'=MM/'day'=dd")
		}
		fallthrough
	case "daily", "hourly":
		if v.Str("timezone") == "" {
			r.Error("timezone", "timezone must be set for a time-based partitioner, such as UTC")
		}
	}
	if f, _ := formatName(v.Str("format.class")); f == "parquet" || f == "avro" {
		if v.Str("s3.compression.type") != "none" {
			r.Error("s3.compression.type", "s3.compression.type compresses JSON and raw objects; for %s use %s.codec", f, f)
		}
	}
}

func checkURL(v any) string {
	s := v.(string)
	if s == "" || strings.HasPrefix(s, "http://") || strings.HasPrefix(s, "https://") {
		return ""
	}
	return "must begin with http:// or https://"
}

// formatName maps a class or short name to avro, json, parquet or bytearray.
func formatName(s string) (string, bool) {
	switch s {
	case classAvro, "avro":
		return "avro", true
	case classJSON, "json":
		return "json", true
	case classParquet, "parquet":
		return "parquet", true
	case classRaw, "bytearray":
		return "bytearray", true
	}
	return "", false
}

func partitionerName(s string) (string, bool) {
	switch strings.TrimPrefix(s, partitionerPackage) {
	case "DefaultPartitioner", "default":
		return "default", true
	case "FieldPartitioner", "field":
		return "field", true
	case "TimeBasedPartitioner", "time":
		return "time", true
	case "DailyPartitioner", "daily":
		return "daily", true
	case "HourlyPartitioner", "hourly":
		return "hourly", true
	}
	return "", false
}

// extractorName maps a short or class name to wallclock, record or field.
func extractorName(s string) string {
	switch strings.TrimPrefix(s, partitionerPackage+"TimeBasedPartitioner$") {
	case "Wallclock", "WallclockTimestampExtractor":
		return "wallclock"
	case "Record", "RecordTimestampExtractor":
		return "record"
	case "RecordField", "RecordFieldTimestampExtractor":
		return "field"
	}
	return ""
}

// settings is the configuration in the forms that the task uses.
type settings struct {
	format                      string
	topicsDir, dirDelim, delim  string
	pad                         int
	flushSize                   int64
	rotateInterval, schedule    time.Duration
	rotateOnPathChange          bool
	ignoreNulls, reportNulls    bool
	location                    *time.Location
	bufferBytes                 int64
	uploads                     int
	partSize                    int64
	retries                     int
	retryBackoff, uploadBackoff time.Duration
	conditional                 bool
	scratch                     string
	values                      configdef.Values
}

func newSettings(v configdef.Values) (settings, error) {
	s := settings{
		topicsDir: v.Str("topics.dir"), dirDelim: v.Str("directory.delim"), delim: v.Str("file.delim"),
		pad: int(v.Int("filename.offset.zero.pad.width")), flushSize: v.Int("flush.size"),
		rotateInterval: v.Millis("rotate.interval.ms"), schedule: v.Millis("rotate.schedule.interval.ms"),
		rotateOnPathChange: v.Bool("rotate.file.on.partition.change"),
		ignoreNulls:        strings.EqualFold(v.Str("behavior.on.null.values"), "ignore"), reportNulls: v.Bool("report.null.values.to.dlq"),
		location: time.UTC, bufferBytes: v.Int("moldau.buffer.bytes"), uploads: int(v.Int("moldau.upload.concurrency")),
		partSize: v.Int("s3.part.size"), retries: int(v.Int("s3.part.retries")), retryBackoff: v.Millis("s3.retry.backoff.ms"),
		uploadBackoff: v.Millis("retry.backoff.ms"), conditional: v.Bool("enable.conditional.writes"), scratch: v.Str("moldau.scratch.dir"), values: v,
	}
	s.format, _ = formatName(v.Str("format.class"))
	if z := v.Str("timezone"); z != "" {
		loc, err := time.LoadLocation(z)
		if err != nil {
			return s, fmt.Errorf("timezone: %w", err)
		}
		s.location = loc
	}
	if s.scratch == "" {
		s.scratch = os.TempDir()
	}
	return s, nil
}
