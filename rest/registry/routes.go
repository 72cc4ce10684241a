package registry

import (
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"strings"

	"github.com/moldau-io/moldau/schemaregistry/api"
)

func (h *handler) routes() {
	get, post, put, del := http.MethodGet, http.MethodPost, http.MethodPut, http.MethodDelete
	empty := func(*call) (any, error) { return struct{}{}, nil }
	h.route(get, "/", empty)
	h.route(post, "/", empty)

	h.route(get, "/schemas", (*call).schemas)
	h.route(get, "/schemas/types", func(*call) (any, error) { return []string{api.TypeAvro}, nil })
	h.route(get, "/schemas/ids/{id}", (*call).byID)
	h.route(get, "/schemas/ids/{id}/schema", (*call).textByID)
	h.route(get, "/schemas/ids/{id}/subjects", (*call).subjectsOfID)
	h.route(get, "/schemas/ids/{id}/versions", (*call).versionsOfID)
	h.route(get, "/schemas/guids/{guid}", (*call).byGUID)
	h.route(get, "/schemas/guids/{guid}/ids", (*call).idsOfGUID)

	h.route(get, "/subjects", (*call).subjects)
	// A subject may be empty, so its segment may be too.
	const subject = "/subjects/{subject:[^/]*}"
	h.route(post, subject, (*call).lookup)
	h.route(del, subject, (*call).deleteSubject)
	h.route(get, subject+"/metadata", (*call).withMetadata)
	h.route(get, subject+"/versions", (*call).versions)
	h.route(post, subject+"/versions", (*call).register)
	h.route(get, subject+"/versions/{version}", (*call).getVersion)
	h.route(del, subject+"/versions/{version}", (*call).deleteVersion)
	h.route(get, subject+"/versions/{version}/schema", (*call).textByVersion)
	h.route(get, subject+"/versions/{version}/referencedby", (*call).referencedBy)

	const compatibility = "/compatibility/subjects/{subject:[^/]*}/versions"
	h.route(post, compatibility, (*call).checkHistory)
	h.route(post, compatibility+"/{version}", (*call).checkVersion)

	for _, path := range []string{"/config", "/config/{subject}"} {
		h.route(get, path, (*call).config)
		h.route(put, path, (*call).setConfig)
		h.route(del, path, (*call).deleteConfig)
	}
	for _, path := range []string{"/mode", "/mode/{subject}"} {
		h.route(get, path, (*call).mode)
		h.route(put, path, (*call).setMode)
		h.route(del, path, (*call).deleteMode)
	}
	h.route(get, "/contexts", func(c *call) (any, error) {
		list, err := c.h.reg.Contexts()
		return page(c, list, err)
	})
	h.route(del, "/contexts/{context}", func(c *call) (any, error) {
		return status(http.StatusNoContent), c.h.reg.DeleteContext(c.Context(), c.vars["context"])
	})
	h.route(get, "/v1/metadata/id", (*call).clusterID)
	h.route(get, "/v1/metadata/version", func(*call) (any, error) {
		return map[string]string{"version": h.opts.Version, "commitId": h.opts.Commit}, nil
	})
	h.route(get, "/v1/metadata/deployment", func(*call) (any, error) { return map[string][]string{"attributes": {}}, nil })

	h.router.NotFoundHandler = h.answer(httpError(404, "HTTP 404 Not Found"))
	h.router.MethodNotAllowedHandler = h.answer(httpError(405, "HTTP 405 Method Not Allowed"))
}

func (h *handler) answer(err error) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		contentType, _ := accepted(r.Header.Values("Accept"))
		code := h.render(w, r, contentType, nil, err)
		h.requests.WithLabelValues("unmatched", "", strconv.Itoa(code)).Inc()
	})
}

