package elasticsearch

import (
	"encoding/json"
	"fmt"
	"strconv"

	"github.com/moldau-io/moldau/plugins"
	"github.com/moldau-io/moldau/plugins/jsontext"
)

// action is what an item of a bulk request does.
type action uint8

const (
	actIndex  action = iota // with an id and an external version, or without
	actCreate               // without an id
	actUpdate
	actDelete
)

// item is one record's part of a bulk request: its lines are body[from:to].
type item struct {
	rec      plugins.SinkRecord
	from, to int
	act      action
	version  bool   // external version: a conflict means that something newer is there
	doc      string // index and id; what must not be under way twice for updates
}

// batch is one bulk request.
type batch struct {
	body  []byte
	items []item
	ends  map[plugins.TopicPartition]int64 // offset after the last record of each partition
	done  bool
	size  int // bytes of body, noted for when it is gone
}

// appendAction writes an item's first line.
func appendAction(dst []byte, act action, index string, id []byte, version int64, hasVersion bool, retryOnConflict int) []byte {
	dst = append(dst, map[action]string{actIndex: `{"index":{"_index":`, actCreate: `{"create":{"_index":`, actUpdate: `{"update":{"_index":`, actDelete: `{"delete":{"_index":`}[act]...)
	dst = jsontext.AppendString(dst, index)
	if id != nil {
		dst = append(dst, `,"_id":`...)
		dst = jsontext.AppendString(dst, string(id))
	}
	if hasVersion {
		dst = append(dst, `,"version":`...)
		dst = strconv.AppendInt(dst, version, 10)
		dst = append(dst, `,"version_type":"external"`...)
	}
	if act == actUpdate {
		dst = append(dst, `,"retry_on_conflict":`...)
		dst = strconv.AppendInt(dst, int64(retryOnConflict), 10)
	}
	return append(dst, "}}\n"...)
}

// verdict is what to do after the server's answer to an item.
type verdict uint8

const (
	ok        verdict = iota
	again             // overload: send it once more
	malformed         // the document is at fault
	refused           // anything else
)

// itemResult is the server's answer to an item.
type itemResult struct {
	Status int `json:"status"`
	Error  struct {
		Type   string `json:"type"`
		Reason string `json:"reason"`
		Cause  struct {
			Type   string `json:"type"`
			Reason string `json:"reason"`
		} `json:"caused_by"`
	} `json:"error"`
}

func (r *itemResult) text() string {
	s := fmt.Sprintf("HTTP %d %s: %s", r.Status, r.Error.Type, r.Error.Reason)
	if r.Error.Cause.Reason != "" {
		s += " (" + r.Error.Cause.Type + ": " + r.Error.Cause.Reason + ")"
	}
	return s
}

// parseBulk reads the answer to a bulk request of n items; it checks that there is a result for each. When the server says that there
// were no errors, results is nil.
func parseBulk(b []byte, n int) (results []itemResult, err error) {
	var a struct {
		Errors *bool                   `json:"errors"`
		Items  []map[string]itemResult `json:"items"`
	}
	if err := json.Unmarshal(b, &a); err != nil {
		return nil, fmt.Errorf("unreadable answer to _bulk: %w", err)
	}
	if a.Errors == nil || len(a.Items) != n {
		return nil, fmt.Errorf("unreadable answer to _bulk: %d results for %d items", len(a.Items), n)
	}
	if !*a.Errors {
		return nil, nil
	}
	results = make([]itemResult, n)
	for i, m := range a.Items {
		if len(m) != 1 {
			return nil, fmt.Errorf("unreadable answer to _bulk: item %d has %d actions", i, len(m))
		}
		for _, r := range m {
			results[i] = r
		}
	}
	return results, nil
}

// judge decides about one result.
func judge(r *itemResult, act action, external bool) verdict {
	switch {
	case r.Status >= 200 && r.Status < 300:
		return ok
	case r.Status == 404 && act == actDelete:
		return ok // what was to go is not there, nor perhaps its index
	case r.Status == 409 && external:
		return ok // something newer is there
	case r.Status == 409 && act == actUpdate:
		return again
	case r.Status == 429 || r.Status == 408 || r.Status >= 500:
		return again
	}
	switch r.Error.Type {
	case "strict_dynamic_mapping_exception", "mapper_parsing_exception", "illegal_argument_exception", "action_request_validation_exception", "document_parsing_exception":
		return malformed
	case "es_rejected_execution_exception", "rejected_execution_exception", "cluster_block_exception", "unavailable_shards_exception", "circuit_breaking_exception":
		return again
	}
	return refused
}
