package main

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestTestsOfAScenarioAreRead(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, os.Mkdir(filepath.Join(dir, "tests"), 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "tests", "test.c"), []byte(`
#define _TEST(NAME, FLAGS, ...) x
struct test tests[] = {
    _TEST(0000_unit,
          TEST_F_LOCAL),
    _TEST(0001_plain, 0),
    _TEST(0002_topics, 0, TEST_BRKVER(2, 4, 0, 0),
          .scenario = "noautocreate"),
    _TEST(0003_both, 0, .scenario = "default,ak23"),
    _TEST(0170_share_consumer_x, 0, TEST_BRKVER(4, 2, 0, 0)),
    _TEST(8000_idle, TEST_F_MANUAL),
`), 0o600))
	for scenario, want := range map[string][]string{"default": {"0001_plain", "0003_both"}, "noautocreate": {"0002_topics"}} {
		got, err := (&librdkafkaSuite{scenario: scenario, dir: dir}).tests(options{})
		require.NoError(t, err)
		require.Equal(t, want, got)
	}
}

func TestAFailureTellsItsPlaceAndWhy(t *testing.T) {
	out := []byte("[0081_admin                  / 11.631s] TEST FAILURE\n" +
		"### Test \"0081_admin (do_test_CreateAcls:1539)\" failed at 0081-admin.c:1604:do_test_CreateAcls() at Sat Nov  1 14:22:40 2026: ###\n" +
		"Test assertion failed: \"!err\": Expected success\n")
	require.Equal(t, `do_test_CreateAcls:1539, 0081-admin.c:1604:do_test_CreateAcls(): Test assertion failed: "!err": Expected success`, failureOf(out, "0081_admin"))
	require.Empty(t, failureOf(out, "0082_other"))
	require.True(t, reason("group_test.go:12: lost records"))
	require.False(t, reason("12:30:01.2 [INFO] done"))
}

func TestATestThatFailedOnceHasFailed(t *testing.T) {
	r := newResults("b", "s", false)
	r.add(result{Name: "a", State: failed, Why: "slow"})
	r.add(result{Name: "a", State: passed})
	r.add(result{Name: "b", State: passed})
	r.add(result{Name: "b", State: passed})
	r.add(result{Name: "b/sub", State: failed})
	require.Equal(t, failed, r.state("a"))
	require.Equal(t, "FAIL, then pass", r.cell("a"))
	require.Equal(t, "slow", r.why("a"))
	r.Last = true
	require.Equal(t, passed, r.state("a"), "unless the last run counts")
	r.Last = false
	require.Equal(t, "pass 2/2", r.cell("b"))
	require.Equal(t, "-", r.cell("c"))
	require.Equal(t, "1 pass, 1 fail, 0 skip", r.tally(), "subtests count with their test")
}

func TestAPartialRunReplacesOnlyWhatItRan(t *testing.T) {
	opt := options{dir: t.TempDir()}
	first := newResults("old", "s", false)
	first.Complete = true
	first.add(result{Name: "a", State: failed})
	first.add(result{Name: "b", State: passed})
	require.NoError(t, first.save(opt, "kgo", "moldau"))
	part := opt
	part.tests = testEntry // any: a run of a part
	second := newResults("new", "s", false)
	second.add(result{Name: "a", State: passed})
	require.NoError(t, second.save(part, "kgo", "moldau"))
	got, err := loadResults(opt, "kgo", "moldau")
	require.NoError(t, err)
	require.Equal(t, passed, got.state("a"))
	require.Equal(t, passed, got.state("b"))
	require.Equal(t, "new", got.Broker)
	require.False(t, got.Complete, "b is of the old version")
	require.NoError(t, conclude(opt))
}

func TestThePageIsOfCompleteResultsOfOneCommit(t *testing.T) {
	opt := options{dir: t.TempDir(), report: filepath.Join(t.TempDir(), "page.md")}
	save := func(suite, where, broker string, complete bool) {
		r := newResults(broker, "s", true)
		r.Complete = complete
		r.add(result{Name: "0001", State: passed})
		require.NoError(t, r.save(opt, suite, where))
	}
	for _, name := range suiteNames {
		save(name, "moldau", "moldau abc", true)
		save(name, "kafka", "Apache Kafka", true)
	}
	require.NoError(t, conclude(opt))
	page, err := os.ReadFile(opt.report)
	require.NoError(t, err)
	require.Contains(t, string(page), "run on moldau abc and on Apache Kafka")

	save("librdkafka", "moldau", "moldau def", true)
	require.ErrorContains(t, conclude(opt), "librdkafka was run on moldau def, what comes before it on moldau abc")
	save("librdkafka", "moldau", "moldau abc", false)
	require.ErrorContains(t, conclude(opt), "not all of librdkafka has run")
}

func TestTurnsCountOnlyTheTimeOfTests(t *testing.T) {
	lock := filepath.Join(t.TempDir(), "lock")
	mine, theirs := &turns{file: lock}, &turns{file: lock}
	end, err := mine.take(t.Context())
	require.NoError(t, err)
	took := make(chan struct{})
	go func() {
		if end, err := theirs.take(t.Context()); err == nil {
			end()
			close(took)
		}
	}()
	select {
	case <-took:
		t.Fatal("two have their turn at once")
	case <-time.After(20 * time.Millisecond):
	}
	require.False(t, mine.over())
	end()
	<-took
	require.Less(t, theirs.spent(), 20*time.Millisecond)
	require.GreaterOrEqual(t, mine.spent(), 20*time.Millisecond)
}