func (c *call) request() (api.Request, error) {
	// These members of the newest clients change the schema; to ignore them would register another schema than was asked for.
	var req struct {
		api.Request
		Add    []json.RawMessage `json:"schemaTagsToAdd"`
		Remove []json.RawMessage `json:"schemaTagsToRemove"`
	}
	if err := c.decode(&req); err != nil {
		return req.Request, err
	}
	if len(req.Add)+len(req.Remove) > 0 {
		return req.Request, httpError(42205, "schemaTagsToAdd and schemaTagsToRemove are not supported; write the tags into the schema")
	}
	return req.Request, nil
}

// answerSchema gives a schema the form that format asks for.
func (c *call) answerSchema(s api.Schema, err error) (any, error) {
	if err != nil {
		return nil, err
	}
	if s.Schema, err = c.h.reg.Format(s, c.URL.Query().Get("format")); err != nil {
		return nil, err
	}
	return s, nil
}

func (c *call) register() (any, error) {
	req, err := c.request()
	if err != nil {
		return nil, err
	}
	s, err := c.h.reg.Register(c.Context(), c.subject(), req, api.RegisterOptions{Normalize: c.boolean("normalize"), Force: c.boolean("force")})
	s.Subject = ""
	return c.answerSchema(s, err)
}

func (c *call) lookup() (any, error) {
	req, err := c.request()
	if err != nil {
		return nil, err
	}
	return c.answerSchema(c.h.reg.Lookup(c.subject(), req, c.boolean("normalize"), c.boolean("deleted")))
}

func (c *call) checkHistory() (any, error) { return c.check(0) }

func (c *call) checkVersion() (any, error) {
	number, err := c.version()
	if err != nil {
		return nil, err
	}
	return c.check(number)
}

func (c *call) check(number int) (any, error) {
	req, err := c.request()
	if err != nil {
		return nil, err
	}
	ok, messages, err := c.h.reg.Check(c.subject(), number, req, c.boolean("normalize"))
	verbose := c.boolean("verbose")
	var invalid *api.Error
	if verbose && errors.As(err, &invalid) && invalid.Code == 42201 {
		ok, messages, err = false, []string{invalid.Message}, nil
	}
	if err != nil {
		return nil, err
	}
	out := struct {
		Compatible bool     `json:"is_compatible"`
		Messages   []string `json:"messages,omitempty"`
	}{Compatible: ok}
	if verbose {
		out.Messages = messages
	}
	return out, nil
}

// schemaString is a schema by its id. The members are those of Schema without the id.
type schemaString struct {
	Subject    string          `json:"subject,omitempty"`
	Version    int             `json:"version,omitempty"`
	GUID       string          `json:"guid,omitempty"`
	SchemaType string          `json:"schemaType,omitempty"`
	Schema     string          `json:"schema"`
	References []api.Reference `json:"references,omitempty"`
	Metadata   *api.Metadata   `json:"metadata,omitempty"`
	RuleSet    *api.RuleSet    `json:"ruleSet,omitempty"`
	MaxID      int             `json:"maxId,omitempty"`
	Timestamp  int64           `json:"ts,omitempty"`
	Deleted    bool            `json:"deleted,omitempty"`

	Tags []api.SchemaTags `json:"schemaTags,omitempty"`
}

// references are those of a schema as referenceFormat asks for them: "qualified" writes the context of the schema's subject into them.
func (c *call) references(subject string, refs []api.Reference) []api.Reference {
	if c.URL.Query().Get("referenceFormat") != "qualified" {
		return refs
	}
	return c.h.reg.QualifyReferences(subject, refs)
}

// idSubject is the subject that chooses the context of an id.
func (c *call) idSubject() string {
	s := c.qualify(c.URL.Query().Get("subject"))
	if s == "" {
		return ""
	}
	return c.h.reg.Alias(s)
}

func (c *call) schemaOfID() (api.Schema, error) {
	id, err := c.id()
	if err != nil {
		return api.Schema{}, err
	}
	s, err := c.h.reg.ByID(id, c.idSubject())
	if err != nil {
		return s, err
	}
	return c.present(s)
}

