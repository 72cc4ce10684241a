package metadata

import (
	"fmt"
	"strings"

	"github.com/twmb/franz-go/pkg/kerr"
)

// MaxTopicName is the longest topic name, in characters: a partition's folder name must fit a
// file system's 255.
const MaxTopicName = 249

// ClusterMetadataTopic is the name of Kafka's metadata log, which nobody may create.
const ClusterMetadataTopic = "__cluster_metadata"

// ValidateTopicName judges a topic's name; the error is an INVALID_TOPIC_EXCEPTION with Kafka's text.
func ValidateTopicName(name string) *Error {
	var why string
	switch {
	case name == "":
		why = "the empty string is not allowed"
	case name == "." || name == "..":
		why = fmt.Sprintf("'%s' is not allowed", name)
	case len(name) > MaxTopicName:
		why = fmt.Sprintf("the length of '%s' is longer than the max allowed length %d", name, MaxTopicName)
	case strings.ContainsFunc(name, func(c rune) bool { return !legalTopicRune(c) }):
		why = fmt.Sprintf("'%s' contains one or more characters other than ASCII alphanumerics, '.', '_' and '-'", name)
	default:
		return nil
	}
	return refuse(kerr.InvalidTopicException, "Topic name is invalid: %s", why)
}

func legalTopicRune(c rune) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '.' || c == '_' || c == '-'
}

// collisionKey maps names that would have the same metric name to one key: '.' and '_' are the same there.
func collisionKey(name string) string { return strings.ReplaceAll(name, ".", "_") }

// collision returns an existing topic whose name differs from this one only in '.' and '_'.
func collision(im *Image, name string) (string, bool) {
	if !strings.ContainsAny(name, "._") {
		return "", false
	}
	key, found := collisionKey(name), ""
	for other := range im.topics {
		if other != name && len(other) == len(name) && collisionKey(other) == key && (found == "" || other < found) {
			found = other
		}
	}
	return found, found != ""
}
