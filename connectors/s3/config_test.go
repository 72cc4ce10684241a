package s3

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// Configurations spell defaults out: those mean what leaving the key out means. Another value of a key that we do not have is refused,
// and the error names the key.
func TestKeysOfTheOriginal(t *testing.T) {
	for _, c := range []struct {
		key      string
		accepted []string // the default first
		refused  []string
	}{
		{"s3.region", []string{"us-west-2", "eu-central-1"}, nil},
		{"s3.part.size", []string{"26214400", "5242880"}, []string{"5242879"}},
		{"s3.part.retries", []string{"3", "0"}, []string{"-1"}},
		{"s3.retry.backoff.ms", []string{"200"}, []string{"-1"}},
		{"s3.path.style.access.enabled", []string{"true", "false"}, []string{"perhaps"}},
		{"s3.ssea.name", []string{"", "AES256", "aws:kms"}, []string{"DES"}},
		{"s3.sse.customer.key", []string{""}, []string{"secret"}},
		{"s3.sse.kms.key.id", []string{"", "key"}, nil},
		{"s3.acl.canned", []string{"private"}, []string{"everybody"}},
		{"s3.wan.mode", []string{"false"}, []string{"true"}},
		{"s3.send.digest", []string{"false"}, []string{"true"}},
		{"s3.compression.type", []string{"none", "gzip"}, []string{"zip"}},
		{"s3.compression.level", []string{"-1", "9"}, []string{"10"}},
		{"s3.http.send.expect.continue", []string{"true", "false"}, nil},
		{"s3.credentials.provider.class", []string{"software.amazon.awssdk.auth.credentials.DefaultCredentialsProvider", "com.amazonaws.auth.DefaultAWSCredentialsProviderChain"}, []string{"my.Provider"}},
		{"s3.credentials.provider.sts.role.arn", nil, []string{"arn:aws:iam::1:role/r"}},
		{"s3.proxy.url", []string{""}, []string{"http://proxy"}},
		{"s3.proxy.user", []string{""}, []string{"me"}},
		{"s3.proxy.password", []string{""}, []string{"secret"}},
		{"s3.object.tagging", []string{"false"}, []string{"true"}},
		{"s3.object.tagging.key.value.pairs", []string{"", "a:b"}, nil},
		{"s3.object.behavior.on.tagging.error", []string{"ignore", "fail"}, []string{"panic"}},
		{"s3.elastic.buffer.enable", []string{"false", "true"}, nil},
		{"s3.elastic.buffer.init.capacity", []string{"131072"}, nil},
		{"s3.schema.partition.affix.type", []string{"NONE"}, []string{"PREFIX"}},
		{"enable.conditional.writes", []string{"true", "false"}, nil},
		{"max.files.scan.limit", []string{"100"}, nil},
		{"max.write.duration.ms", []string{"9223372036854775807"}, []string{"1000"}},
		{"partitioner.max.open.files", []string{"-1"}, []string{"10"}},
		{"rotate.interval.ms", []string{"-1", "60000"}, nil},
		{"rotate.schedule.interval.ms", []string{"-1"}, []string{"60000"}}, // without a timezone
		{"rotate.file.on.partition.change", []string{"true", "false"}, nil},
		{"retry.backoff.ms", []string{"5000"}, []string{"-1"}},
		{"filename.offset.zero.pad.width", []string{"10", "0"}, []string{"-1"}},
		{"schema.cache.size", []string{"1000", "5"}, nil},
		{"schema.compatibility", []string{"NONE", "none"}, []string{"BACKWARD", "FORWARD", "FULL"}},
		{"storage.class", []string{"io.confluent.connect.s3.storage.S3Storage"}, []string{"my.Storage"}},
		{"avro.codec", []string{"null", "deflate", "snappy"}, []string{"bzip2"}},
		{"parquet.codec", []string{"snappy", "none", "gzip", "lz4", "zstd", "brotli"}, []string{"lzo"}},
		{"json.decimal.format", []string{"BASE64", "NUMERIC"}, []string{"HEX"}},
		{"connect.meta.data", []string{"true"}, []string{"false"}},
		{"enhanced.avro.schema.support", []string{"true"}, []string{"false"}},
		{"allow.optional.map.keys", []string{"false"}, []string{"true"}},
		{"behavior.on.null.values", []string{"fail", "ignore"}, []string{"write"}},
		{"report.null.values.to.dlq", []string{"true", "false"}, nil},
		{"store.kafka.keys", []string{"false"}, []string{"true"}},
		{"store.kafka.headers", []string{"false"}, []string{"true"}},
		{"keys.format.class", []string{classAvro, classJSON}, nil},
		{"headers.format.class", []string{classAvro, classJSON}, nil},
		{"tombstone.encoded.partition", []string{"tombstone"}, nil},
		{"format.bytearray.extension", []string{".bin"}, nil},
		{"format.bytearray.separator", []string{"\n", ""}, nil},
		{"topics.dir", []string{"topics", ""}, nil},
		{"directory.delim", []string{"/"}, []string{""}},
		{"file.delim", []string{"+"}, nil},
		{"partitioner.class", []string{partitionerPackage + "DefaultPartitioner"}, []string{"my.Partitioner", partitionerPackage + "FieldPartitioner"}},
		{"partition.field.name", []string{"", "a,b"}, nil},
		{"partition.duration.ms", []string{"-1", "3600000"}, nil},
		{"path.format", []string{"", "YYYY"}, []string{"bad"}},
		{"locale", []string{"", "en", "en-US"}, []string{"cs-CZ"}},
		{"timezone", []string{"", "UTC", "Europe/Prague"}, []string{"Mars/Olympus"}},
		{"timestamp.extractor", []string{"Wallclock", "Record", "RecordField", partitionerPackage + "TimeBasedPartitioner$RecordTimestampExtractor"}, []string{"my.Extractor"}},
		{"timestamp.field", []string{"timestamp", "a.b"}, nil},
		{"store.url", []string{"http://127.0.0.1:9000"}, []string{"127.0.0.1:9000"}},
	} {
		parse := func(v string) error {
			_, err := definition().Parse(map[string]string{"s3.bucket.name": "b", "format.class": "json", "flush.size": "3", c.key: v})
			return err
		}
		for _, v := range c.accepted {
			require.NoError(t, parse(v), "%s=%s", c.key, v)
		}
		for _, v := range c.refused {
			err := parse(v)
			require.Error(t, err, "%s=%s", c.key, v)
			if c.key != "rotate.schedule.interval.ms" && c.key != "partitioner.class" {
				require.ErrorContains(t, err, c.key)
			}
		}
	}
}
