package registry_test

import "testing"

func TestTagsAreFound(t *testing.T) {
	n := start(t, cluster(t), nil)
	const person = `{\"type\":\"record\",\"name\":\"Person\",\"namespace\":\"a\",\"fields\":[` +
		`{\"name\":\"mail\",\"type\":\"string\",\"confluent:tags\":[\"PII\",\"MAIL\",\"PII\"]},` +
		`{\"name\":\"age\",\"type\":\"int\",\"confluent:tags\":[\"AGE\"]},{\"name\":\"next\",\"type\":[\"null\",\"Person\"]},` +
		`{\"name\":\"homes\",\"type\":{\"type\":\"array\",\"items\":{\"type\":\"record\",\"name\":\"Home\",\"fields\":[{\"name\":\"at\",\"type\":\"string\",\"confluent:tags\":[\"PII\"]}]}}}],\"confluent:tags\":[\"PII\"]}`
	const text = `"schema":"` + person + `","schemaType":"AVRO"`
	record := `{"schemaEntity":{"entityPath":"a.Person","entityType":"sr_record"},"tags":["PII"]}`
	mail := `{"schemaEntity":{"entityPath":"a.Person.mail","entityType":"sr_field"},"tags":["PII","MAIL"]}`
	age := `{"schemaEntity":{"entityPath":"a.Person.age","entityType":"sr_field"},"tags":["AGE"]}`
	home := `{"schemaEntity":{"entityPath":"a.Home.at","entityType":"sr_field"},"tags":["PII"]}`
	transcript(t, n, []step{
		{"POST /subjects/p/versions", `{"schema":"` + person + `"}`, 200, `{"id":1,"version":1,` + text + `}`},
		{"GET /schemas/ids/1?findTags=*", "", 200, `{` + text + `,"schemaTags":[` + record + `,` + mail + `,` + age + `,` + home + `]}`},
		{"GET /schemas/ids/1?findTags=MAIL&findTags=AGE", "", 200, `{` + text + `,"schemaTags":[` + mail + `,` + age + `]}`},
		{"GET /subjects/p/versions/1?findTags=AGE", "", 200, `{"subject":"p","version":1,"id":1,` + text + `,"schemaTags":[` + age + `]}`},
		{"GET /subjects/p/versions/1?findTags=none", "", 200, `{"subject":"p","version":1,"id":1,` + text + `}`},
	})
}

func TestDeletedVersionsAreListedBelowZero(t *testing.T) {
	n := start(t, cluster(t), nil)
	transcript(t, n, []step{
		{"POST /subjects/s/versions", `{"schema":"\"int\""}`, 200, `{"id":1,"version":1,"schema":"\"int\"","schemaType":"AVRO"}`},
		{"POST /subjects/s/versions", `{"schema":"\"long\""}`, 200, `{"id":2,"version":2,"schema":"\"long\"","schemaType":"AVRO"}`},
		{"DELETE /subjects/s/versions/1", "", 200, `1`},
		{"GET /subjects/s/versions?deletedAsNegative=true", "", 200, `[-1,2]`},
		{"GET /subjects/s/versions?deletedAsNegative=true&deletedOnly=true&offset=1", "", 200, `[2]`},
		{"GET /subjects/s/versions?deletedAsNegative=false", "", 200, `[2]`},
		{"DELETE /subjects/s", "", 200, `[2]`},
		{"GET /subjects/s/versions?deletedAsNegative=true", "", 404, `{"error_code":40401,"message":"Subject 's' not found."}`},
		{"GET /subjects/s/versions?deletedAsNegative=true&deleted=true", "", 200, `[-1,-2]`},
	})
}

func TestSchemasAreFilteredByTheTypesOfTheirRules(t *testing.T) {
	n := start(t, cluster(t), nil)
	rule := `"ruleSet":{"domainRules":[{"name":"r","kind":"CONDITION","mode":"WRITE","type":"CEL","expr":"true"}]}`
	one := `{"subject":"a","version":1,"id":1,"schema":"\"int\"","schemaType":"AVRO",` + rule + `}`
	transcript(t, n, []step{
		{"POST /subjects/a/versions", `{"schema":"\"int\"",` + rule + `}`, 200, `{"id":1,"version":1,"schema":"\"int\"","schemaType":"AVRO",` + rule + `}`},
		{"POST /subjects/b/versions", `{"schema":"\"long\""}`, 200, `{"id":2,"version":1,"schema":"\"long\"","schemaType":"AVRO"}`},
		{"GET /schemas?ruleType=CEL", "", 200, `[` + one + `]`},
		{"GET /schemas?ruleType=JSONATA", "", 200, `[]`},
		{"GET /schemas?ruleType=&latestOnly=true&subjectPrefix=a", "", 200, `[` + one + `]`},
		{"GET /schemas?lifecycle=STRONG", "", 422, `{"error_code":422,"message":"The query parameter lifecycle is not supported by this registry"}`},
		{"GET /schemas?aliases=false&ruleType=x", "", 200, `[]`},
	})
}

