package story

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/moldau-io/moldau/internal/servers"
	"github.com/stretchr/testify/require"
)

// TestConnectorsReadSecretsFromProviders runs a source and a sink whose configs refer to the environment, to a properties file and to a
// folder of files. What the hub shows, stores and logs is the reference, never the secret.
func TestConnectorsReadSecretsFromProviders(t *testing.T) {
	pg, lake := servers.TestPostgres(t), servers.TestS3(t)
	c := postgresCapture(t, pg, "secret")
	dir := t.TempDir()
	user, password := unique("story_"), unique("the-password-")
	bucketName := bucket(t, lake)

	// A user of the story's own, as the server's has no password that is a secret.
	conn, err := pgx.Connect(t.Context(), pg.URL)
	require.NoError(t, err)
	defer conn.Close(t.Context())
	schema := strings.Split(c.table.Name, ".")[0]
	for _, q := range []string{
		"CREATE ROLE " + user + " LOGIN REPLICATION PASSWORD '" + password + "'", "GRANT USAGE ON SCHEMA " + schema + " TO " + user,
		"GRANT SELECT ON ALL TABLES IN SCHEMA " + schema + " TO " + user, "CREATE PUBLICATION " + c.source.Config["publication.name"] + " FOR TABLE " + c.table.Name,
	} {
		_, err := conn.Exec(t.Context(), q)
		require.NoError(t, err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if conn, err := pgx.Connect(ctx, pg.URL); err == nil {
			_, _ = conn.Exec(ctx, "DROP OWNED BY "+user)
			_, _ = conn.Exec(ctx, "DROP ROLE "+user)
			_ = conn.Close(ctx)
		}
	})
	properties := filepath.Join(dir, "database.properties")
	write := func(password string) {
		require.NoError(t, os.WriteFile(properties, []byte("# of the story\nother=x\npassword = "+password+"\n"), 0o600))
	}
	write(password)
	files := filepath.Join(dir, "s3")
	require.NoError(t, os.Mkdir(files, 0o700))
	require.NoError(t, os.WriteFile(filepath.Join(files, "secret-key"), []byte(lake.SecretKey), 0o600))

	source := c.source
	source.Config["publication.autocreate.mode"] = "disabled"
	source.Config["database.user"] = "${env:STORY_PG_USER}"
	source.Config["database.password"] = "${file:" + properties + ":password}"
	sink := lakeSink("lake", lake, "${env:STORY_BUCKET}", c.table.Topic, "io.confluent.connect.s3.format.json.JsonFormat")
	sink.Config["aws.secret.access.key"] = "${dir:" + files + ":secret-key}"
	sink.Config["topics.dir"] = "${env:STORY_FOLDER}" // part of the text that is a reference, and a value that is none
	secrets := []string{password, lake.SecretKey}

	h := startHub(t, func(h *Hub) {
		h.Env = []string{"STORY_PG_USER=" + user, "STORY_BUCKET=" + bucketName, "STORY_FOLDER=topics"}
		h.Set = append(h.Set, "admin.log.level=debug")
	})
	create(t, h, source, sink)
	eventually(t, time.Minute, func(ctx context.Context) error {
		l, err := ReadLake(ctx, lake, bucketName, c.table.Topic, "__offset")
		if err == nil && len(l.Records) != itemsFirst {
			err = fmt.Errorf("%d records are in the lake", len(l.Records))
		}
		return err
	})

	// A reference to nothing is refused by name.
	none := Connector{"none", map[string]string{"connector.class": "FileStreamSink", "topics": "x", "file": "${env:STORY_NOTHING}"}}
	var status *StatusError
	require.ErrorAs(t, h.Create(t.Context(), none), &status)
	require.Contains(t, status.Body, "STORY_NOTHING")

	var config map[string]string
	require.NoError(t, REST(t.Context(), http.MethodGet, h.Endpoints.Connect+"/connectors/source/config", nil, &config))
	require.Equal(t, "${env:STORY_PG_USER}", config["database.user"])
	require.Equal(t, "${file:"+properties+":password}", config["database.password"])
	require.NoError(t, REST(t.Context(), http.MethodGet, h.Endpoints.Connect+"/connectors/lake/config", nil, &config))
	require.Equal(t, "${dir:"+files+":secret-key}", config["aws.secret.access.key"])

	hidden := func(where, text string) {
		t.Helper()
		for _, s := range secrets {
			require.NotContains(t, text, s, where)
		}
	}
	for _, path := range []string{"/connectors/source", "/connectors/source/config", "/connectors/source/tasks", "/connectors/source/status", "/connectors/source/offsets",
		"/connectors/lake", "/connectors/lake/tasks", "/connectors/lake/status", "/connectors?expand=info&expand=status"} {
		code, body := httpGet(t, h.Endpoints.Connect+path)
		require.Equal(t, http.StatusOK, code, path)
		hidden(path, body)
	}
	for _, topic := range []string{"connect-configs", "connect-status", "connect-offsets"} {
		log, err := readLog(t.Context(), h.Endpoints.Kafka, topic)
		require.NoError(t, err)
		for _, r := range log.all {
			hidden(topic, string(r.Key)+string(r.Value))
		}
	}
	var validated map[string]any
	source.Config["name"] = "source"
	require.NoError(t, REST(t.Context(), http.MethodPut, h.Endpoints.Connect+"/connector-plugins/PostgresConnector/config/validate", source.Config, &validated))
	require.InDelta(t, 0, validated["error_count"], 0)
	hidden("validate", fmt.Sprint(validated))

	// The secret changes: a restart of the connector reads it anew.
	renewed := unique("the-new-password-")
	secrets = append(secrets, renewed)
	_, err = conn.Exec(t.Context(), "ALTER ROLE "+user+" PASSWORD '"+renewed+"'")
	require.NoError(t, err)
	restart := func() {
		require.NoError(t, REST(t.Context(), http.MethodPost, h.Endpoints.Connect+"/connectors/source/restart?includeTasks=true", nil, nil))
	}
	restart()
	trace := waitFailed(t, h, "source")
	require.Contains(t, trace, "password authentication failed")
	hidden("the trace", trace)
	write(renewed)
	restart()
	_, err = conn.Exec(t.Context(), c.items.insert(itemsFirst+1, 10, 1))
	require.NoError(t, err)
	eventually(t, time.Minute, func(ctx context.Context) error {
		log, err := readLog(ctx, h.Endpoints.Kafka, c.table.Topic)
		if err == nil && log.records != itemsFirst+10 {
			err = fmt.Errorf("%d records are in the log", log.records)
		}
		return err
	})

	log, err := os.ReadFile(h.LogFile())
	require.NoError(t, err)
	require.Contains(t, string(log), "level=DEBUG")
	hidden("the log", string(log))
}
