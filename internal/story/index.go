package story

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
)

// IndexRows reads all documents of a search index in canonical form, by document id.
func IndexRows(ctx context.Context, url, index string, t Table) (Rows, error) {
	if err := REST(ctx, http.MethodPost, url+"/"+index+"/_refresh", nil, nil); err != nil {
		return nil, err
	}
	type answer struct {
		ScrollID string `json:"_scroll_id"`
		Hits     struct {
			Hits []struct {
				ID     string          `json:"_id"`
				Source json.RawMessage `json:"_source"`
			} `json:"hits"`
		} `json:"hits"`
	}
	rows := Rows{}
	var a answer
	if err := REST(ctx, http.MethodPost, url+"/"+index+"/_search?scroll=2m", map[string]any{"size": 10000, "sort": []string{"_doc"}}, &a); err != nil {
		return nil, err
	}
	for len(a.Hits.Hits) > 0 {
		for _, h := range a.Hits.Hits {
			d := json.NewDecoder(bytes.NewReader(h.Source))
			d.UseNumber()
			var doc map[string]any
			if err := d.Decode(&doc); err != nil {
				return nil, err
			}
			row := make([]string, len(t.Columns))
			for i, c := range t.Columns {
				s, err := c.Canonical(doc[c.Name])
				if err != nil {
					return nil, fmt.Errorf("document %s: %w", h.ID, err)
				}
				row[i] = s
			}
			rows[h.ID] = row
		}
		id := a.ScrollID
		a = answer{}
		if err := REST(ctx, http.MethodPost, url+"/_search/scroll", map[string]any{"scroll": "2m", "scroll_id": id}, &a); err != nil {
			return nil, err
		}
	}
	return rows, nil
}

// IndexCount counts the documents of an index; 0 when there is none yet.
func IndexCount(ctx context.Context, url, index string) int {
	var a struct {
		Count int `json:"count"`
	}
	_ = REST(ctx, http.MethodPost, url+"/"+index+"/_refresh", nil, nil)
	_ = REST(ctx, http.MethodGet, url+"/"+index+"/_count", nil, &a)
	return a.Count
}
