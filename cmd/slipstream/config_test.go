package main

import (
	"encoding/json"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestConfig shows and changes the settings of topics and of the broker while it
// runs; each command is one line, as in a terminal.
func TestConfig(t *testing.T) {
	b := start(t, "--data-dir", filepath.Join(t.TempDir(), "data"), "--set", "log.segment.bytes=4194304")
	for _, step := range []struct {
		args   string
		status int
		out    string // a pattern for all of it
		errors string
	}{
		{"topic create orders", 0, `created orders with 1 partition\n`, ""},
		{"topic config show orders", 0, `TOPIC +SETTING +VALUE +FROM\norders +min.insync.replicas +1 +all brokers, live\norders +segment.bytes +4194304 +broker, at start\n`, ""},
		{"topic config set orders retention.ms=60000 cleanup.policy=compact,delete", 0, ``, ""},
		{"broker config set log.retention.bytes=5000000", 0, ``, ""},
		{"topic config show orders", 0, `(?s).*orders +cleanup.policy +compact,delete +topic\n.*orders +retention.bytes +5000000 +all brokers, live\norders +retention.ms +60000 +topic\n.*`, ""},
		{"topic config delete orders retention.ms cleanup.policy", 0, ``, ""},
		{"broker config show", 0, `(?s)BROKER +SETTING +VALUE +FROM\n.*1 +log.retention.bytes +5000000 +all brokers, live\n1 +log.segment.bytes +4194304 +broker, at start\n.*`, ""},
		{"broker config delete log.retention.bytes", 0, ``, ""},
		{"topic config show --all orders", 0, `(?s).*orders +retention.bytes +-1 +default\norders +retention.ms +604800000 +default\n.*`, ""},
		{"topic config set orders retention.ms=soon", 1, ``, "cannot configure topic orders: Invalid value soon for configuration retention.ms: Not a number of type LONG (INVALID_CONFIG)"},
		{"topic config set nobody retention.ms=1", 1, ``, "cannot configure topic nobody: there is no such topic (UNKNOWN_TOPIC_OR_PARTITION)"},
		{"topic config show nobody", 1, `TOPIC +SETTING +VALUE +FROM\n`, "cannot describe topic nobody: there is no such topic (UNKNOWN_TOPIC_OR_PARTITION)"},
		{"broker config set num.partitions=3", 1, ``, "cannot configure the broker: Cannot update these configs dynamically: [num.partitions] (INVALID_REQUEST)"},
		{"topic config set orders", 1, ``, "topic config set wants the name of a topic and at least one SETTING=VALUE"},
		{"topic config set orders retention.ms", 1, ``, `"retention.ms" is not a setting and its value: want name=value`},
		{"broker config delete", 1, ``, "broker config delete wants at least one SETTING"},
		{"topic config sohw", 1, ``, "did you mean slipstream topic config show?"},
	} {
		r := slipstream(t, append(strings.Fields(step.args), "--bootstrap", b.address)...)
		if r.status != step.status || !regexp.MustCompile("^"+step.out+"$").MatchString(r.out) || !strings.Contains(r.errors, step.errors) || step.errors == "" && r.errors != "" {
			t.Errorf("%s: status %d, want %d; it prints\n%s%s", step.args, r.status, step.status, r.out, r.errors)
		}
	}
	r := slipstream(t, "topic", "config", "show", "orders", "--json", "--bootstrap", b.address)
	var rows []configRow
	if err := json.Unmarshal([]byte(r.out), &rows); err != nil || len(rows) != 2 || rows[1].Name != "segment.bytes" || *rows[1].Value != "4194304" || rows[1].Source != "broker, at start" {
		t.Errorf("as JSON: %v\n%s%s", err, r.out, r.errors)
	}
}
