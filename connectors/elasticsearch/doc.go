// Package elasticsearch is the search sink: it writes records as documents to Elasticsearch (7, 8, 9) or OpenSearch (1 to 3) through
// _bulk, with the class name, keys and defaults of the Confluent Elasticsearch sink.
//
// # Order and repetition
//
// With write.method=insert and record keys as ids, every write carries the record's offset as external version: a request that is
// repeated or overtaken changes nothing, which is what lets requests overlap and makes redelivery after a crash harmless. Upserts
// have no version; two writes to one document are then never under way at once. The trap that versions bring: when a topic is made
// anew its offsets begin at 0 and older documents win. Delete the index together with the topic, or use external.version.header.
//
// # Failure
//
// A server that is down, slow or overloaded (429, 5xx, time-outs) is waited for, with partitions paused, for as long as it takes.
// Documents that the server refuses for what they are go to the dead-letter topic or are treated as behavior.on.malformed.documents
// says. Everything else fails the task with the server's words.
//
// Files:
//
//	config.go    the keys
//	connector.go the connector and its validation
//	task.go      the sink task
//	document.go  records into documents and ids
//	bulk.go      _bulk bodies and answers
//	sender.go    requests under way, retries, the order of completion
//	index.go     indices and mappings
//	client.go    HTTP
package elasticsearch
