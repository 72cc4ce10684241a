package broker_test

import (
	"io"
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/moldau-io/moldau/core/broker/brokertest"
)

// caller connects to a listener; the answer comes when the broker takes the connection.
func caller(t *testing.T, addr string) (conn net.Conn, answered <-chan time.Time) {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	_, err = conn.Write(apiVersions)
	require.NoError(t, err)
	ch := make(chan time.Time, 1)
	go func() {
		if _, err := io.ReadFull(conn, make([]byte, 8)); err == nil {
			ch <- time.Now()
		}
	}()
	return conn, ch
}

// TestLimitsOfOneListenerChangeAtRunTime: as in Apache Kafka 4.3.1 (KIP-402, KIP-612); what is answered is in testdata/answers.
func TestLimitsOfOneListenerChangeAtRunTime(t *testing.T) {
	c := brokertest.Start(t, withAll(map[string]string{
		"listeners": "INSIDE://127.0.0.1:0,OUTSIDE://127.0.0.1:0", "listener.security.protocol.map": "INSIDE:PLAINTEXT,OUTSIDE:PLAINTEXT",
		"inter.broker.listener.name": "INSIDE", "listener.name.outside.max.connections": "2",
	})...)
	admin := func() *kgo.Client {
		cl, err := kgo.NewClient(c.MemoryOptions()...) // on a connection that no limit is for
		require.NoError(t, err)
		t.Cleanup(cl.Close)
		return cl
	}
	set := func(broker string, changes ...string) {
		t.Helper()
		code, text := setConfigs(t, admin(), broker, changes...)
		require.Zero(t, code, text)
	}
	comes := func(ch <-chan time.Time) time.Time {
		t.Helper()
		select {
		case at := <-ch:
			return at
		case <-time.After(10 * time.Second):
			require.Fail(t, "no answer")
		}
		return time.Time{}
	}
	waits := func(ch <-chan time.Time) {
		t.Helper()
		select {
		case <-ch:
			require.Fail(t, "the connection was taken")
		case <-time.After(200 * time.Millisecond):
		}
	}
	outside := func() string { return c.Broker.ListenerAddr("OUTSIDE") }
	inside := func() string { return c.Broker.ListenerAddr("INSIDE") }

	// The file's.
	a, ch := caller(t, outside())
	comes(ch)
	_, ch = caller(t, outside())
	comes(ch)
	_, third := caller(t, outside())
	waits(third)
	for range 3 {
		_, ch = caller(t, inside())
		comes(ch)
	}
	require.NoError(t, a.Close())
	comes(third) // a place was free
	// More, for all brokers, and fewer for this one.
	_, fourth := caller(t, outside())
	waits(fourth)
	set("", "listener.name.outside.max.connections=3")
	comes(fourth)
	set("1", "listener.name.outside.max.connections=1")
	c.Restart(t)
	_, ch = caller(t, outside())
	comes(ch)
	_, second := caller(t, outside())
	waits(second)
	set("1", "listener.name.outside.max.connections")
	comes(second)
	set("", "listener.name.outside.max.connections")
	_, ch = caller(t, outside())
	waits(ch) // the file's again

	code, text := setConfigs(t, admin(), "1", "listener.name.nope.max.connections=5")
	require.Equal(t, kerr.InvalidRequest.Code, code)
	require.Equal(t, "The limits of the listener NOPE cannot be set: this broker has no such listener", text)

	// The rate of one listener, and that of the broker on the inter-broker listener, which is its own there.
	c.Restart(t)
	set("1", "listener.name.outside.max.connections=1000", "listener.name.outside.max.connection.creation.rate=1")
	slow := func(addr string) bool {
		for range 25 {
			began := time.Now()
			_, ch := caller(t, addr)
			if comes(ch).Sub(began) > 300*time.Millisecond {
				return true
			}
		}
		return false
	}
	require.True(t, slow(outside()))
	require.False(t, slow(inside()))
	set("1", "listener.name.outside.max.connection.creation.rate", "max.connection.creation.rate=1")
	require.True(t, slow(inside()))
	set("1", "max.connection.creation.rate")
	require.False(t, slow(outside()))
}

// TestTheInterBrokerListenerIsSparedTheLimitOfAll: the numbers are those that Apache Kafka 4.3.1 showed (KIP-402).
func TestTheInterBrokerListenerIsSparedTheLimitOfAll(t *testing.T) {
	c := brokertest.Start(t, withAll(map[string]string{
		"listeners": "INSIDE://127.0.0.1:0,OUTSIDE://127.0.0.1:0", "listener.security.protocol.map": "INSIDE:PLAINTEXT,OUTSIDE:PLAINTEXT", "inter.broker.listener.name": "INSIDE",
	})...)
	alter := memoryAlterer(t, c) // such connections are in no limit
	call := func(listener string) (answered, closed func() bool) {
		conn, err := net.Dial("tcp", c.Broker.ListenerAddr(listener))
		require.NoError(t, err)
		t.Cleanup(func() { _ = conn.Close() })
		_, err = conn.Write(apiVersions)
		require.NoError(t, err)
		yes, over := make(chan struct{}), make(chan struct{})
		go func() {
			defer close(over)
			if _, err := io.ReadFull(conn, make([]byte, 8)); err != nil {
				return
			}
			close(yes)
			_, _ = io.Copy(io.Discard, conn)
		}()
		is := func(ch chan struct{}) func() bool {
			return func() bool {
				select {
				case <-ch:
					return true
				case <-time.After(100 * time.Millisecond):
					return false
				}
			}
		}
		return is(yes), is(over)
	}
	soon := func(is func() bool) {
		t.Helper()
		require.Eventually(t, is, 10*time.Second, time.Millisecond)
	}
	var outside, inside []func() bool // whether they are closed
	for range 5 {
		answered, closed := call("OUTSIDE")
		soon(answered)
		outside = append(outside, closed)
	}
	alter("max.connections", pointer("7"))
	for range 2 {
		answered, closed := call("OUTSIDE")
		soon(answered)
		outside = append(outside, closed)
	}
	waiting, _ := call("OUTSIDE")
	require.False(t, waiting())
	for i := range 3 {
		answered, closed := call("INSIDE")
		soon(answered)
		inside = append(inside, closed)
		soon(outside[i]) // of which nothing was heard for longest
	}
	for _, closed := range outside[3:] {
		require.False(t, closed())
	}
	require.False(t, waiting())
	alter("max.connections", pointer("3"))
	for _, closed := range outside[3:] {
		soon(closed)
	}
	for _, closed := range inside {
		require.False(t, closed())
	}
	more, _ := call("INSIDE")
	require.False(t, more(), "it is held to the number by itself")
	alter("max.connections", nil)
	soon(more)
	soon(waiting)
}
