// Package s3 is the S3 sink: it writes the records of topics into objects of an S3-compatible store, as Avro, JSON lines, Parquet or
// raw bytes, with the class name, keys, defaults and object names of the Confluent S3 sink.
//
// # Exactly once
//
// An object's name is a function of its topic, its partition path and the offset of its first record. Objects are closed by rules
// that are a function of the records alone (flush.size, rotate.interval.ms on record time, a schema change), so a task that is
// killed and started again from the committed offset writes the same objects with the same names. Wall-clock rules
// (rotate.schedule.interval.ms, the Wallclock extractor) break that function; for them an object carries the offset after its last
// record in its metadata, and a conditional write tells the second writer that the object is there: it then goes on behind it
// instead of overwriting (see upload.go). Either way every offset is in exactly one object, with one exception that is the
// protocol's own: a store that ignores If-None-Match.
//
// Offsets are handed to the worker only when the object that holds them is complete.
//
// # Memory
//
// All open objects of a task draw their buffers from one pool of bounded size. When it is empty, further bytes go to a scratch file
// that is removed with the object: a slow store makes the task wait, never grow.
//
// Files:
//
//	config.go      the keys
//	connector.go   the connector and its validation
//	task.go        the sink task: puts, commits, partitions coming and going
//	writer.go      one topic partition: the pure rules of rotation, and its open objects
//	partitioner.go paths out of records: default, field, time
//	joda.go        path.format's date patterns
//	format*.go     record encoders; parquetfile/ is what writes Parquet
//	buffer.go      the pool and the spill file
//	upload.go      put, multipart, conditional writes, retries
package s3
