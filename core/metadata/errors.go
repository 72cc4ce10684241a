package metadata

import (
	"errors"
	"fmt"

	"github.com/twmb/franz-go/pkg/kerr"
)

// Error is what a decision answers when it refuses: a Kafka error code and the text that Kafka's
// controller would send with it.
type Error struct {
	Code    int16
	Message string
}

// Error implements error with the name of the code and the text.
func (e *Error) Error() string {
	name := fmt.Sprintf("error %d", e.Code)
	var k *kerr.Error
	if errors.As(kerr.ErrorForCode(e.Code), &k) {
		name = k.Message
	}
	if e.Message == "" {
		return name
	}
	return name + ": " + e.Message
}

// Unwrap returns the kerr error of the code, so that errors.Is(err, kerr.TopicAlreadyExists) holds.
func (e *Error) Unwrap() error { return kerr.ErrorForCode(e.Code) }

func refuse(k *kerr.Error, format string, args ...any) *Error {
	return &Error{Code: k.Code, Message: fmt.Sprintf(format, args...)}
}