// present finds the tags of a schema that findTags asks for, and gives its text the form that format asks for.
func (c *call) present(s api.Schema) (api.Schema, error) {
	var err error
	query := c.URL.Query()
	if wanted := query["findTags"]; len(wanted) > 0 {
		if s.Tags, err = c.h.reg.FindTags(s, wanted); err != nil {
			return s, err
		}
	}
	s.Schema, err = c.h.reg.Format(s, query.Get("format"))
	return s, err
}

func (c *call) byID() (any, error) {
	s, err := c.schemaOfID()
	if err != nil {
		return nil, err
	}
	out := schemaString{GUID: s.GUID, SchemaType: s.SchemaType, Schema: s.Schema, References: s.References, Metadata: s.Metadata, RuleSet: s.RuleSet, Timestamp: s.Timestamp, Deleted: s.Deleted, Tags: s.Tags}
	if c.idSubject() != "" {
		out.Subject, out.Version = s.Subject, s.Version
		out.References = c.references(s.Subject, s.References)
	}
	if c.boolean("fetchMaxId") {
		out.MaxID = c.h.reg.MaxID(c.idSubject())
	}
	return out, nil
}

func (c *call) textByID() (any, error) {
	s, err := c.schemaOfID()
	return text(s.Schema), err
}

func (c *call) subjectsOfID() (any, error) {
	id, err := c.id()
	if err != nil {
		return nil, err
	}
	list, err := c.h.reg.VersionsOfID(id, c.idSubject(), c.filter())
	names := []string{}
	for _, v := range list { // sorted by subject
		if len(names) == 0 || names[len(names)-1] != v.Subject {
			names = append(names, v.Subject)
		}
	}
	return page(c, names, err)
}

func (c *call) versionsOfID() (any, error) {
	id, err := c.id()
	if err != nil {
		return nil, err
	}
	list, err := c.h.reg.VersionsOfID(id, c.idSubject(), c.filter())
	return page(c, list, err)
}

func (c *call) byGUID() (any, error) {
	s, _, err := c.h.reg.ByGUID(c.vars["guid"])
	if err != nil {
		return nil, err
	}
	if s.Schema, err = c.h.reg.Format(s, c.URL.Query().Get("format")); err != nil {
		return nil, err
	}
	return schemaString{GUID: s.GUID, SchemaType: s.SchemaType, Schema: s.Schema, References: s.References, Metadata: s.Metadata, RuleSet: s.RuleSet}, nil
}

func (c *call) idsOfGUID() (any, error) {
	_, ids, err := c.h.reg.ByGUID(c.vars["guid"])
	return ids, err
}

func (c *call) schemas() (any, error) {
	prefix := c.qualify(c.URL.Query().Get("subjectPrefix"))
	if prefix == "" {
		prefix = ":*:"
	}
	offset, err := c.integer("offset", 0)
	if err != nil {
		return nil, err
	}
	limit, err := c.integer("limit", -1)
	if err != nil {
		return nil, err
	}
	byDefault, most := c.h.reg.SearchLimits()
	if limit < 0 {
		limit = byDefault
	}
	// There are no associations of schemas with resources: to ignore these would answer with schemas that were not asked for.
	query := c.URL.Query()
	for _, name := range []string{"resourceType", "associationType", "lifecycle"} {
		if v := query.Get(name); v != "" && !strings.EqualFold(v, "false") {
			return nil, httpError(422, "The query parameter "+name+" is not supported by this registry")
		}
	}
	return c.h.reg.Schemas(api.Search{
		Prefix: prefix, Filter: c.filter(), LatestOnly: c.boolean("latestOnly"), Aliases: c.boolean("aliases"), RuleType: query.Get("ruleType"),
		Offset: max(offset, 0), Limit: min(limit, most),
	})
}

