// Package plugins is what the author of a plugin sees: the connector interfaces, the records they exchange, and the registry
// through which the worker finds them. Built-in connectors use nothing else.
//
// The shape is Kafka Connect's (a Connector validates and splits work, Tasks move records, Converters turn data into bytes,
// Transforms change one record at a time, Predicates decide whether they apply), in batches: a source task hands over a slice of
// records, a sink task takes one, so that per-record costs are paid by the work itself and not by the plumbing.
//
// Life cycle of a task: Start once, then Poll or Put repeatedly from one goroutine, then Stop once. A task never sees two calls
// at a time, with the exceptions that its methods name (Commit of a source). Context cancellation means "stop soon"; Stop means
// "release everything, nothing more will be asked of you".
package plugins
