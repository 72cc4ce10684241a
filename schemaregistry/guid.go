package schemaregistry

import (
	"crypto/md5" //nolint:gosec // the identity that the registry's format defines, not a secret
	"encoding/binary"
	"fmt"
	"hash"
	"io"
	"maps"
	"slices"
)

// contentHash is the identity of a schema's content: equal hashes share an id.
type contentHash [md5.Size]byte

// guid prints the hash as a UUID.
func (h contentHash) guid() string {
	return fmt.Sprintf("%x-%x-%x-%x-%x", h[:4], h[4:6], h[6:8], h[8:10], h[10:])
}

// hashContent computes the MD5 that Confluent's registry does, over all that makes a schema other than another.
func hashContent(text string, refs []Reference, metadata *Metadata, rules *RuleSet) contentHash {
	d := digest{md5.New()} //nolint:gosec // see above
	d.text(text)
	for _, r := range refs {
		d.text(r.Name, r.Subject)
		var b [4]byte
		binary.BigEndian.PutUint32(b[:], uint32(r.Version)) //nolint:gosec // a version is an int32
		_, _ = d.Write(b[:])
	}
	if metadata != nil {
		d.one()
		for _, path := range slices.Sorted(maps.Keys(metadata.Tags)) {
			d.text(path)
			d.text(slices.Sorted(slices.Values(metadata.Tags[path]))...)
		}
		d.pairs(metadata.Properties)
		d.text(slices.Sorted(slices.Values(metadata.Sensitive))...)
	}
	if rules != nil {
		d.one()
		for _, list := range [][]Rule{rules.MigrationRules, rules.DomainRules, rules.EncodingRules} {
			for i := range list {
				d.rule(&list[i])
			}
		}
		d.text(rules.EnableAt)
	}
	var h contentHash
	d.Sum(h[:0])
	return h
}

type digest struct{ hash.Hash }

func (d digest) one() { _, _ = d.Write([]byte{1}) }

func (d digest) text(parts ...string) {
	for _, s := range parts {
		_, _ = io.WriteString(d, s)
	}
}

func (d digest) pairs(m map[string]string) {
	for _, k := range slices.Sorted(maps.Keys(m)) {
		d.text(k, m[k])
	}
}

func (d digest) rule(r *Rule) {
	kind := r.Kind
	if kind == "" {
		kind = "TRANSFORM"
	}
	d.text(r.Name, r.Doc, kind, r.Mode, r.Type)
	d.text(slices.Sorted(slices.Values(r.Tags))...)
	d.pairs(r.Params)
	d.text(r.Expr, r.OnSuccess, r.OnFailure)
	if r.Disabled {
		d.one()
	}
}
