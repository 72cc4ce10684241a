package security

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// reloadInterval is how often the files of key and trust stores are looked at.
const reloadInterval = time.Second

// tlsStore holds a listener's TLS configuration and follows its files. A new configuration is put in place as a whole; one that cannot be
// read leaves the old in force.
type tlsStore struct {
	base    *Listener // with the properties it was made with
	current atomic.Pointer[tls.Config]
	allowDN bool
	allowAN bool

	mu     sync.Mutex        // of the rest, and of who changes current
	l      *Listener         // base with stores
	stores map[string]string // set at run time, by key
	files  []string
	seen   []fileState
	failed []fileState // the state of the files that could not be used, which is not tried again
}

// fileState tells one version of a file from another.
type fileState struct {
	size  int64
	mtime time.Time
	inode string
}

func (l *Listener) useTLS() error {
	switch v := l.get("ssl.client.auth"); v {
	case "required":
		l.clientAuth = tls.RequireAndVerifyClientCert
	case "requested":
		l.clientAuth = tls.VerifyClientCertIfGiven
	case "none", "":
	default:
		return invalid("ssl.client.auth", v, "String must be one of: required, requested, none")
	}
	s := &tlsStore{base: l, allowDN: l.get("ssl.allow.dn.changes") == "true", allowAN: l.get("ssl.allow.san.changes") == "true"}
	if err := s.use(l.opts.Stores, nil); err != nil {
		return err
	}
	l.tls = s
	return nil
}

// over is the listener with properties of its stores before its own.
func (l *Listener) over(stores map[string]string) *Listener {
	c := *l
	c.opts.Lookup = func(mechanism, key string) (string, bool) {
		if v, ok := stores[key]; ok && mechanism == "" {
			return v, true
		}
		return l.opts.Lookup(mechanism, key)
	}
	return &c
}

// use puts the configuration with stores in place, if may, when it is given, allows it. It needs mu, but at the start.
func (s *tlsStore) use(stores map[string]string, may func(*tls.Config) error) error {
	l := s.base.over(stores)
	var files []string
	for _, k := range []string{"ssl.keystore.location", "ssl.truststore.location"} {
		if v := l.get(k); v != "" {
			files = append(files, v)
		}
	}
	seen := stat(files)
	cfg, err := l.loadTLS()
	if err != nil {
		return err
	}
	if may != nil {
		if err := may(cfg); err != nil {
			return err
		}
	}
	s.current.Store(cfg)
	s.l, s.stores, s.files, s.seen, s.failed = l, stores, files, seen, nil
	return nil
}

// CheckStores judges properties of the listener's key and trust store, by key without the listener's prefix, as SetStores would use them. The
// other properties stay as they are.
func (l *Listener) CheckStores(stores map[string]string) error {
	if l.tls == nil {
		return fmt.Errorf("the listener %s has no TLS: its security protocol is %s", l.opts.Name, l.opts.Protocol)
	}
	cfg, err := l.over(stores).loadTLS()
	if err != nil {
		return err
	}
	return l.tls.sameSubject(cfg)
}

