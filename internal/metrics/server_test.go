package metrics

import (
	"math"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"slipstream/ebpf"

	dto "github.com/prometheus/client_model/go"
)

// TestFiguresAgreeWithTheClient: what a client did is what the counters say, in both
// formats, on two cores.
func TestFiguresAgreeWithTheClient(t *testing.T) {
	w := startWatched(t, Options{})
	w.createTopic("orders", 3)
	producer := w.client("producer")
	const each, recordBytes = 20, 1000
	for partition := range int32(3) {
		w.produce(producer, "orders", partition, each, recordBytes)
	}
	w.consume("consumer", "orders", 3, 3*each)
	for _, format := range []string{asText, asProtobuf} {
		s := w.scrape("/metrics", format)
		for _, c := range []struct {
			name   string
			labels []string
			want   float64
		}{
			{"kafka_server_brokertopicmetrics_messagesin_total", []string{"topic", "orders"}, 3 * each},
			{"kafka_server_brokertopicmetrics_messagesin_total", []string{"topic", ""}, 3 * each},
			{"kafka_server_brokertopicmetrics_totalproducerequests_total", []string{"topic", "orders"}, 3 * each},
			{"kafka_server_brokertopicmetrics_failedproducerequests_total", []string{"topic", "orders"}, 0},
			{"kafka_network_requestmetrics_errors_total", []string{"request", "Produce", "error", "NONE"}, 3 * each},
			{"kafka_log_log_logendoffset", []string{"topic", "orders", "partition", "1"}, each},
			{"kafka_log_log_logstartoffset", []string{"topic", "orders", "partition", "1"}, 0},
			{"kafka_log_log_numlogsegments", []string{"topic", "orders", "partition", "2"}, 1},
			{"kafka_server_replicamanager_partitioncount", nil, 3},
			{"kafka_controller_kafkacontroller_globaltopiccount", nil, 1},
			{"kafka_controller_kafkacontroller_globalpartitioncount", nil, 3},
			{"kafka_controller_kafkacontroller_activebrokercount", nil, 1},
			{"kafka_server_kafkaserver_brokerstate", nil, 3},
			{"kafka_server_delayedoperationpurgatory_purgatorysize", []string{"delayedOperation", "Fetch"}, 0},
			{"slipstream_core_up", []string{"core", "0"}, 1},
			{"slipstream_core_up", []string{"core", "1"}, 1},
			{"slipstream_page_cache_attribution", nil, 0},
		} {
			if got := s.value(c.name, c.labels...); got != c.want {
				t.Errorf("%s%v is %v, want %v", c.name, c.labels, got, c.want)
			}
		}
		in := s.value("kafka_server_brokertopicmetrics_bytesin_total", "topic", "orders")
		size := s.value("kafka_log_log_size", "topic", "orders", "partition", "0") + s.value("kafka_log_log_size", "topic", "orders", "partition", "1") + s.value("kafka_log_log_size", "topic", "orders", "partition", "2")
		if out := s.value("kafka_server_brokertopicmetrics_bytesout_total", "topic", "orders"); in != size || out < in {
			t.Errorf("%v bytes in, %v in the logs, %v out", in, size, out)
		}
		if got := s.sum("slipstream_core_requests_total"); got < 3*each+3 {
			t.Errorf("the cores have seen %v requests", got)
		}
		produce := s.metric("slipstream_request_seconds", "request", "Produce").GetHistogram()
		if produce.GetSampleCount() != 3*each || produce.GetSampleSum() <= 0 {
			t.Errorf("%d produces took %v s", produce.GetSampleCount(), produce.GetSampleSum())
		}
		checkSum(t, s, "Produce")
		checkSum(t, s, "Fetch")
		if total := s.value("kafka_network_requestmetrics_totaltimems_count", "request", "Produce"); total != 3*each {
			t.Errorf("Kafka's total is of %v produces", total)
		}
		if p99 := s.value("kafka_network_requestmetrics_totaltimems", "request", "Produce", "quantile", "0.99"); p99 <= 0 || p99 > 5000 {
			t.Errorf("Kafka's p99 is %v ms", p99)
		}
		if remote := s.value("kafka_network_requestmetrics_remotetimems", "request", "FetchConsumer", "quantile", "0.999"); remote < 0 {
			t.Error("a consumer's fetch has no name of its own")
		}
		b := s.metric("slipstream_build_info")
		if label(b, "version") != "test" || label(b, "go") == "" || label(b, "kernel") == "" || label(b, "level") == "" {
			t.Errorf("what runs is %v", b)
		}
		native := s.metric("slipstream_request_seconds", "request", "Produce").GetHistogram()
		if format == asProtobuf && (native.GetSchema() != 3 || len(native.PositiveSpan) == 0) {
			t.Error("the protobuf format has no native histogram")
		}
		if len(native.Bucket) < 8 {
			t.Error("there are no classic buckets")
		}
		if s["go_goroutines"] == nil || s.value("process_resident_memory_bytes") < 1<<20 {
			t.Error("the runtime or the process is missing")
		}
	}
	resident := w.scrape("/metrics/residency", asText)
	if got, size := resident.value("slipstream_partition_resident_bytes", "topic", "orders", "partition", "0"), resident.value("slipstream_partition_bytes", "topic", "orders", "partition", "0"); got != size || size < each*recordBytes {
		t.Errorf("%v of %v bytes just written are in the page cache", got, size)
	}
}

