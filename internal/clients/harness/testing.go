package harness

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// RequireTools says that a missing program is a failure and not a skip: in continuous integration, or when asked.
func RequireTools() bool {
	return os.Getenv("CI") == "true" || os.Getenv("SLIPSTREAM_REQUIRE_TOOLS") == "1"
}

// Need ends the test when err is not nil: with a skip that says what to install when a program is missing (a failure
// where RequireTools), else with a failure.
func Need(t testing.TB, err error) {
	t.Helper()
	var missing *Missing
	switch {
	case err == nil:
	case errors.As(err, &missing) && !RequireTools():
		t.Skip(missing.Error())
	default:
		t.Fatal(err)
	}
}

// StartT starts the broker under test for the length of the test. With an empty DataDir it gets a temporary one.
func StartT(t testing.TB, o Options) *Broker {
	t.Helper()
	o.Kind = DefaultKind()
	if o.DataDir == "" {
		o.DataDir = filepath.Join(t.TempDir(), "data")
	}
	b, err := Start(o)
	Need(t, err)
	t.Cleanup(func() { finish(t, b) })
	return b
}

// RestartT starts a stopped or killed broker again.
func RestartT(t testing.TB, old *Broker) *Broker {
	t.Helper()
	b, err := old.Restart()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { finish(t, b) })
	return b
}

// StopT stops the broker and requires a clean exit.
func StopT(t testing.TB, b *Broker) {
	t.Helper()
	if err := b.Stop(stopLimit(b)); err != nil {
		t.Fatal(err)
	}
}

func stopLimit(b *Broker) time.Duration {
	if b.Kind == Apache {
		return 60 * time.Second
	}
	return 15 * time.Second
}

func finish(t testing.TB, b *Broker) {
	endTools()
	if b.Kind == External {
		return
	}
	if b.Running() {
		if err := b.Stop(stopLimit(b)); err != nil {
			t.Error(err)
		}
	}
	if t.Failed() {
		t.Logf("the log of %v on %s ends:\n%s", b.Kind, b.Addr, lastLines(b.Log(), 60))
	}
}

func lastLines(s string, n int) string {
	lines := strings.Split(strings.TrimRight(s, "\n"), "\n")
	if len(lines) > n {
		lines = lines[len(lines)-n:]
	}
	return strings.Join(lines, "\n")
}

// OwnBroker skips a test that must stop, kill or read the files of its broker when that is someone else's.
func OwnBroker(t testing.TB) {
	t.Helper()
	if DefaultKind() == External {
		t.Skip("SLIPSTREAM_TEST_BROKER names a running broker; this test needs one of its own")
	}
}

// SlipstreamOnly skips what Apache Kafka does not have or would take too long to show.
func SlipstreamOnly(t testing.TB) {
	t.Helper()
	if DefaultKind() != Slipstream {
		t.Skip("SLIPSTREAM_TEST_BROKER is set; this is about slipstream alone")
	}
}
