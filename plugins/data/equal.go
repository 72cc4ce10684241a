package data

// EqualFields reports whether two struct schemas have the same name and equal fields, so that a value of one can stand where the
// other is expected: it leaves out optionality, defaults, docs, versions and parameters of the structs themselves.
func (s *Schema) EqualFields(o *Schema) bool {
	if s == o {
		return true
	}
	if s == nil || o == nil || s.typ != TypeStruct || o.typ != TypeStruct || s.name != o.name || len(s.fields) != len(o.fields) {
		return false
	}
	for i := range s.fields {
		if s.fields[i].Name != o.fields[i].Name || !s.fields[i].Schema.Equal(o.fields[i].Schema) {
			return false
		}
	}
	return true
}
