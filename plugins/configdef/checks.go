package configdef

import (
	"fmt"
	"regexp"
	"strings"
)

// OneOf accepts the given texts, ignoring case when fold is set.
func OneOf(fold bool, allowed ...string) func(any) string {
	return func(v any) string {
		s, _ := v.(string)
		for _, a := range allowed {
			if s == a || fold && strings.EqualFold(s, a) {
				return ""
			}
		}
		return "String must be one of: " + strings.Join(allowed, ", ")
	}
}

// AtLeast accepts numbers from min up.
func AtLeast(low int64) func(any) string {
	return func(v any) string {
		if n, ok := v.(int64); ok && n < low {
			return fmt.Sprintf("Value must be at least %d", low)
		}
		return ""
	}
}

// Between accepts numbers from low to high.
func Between(low, high int64) func(any) string {
	return func(v any) string {
		n, ok := v.(int64)
		if ok && n < low {
			return fmt.Sprintf("Value must be at least %d", low)
		}
		if ok && n > high {
			return fmt.Sprintf("Value must be no more than %d", high)
		}
		return ""
	}
}

// NonEmpty refuses "".
func NonEmpty(v any) string {
	if s, ok := v.(string); ok && strings.TrimSpace(s) == "" {
		return "String must be non-empty"
	}
	return ""
}

// Regexes accepts a string or list of valid regular expressions (RE2).
func Regexes(v any) string {
	var list []string
	switch x := v.(type) {
	case string:
		list = []string{x}
	case []string:
		list = x
	}
	for _, s := range list {
		if _, err := regexp.Compile(s); err != nil {
			return fmt.Sprintf("%q is not a regular expression that can be used: %v", s, err)
		}
	}
	return ""
}

// All combines checks; the first error wins.
func All(checks ...func(any) string) func(any) string {
	return func(v any) string {
		for _, c := range checks {
			if m := c(v); m != "" {
				return m
			}
		}
		return ""
	}
}
