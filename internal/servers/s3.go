package servers

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

// EnvS3 names an S3 endpoint (http://...) to use instead of our own; the keys are then EnvS3AccessKey and EnvS3SecretKey.
const (
	EnvS3          = "MOLDAU_S3_ENDPOINT"
	EnvS3AccessKey = "MOLDAU_S3_ACCESS_KEY"
	EnvS3SecretKey = "MOLDAU_S3_SECRET_KEY"
	// EnvS3Server chooses what to build when EnvS3 is not set: minio (default) or versitygw.
	EnvS3Server = "MOLDAU_S3_SERVER"
)

const (
	minioVersion     = "v0.0.0-20260212201848-7aac2a2c5b7c"
	versitygwVersion = "v1.8.0"
)

// S3 is an S3 server.
type S3 struct {
	*Process  // nil when it is not ours
	Endpoint  string
	AccessKey string
	SecretKey string
	Region    string
	Version   string
}

func s3Choice() (name, module, version string) {
	if os.Getenv(EnvS3Server) == "versitygw" {
		return "versitygw", "github.com/versity/versitygw/cmd/versitygw", versitygwVersion
	}
	return "minio", "github.com/minio/minio", minioVersion
}

// FetchS3 builds the S3 server into the cache and returns its binary.
func FetchS3(ctx context.Context) (string, error) {
	name, module, version := s3Choice()
	dir, err := cached(ctx, name+"-"+version, name+" "+version+" (built from its Go module: two to five minutes, once)",
		func(ctx context.Context, dir string) error { return goInstall(ctx, dir, module+"@"+version) })
	return filepath.Join(dir, name), err
}

// StartS3 starts an S3 server with its data in dir.
func StartS3(ctx context.Context, dir string) (*S3, error) {
	if e := os.Getenv(EnvS3); e != "" {
		return &S3{Endpoint: e, AccessKey: os.Getenv(EnvS3AccessKey), SecretKey: os.Getenv(EnvS3SecretKey), Region: "us-east-1", Version: "given"}, nil
	}
	bin, err := FetchS3(ctx)
	if err != nil {
		return nil, err
	}
	if dir, err = filepath.Abs(dir); err != nil {
		return nil, err
	}
	data := filepath.Join(dir, "data")
	if err := os.MkdirAll(data, 0o755); err != nil {
		return nil, err
	}
	name, _, version := s3Choice()
	port := FreePort()
	s := &S3{Endpoint: fmt.Sprintf("http://127.0.0.1:%d", port), AccessKey: "moldau", SecretKey: "moldau-secret", Region: "us-east-1", Version: name + " " + version}
	sp := spec{path: bin, dir: dir, stop: syscall.SIGTERM, patience: 10 * time.Second, ready: s.ping}
	addr := fmt.Sprintf("127.0.0.1:%d", port)
	if name == "minio" {
		sp.args = []string{"server", "--quiet", "--address", addr, data}
		sp.env = []string{"MINIO_ROOT_USER=" + s.AccessKey, "MINIO_ROOT_PASSWORD=" + s.SecretKey, "MINIO_BROWSER=off", "MINIO_UPDATE=off"}
	} else {
		sp.args = []string{"--port", addr, "--quiet", "posix", data}
		sp.env = []string{"ROOT_ACCESS_KEY=" + s.AccessKey, "ROOT_SECRET_KEY=" + s.SecretKey}
	}
	s.Process = &Process{Name: name, Dir: dir, Port: port, spec: sp}
	return s, s.Start(ctx)
}

// ping asks for the bucket list without a signature: a server that is up refuses it (or answers), one that still starts says 503.
func (s *S3) ping(ctx context.Context) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.Endpoint+"/", http.NoBody)
	if err != nil {
		return err
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	if res.StatusCode == http.StatusServiceUnavailable {
		err = errors.New("still starting")
	}
	return errors.Join(err, res.Body.Close())
}