// checkSum: the stages of a request add up to its total.
func checkSum(t *testing.T, s scraped, request string) {
	t.Helper()
	total := s.metric("slipstream_request_seconds", "request", request).GetHistogram()
	sum, stages := 0.0, 0
	for _, m := range s["slipstream_request_stage_seconds"].GetMetric() {
		if label(m, "request") == request {
			sum += m.GetHistogram().GetSampleSum()
			stages++
			if m.GetHistogram().GetSampleCount() != total.GetSampleCount() {
				t.Errorf("%s: %d times in stage %s, %d requests", request, m.GetHistogram().GetSampleCount(), label(m, "stage"), total.GetSampleCount())
			}
		}
	}
	if stages != 7 || math.Abs(sum-total.GetSampleSum()) > 1e-6 {
		t.Errorf("%s: %d stages take %v s, all of it %v s", request, stages, sum, total.GetSampleSum())
	}
}

// TestTableIsWhatIsExported: each row of the table is exported, and nothing else of
// ours or Kafka's.
func TestTableIsWhatIsExported(t *testing.T) {
	w := startWatched(t, Options{Attribution: fakeCache{{Partition: "orders-0", Client: "c", Lookups: 1}}})
	w.createTopic("orders", 1)
	w.produce(w.client("producer"), "orders", 0, 1, 10)
	w.consume("consumer", "orders", 1, 1)
	w.check(Options{Attribution: fakeCache{{Partition: "orders-0", Client: "c", Lookups: 1}}, CacheSeries: 10})
	exported := w.scrape("/metrics", asProtobuf)
	for name, f := range w.scrape("/metrics/residency", asProtobuf) {
		exported[name] = f
	}
	for _, f := range families {
		got := exported[f.name]
		if got == nil {
			if f.when == "" {
				t.Errorf("%s is in the table and not exported", f.name)
			}
			continue
		}
		delete(exported, f.name)
		want := map[kind]dto.MetricType{counter: dto.MetricType_COUNTER, gauge: dto.MetricType_GAUGE, histogram: dto.MetricType_HISTOGRAM}[f.kind]
		if got.GetType() != want || got.GetHelp() != f.help {
			t.Errorf("%s is a %s, %q; the table says %s, %q", f.name, got.GetType(), got.GetHelp(), f.kind, f.help)
		}
		for _, l := range got.Metric[0].Label {
			if !strings.Contains(" "+strings.Join(f.labels, " ")+" ", " "+l.GetName()+" ") {
				t.Errorf("%s has a label %s", f.name, l.GetName())
			}
		}
	}
	for name := range exported {
		if strings.HasPrefix(name, "slipstream_") || strings.HasPrefix(name, "kafka_") {
			t.Errorf("%s is exported and not in the table", name)
		}
	}
}

// fakeCache is page-cache attribution of fixed figures.
type fakeCache []ebpf.Cell

func (f fakeCache) Snapshot() ebpf.Snapshot {
	return ebpf.Snapshot{Cells: f, Evictions: []ebpf.Eviction{{Victim: "orders-0", CulpritProcess: "cat/1", Pages: 3}}}
}
func (f fakeCache) Missing() ([]string, error) { return nil, nil }
func (f fakeCache) Mode() string               { return "fake" }

// TestHostileNames: what clients call themselves is text, whatever is in it.
func TestHostileNames(t *testing.T) {
	names := []string{"plain", `back\slash`, "quo\"te", "new\nline", "} evil{x=\"1\"} 5", "\xff\xfe", "\xff\xfd", "", strings.Repeat("long", 5000), "(others)", "\u2028\u0000x"}
	var cells fakeCache
	for i, n := range names {
		cells = append(cells, ebpf.Cell{Partition: "orders-0", Client: n, Lookups: uint64(i + 1), DemandMisses: 1})
	}
	cells = append(cells, ebpf.Cell{Lookups: 1000})
	w := startWatched(t, Options{Attribution: cells})
	w.check(Options{Attribution: cells, CacheSeries: 100})
	for _, format := range []string{asText, asProtobuf} {
		s := w.scrape("/metrics", format)
		for i, n := range names {
			want := float64(i + 1)
			if n[:min(len(n), 1)] == "\xff" {
				n, want = "\uFFFD", 6+7 // they cannot be told apart
			}
			if got := s.value("slipstream_page_cache_lookups_total", "topic", "orders", "partition", "0", "client", n); n != "" && got != want {
				t.Errorf("%.20q has looked up %v pages, want %v", n, got, want)
			}
		}
		if got := s.value("slipstream_page_cache_lookups_total", "topic", "(others)"); got != 1000 {
			t.Errorf("the others have looked up %v pages, want 1000", got)
		}
		if got := s.sum("slipstream_page_cache_demand_misses_total"); got != float64(len(names)) {
			t.Errorf("%v misses, want %d", got, len(names))
		}
	}
}

