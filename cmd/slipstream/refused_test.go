package main

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestRefusals: every mistake is answered by one sentence that names it and says
// what to do, and by exit status 1.
func TestRefusals(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	properties := filepath.Join(dir, "server.properties")
	for name, text := range map[string]string{file: "", properties: "num.partitions=3\n\nlog.segment.byte=1048576\n"} {
		if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	full := filepath.Join(dir, "full")
	if err := os.MkdirAll(filepath.Join(full, "photographs"), 0o755); err != nil {
		t.Fatal(err)
	}
	data := filepath.Join(dir, "data")
	serve := func(args ...string) []string { return append([]string{"serve", "--data-dir", data}, args...) }
	for _, c := range []struct {
		args []string
		want []string // all in the sentence
	}{
		{[]string{"sreve"}, []string{`"sreve"`, "did you mean slipstream serve"}},
		{[]string{"xyzzy"}, []string{`"xyzzy"`, "--help"}},
		{[]string{"serve", "now"}, []string{"takes no arguments", `"now"`}},
		{[]string{"version", "now"}, []string{"takes no arguments", `"now"`}},
		{[]string{"serve", "--datadir", "x"}, []string{"--datadir", "serve --help"}},
		{[]string{"serve"}, []string{"no data directory", "--data-dir", "log.dirs"}},
		{serve("--set", "num.partition=3"), []string{"num.partition;", "nearest is num.partitions"}},
		{serve("--set", "slipstream.core=3"), []string{"nearest is slipstream.cores"}},
		{serve("--set", "num.partitions=many"), []string{"num.partitions", "many", "Not a number of type INT"}},
		{serve("--set", "num.partitions"), []string{"name=value"}},
		{serve("--set", "slipstream.writer=disk"), []string{"slipstream.writer", "auto, ring, inline"}},
		{serve("--config", filepath.Join(dir, "none")), []string{filepath.Join(dir, "none"), "no such file"}},
		{serve("--config", dir), []string{dir, "is a directory"}},
		{serve("--config", properties), []string{properties, "line 3", "log.segment.byte;", "nearest is log.segment.bytes"}},
		{serve("--log-level", "loud"), []string{"loud", "debug, info, warn or error"}},
		{serve("--cores", "-1"), []string{"--cores -1", "at least 0"}},
		{serve("--cores", "100000"), []string{"--cores 100000", "no more than 1024"}},
		{serve("--listen", "nonsense"), []string{`"nonsense"`, "host:port"}},
		{serve("--listen", "127.0.0.1"), []string{`"127.0.0.1"`, "host:port"}},
		{serve("--listen", "127.0.0.1:99999"), []string{"99999", "not a port"}},
		{serve("--listen", "192.0.2.1:0"), []string{"192.0.2.1:0", "cannot assign requested address"}},
		{[]string{"serve", "--listen", "127.0.0.1:0", "--data-dir", file}, []string{file, "is a file"}},
		{[]string{"serve", "--listen", "127.0.0.1:0", "--data-dir", full}, []string{full, "photographs", "not empty"}},
		{[]string{"serve", "--listen", "127.0.0.1:0", "--data-dir", "/proc/slipstream"}, []string{"/proc/slipstream", "cannot be made"}},
		{[]string{"topic", "craete"}, []string{`"craete"`, "topic create"}},
		{[]string{"topic", "create"}, []string{"topic create", "name of a topic"}},
		{[]string{"topic", "create", "x", "--config", "retention"}, []string{`"retention"`, "name=value"}},
	} {
		sentence := refused(t, c.args...)
		for _, want := range c.want {
			if !strings.Contains(sentence, want) {
				t.Errorf("slipstream %s: %q does not say %q", strings.Join(c.args, " "), sentence, want)
			}
		}
	}
	if _, err := os.Stat(filepath.Join(full, "meta.properties")); err == nil {
		t.Errorf("a refused start made a data directory of %s", full)
	}
}

// TestUnreachable: a topic command without a broker says where it looked.
func TestUnreachable(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String() // nobody accepts: no answer
	begun := time.Now()
	if s := refused(t, "topic", "list", "--bootstrap", address, "--timeout", "300ms"); !strings.Contains(s, "no answer from "+address+" within 300ms") {
		t.Errorf("a silent port: %q", s)
	}
	if took := time.Since(begun); took > 5*time.Second {
		t.Errorf("a silent port is given up after %v", took)
	}
	l.Close()
	begun = time.Now()
	if s := refused(t, "topic", "list", "--bootstrap", address); !strings.Contains(s, "no broker answers at "+address+": connection refused") {
		t.Errorf("a closed port: %q", s)
	}
	if took := time.Since(begun); took > 5*time.Second {
		t.Errorf("a closed port is known after %v", took)
	}
	if s := refused(t, "topic", "list", "--bootstrap", "nonsense"); !strings.Contains(s, "nonsense: want host:port") {
		t.Errorf("no port: %q", s)
	}
}

func TestVersion(t *testing.T) {
	r := slipstream(t, "version")
	if r.status != 0 || r.errors != "" || !strings.HasPrefix(r.out, "slipstream ") || strings.Count(r.out, "\n") != 1 {
		t.Errorf("version: status %d, %q, %q", r.status, r.out, r.errors)
	}
}

func TestHelp(t *testing.T) {
	for _, args := range [][]string{nil, {"--help"}, {"topic"}, {"serve", "--help"}} {
		r := slipstream(t, args...)
		if r.status != 0 || r.errors != "" || !strings.Contains(r.out, "Usage:") {
			t.Errorf("slipstream %q: status %d, %q, %q", args, r.status, r.out, r.errors)
		}
	}
}
