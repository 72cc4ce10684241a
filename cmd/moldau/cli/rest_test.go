package cli

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/stretchr/testify/require"
)

func TestNumbersOfConnectorsKeepTheirDigits(t *testing.T) {
	const lsn = "9223372036854775807"
	var got string
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost {
			b, _ := io.ReadAll(r.Body)
			got = string(b)
		}
		_, _ = io.WriteString(w, `{"offsets":[{"offset":{"lsn":`+lsn+`}}]}`)
	}))
	defer srv.Close()
	out, errs, code := execute(t, "", "connector", "offsets", "shop", "--connect-url", srv.URL)
	require.Zero(t, code, errs)
	require.Contains(t, out, `"lsn": `+lsn)
	_, errs, code = execute(t, `{"name":"shop","config":{"slot.lsn":`+lsn+`}}`, "connector", "create", "-", "--connect-url", srv.URL)
	require.Zero(t, code, errs)
	require.Contains(t, got, `"slot.lsn":`+lsn)
	_, errs, code = execute(t, `{"name":"shop"} trailing`, "connector", "create", "-", "--connect-url", srv.URL)
	require.Equal(t, exitUsage, code)
	require.Contains(t, errs, "no JSON object")
}

func TestASecretIsTheFirstLineHoweverItComes(t *testing.T) {
	for in, want := range map[string]string{"s3cret\n": "s3cret", "s3cret": "s3cret", "s3cret\r\nmore\n": "s3cret", "\nmore": "", strings.Repeat("x", maxSecret): strings.Repeat("x", maxSecret)} {
		a := &app{Streams: Streams{In: iotest.OneByteReader(strings.NewReader(in))}}
		got, err := a.secret("-")
		require.NoError(t, err)
		require.Equal(t, want, got)
	}
	for in, why := range map[string]string{"": "it is empty", strings.Repeat("x", maxSecret+1): "more than 4096 bytes"} {
		a := &app{Streams: Streams{In: strings.NewReader(in)}}
		_, err := a.secret("-")
		require.ErrorContains(t, err, why)
	}
}
