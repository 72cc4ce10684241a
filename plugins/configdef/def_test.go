package configdef

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func def() *Def {
	return NewDef(
		Key{Name: "tasks.max", Type: Int, Default: 1, Check: AtLeast(1)},
		Key{Name: "name", Type: String, Required: true, Check: NonEmpty},
		Key{Name: "mode", Type: String, Default: "a", Check: OneOf(true, "a", "b")},
		Key{Name: "secret", Type: Password},
		Key{Name: "list", Type: List, Default: ""},
		Key{Name: "new.name", Type: Boolean, Default: false, Aliases: []string{"old.name"}},
		Key{Name: "threads", Type: Int, Default: 1, Unsupported: "one thread is used"},
	).Unsupported("there is no proxy support", "proxy.url").Allow(Pattern{Prefix: "transforms."})
}

func TestErrorsUseKafkasWords(t *testing.T) {
	for _, c := range []struct{ key, value, want string }{
		{"tasks.max", "x", "Invalid value x for configuration tasks.max: Not a number of type INT"},
		{"tasks.max", "0", "Invalid value 0 for configuration tasks.max: Value must be at least 1"},
		{"name", " ", "Invalid value   for configuration name: String must be non-empty"},
		{"mode", "c", "Invalid value c for configuration mode: String must be one of: a, b"},
		{"new.name", "yes", "Invalid value yes for configuration new.name: Expected value to be either true or false"},
		{"threads", "2", "Invalid value 2 for configuration threads: not supported by moldau: one thread is used"},
		{"proxy.url", "http://p", "Invalid value http://p for configuration proxy.url: not supported by moldau: there is no proxy support"},
		{"task.max", "1", `Unknown configuration "task.max". Did you mean "tasks.max"?`},
	} {
		raw := map[string]string{"name": "n"}
		raw[c.key] = c.value
		_, err := def().Parse(raw)
		require.EqualError(t, err, c.want, c.key)
	}
	_, err := def().Parse(map[string]string{})
	require.EqualError(t, err, `Missing required configuration "name" which has no default value.`)
}

func TestValuesAreParsedAndDefaulted(t *testing.T) {
	v, err := def().Parse(map[string]string{"name": " n ", "list": "a, b", "old.name": "TRUE", "secret": " s ", "threads": "1", "transforms.x": "y"})
	require.NoError(t, err)
	require.Equal(t, "n", v.Str("name"))
	require.Equal(t, int64(1), v.Int("tasks.max"))
	require.Equal(t, []string{"a", "b"}, v.List("list"))
	require.True(t, v.Bool("new.name"))
	require.True(t, v.IsSet("new.name"))
	require.Equal(t, " s ", v.Str("secret"))
	require.Equal(t, map[string]string{"x": "y"}, v.WithPrefix("transforms."))
	require.Panics(t, func() { v.Str("nope") })
}
