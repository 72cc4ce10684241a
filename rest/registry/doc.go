// Package registry is the HTTP edge of the schema registry: Confluent's REST API on a Registry.
//
// Clients of many languages and ages speak to it, so what they are known to do is accepted: trailing slashes, Python's `False` in
// query parameters, request members that the API does not have, percent-encoded subjects, `-1` for `latest`, and any of the API's
// media types. Errors have exactly two members, error_code and message, and one place that writes them (render); old Java clients
// fail on a third.
package registry
