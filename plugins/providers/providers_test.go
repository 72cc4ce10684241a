package providers

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestReferencesAreResolved(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "db.properties")
	require.NoError(t, os.WriteFile(file, []byte("user=bedrich\npass\\ word : s3cret\\u0021\n"), 0o600))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "token"), []byte("t0ken"), 0o600))
	t.Setenv("MOLDAU_TEST_NAME", "smetana")
	r, err := FromProperties(map[string]string{})
	require.NoError(t, err)
	got, err := r.Resolve(context.Background(), map[string]string{
		"a": "${env:MOLDAU_TEST_NAME}", "b": "x-${env::MOLDAU_TEST_NAME}-y", "c": "${file:" + file + ":user}/${file:" + file + ":pass word}",
		"d": "${dir:" + dir + ":token}", "e": "${topic}-${timestamp}", "f": "${vault:secret/db:key}", "g": "plain", "h": "$$ ${}",
	})
	require.NoError(t, err)
	require.Equal(t, map[string]string{"a": "smetana", "b": "x-smetana-y", "c": "bedrich/s3cret!", "d": "t0ken", "e": "${topic}-${timestamp}",
		"f": "${vault:secret/db:key}", "g": "plain", "h": "$$ ${}"}, got)
	require.True(t, References("x${env:A}"))
	require.False(t, References("${topic}"))
}

func TestAReferenceWithoutAValueIsAnErrorThatNamesIt(t *testing.T) {
	r, err := FromProperties(map[string]string{})
	require.NoError(t, err)
	dir := t.TempDir()
	for ref, want := range map[string]string{
		"${env:MOLDAU_NO_SUCH_VARIABLE}": "configuration k: ${env:MOLDAU_NO_SUCH_VARIABLE} has no value",
		"${env:path:X}":                  "configuration k: Path is not supported for EnvVarConfigProvider, invalid value 'path'",
		"${dir:" + dir + ":none}":        "configuration k: ${dir:" + dir + ":none} has no value",
		"${dir:" + dir + ":../x}":        "configuration k: ${dir:" + dir + ":../x} has no value",
	} {
		_, err := r.Resolve(context.Background(), map[string]string{"k": ref})
		require.EqualError(t, err, want)
	}
	_, err = r.Resolve(context.Background(), map[string]string{"k": "${file:/no/such/file:x}"})
	require.ErrorContains(t, err, "configuration k: Could not read properties from file /no/such/file")
}

func TestParametersRestrictWhatIsRead(t *testing.T) {
	in, out := t.TempDir(), t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(in, "s"), []byte("in"), 0o600))
	require.NoError(t, os.WriteFile(filepath.Join(out, "s"), []byte("out"), 0o600))
	t.Setenv("MOLDAU_PUBLIC", "yes")
	t.Setenv("MOLDAU_SECRET", "no")
	r, err := FromProperties(map[string]string{"config.providers": "env, d", "config.providers.env.param.allowlist.pattern": "MOLDAU_(?!SECRET).*",
		"config.providers.d.class": classDir, "config.providers.d.param.allowed.paths": in})
	require.NoError(t, err)
	got, err := r.Resolve(context.Background(), map[string]string{"a": "${d:" + in + ":s}", "b": "${env:MOLDAU_PUBLIC}"})
	require.NoError(t, err)
	require.Equal(t, map[string]string{"a": "in", "b": "yes"}, got)
	_, err = r.Resolve(context.Background(), map[string]string{"a": "${d:" + out + ":s}"})
	require.ErrorContains(t, err, "not allowed")
	_, err = r.Resolve(context.Background(), map[string]string{"a": "${d:" + in + "/../" + filepath.Base(out) + ":s}"})
	require.ErrorContains(t, err, "not allowed")
	_, err = r.Resolve(context.Background(), map[string]string{"a": "${env:MOLDAU_SECRET}"})
	require.ErrorContains(t, err, "has no value")

	for _, bad := range []map[string]string{
		{"config.providers": "x"}, {"config.providers": "x", "config.providers.x.class": "com.example.Vault"},
		{"config.providers": "file", "config.providers.file.param.allowed.paths": "relative"},
		{"config.providers": "file", "config.providers.file.param.allowed.paths": "/no/such/folder"},
		{"config.providers": "env", "config.providers.env.param.alowlist": "x"},
	} {
		_, err := FromProperties(bad)
		require.Error(t, err)
	}
}

func TestPropertiesAreReadAsJavaDoes(t *testing.T) {
	got, err := ParseProperties("# c\n! c\n\n  a = 1 \nb:2\nc 3\nd\ne=x\\\n   y\\\\\nf\\ g\\=h=i\\tj\r\nk==v\nu=\\u00e9\\ud83d\\ude00\na=9\nz=end\\")
	require.NoError(t, err)
	require.Equal(t, map[string]string{"a": "9", "b": "2", "c": "3", "d": "", "e": `xy\`, "f g=h": "i\tj", "k": "=v", "u": "é😀", "z": "end"}, got)
	_, err = ParseProperties(`a=\u12`)
	require.Error(t, err)
}

func TestAHugeFileIsRefused(t *testing.T) {
	p := filepath.Join(t.TempDir(), "big")
	require.NoError(t, os.WriteFile(p, []byte(strings.Repeat("a", maxFile+1)), 0o600))
	f, err := NewFile("")
	require.NoError(t, err)
	_, err = f.Get(context.Background(), p, []string{"a"})
	require.ErrorContains(t, err, "larger than")
}

func FuzzParseProperties(f *testing.F) {
	f.Add("a=1\nb:2\\\n c\n#x\n\\u0041 = \\t")
	f.Fuzz(func(t *testing.T, s string) { _, _ = ParseProperties(s) })
}
