package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
)

// rest is a REST API: where it is and who asks.
type rest struct {
	a              *app
	flag, env, dfl string
	url            string
}

func (r *rest) flags(c *cobra.Command) {
	f := c.PersistentFlags()
	f.StringVar(&r.url, r.flag, "", "the URL; user and password may be in it; default $"+r.env+", "+r.dfl)
	r.a.commonFlags(f)
}

// call sends a request with a JSON body (nil: none) and decodes the answer into out (nil: dropped).
func (r *rest) call(ctx context.Context, method, path string, body, out any) error {
	base := r.url
	if base == "" {
		base = r.a.env(r.env)
	}
	if base == "" {
		base = r.dfl
	}
	u, err := url.Parse(base)
	if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" {
		return usagef("such as "+r.dfl, "--%s %q is no http or https URL", r.flag, base)
	}
	var rd io.Reader = http.NoBody
	if body != nil {
		b, err := json.Marshal(body)
		if err != nil {
			return err
		}
		rd = bytes.NewReader(b)
	}
	ctx, cancel := context.WithTimeout(ctx, r.a.timeout)
	defer cancel()
	user := u.User
	u.User = nil
	req, err := http.NewRequestWithContext(ctx, method, strings.TrimRight(u.String(), "/")+path, rd)
	if err != nil {
		return err
	}
	if user != nil {
		p, _ := user.Password()
		req.SetBasicAuth(user.Username(), p)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Accept", "application/json")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		if errors.Is(err, context.Canceled) {
			return err
		}
		return &Error{Code: exitUnreachable, Err: fmt.Errorf("%s does not answer: %w", u, err), Remedy: "check --" + r.flag}
	}
	defer res.Body.Close()
	b, err := io.ReadAll(io.LimitReader(res.Body, 64<<20))
	if err != nil {
		return err
	}
	if res.StatusCode >= 300 {
		var e struct {
			Message string `json:"message"`
		}
		if json.Unmarshal(b, &e) != nil || e.Message == "" {
			e.Message = strings.TrimSpace(string(b))
		}
		code := exitFailed
		switch res.StatusCode {
		case http.StatusNotFound:
			code = exitNotFound
		case http.StatusConflict:
			if method == http.MethodPost && !strings.Contains(strings.ToLower(e.Message), "incompatible") {
				code = exitExists
			}
		case http.StatusUnauthorized, http.StatusForbidden:
			code = exitUnauthorized
		}
		return &Error{Code: code, Err: fmt.Errorf("HTTP %d: %s", res.StatusCode, e.Message)}
	}
	if out == nil || len(b) == 0 {
		return nil
	}
	return decodeJSON(b, out)
}

// decodeJSON keeps numbers as they are written: offsets of connectors may have more digits than a float64.
func decodeJSON(b []byte, out any) error {
	if !json.Valid(b) {
		return json.Unmarshal(b, out) // which says where
	}
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	return d.Decode(out)
}

func (a *app) connectorCommand() *cobra.Command {
	r := &rest{a: a, flag: "connect-url", env: envConnect, dfl: "http://127.0.0.1:8083"}
	names := func(c *cobra.Command, args []string, prefix string) ([]string, cobra.ShellCompDirective) {
		var l []string
		_ = r.call(context.Background(), http.MethodGet, "/connectors", nil, &l)
		slices.Sort(l)
		return l, cobra.ShellCompDirectiveNoFileComp
	}
	one := func(name string) string { return "/connectors/" + url.PathEscape(name) }
	act := func(verb, short, done, method, suffix string) *cobra.Command {
		return &cobra.Command{Use: verb + " NAME", Short: short, Args: cobra.ExactArgs(1), ValidArgsFunction: names, RunE: func(c *cobra.Command, args []string) error {
			if err := r.call(c.Context(), method, one(args[0])+suffix, nil, nil); err != nil {
				return fmt.Errorf("connector %s: %w", args[0], err)
			}
			return a.done(map[string]any{"name": args[0], "done": verb}, "connector %s %s", args[0], done)
		}}
	}
	c := noun("connector", "Connectors of a Kafka Connect worker: list, create, status, pause, resume, restart, stop, delete",
		a.connectorList(r), a.connectorCreate(r), a.connectorShow(r, "status", "Show the state of a connector and its tasks", "/status", names),
		a.connectorShow(r, "config", "Show the configuration of a connector", "/config", names), a.connectorShow(r, "offsets", "Show the offsets of a connector", "/offsets", names),
		act("pause", "Pause a connector and its tasks", "pauses", http.MethodPut, "/pause"), act("resume", "Resume a paused or stopped connector", "resumes", http.MethodPut, "/resume"),
		act("stop", "Stop a connector, keeping its configuration and offsets", "stops", http.MethodPut, "/stop"),
		act("restart", "Restart a connector and its tasks", "restarts", http.MethodPost, "/restart?includeTasks=true"), act("delete", "Delete a connector", "deleted", http.MethodDelete, ""))
	r.flags(c)
	return c
}

