package security

import "fmt"

// ConfigError is a property that cannot be used. Its text is for the operator and names the property.
type ConfigError struct {
	Key     string
	Message string
}

// Error implements error with Kafka's form.
func (e *ConfigError) Error() string { return e.Message }

func invalid(key, value, format string, args ...any) error {
	return &ConfigError{Key: key, Message: fmt.Sprintf("Invalid value %s for configuration %s: %s", value, key, fmt.Sprintf(format, args...))}
}

// hidden stands for values that must not be shown.
const hidden = "[hidden]"
