// Package providers resolves references to values outside a configuration: ${env:NAME}, ${file:/path:key} and ${dir:/path:file}, so
// that no stored configuration holds a secret. References are those of Kafka's config providers, classes and parameters included.
//
// A reference to a provider that is not configured stays as it is, as in Kafka. A reference to a value that does not exist is an
// error that names the reference: Kafka leaves that too as it is, and a connector then signs in with the reference as its password.
//
// Values are never logged and never part of an error.
package providers
