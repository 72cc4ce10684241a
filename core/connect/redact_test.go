package connect

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestSecretsAreHiddenAndTheTextStaysReadable(t *testing.T) {
	for _, c := range []struct{ secret, text, want string }{
		{"secret-word", "login with secret-word failed, xsecret-wordx too", "login with [hidden] failed, x[hidden]x too"},
		{"p", "dial tcp 127.0.0.1:1: password p, url a:p@host, p", "dial tcp 127.0.0.1:1: password [hidden], url a:[hidden]@host, [hidden]"},
		{"b", "PutObject b", "PutObject [hidden]"},
		{"5432", "connect to h:5432, 54321", "connect to h:[hidden], 54321"},
		{"!x!", "a!x!b !x!", "a[hidden]b [hidden]"},
		{"šp", "šp ašp", "[hidden] ašp"},
		{"", "nothing", "nothing"},
	} {
		d := &redactor{secrets: []string{c.secret}}
		if c.secret == "" {
			d = &redactor{}
		}
		d.build()
		require.Equal(t, c.want, d.clean(c.text))
	}
	require.Equal(t, "x", (*redactor)(nil).clean("x"))
}