func (a *app) connectorList(r *rest) *cobra.Command {
	return &cobra.Command{Use: "list", Short: "List connectors with their states", Args: cobra.NoArgs, RunE: func(c *cobra.Command, _ []string) error {
		var all map[string]struct {
			Status struct {
				Connector struct{ State, Trace string } `json:"connector"`
				Tasks     []struct{ State string }      `json:"tasks"`
				Type      string                        `json:"type"`
			} `json:"status"`
		}
		if err := r.call(c.Context(), http.MethodGet, "/connectors?expand=status", nil, &all); err != nil {
			return fmt.Errorf("list connectors: %w", err)
		}
		type row struct {
			Name  string   `json:"name"`
			Type  string   `json:"type"`
			State string   `json:"state"`
			Tasks []string `json:"tasks"`
		}
		rows, t := []row{}, &table{head: []string{"CONNECTOR", "TYPE", "STATE", "TASKS"}}
		for _, n := range sortedKeys(all) {
			s := all[n].Status
			x := row{n, s.Type, s.Connector.State, []string{}}
			for _, task := range s.Tasks {
				x.Tasks = append(x.Tasks, task.State)
			}
			rows = append(rows, x)
			t.add(x.Name, x.Type, x.State, strings.Join(x.Tasks, ","))
		}
		return a.emit(rows, t)
	}}
}

// connectorShow prints the worker's own document.
func (a *app) connectorShow(r *rest, verb, short, suffix string, names func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective)) *cobra.Command {
	return &cobra.Command{Use: verb + " NAME", Short: short, Args: cobra.ExactArgs(1), ValidArgsFunction: names, RunE: func(c *cobra.Command, args []string) error {
		var doc any
		if err := r.call(c.Context(), http.MethodGet, "/connectors/"+url.PathEscape(args[0])+suffix, nil, &doc); err != nil {
			return fmt.Errorf("connector %s: %w", args[0], err)
		}
		return a.emitJSON(doc)
	}}
}

// document reads a JSON file, - being the standard input.
func (a *app) document(file string) (map[string]any, error) {
	var b []byte
	var err error
	if file == "-" {
		b, err = io.ReadAll(io.LimitReader(a.In, 16<<20))
	} else {
		b, err = os.ReadFile(file)
	}
	if err != nil {
		return nil, usage(err, "give a readable file, or - for the standard input")
	}
	var m map[string]any
	if err := decodeJSON(b, &m); err != nil {
		return nil, usage(fmt.Errorf("%s is no JSON object: %w", file, err), "")
	}
	return m, nil
}

func (a *app) connectorCreate(r *rest) *cobra.Command {
	var update bool
	c := &cobra.Command{
		Use: "create FILE", Short: "Create a connector from a JSON file, {\"name\":...,\"config\":{...}}; - is the standard input", Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			doc, err := a.document(args[0])
			if err != nil {
				return err
			}
			name, _ := doc["name"].(string)
			if name == "" {
				return usagef("it must be {\"name\":\"...\",\"config\":{...}}", "%s names no connector", args[0])
			}
			var out any
			if update {
				err = r.call(c.Context(), http.MethodPut, "/connectors/"+url.PathEscape(name)+"/config", doc["config"], &out)
			} else {
				err = r.call(c.Context(), http.MethodPost, "/connectors", doc, &out)
			}
			if err != nil {
				return fmt.Errorf("connector %s: %w", name, err)
			}
			return a.done(out, "connector %s %s", name, map[bool]string{true: "configured", false: "created"}[update])
		},
	}
	c.Flags().BoolVar(&update, "update", false, "change the configuration of a connector that is there, or create it")
	return c
}

func (a *app) schemaCommand() *cobra.Command {
	r := &rest{a: a, flag: "registry-url", env: envSchemas, dfl: "http://127.0.0.1:8081"}
	subjects := func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
		var l []string
		_ = r.call(context.Background(), http.MethodGet, "/subjects", nil, &l)
		slices.Sort(l)
		return l, cobra.ShellCompDirectiveNoFileComp
	}
	c := noun("schema", "Schemas of a registry: list, get, register, check, delete", a.schemaList(r), a.schemaGet(r, subjects), a.schemaRegister(r, subjects, false), a.schemaRegister(r, subjects, true), a.schemaDelete(r, subjects))
	r.flags(c)
	return c
}

func (a *app) schemaList(r *rest) *cobra.Command {
	var deleted bool
	c := &cobra.Command{Use: "list", Short: "List subjects with their versions", Args: cobra.NoArgs, RunE: func(c *cobra.Command, _ []string) error {
		q := ""
		if deleted {
			q = "?deleted=true"
		}
		var subjects []string
		if err := r.call(c.Context(), http.MethodGet, "/subjects"+q, nil, &subjects); err != nil {
			return fmt.Errorf("list subjects: %w", err)
		}
		slices.Sort(subjects)
		type row struct {
			Subject  string `json:"subject"`
			Versions []int  `json:"versions"`
		}
		rows, t := []row{}, &table{head: []string{"SUBJECT", "VERSIONS"}}
		for _, s := range subjects {
			x := row{s, []int{}}
			if err := r.call(c.Context(), http.MethodGet, "/subjects/"+url.PathEscape(s)+"/versions"+q, nil, &x.Versions); err != nil {
				return fmt.Errorf("subject %s: %w", s, err)
			}
			rows = append(rows, x)
			t.add(s, strings.Trim(fmt.Sprint(x.Versions), "[]"))
		}
		return a.emit(rows, t)
	}}
	c.Flags().BoolVar(&deleted, "deleted", false, "list those that were deleted as well")
	return c
}

