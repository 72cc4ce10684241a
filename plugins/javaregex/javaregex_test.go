package javaregex

import (
	"errors"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestPatternsMeanWhatTheyMeanInJava(t *testing.T) {
	for _, c := range []struct {
		pattern, text string
		want          bool
	}{
		{`shop\.public\.(?!secret).*`, "shop.public.orders", true},
		{`shop\.public\.(?!secret).*`, "shop.public.secrets", false},
		{`(a|b)\1`, "bb", true},
		{`\Qa.b*c\E+`, "a.b*ccc", true},
		{`\Qa.b`, "a.b", true},
		{`\d+`, "123", true}, {`\d+`, "١٢٣", false}, // Java's \d is ASCII
		{`[\w.-]+`, "a-b.c_9", true}, {`\w`, "é", false},
		{`\p{Alpha}+\P{Alpha}`, "abc1", true}, {`[\p{Upper}_]+`, "A_B", true}, {`\p{Lu}`, "É", true},
		{`\x41\x{42}\0103`, "ABC", true},
		{`(?i)ORDERS`, "orders", true}, {`(?<name>x)\k<name>`, "xx", true},
		{`a{2,3}`, "aaa", true}, {`[]a]+`, "]a", true}, {`[^a]`, "b", true},
		{`orders`, "orders\n", false}, {`orders`, "xorders", false}, {`a|ab`, "ab", true}, {`\++`, "++", true}, {`[+]+`, "++", true}, {`(?:a)+`, "aa", true},
	} {
		r, err := Compile(c.pattern)
		require.NoError(t, err, c.pattern)
		got, err := r.Matches(c.text)
		require.NoError(t, err)
		require.Equal(t, c.want, got, "%s on %q", c.pattern, c.text)
	}
}

func TestWhatCannotBeSaidIsRefused(t *testing.T) {
	for _, p := range []string{`a++`, `a*+b`, `a?+`, `a{2}+`, `[a-z&&[^b]]`, `[a[b]]`, `(?u)x`, `(?U)x`, `\R`, `\X`, `\p{IsAlphabetic}`, `\p{javaLowerCase}`, `(`, `[a`, `\`, `(?'n'x)`, `\x{41`, `\p{Lu`} {
		_, err := Compile(p)
		require.Error(t, err, p)
		require.NotEmpty(t, Check(p))
	}
	require.Empty(t, Check(`a.*`))
}

func TestWhatJavaRefusesIsToldFromWhatIsNotSupported(t *testing.T) {
	for p, unsupported := range map[string]bool{`a++`: true, `[a&&b]`: true, `\p{IsAlphabetic}`: true, `(`: false, `a{x}`: false, `{`: false, `a{1`: false, `(?'n'x)`: false, `*`: false} {
		_, err := Compile(p)
		require.Error(t, err, p)
		require.Equal(t, unsupported, errors.Is(err, errors.ErrUnsupported), p)
	}
	_, err := Compile(`[{]\{\Q{\E`)
	require.NoError(t, err, "braces that are no repetition")
}

func TestReplacementsFollowJava(t *testing.T) {
	for _, c := range []struct{ pattern, with, in, want string }{
		{`(.*)\.(.*)`, "$2-$1", "a.b", "b-a"},
		{`(?<db>\w+)\.(?<t>\w+)`, "${t}", "shop.orders", "orders"},
		{`a|ab`, "X", "ab", "Xb"}, // the first match is the shorter one
		{`(a)(b)`, `$11`, "ab", "a1"}, {`.*`, `\$1\\`, "x", `$1\`}, {`(x)?y`, "[$1]", "y", "[]"},
		{`z`, "q", "none", "none"}, {`é(.)`, "$1", "aéb", "ab"},
	} {
		r, err := Compile(c.pattern)
		require.NoError(t, err)
		w, err := r.Replacement(c.with)
		require.NoError(t, err, c.with)
		got, err := r.ReplaceFirst(c.in, w)
		require.NoError(t, err)
		require.Equal(t, c.want, got)
	}
	r, err := Compile(`(a)`)
	require.NoError(t, err)
	for _, bad := range []string{"$2", "$", "$x", "${a", "${a}", `\`} {
		_, err := r.Replacement(bad)
		require.Error(t, err, bad)
	}
	w, err := r.Replacement("<$1>")
	require.NoError(t, err)
	all, err := r.ReplaceAll("aba", w)
	require.NoError(t, err)
	require.Equal(t, "<a>b<a>", all)
}

func TestAMatchThatExplodesIsAnError(t *testing.T) {
	r, err := Compile(`(a+)+$`)
	require.NoError(t, err)
	_, err = r.Matches(strings.Repeat("a", 40) + "!")
	require.Error(t, err)
}

func FuzzCompile(f *testing.F) {
	for _, s := range []string{`a.*`, `\Q(\E`, `[\d-z]`, `(?<a>b)$`, `\p{Alpha}`, `\0101`, `a{1,}+`, `[`} {
		f.Add(s, "abc")
	}
	f.Fuzz(func(t *testing.T, pattern, text string) {
		if len(pattern) > 200 || len(text) > 50 {
			return
		}
		if r, err := Compile(pattern); err == nil {
			_, _ = r.Matches(text)
		}
	})
}
