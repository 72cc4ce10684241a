package servers

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
)

// librdkafkaPackage is the npm package that carries librdkafka's source with its tests; LibrdkafkaVersion is the version in it.
const (
	librdkafkaPackage = "@confluentinc/kafka-javascript@1.10.1"
	librdkafkaArchive = "confluentinc-kafka-javascript-1.10.1.tgz"
	LibrdkafkaVersion = "2.15.1"
)

// FetchLibrdkafka brings librdkafka's source and builds the library and its test runner; it returns the folder of the source. It
// takes npm, a C and C++ compiler, make, javac, and the headers of zlib, OpenSSL, zstd and RapidJSON.
func FetchLibrdkafka(ctx context.Context) (string, error) {
	return cached(ctx, "librdkafka-"+LibrdkafkaVersion+"-json", "librdkafka "+LibrdkafkaVersion+" with its tests (npm, 3 MB; built in two minutes, once)",
		func(ctx context.Context, dir string) error {
			if err := buildTools(ctx); err != nil {
				return err
			}
			if _, err := run(ctx, dir, nil, "npm", "pack", "--silent", librdkafkaPackage); err != nil {
				return err
			}
			if _, err := run(ctx, dir, nil, "tar", "-xzf", librdkafkaArchive, "--no-same-owner", "--strip-components=3", "package/deps/librdkafka"); err != nil {
				return err
			}
			if err := os.Remove(filepath.Join(dir, librdkafkaArchive)); err != nil {
				return err
			}
			if err := oneReplica(dir); err != nil {
				return err
			}
			if _, err := run(ctx, dir, nil, "./configure", "--disable-curl", "--disable-gssapi"); err != nil {
				return err
			}
			jobs := fmt.Sprintf("-j%d", runtime.NumCPU())
			if _, err := run(ctx, dir, nil, "make", jobs, "libs"); err != nil {
				return err
			}
			_, err := run(ctx, filepath.Join(dir, "tests"), nil, "make", jobs, "build")
			return err
		})
}

// threeReplicas is the end of a call that makes a topic: its partitions, its replicas, how long to wait.
var threeReplicas = regexp.MustCompile(`(create_topic[a-z_]*\([^;]*, )3((?:, [0-9a-z_()]+)?\);)`)

// oneReplica lets the tests of transactions and of new topics make their topics with one replica instead of three, so that they run on one broker.
func oneReplica(dir string) error {
	for _, name := range []string{"0098-consumer-txn.cpp", "0103-transactions.c", "0107-topic_recreate.c", "0111-delay_create_topics.cpp"} {
		file := filepath.Join(dir, "tests", name)
		src, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		out := threeReplicas.ReplaceAll(src, []byte("${1}1${2}"))
		if bytes.Equal(src, out) {
			return fmt.Errorf("%s: makes no topic with three replicas: has the suite changed?", name)
		}
		if err := os.WriteFile(file, out, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// buildTools makes sure of what compiling librdkafka takes.
func buildTools(ctx context.Context) error {
	var packages []string
	for _, p := range [][2]string{{"gcc", "gcc"}, {"g++", "g++"}, {"make", "make"}, {"npm", "npm"}, {"javac", "default-jdk-headless"}} {
		if !hasProgram(p[0]) {
			packages = append(packages, p[1])
		}
	}
	for _, h := range [][2]string{{"zlib.h", "zlib1g-dev"}, {"openssl/ssl.h", "libssl-dev"}, {"zstd.h", "libzstd-dev"},
		{"rapidjson/rapidjson.h", "rapidjson-dev"}} {
		if !exists(filepath.Join("/usr/include", h[0])) {
			packages = append(packages, h[1])
		}
	}
	if len(packages) == 0 {
		return nil
	}
	return aptInstall(ctx, append(packages, "libc6-dev")...)
}
