package log

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path/filepath"
	"slices"
	"strings"
)

// formatTopicID is the content of partition.metadata.
func formatTopicID(id [16]byte) []byte {
	return fmt.Appendf(nil, "version: 0\ntopic_id: %s", base64.RawURLEncoding.EncodeToString(id[:]))
}

// parseTopicID reads partition.metadata.
func parseTopicID(p []byte) (id [16]byte, err error) {
	seen := false
	for line := range strings.SplitSeq(strings.TrimSpace(string(p)), "\n") {
		k, v, ok := strings.Cut(line, ":")
		v = strings.TrimSpace(v)
		switch {
		case !ok:
			return id, fmt.Errorf("malformed line %q", line)
		case k == "version" && v != "0":
			return id, fmt.Errorf("unrecognized version %q", v)
		case k == "topic_id":
			raw, err := base64.RawURLEncoding.DecodeString(v)
			if err != nil || len(raw) != 16 {
				return id, fmt.Errorf("malformed topic id %q", v)
			}
			copy(id[:], raw)
			seen = true
		}
	}
	if !seen {
		return id, errors.New("no topic id")
	}
	return id, nil
}

// cleanShutdown is the content of the marker of an orderly close.
type cleanShutdown struct {
	Version     int   `json:"version"`
	BrokerEpoch int64 `json:"brokerEpoch,string"`
}

// takeCleanMarker notes whether the marker is there and removes it, durably, before anything is written.
func (d *Dir) takeCleanMarker() error {
	name := d.file(fileCleanShutdown)
	p, err := readFile(d.fs, name, 4096)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	d.clean = true
	var m cleanShutdown
	if json.Unmarshal(p, &m) == nil && m.Version == 0 {
		d.prevEpoch = m.BrokerEpoch
	}
	if err := d.fs.Remove(name); err != nil {
		return err
	}
	return d.fs.SyncDir(d.path)
}

func (d *Dir) leaveCleanMarker() error {
	p, err := json.Marshal(cleanShutdown{BrokerEpoch: d.brokerEpoch.Load()})
	if err != nil {
		return err
	}
	return replaceFile(d.fs, d.file(fileCleanShutdown), p)
}

// Properties reads meta.properties, which says whose directory this is (cluster.id, node.id, directory.id); empty when there
// is no such file yet.
func (d *Dir) Properties() (map[string]string, error) {
	d.metaMu.Lock()
	defer d.metaMu.Unlock()
	p, err := readFile(d.fs, d.file(fileMeta), 1<<20)
	if errors.Is(err, fs.ErrNotExist) {
		return map[string]string{}, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", fileMeta, err)
	}
	return parseProperties(p)
}

// WriteProperties replaces meta.properties, durably. The key version is set to 1 when it is absent.
func (d *Dir) WriteProperties(props map[string]string) error {
	d.metaMu.Lock()
	defer d.metaMu.Unlock()
	props = maps.Clone(props)
	if props["version"] == "" {
		props["version"] = "1"
	}
	var b []byte
	for _, k := range slices.Sorted(maps.Keys(props)) {
		if strings.ContainsAny(k+props[k], "\r\n=\\#") {
			return fmt.Errorf("write %s: %s=%q has characters that the file cannot hold", filepath.Base(fileMeta), k, props[k])
		}
		b = fmt.Appendf(b, "%s=%s\n", k, props[k])
	}
	if err := replaceFile(d.fs, d.file(fileMeta), b); err != nil {
		return d.fail(err)
	}
	return nil
}

func parseProperties(p []byte) (map[string]string, error) {
	m := map[string]string{}
	sc := bufio.NewScanner(bytes.NewReader(p))
	for sc.Scan() {
		line := strings.TrimSpace(sc.Text())
		if line == "" || line[0] == '#' {
			continue
		}
		k, v, ok := strings.Cut(line, "=")
		if !ok {
			return nil, fmt.Errorf("%s: malformed line %q", fileMeta, line)
		}
		m[strings.TrimSpace(k)] = strings.TrimSpace(v)
	}
	return m, sc.Err()
}
