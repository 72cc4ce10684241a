package providers

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
)

// maxFile bounds a file of properties or a secret, in bytes.
const maxFile = 1 << 20

// allowedPaths are the folders and files that a provider may read; nil allows all.
type allowedPaths []string

func parseAllowed(list string) (allowedPaths, error) {
	if list == "" {
		return nil, nil
	}
	var out allowedPaths
	for _, p := range strings.Split(list, ",") {
		p = filepath.Clean(strings.TrimSpace(p))
		if !filepath.IsAbs(p) {
			return nil, fmt.Errorf("Path %s is not absolute", p) //nolint:staticcheck // Kafka's text
		}
		if _, err := os.Stat(p); err != nil {
			return nil, fmt.Errorf("Path %s does not exist", p) //nolint:staticcheck // Kafka's text
		}
		out = append(out, p)
	}
	return out, nil
}

// check returns the path to open, or an error when it is not below any allowed one.
func (a allowedPaths) check(path string) (string, error) {
	if a == nil {
		return path, nil
	}
	clean := filepath.Clean(path)
	for _, p := range a {
		if clean == p || strings.HasPrefix(clean, strings.TrimSuffix(p, "/")+"/") {
			return clean, nil
		}
	}
	return "", fmt.Errorf("the path %s is not allowed to be accessed; allowed.paths says which are", path)
}

func readFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	b, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, err
	}
	if len(b) > maxFile {
		return nil, fmt.Errorf("it is larger than %d bytes", maxFile)
	}
	return b, nil
}

// File provides the values of files in Java's properties format: ${file:/path/to/file.properties:key}.
type File struct{ allowed allowedPaths }

// NewFile returns a provider of files below any of the comma-separated absolute paths; "" allows all.
func NewFile(allowed string) (*File, error) {
	a, err := parseAllowed(allowed)
	return &File{a}, err
}

// Get implements Provider.
func (p *File) Get(_ context.Context, path string, keys []string) (map[string]string, error) {
	if path == "" {
		return nil, errors.New("a reference to a file needs a path: ${file:/path:key}")
	}
	open, err := p.allowed.check(path)
	if err != nil {
		return nil, err
	}
	b, err := readFile(open)
	if err != nil {
		return nil, fmt.Errorf("Could not read properties from file %s: %w", path, err) //nolint:staticcheck // Kafka's text
	}
	all, err := ParseProperties(string(b))
	if err != nil {
		return nil, fmt.Errorf("Could not read properties from file %s: %w", path, err) //nolint:staticcheck // Kafka's text
	}
	out := map[string]string{}
	for _, k := range keys {
		if v, ok := all[k]; ok {
			out[k] = v
		}
	}
	return out, nil
}

// Dir provides the contents of files, each a value, as mounted secrets are: ${dir:/path:file}.
type Dir struct{ allowed allowedPaths }

// NewDir returns a provider of folders below any of the comma-separated absolute paths; "" allows all.
func NewDir(allowed string) (*Dir, error) {
	a, err := parseAllowed(allowed)
	return &Dir{a}, err
}

// Get implements Provider. The contents are taken whole, with a line end where there is one.
func (p *Dir) Get(_ context.Context, path string, keys []string) (map[string]string, error) {
	if path == "" {
		return nil, errors.New("a reference to a folder needs a path: ${dir:/path:file}")
	}
	dir, err := p.allowed.check(path)
	if err != nil {
		return nil, err
	}
	out := map[string]string{}
	for _, k := range keys {
		if k == "" || k == "." || k == ".." || strings.ContainsAny(k, `/\`) {
			continue // a key is a name in the folder
		}
		file := filepath.Join(dir, k)
		if info, err := os.Stat(file); err != nil || !info.Mode().IsRegular() {
			continue
		}
		b, err := readFile(file)
		if err != nil {
			return nil, fmt.Errorf("Could not read file %s for property %s: %w", file, k, err) //nolint:staticcheck // Kafka's text
		}
		out[k] = string(b)
	}
	return out, nil
}