func (a *app) schemaGet(r *rest, names func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective)) *cobra.Command {
	var version string
	var id int
	c := &cobra.Command{Use: "get [SUBJECT]", Short: "Show a schema, of a subject or by its id", Args: cobra.MaximumNArgs(1), ValidArgsFunction: names, RunE: func(c *cobra.Command, args []string) error {
		var s struct {
			Subject string `json:"subject,omitempty"`
			Version int    `json:"version,omitempty"`
			ID      int    `json:"id"`
			Type    string `json:"schemaType,omitempty"`
			Schema  string `json:"schema"`
		}
		path := "/schemas/ids/" + strconv.Itoa(id)
		if len(args) == 1 {
			path = "/subjects/" + url.PathEscape(args[0]) + "/versions/" + url.PathEscape(version)
		} else if !c.Flags().Changed("id") {
			return usagef("name the subject, or give --id", "nothing says which schema")
		}
		if err := r.call(c.Context(), http.MethodGet, path, nil, &s); err != nil {
			return fmt.Errorf("get schema: %w", err)
		}
		if s.ID == 0 {
			s.ID = id
		}
		if a.json {
			return a.emitJSON(s)
		}
		fmt.Fprintln(a.Out, s.Schema)
		return nil
	}}
	c.Flags().StringVar(&version, "version", "latest", "a version, or latest")
	c.Flags().IntVar(&id, "id", 0, "a schema's id")
	return c
}

func (a *app) schemaRegister(r *rest, names func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective), check bool) *cobra.Command {
	var kind, version string
	verb, short := "register", "Register a schema from a file; - is the standard input"
	if check {
		verb, short = "check", "Ask whether a schema is compatible with a subject's"
	}
	c := &cobra.Command{Use: verb + " SUBJECT FILE", Short: short, Args: cobra.ExactArgs(2), ValidArgsFunction: names, RunE: func(c *cobra.Command, args []string) error {
		var b []byte
		var err error
		if args[1] == "-" {
			b, err = io.ReadAll(io.LimitReader(a.In, 16<<20))
		} else {
			b, err = os.ReadFile(args[1])
		}
		if err != nil {
			return usage(err, "give a readable file, or - for the standard input")
		}
		body := map[string]any{"schema": string(b), "schemaType": kind}
		subject := url.PathEscape(args[0])
		if check {
			var out struct {
				Compatible bool     `json:"is_compatible"`
				Messages   []string `json:"messages,omitempty"`
			}
			if err := r.call(c.Context(), http.MethodPost, "/compatibility/subjects/"+subject+"/versions/"+url.PathEscape(version)+"?verbose=true", body, &out); err != nil {
				return fmt.Errorf("subject %s: %w", args[0], err)
			}
			if err := a.done(out, "compatible: %v", out.Compatible); err != nil {
				return err
			}
			if !out.Compatible {
				return &Error{Code: exitFailed, Err: fmt.Errorf("the schema is not compatible with subject %s: %s", args[0], strings.Join(out.Messages, "; "))}
			}
			return nil
		}
		var out struct {
			ID int `json:"id"`
		}
		if err := r.call(c.Context(), http.MethodPost, "/subjects/"+subject+"/versions", body, &out); err != nil {
			return fmt.Errorf("subject %s: %w", args[0], err)
		}
		return a.done(map[string]any{"subject": args[0], "id": out.ID}, "schema %d registered under %s", out.ID, args[0])
	}}
	c.Flags().StringVar(&kind, "type", "AVRO", "AVRO, JSON or PROTOBUF")
	complete(c, "type", fixed("AVRO", "JSON", "PROTOBUF"))
	if check {
		c.Flags().StringVar(&version, "version", "latest", "the version to compare with, or latest")
	}
	return c
}

func (a *app) schemaDelete(r *rest, names func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective)) *cobra.Command {
	var version string
	var permanent bool
	c := &cobra.Command{Use: "delete SUBJECT", Short: "Delete a subject, or one version of it", Args: cobra.ExactArgs(1), ValidArgsFunction: names, RunE: func(c *cobra.Command, args []string) error {
		path := "/subjects/" + url.PathEscape(args[0])
		if version != "" {
			path += "/versions/" + url.PathEscape(version)
		}
		if permanent {
			path += "?permanent=true"
		}
		var out any
		if err := r.call(c.Context(), http.MethodDelete, path, nil, &out); err != nil {
			return fmt.Errorf("subject %s: %w", args[0], err)
		}
		return a.done(map[string]any{"subject": args[0], "deleted_versions": out, "permanent": permanent}, "subject %s: deleted %v", args[0], out)
	}}
	c.Flags().StringVar(&version, "version", "", "this version only")
	c.Flags().BoolVar(&permanent, "permanent", false, "delete for good what was deleted before")
	return c
}
