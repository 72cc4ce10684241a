package schemaregistry

import "fmt"

func errorf(code int, format string, args ...any) *Error {
	return &Error{Code: code, Message: fmt.Sprintf(format, args...)}
}

func errSubjectNotFound(subject string) *Error {
	return errorf(40401, "Subject '%s' not found.", subject)
}

func errVersionNotFound(version int) *Error { return errorf(40402, "Version %d not found.", version) }

func errSchemaNotFound(what ...any) *Error {
	if len(what) == 0 {
		return errorf(40403, "Schema not found")
	}
	return errorf(40403, "Schema %v not found", what[0])
}

func errInvalidLevel() *Error {
	return errorf(42203, "Invalid compatibility level. Valid values are none, backward, forward, full, backward_transitive, forward_transitive, and full_transitive")
}

func errInvalidMode() *Error {
	return errorf(42204, "Invalid mode. Valid values are READWRITE, READONLY, IMPORT and FORWARD.")
}

func errInvalidSubject(s string) *Error {
	return errorf(42208, "The specified subject '%s' is not a valid.", s)
}

func errReadOnly(q qualified) *Error {
	return errorf(42205, "Subject %s in context %s is in read-only mode", q, q.contextSubject())
}

func errReferenced(sv SubjectVersion) *Error {
	return errorf(42206, "One or more references exist to the schema {magic=1,keytype=SCHEMA,subject=%s,version=%d}.", sv.Subject, sv.Version)
}

func errInvalidSchema(err error) *Error {
	return errorf(42201, "Invalid schema of type AVRO, details: %s", err.Error())
}
