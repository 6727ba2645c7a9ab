package main

import (
	"encoding/json"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestTopics is the life of some topics as the commands tell it.
func TestTopics(t *testing.T) {
	b := start(t, "--data-dir", filepath.Join(t.TempDir(), "data"))
	for _, step := range []struct {
		args   string
		status int
		out    string // a pattern for all of it
		errors []string
	}{
		{"create orders events --partitions 3 --config segment.bytes=2097152", 0, `created orders with 3 partitions\ncreated events with 3 partitions\n`, nil},
		{"create single", 0, `created single with 1 partition\n`, nil},
		{"create orders", 1, ``, []string{"slipstream: cannot create topic orders: Topic 'orders' already exists (TOPIC_ALREADY_EXISTS)\n"}},
		{"create a/b other single", 1, `created other with 1 partition\n`, []string{"topic a/b", "INVALID_TOPIC_EXCEPTION", "topic single", "TOPIC_ALREADY_EXISTS"}},
		{"create none --partitions 0", 1, ``, []string{"INVALID_PARTITIONS"}},
		{"create none --config no.such=1", 1, ``, []string{"Unknown topic config name: no.such (INVALID_CONFIG)"}},
		{"create none --config segment.bytes=x", 1, ``, []string{"Invalid value x for configuration segment.bytes: Not a number of type INT (INVALID_CONFIG)"}},
		{"list", 0, `NAME +PARTITIONS +ID\nevents +3 +[\w-]{22}\norders +3 +[\w-]{22}\nother +1 +[\w-]{22}\nsingle +1 +[\w-]{22}\n`, nil},
		{"describe orders", 0, `TOPIC +PARTITION +LEADER +EPOCH +START +END\norders +0 +1 +0 +0 +0\norders +1 +1 +0 +0 +0\norders +2 +1 +0 +0 +0\norders: segment.bytes=2097152\n`, nil},
		{"describe nobody", 1, ``, []string{"slipstream: cannot describe topic nobody: there is no such topic (UNKNOWN_TOPIC_OR_PARTITION)\n"}},
		{"delete nobody other", 1, `deleted other\n`, []string{"cannot delete topic nobody: there is no such topic (UNKNOWN_TOPIC_OR_PARTITION)"}},
		{"delete single events", 0, `deleted single\ndeleted events\n`, nil},
		{"list", 0, `NAME +PARTITIONS +ID\norders +3 +[\w-]{22}\n`, nil},
	} {
		r := slipstream(t, append([]string{"topic", "--bootstrap", b.address}, strings.Fields(step.args)...)...)
		if r.status != step.status || !regexp.MustCompile("^"+step.out+"$").MatchString(r.out) {
			t.Errorf("topic %s: status %d, want %d; it prints\n%s%s", step.args, r.status, step.status, r.out, r.errors)
		}
		for _, want := range step.errors {
			if !strings.Contains(r.errors, want) {
				t.Errorf("topic %s: %q does not say %q", step.args, r.errors, want)
			}
		}
		for line := range strings.Lines(r.errors) {
			if !strings.HasPrefix(line, "slipstream: ") || step.errors == nil {
				t.Errorf("topic %s: standard error says %q", step.args, line)
			}
		}
	}
}

// TestTopicsAsJSON: what scripts read.
func TestTopicsAsJSON(t *testing.T) {
	b := start(t, "--data-dir", filepath.Join(t.TempDir(), "data"))
	ask := func(into any, args ...string) {
		t.Helper()
		r := slipstream(t, append([]string{"topic", "--json", "--bootstrap", b.address}, args...)...)
		if r.status != 0 {
			t.Fatalf("topic %q: %s", args, r.errors)
		}
		d := json.NewDecoder(strings.NewReader(r.out))
		d.DisallowUnknownFields()
		if err := d.Decode(into); err != nil {
			t.Fatalf("topic %q: %v\n%s", args, err, r.out)
		}
	}
	var listed []topicRow
	ask(&listed, "list")
	if listed == nil || len(listed) != 0 {
		t.Errorf("no topics are %v, want an empty array", listed)
	}
	var created []topicRow
	ask(&created, "create", "clicks", "--partitions", "2", "--config", "flush.messages=1", "--config", "cleanup.policy=compact")
	ask(&listed, "list")
	if len(created) != 1 || created[0].Name != "clicks" || created[0].Partitions != 2 || len(listed) != 1 || listed[0] != created[0] {
		t.Errorf("created %v, listed %v", created, listed)
	}
	var described struct {
		Partitions []partitionRow `json:"partitions"`
		Settings   []settingRow   `json:"settings"`
	}
	ask(&described, "describe", "clicks")
	if len(described.Partitions) != 2 || described.Partitions[1] != (partitionRow{Topic: "clicks", Partition: 1, Leader: 1}) {
		t.Errorf("partitions: %+v", described.Partitions)
	}
	if len(described.Settings) != 2 || described.Settings[0] != (settingRow{"clicks", "cleanup.policy", "compact"}) || described.Settings[1].Name != "flush.messages" {
		t.Errorf("settings: %+v", described.Settings)
	}
	var deleted []deletedRow
	ask(&deleted, "delete", "clicks")
	if len(deleted) != 1 || deleted[0].Name != "clicks" {
		t.Errorf("deleted: %v", deleted)
	}
}

// TestTopicDescribeWithoutLeader: a topic whose data directory is not there is shown all the same, without offsets.
func TestTopicDescribeWithoutLeader(t *testing.T) {
	one, two := filepath.Join(t.TempDir(), "one"), filepath.Join(t.TempDir(), "two")
	b := start(t, "--data-dir", one, "--data-dir", two)
	if r := slipstream(t, "topic", "create", "half", "--partitions", "2", "--bootstrap", b.address); r.status != 0 {
		t.Fatalf("%+v", r)
	}
	b.signal(t, syscall.SIGTERM)
	b.wait(t, 20*time.Second)
	b = start(t, "--data-dir", one)
	r := slipstream(t, "topic", "describe", "half", "--bootstrap", b.address)
	if r.status != 0 || strings.Count(r.out, "half") != 2 || strings.Count(r.out, "  -1     -1") != 1 {
		t.Errorf("%+v", r)
	}
}
