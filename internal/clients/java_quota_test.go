package clients

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"slipstream/internal/clients/harness"
)

// TestJavaQuotas sets, shows and removes quotas of every kind of entity with Kafka's configs tool, and has the
// performance tool produce under one: its own metrics say that it was throttled, and its rate is the quota's.
func TestJavaQuotas(t *testing.T) {
	b := harness.StartT(t, harness.Options{})
	configs := func(args ...string) string {
		t.Helper()
		return harness.ToolT(t, nil, harness.ConfigCommand, append([]string{"--bootstrap-server", b.Addr}, args...)...)
	}
	for _, c := range []struct{ entity, set, shown string }{
		{"--entity-type clients --entity-name perf", "producer_byte_rate=1000000,consumer_byte_rate=2000000", "Quota configs for client-id 'perf' are "},
		{"--entity-type clients --entity-default", "request_percentage=150.5", "Quota configs for the default client-id are "},
		{"--entity-type users --entity-name alice", "controller_mutation_rate=5.0", "Quota configs for user-principal 'alice' are "},
		{"--entity-type users --entity-default --entity-type clients --entity-name x", "consumer_byte_rate=7.0", "Quota configs for the default user-principal, client-id 'x' are "},
		{"--entity-type ips --entity-name 10.1.2.3", "connection_creation_rate=9.0", "Quota configs for ip '10.1.2.3' are "},
		{"--entity-type ips --entity-default", "connection_creation_rate=100.0", "Quota configs for the default ip are "},
	} {
		entity := strings.Fields(c.entity)
		configs(append([]string{"--alter", "--add-config", c.set}, entity...)...)
		out := configs(append([]string{"--describe"}, entity...)...)
		for _, set := range strings.Split(c.set, ",") {
			key, value, _ := strings.Cut(set, "=")
			if !strings.Contains(out, c.shown) || !showsQuota(out, key, value) {
				t.Errorf("%s: %s is shown as\n%s", c.entity, set, out)
			}
		}
	}
	configs("--alter", "--delete-config", "connection_creation_rate", "--entity-type", "ips", "--entity-default")
	if out := configs("--describe", "--entity-type", "ips", "--entity-default"); strings.Contains(out, "connection_creation_rate") {
		t.Errorf("a removed quota is shown:\n%s", out)
	}
	producePerformance(t, b)
}

func showsQuota(out, key, value string) bool {
	m := regexp.MustCompile(key + `=([0-9.E]+)`).FindStringSubmatch(out)
	if m == nil {
		return false
	}
	want, _ := strconv.ParseFloat(value, 64)
	got, err := strconv.ParseFloat(m[1], 64)
	return err == nil && got == want
}

// producePerformance produces six megabytes at a megabyte a second.
func producePerformance(t *testing.T, b *harness.Broker) {
	topic := topicName(t, "quota")
	createTopic(t, b, topic, 1)
	const records = 6000
	out := harness.ToolT(t, nil, harness.ProducerPerformance, "--bootstrap-server", b.Addr, "--topic", topic, "--print-metrics",
		"--num-records", fmt.Sprint(records), "--record-size", "1000", "--throughput", "-1", "--command-property", "client.id=perf")
	m := regexp.MustCompile(`produce-throttle-time-max:\{client-id=perf\}\s*:\s*([0-9.]+)`).FindStringSubmatch(out)
	if m == nil || m[1] == "0.000" {
		t.Errorf("the producer was not throttled: %v\n%s", m, out)
	}
	rate := regexp.MustCompile(`(?m)^6000 records sent, ([0-9.]+) records/sec`).FindStringSubmatch(out)
	if rate == nil {
		t.Fatalf("ProducerPerformance printed:\n%s", out)
	}
	if got, _ := strconv.ParseFloat(rate[1], 64); got > 1150 || got < 500 {
		t.Errorf("%s records of 1000 bytes a second, the quota is 1,000,000 bytes", rate[1])
	}
	t.Logf("throttled for up to %s ms, %s records a second", m[1], rate[1])
}