func TestSchemasAreFoundByTheAliasesOfTheirSubjects(t *testing.T) {
	n := start(t, cluster(t), nil)
	schema := func(subject, id, text, aliases string) string {
		return `{"subject":"` + subject + `","version":1,"id":` + id + `,"schema":"\"` + text + `\"","schemaType":"AVRO"` + aliases + `}`
	}
	transcript(t, n, []step{
		{"POST /subjects/orders-value/versions", `{"schema":"\"int\""}`, 200, `{"id":1,"version":1,"schema":"\"int\"","schemaType":"AVRO"}`},
		{"POST /subjects/a-plain/versions", `{"schema":"\"long\""}`, 200, `{"id":2,"version":1,"schema":"\"long\"","schemaType":"AVRO"}`},
		{"PUT /config/a-name", `{"alias":"orders-value"}`, 200, `{"alias":"orders-value"}`},
		{"PUT /config/a-second", `{"alias":"orders-value"}`, 200, `{"alias":"orders-value"}`},
		{"PUT /config/a-nothing", `{"alias":"none-such"}`, 200, `{"alias":"none-such"}`},
		{"PUT /config/b-name", `{"alias":"orders-value"}`, 200, `{"alias":"orders-value"}`},
		{"GET /schemas?subjectPrefix=a-", "", 200, `[` + schema("a-plain", "2", "long", "") + `]`},
		{"GET /schemas?subjectPrefix=a-&aliases=true", "", 200, `[` + schema("a-plain", "2", "long", "") + `,` + schema("orders-value", "1", "int", `,"aliases":["a-name","a-second"]`) + `]`},
		{"GET /schemas?subjectPrefix=a-&aliases=true&offset=1&limit=1", "", 200, `[` + schema("orders-value", "1", "int", `,"aliases":["a-name","a-second"]`) + `]`},
		{"GET /schemas?subjectPrefix=orders&aliases=true", "", 200, `[` + schema("orders-value", "1", "int", "") + `]`},
		{"GET /schemas?subjectPrefix=b-&aliases=true&ruleType=CEL", "", 200, `[]`},
		{"DELETE /subjects/orders-value", "", 200, `[1]`},
		{"GET /schemas?subjectPrefix=b-&aliases=true", "", 200, `[]`},
	})
}

func TestReferencesAreQualifiedOnDemand(t *testing.T) {
	n := start(t, cluster(t), nil)
	const inner = `{\"type\":\"record\",\"name\":\"I\",\"fields\":[]}`
	const outer = `{\"type\":\"record\",\"name\":\"O\",\"fields\":[{\"name\":\"i\",\"type\":\"I\"}]}`
	refs := func(subject string) string {
		return `"references":[{"name":"I","subject":"` + subject + `","version":1}]`
	}
	const text = `"schema":"` + outer + `","schemaType":"AVRO"`
	transcript(t, n, []step{
		{"POST /subjects/:.c:i/versions", `{"schema":"` + inner + `"}`, 200, `{"id":1,"version":1,"schema":"` + inner + `","schemaType":"AVRO"}`},
		{"POST /subjects/:.c:o/versions", `{"schema":"` + outer + `",` + refs("i") + `}`, 200, `{"id":2,"version":1,` + text + `,` + refs("i") + `}`},
		{"GET /subjects/:.c:o/versions/1", "", 200, `{"subject":":.c:o","version":1,"id":2,` + text + `,` + refs("i") + `}`},
		{"GET /subjects/:.c:o/versions/1?referenceFormat=qualified", "", 200, `{"subject":":.c:o","version":1,"id":2,` + text + `,` + refs(":.c:i") + `}`},
		{"GET /schemas/ids/2?subject=:.c:o&referenceFormat=qualified", "", 200, `{"subject":":.c:o","version":1,` + text + `,` + refs(":.c:i") + `}`},
		{"POST /subjects/i/versions", `{"schema":"` + inner + `"}`, 200, `{"id":1,"version":1,"schema":"` + inner + `","schemaType":"AVRO"}`},
		{"POST /subjects/o/versions", `{"schema":"` + outer + `",` + refs("i") + `}`, 200, `{"id":2,"version":1,` + text + `,` + refs("i") + `}`},
		{"GET /subjects/o/versions/1?referenceFormat=qualified", "", 200, `{"subject":"o","version":1,"id":2,` + text + `,` + refs("i") + `}`},
	})
}

func TestBodiesThatCannotBeReadAreExplained(t *testing.T) {
	n := start(t, cluster(t), nil)
	refuse := func(text string) string {
		return `{"error_code":400,"message":"request body is not valid: ` + text + `"}`
	}
	const register = "POST /subjects/s/versions"
	transcript(t, n, []step{
		{register, `{"schema":`, 400, refuse("unexpected end of JSON input (after 10 bytes)")},
		{register, `[]`, 400, refuse("it is of type array, not an object")},
		{register, `{"schema":5}`, 400, refuse("schema cannot be of type number")},
		{register, `{"schema":"x","references":[{"version":"1"}]}`, 400, refuse("references.version cannot be of type string")},
		{"PUT /config", `{"compatibilityLevel":"NONE"}`, 200, `{}`}, // members that a PUT does not have are passed over, as in Confluent's registry
		{"PUT /config", `{"compatibility":5}`, 422, `{"error_code":422,"message":"compatibility cannot be of type number"}`},
	})
}