func (c *call) subjects() (any, error) {
	prefix := c.URL.Query().Get("subjectPrefix")
	if prefix == "" && c.context == "" {
		prefix = ":*:"
	}
	list, err := c.h.reg.Subjects(c.qualify(prefix), c.filter())
	return page(c, list, err)
}

func (c *call) versions() (any, error) {
	list, err := c.h.reg.Versions(c.subject(), c.filter(), c.boolean("deletedAsNegative"))
	return page(c, list, err)
}

func (c *call) schemaOfVersion() (api.Schema, error) {
	number, err := c.version()
	if err != nil {
		return api.Schema{}, err
	}
	s, err := c.h.reg.Version(c.subject(), number, c.boolean("deleted"))
	if err != nil {
		return s, err
	}
	return c.present(s)
}

func (c *call) getVersion() (any, error) {
	s, err := c.schemaOfVersion()
	s.References = c.references(s.Subject, s.References)
	return s, err
}

func (c *call) textByVersion() (any, error) {
	s, err := c.schemaOfVersion()
	return text(s.Schema), err
}

func (c *call) withMetadata() (any, error) {
	query := c.URL.Query()
	keys, values := query["key"], query["value"]
	if len(keys) != len(values) {
		return nil, httpError(422, "every key of the query needs a value")
	}
	properties := make(map[string]string, len(keys))
	for i, k := range keys {
		properties[k] = values[i]
	}
	return c.answerSchema(c.h.reg.WithMetadata(c.subject(), properties, c.boolean("deleted")))
}

func (c *call) referencedBy() (any, error) {
	number, err := c.version()
	if err != nil {
		return nil, err
	}
	list, err := c.h.reg.ReferencedBy(c.subject(), number, c.filter())
	return page(c, list, err)
}

func (c *call) deleteSubject() (any, error) {
	return c.h.reg.DeleteSubject(c.Context(), c.subject(), c.boolean("permanent"))
}

func (c *call) deleteVersion() (any, error) {
	number, err := c.version()
	if err != nil {
		return nil, err
	}
	return c.h.reg.DeleteVersion(c.Context(), c.subject(), number, c.vars["version"], c.boolean("permanent"))
}

func (c *call) config() (any, error) {
	return c.h.reg.Config(c.scope(), c.boolean("defaultToGlobal"))
}

func (c *call) setConfig() (any, error) {
	var body map[string]json.RawMessage
	if err := c.decode(&body); err != nil {
		return nil, err
	}
	config, err := c.h.reg.SetConfig(c.Context(), c.scope(), body)
	// A PUT has the level under another name than a GET.
	out := struct {
		Level string `json:"compatibility,omitempty"`
		api.Config
	}{config.CompatibilityLevel, config}
	out.CompatibilityLevel = ""
	return out, err
}

func (c *call) deleteConfig() (any, error) { return c.h.reg.DeleteConfig(c.Context(), c.scope()) }

type modeAnswer struct {
	Mode api.Mode `json:"mode,omitempty"`
}

func (c *call) mode() (any, error) {
	m, err := c.h.reg.Mode(c.scope(), c.boolean("defaultToGlobal"))
	return modeAnswer{m}, err
}

func (c *call) setMode() (any, error) {
	var body struct {
		Mode string `json:"mode"`
	}
	if err := c.decode(&body); err != nil {
		return nil, err
	}
	err := c.h.reg.SetMode(c.Context(), c.scope(), body.Mode, c.boolean("force"))
	return modeAnswer{api.Mode(body.Mode)}, err // as it was written
}

func (c *call) deleteMode() (any, error) {
	m, err := c.h.reg.DeleteMode(c.Context(), c.scope(), c.boolean("recursive"))
	return modeAnswer{m}, err
}

func (c *call) clusterID() (any, error) {
	clusters := map[string]string{"schema-registry-cluster": c.h.opts.GroupID}
	if id := c.h.reg.ClusterID(); id != "" {
		clusters["kafka-cluster"] = id
	}
	return map[string]any{"scope": map[string]any{"clusters": clusters}}, nil
}
