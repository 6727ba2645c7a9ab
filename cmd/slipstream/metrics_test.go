package main

import (
	"io"
	"net/http"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestMetrics: --metrics and slipstream.metrics.listener serve /metrics where the
// screen says, and nothing does without them.
func TestMetrics(t *testing.T) {
	dir := t.TempDir()
	for i, args := range [][]string{{"--metrics", "127.0.0.1:0"}, {"--set", "slipstream.metrics.listener=127.0.0.1:0"}} {
		b := start(t, append(args, "--data-dir", filepath.Join(dir, string(rune('a'+i))))...)
		line := regexp.MustCompile(`(?m)^  metrics +(http://127\.0\.0\.1:\d+)/metrics$`).FindStringSubmatch(b.screen)
		if line == nil {
			t.Fatalf("the screen does not say where the metrics are:\n%s", b.screen)
		}
		text := page(t, line[1]+"/metrics")
		for _, want := range []string{"slipstream_build_info{", "kafka_server_kafkaserver_brokerstate 3", "slipstream_core_up{core=\"0\"} 1", "process_resident_memory_bytes "} {
			if !strings.Contains(text, want) {
				t.Errorf("%v: there is no %s", args, want)
			}
		}
		if s := refused(t, "serve", "--data-dir", filepath.Join(dir, "other"), "--listen", "127.0.0.1:0", "--metrics", strings.TrimPrefix(line[1], "http://")); !strings.Contains(s, "metrics address") || !strings.Contains(s, "is in use by another process") {
			t.Errorf("a metrics port in use: %q", s)
		}
		b.signal(t, syscall.SIGTERM)
		if state := b.wait(t, 10*time.Second); state.ExitCode() != 0 {
			t.Errorf("SIGTERM: %v\n%s", state, b.printed())
		}
	}
	b := start(t, "--data-dir", filepath.Join(dir, "off"))
	if strings.Contains(b.screen, "metrics") {
		t.Errorf("metrics are not off by default:\n%s", b.screen)
	}
	for _, address := range []string{"nowhere", "127.0.0.1", "127.0.0.1:99999"} {
		if s := refused(t, "serve", "--data-dir", filepath.Join(dir, "other"), "--listen", "127.0.0.1:0", "--metrics", address); !strings.Contains(s, address) {
			t.Errorf("--metrics %s: %q", address, s)
		}
	}
}

func page(t *testing.T, url string) string {
	t.Helper()
	resp, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("%s: %s, %v", url, resp.Status, err)
	}
	return string(text)
}