// SetStores replaces the properties of the key and trust store that were set at run time; handshakes from now on see them. On an error the
// ones before stay in force. Files that are named again are read again.
func (l *Listener) SetStores(stores map[string]string) error {
	s := l.tls
	if s == nil {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if maps.Equal(s.stores, stores) {
		return nil
	}
	return s.use(maps.Clone(stores), s.sameSubject)
}

// loadTLS reads the stores and makes a configuration.
func (l *Listener) loadTLS() (*tls.Config, error) {
	cert, err := l.keyStore()
	if err != nil {
		return nil, err
	}
	cfg := &tls.Config{Certificates: []tls.Certificate{cert}, ClientAuth: l.clientAuth, DynamicRecordSizingDisabled: true}
	if l.clientAuth != tls.NoClientCert {
		if cfg.ClientCAs, err = l.trustStore(); err != nil {
			return nil, err
		}
	}
	if err := l.versions(cfg); err != nil {
		return nil, err
	}
	return cfg, l.ciphers(cfg)
}

func (l *Listener) versions(cfg *tls.Config) error {
	known := map[string]uint16{"TLSv1.2": tls.VersionTLS12, "TLSv1.3": tls.VersionTLS13}
	list := l.get("ssl.enabled.protocols")
	if list == "" {
		list = "TLSv1.2,TLSv1.3"
	}
	cfg.MinVersion, cfg.MaxVersion = tls.VersionTLS13, tls.VersionTLS12
	for v := range strings.SplitSeq(list, ",") {
		n, ok := known[strings.TrimSpace(v)]
		if !ok {
			return invalid("ssl.enabled.protocols", list, "moldau speaks TLSv1.2 and TLSv1.3, not %s", v)
		}
		cfg.MinVersion, cfg.MaxVersion = min(cfg.MinVersion, n), max(cfg.MaxVersion, n)
	}
	// In Kafka ssl.protocol names the context; the enabled protocols decide. It must be one that there is.
	if p := l.get("ssl.protocol"); p != "" && p != "TLS" {
		if _, ok := known[p]; !ok {
			return invalid("ssl.protocol", p, "moldau speaks TLSv1.2 and TLSv1.3")
		}
		if p == "TLSv1.2" {
			cfg.MaxVersion = min(cfg.MaxVersion, tls.VersionTLS12)
		}
	}
	if cfg.MinVersion > cfg.MaxVersion {
		return invalid("ssl.protocol", l.get("ssl.protocol"), "ssl.enabled.protocols %s has no such version", list)
	}
	return nil
}

func (l *Listener) ciphers(cfg *tls.Config) error {
	list := l.get("ssl.cipher.suites")
	if list == "" {
		return nil
	}
	for name := range strings.SplitSeq(list, ",") {
		name = strings.TrimSpace(name)
		all := slices.Concat(tls.CipherSuites(), tls.InsecureCipherSuites())
		i := slices.IndexFunc(all, func(c *tls.CipherSuite) bool { return c.Name == name })
		if i < 0 {
			return invalid("ssl.cipher.suites", list, "moldau does not know the suite %s", name)
		}
		cfg.CipherSuites = append(cfg.CipherSuites, all[i].ID) // those of TLS 1.3 are always on and not looked at here
	}
	return nil
}

// serverConfig gives each handshake the newest configuration.
func (s *tlsStore) serverConfig() *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS12,
		GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) {
			return s.current.Load(), nil
		},
	}
}

func stat(files []string) []fileState {
	out := make([]fileState, len(files))
	for i, f := range files {
		if fi, err := os.Stat(f); err == nil {
			out[i] = fileState{fi.Size(), fi.ModTime(), inodeOf(fi)}
		}
	}
	return out
}

// run looks at the files until ctx ends.
func (s *tlsStore) run(ctx context.Context) {
	t := time.NewTicker(reloadInterval)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
			s.reload()
		}
	}
}

// reload puts a changed configuration in place.
func (s *tlsStore) reload() {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := stat(s.files)
	if slices.Equal(now, s.seen) || slices.Equal(now, s.failed) {
		return
	}
	log := s.l.opts.Logger.With("listener", s.l.opts.Name)
	cfg, err := s.l.loadTLS()
	if err == nil {
		err = s.sameSubject(cfg)
	}
	if err != nil {
		s.failed = now
		log.Error("the changed key or trust store cannot be used; the one before stays in force", "error", err)
		return
	}
	s.current.Store(cfg)
	s.seen, s.failed = now, nil
	log.Info("key and trust store read again", "subject", cfg.Certificates[0].Leaf.Subject.String(), "not_after", cfg.Certificates[0].Leaf.NotAfter)
}

// sameSubject refuses certificates for another name, unless that is allowed.
func (s *tlsStore) sameSubject(next *tls.Config) error {
	a, b := s.current.Load().Certificates[0].Leaf, next.Certificates[0].Leaf
	if !s.allowDN && !bytes.Equal(a.RawSubject, b.RawSubject) {
		return fmt.Errorf("Keystore DistinguishedName does not match: existing={%s}, new={%s}; set ssl.allow.dn.changes to allow it", a.Subject, b.Subject) //nolint:staticcheck // Kafka's text
	}
	if !s.allowAN && !sameNames(a, b) {
		return errors.New("Keystore SubjectAltNames do not match the existing ones; set ssl.allow.san.changes to allow it") //nolint:staticcheck // Kafka's text
	}
	return nil
}

// sameNames says whether b has at least the alternative names of a.
func sameNames(a, b *x509.Certificate) bool {
	names := func(c *x509.Certificate) []string {
		out := slices.Clone(c.DNSNames)
		for _, ip := range c.IPAddresses {
			out = append(out, ip.String())
		}
		return out
	}
	have := names(b)
	for _, n := range names(a) {
		if !slices.Contains(have, n) {
			return false
		}
	}
	return true
}

// Expires is when the listener's certificate ends; zero without TLS.
func (l *Listener) Expires() time.Time {
	if l.tls == nil {
		return time.Time{}
	}
	return l.tls.current.Load().Certificates[0].Leaf.NotAfter
}
