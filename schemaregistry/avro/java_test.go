package avro

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"testing"

	"github.com/stretchr/testify/require"
)

// lines calls f with each line of a file in testdata. The files hold what Apache Avro 1.12.0 for Java answered.
func lines(t *testing.T, name string, f func(line []byte)) {
	t.Helper()
	file, err := os.Open("testdata/" + name)
	require.NoError(t, err)
	defer func() { require.NoError(t, file.Close()) }()
	s := bufio.NewScanner(file)
	s.Buffer(nil, 1<<20)
	for s.Scan() {
		f(s.Bytes())
	}
	require.NoError(t, s.Err())
}

func TestCheckAnswersAsJava(t *testing.T) {
	compatible, incompatible := 0, 0
	lines(t, "compat.jsonl", func(line []byte) {
		var c struct {
			Reader, Writer json.RawMessage
			Want           []string
		}
		require.NoError(t, json.Unmarshal(line, &c))
		reader, err := Parse(string(c.Reader), Options{})
		require.NoError(t, err, string(c.Reader))
		writer, err := Parse(string(c.Writer), Options{})
		require.NoError(t, err, string(c.Writer))
		list, err := Check(reader, writer)
		require.NoError(t, err)
		var got []string
		for _, i := range list {
			got = append(got, fmt.Sprintf("%s|%s|%s", i.Type, i.Location, i.Message))
		}
		if len(c.Want) == 0 {
			compatible++
		} else {
			incompatible++
		}
		if !equal(c.Want, got) {
			t.Errorf("reader %s\nwriter %s\nwant %q\ngot  %q", c.Reader, c.Writer, c.Want, got)
		}
	})
	require.GreaterOrEqual(t, compatible, 73)
	require.GreaterOrEqual(t, incompatible, 59)
}

func equal(a, b []string) bool { return fmt.Sprint(len(a), a) == fmt.Sprint(len(b), b) }

func TestParseAndPrintAsJava(t *testing.T) {
	lines(t, "parse.jsonl", func(line []byte) {
		var c struct {
			Schema, Text, PCF, FP, Logical, Error string
			Strict                                bool
		}
		require.NoError(t, json.Unmarshal(line, &c))
		s, err := Parse(c.Schema, Options{Strict: c.Strict})
		if c.Error != "" {
			if err == nil {
				t.Errorf("strict=%v %s\nwant error %s\ngot %s", c.Strict, c.Schema, c.Error, s.Canonical())
			}
			return
		}
		if err != nil {
			t.Errorf("strict=%v %s\nwant %s\ngot error %v", c.Strict, c.Schema, c.Text, err)
			return
		}
		l, _ := s.Root.Logical()
		if got := s.Canonical(); got != c.Text {
			t.Errorf("strict=%v %s\nwant %s\ngot  %s", c.Strict, c.Schema, c.Text, got)
		} else if got := s.ParsingForm(); got != c.PCF || fmt.Sprintf("%016x", s.Rabin()) != c.FP {
			t.Errorf("%s\nwant form %s %s\ngot       %s %016x", c.Schema, c.PCF, c.FP, got, s.Rabin())
		} else if l.Name != c.Logical {
			t.Errorf("%s\nwant logical type %q, got %q", c.Schema, c.Logical, l.Name)
		}
	})
}
