package connect

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"strings"
)

// CheckSignature holds the signature of a request that workers of one cluster make to each other (KIP-507) against the session key in the
// configuration topic. This worker writes no key, but the topic of a Kafka Connect cluster has one.
func (w *Worker) CheckSignature(body []byte, signature, algorithm string) error {
	if signature == "" || algorithm == "" {
		return fail(400, "Internal request missing required signature")
	}
	switch strings.ToUpper(algorithm) {
	case "HMACSHA256":
	case "HMACMD5", "HMACSHA1", "HMACSHA224", "HMACSHA384", "HMACSHA512":
		return fail(400, "This worker does not support the '%s' key signing algorithm used by other workers. This worker is currently configured to use: [HmacSHA256]. Check that all workers' configuration files permit the same set of signature algorithms, and correct any misconfigured worker and restart it.", algorithm)
	default:
		return fail(400, "Algorithm %s not available", algorithm)
	}
	key := w.configs.sessionKey()
	if len(key.key) == 0 {
		return fail(503, "This worker is still starting up and has not been able to read a session key from the config topic yet")
	}
	have, err := base64.StdEncoding.DecodeString(signature)
	mac := hmac.New(sha256.New, key.key)
	mac.Write(body)
	if err != nil || !hmac.Equal(have, mac.Sum(nil)) {
		return fail(403, "Internal request contained invalid signature.")
	}
	return nil
}