// TestSeriesAreBounded: clients cannot make as many series as they like.
func TestSeriesAreBounded(t *testing.T) {
	var cells fakeCache
	for i := range 500 {
		cells = append(cells, ebpf.Cell{Partition: "orders-0", Client: strings.Repeat("c", i+1), Lookups: uint64(i), Readahead: 2})
	}
	w := startWatched(t, Options{Attribution: cells, CacheSeries: 50})
	s := w.scrape("/metrics", asProtobuf)
	if n := len(s["slipstream_page_cache_lookups_total"].GetMetric()); n != 51 {
		t.Errorf("%d series, want 50 and the others", n)
	}
	if got := s.sum("slipstream_page_cache_readahead_total"); got != 1000 {
		t.Errorf("all together read ahead %v pages, want 1000", got)
	}
	if got := s.value("slipstream_page_cache_lookups_total", "topic", "orders", "client", strings.Repeat("c", 500)); got != 499 {
		t.Errorf("the busiest has looked up %v pages", got)
	}
}

func TestPages(t *testing.T) {
	w := startWatched(t, Options{})
	for _, c := range []struct {
		method, path string
		status       int
	}{
		{"GET", "/", 200}, {"GET", "/metrics", 200}, {"HEAD", "/metrics", 200}, {"GET", "/metrics/residency", 200},
		{"GET", "/metrics/", 404}, {"GET", "/debug/pprof/", 404}, {"GET", "/favicon.ico", 404}, {"POST", "/metrics", 405},
	} {
		req, err := http.NewRequest(c.method, w.url+c.path, nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != c.status {
			t.Errorf("%s %s: %d, want %d", c.method, c.path, resp.StatusCode, c.status)
		}
	}
	if _, err := New(Options{Listen: strings.TrimPrefix(w.url, "http://")}); err == nil || !strings.Contains(err.Error(), "is in use by another process") {
		t.Errorf("a port in use: %v", err)
	}
	w.stop()
	if resp, err := http.Get(w.url + "/metrics"); err == nil {
		resp.Body.Close()
		t.Error("metrics are served though the broker has stopped")
	}
}

// TestScrapesUnderLoad: scrapes at once, while clients produce and consume and topics
// come and go; counters never go backwards.
func TestScrapesUnderLoad(t *testing.T) {
	w := startWatched(t, Options{})
	w.createTopic("busy", 2)
	done := make(chan struct{})
	var working sync.WaitGroup
	working.Go(func() {
		defer close(done)
		c := w.client("producer")
		for i := range int32(300) {
			w.produce(c, "busy", i%2, 1, 2000)
		}
	})
	working.Go(func() { w.consume("consumer", "busy", 2, 300) })
	working.Go(func() {
		for i := range 5 {
			w.createTopic(strings.Repeat("t", i+1), 20)
		}
	})
	for i := range 3 {
		working.Go(func() {
			format, last := []string{asText, asProtobuf}[i%2], 0.0
			for over := false; !over; {
				select {
				case <-done:
					over = true
				default:
				}
				status, kind, body := w.get("/metrics", format)
				if status == http.StatusServiceUnavailable {
					continue // too many at once
				}
				s, err := parse(kind, body)
				if err != nil || status != 200 {
					t.Errorf("%d: %v", status, err)
					return
				}
				if now := s.value("kafka_server_brokertopicmetrics_messagesin_total", "topic", ""); now < last {
					t.Errorf("messages in went from %v to %v", last, now)
				} else {
					last = now
				}
			}
		})
	}
	working.Wait()
	time.Sleep(shareLimit)
	s := w.scrape("/metrics", asText)
	if got := s.value("kafka_server_brokertopicmetrics_messagesin_total", "topic", "busy"); got != 300 {
		t.Errorf("%v messages, want 300", got)
	}
	if got := s.value("kafka_server_replicamanager_partitioncount"); got != 2+5*20 {
		t.Errorf("%v partitions, want %d", got, 2+5*20)
	}
}
