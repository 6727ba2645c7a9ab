package metrics

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write docs/metrics.md anew")

// TestMetricsDocument keeps docs/metrics.md what the table says.
func TestMetricsDocument(t *testing.T) {
	path := filepath.Join("..", "..", "docs", "metrics.md")
	want := document()
	if *update {
		if err := os.WriteFile(path, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(path)
	if err != nil || string(got) != want {
		t.Errorf("docs/metrics.md is not what the table says (%v); run make generate", err)
	}
}

// TestFamilies: names are unique and texts are sentences.
func TestFamilies(t *testing.T) {
	seen := map[string]bool{}
	for _, f := range families {
		if seen[f.name] {
			t.Errorf("%s is declared twice", f.name)
		}
		seen[f.name] = true
		if !strings.HasSuffix(f.help, ".") || strings.Contains(f.help, "|") {
			t.Errorf("%s is explained by %q", f.name, f.help)
		}
		if ours := strings.HasPrefix(f.name, "slipstream_"); ours == (f.kafka != "") || !ours && !strings.HasPrefix(f.name, "kafka_") {
			t.Errorf("%s: whose is it, with %q of Kafka's?", f.name, f.kafka)
		}
	}
	if len(families) < 100 {
		t.Errorf("only %d metrics are declared", len(families))
	}
}

func document() string {
	var b strings.Builder
	b.WriteString(`# Metrics

Generated from the table in internal/metrics (` + "`make generate`" + `); do not edit.

` + "`slipstream serve --metrics 127.0.0.1:9404`" + ` (or ` + "`slipstream.metrics.listener`" + `) serves ` + "`/metrics`" + ` for Prometheus, in the text format and, for a server
that asks for it, in protobuf with native histograms. There is no password: listen where only those who may see it can reach.
A scrape sends each core a message; the core copies what it has counted, a bounded slice a turn. A core that has not answered
after a second is shown as it was (` + "`slipstream_core_up`" + ` is 0). At most four scrapes are under way at a time.
` + "`/metrics/residency`" + ` looks at every segment's pages in the page cache; it takes its time, and is not for every scrape.

## Where the time of a request goes
` + "`slipstream_request_stage_seconds{request,stage}`" + ` splits each request's time; the stages of a request add up to ` + "`slipstream_request_seconds`" + `. Both are
native histograms of schema 3 (eight buckets for each power of two) with eleven classic buckets, 15 us to 16 s, for scrapers that know no others.

| stage | from, to | who owns a long one | in Kafka |
| --- | --- | --- | --- |
| receive | the first byte of the request, the last | the client or its network; a request that waits for memory | not counted |
| queue | the last byte, the work; the way to another core and back; helpers | earlier requests of the connection, cores or helpers that are busy, a full arena | RequestQueueTimeMs |
| local | the work on a core: checking, appending to the page cache, finding what to send | the broker, or a file system that holds writers | LocalTimeMs |
| read | waiting for the disk to bring what is to be sent | the disk: what a consumer asks for is not in the page cache | part of others |
| remote | a long poll; an fsync; a change of metadata | nobody, if it is a consumer at the end of the log; the disk, if topics are synced | RemoteTimeMs |
| response_queue | the response is ready, and is the next for its socket | earlier responses of the connection | ResponseQueueTimeMs |
| response_send | the socket's next, its last byte taken | a client that reads slowly, or its network | ResponseSendTimeMs |

The clock is read a few times a turn, where something was done that takes longer than reading it. What arrives while a core is in a turn is known
with the next: ` + "`slipstream_core_turn_seconds`" + ` says how long that may be.

A p99 with an owner:
` + "```" + `
histogram_quantile(0.99, sum by (request) (rate(slipstream_request_seconds[5m])))
histogram_quantile(0.99, sum by (stage) (rate(slipstream_request_stage_seconds{request="Produce"}[5m])))
sum by (stage) (histogram_sum(rate(slipstream_request_stage_seconds{request="Produce"}[5m])))   # which stage takes most
` + "```" + `
Other questions: submissions for each enter, ` + "`rate(slipstream_core_submissions_total[1m]) / rate(slipstream_core_enters_total[1m])`" + `; how busy a core is,
` + "`1 - rate(slipstream_core_parked_seconds_total[1m]) - rate(slipstream_core_spun_seconds_total[1m])`" + `; a partition's hit rate (a page that readahead
brought in just before is a hit, so that a cold consumer has hits too: what came from the disk is demand misses and readahead together),
` + "`1 - rate(slipstream_page_cache_demand_misses_total[5m]) / rate(slipstream_page_cache_lookups_total[5m])`" + `; fsyncs for each batch that waited for one,
` + "`sum(rate(slipstream_store_syncs_total[1m])) / sum(histogram_count(rate(slipstream_request_seconds{request=\"Produce\"}[1m])))`" + `.

## Kafka's
Under the names that the JMX exporter gives them with its rules for Kafka in lower case, so that dashboards go on working. Percentiles are of the last one
to two minutes, where Kafka's forget exponentially. Where a metric of Kafka's is not here, slipstream has nothing that it would count:
quotas, log cleaning, groups, followers, ZooKeeper, the JVM.

| metric | kind | labels | Kafka's | |
| --- | --- | --- | --- | --- |
`)
	for _, f := range families {
		if f.kafka != "" {
			fmt.Fprintf(&b, "| %s | %s | %s | %s | %s |\n", f.name, f.kind, strings.Join(f.labels, ", "), strings.ReplaceAll(f.kafka, "*", `\*`), f.help)
		}
	}
	b.WriteString(`
## Slipstream's own
And those of Go's runtime (go_*) and of the process (process_*), as client_golang has them.

| metric | kind | labels | |
| --- | --- | --- | --- |
`)
	for _, f := range families {
		if f.kafka == "" {
			help := f.help
			if f.when != "" {
				help += " Only " + f.when + "."
			}
			fmt.Fprintf(&b, "| %s | %s | %s | %s |\n", f.name, f.kind, strings.Join(f.labels, ", "), help)
		}
	}
	return b.String()
}
