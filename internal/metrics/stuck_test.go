package metrics

import (
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"slipstream/reactor"

	dto "github.com/prometheus/client_model/go"
)

// stuck keeps a core from turning until it is let go.
type stuck struct {
	begun, end chan struct{}
}

func (m *stuck) Deliver(*reactor.Core) {
	close(m.begun)
	<-m.end
}

// hold stops a core of the broker's.
func (w *watched) hold(core int) (letGo func()) {
	w.t.Helper()
	m := &stuck{make(chan struct{}), make(chan struct{})}
	if !w.broker.Cores()[core].Inject(m) {
		w.t.Fatal("Inject refused")
	}
	<-m.begun
	return sync.OnceFunc(func() { close(m.end) })
}

// TestStuckCore: a core that does not turn does not keep the others' figures back,
// and its own do not go backwards.
func TestStuckCore(t *testing.T) {
	w := startWatched(t, Options{})
	w.createTopic("orders", 2)
	c := w.client("producer")
	w.produce(c, "orders", 0, 10, 100)
	w.produce(c, "orders", 1, 10, 100)
	before := w.scrape("/metrics", asProtobuf)
	letGo := w.hold(1)
	defer letGo()
	for range 3 {
		time.Sleep(shareLimit)
		begun := time.Now()
		s := w.scrape("/metrics", asText)
		if took := time.Since(begun); took < answerLimit || took > 3*answerLimit {
			t.Errorf("a scrape with a stuck core took %v", took)
		}
		if s.value("slipstream_core_up", "core", "0") != 1 || s.value("slipstream_core_up", "core", "1") != 0 {
			t.Error("it does not say which core is stuck")
		}
		if age := s.value("slipstream_core_age_seconds", "core", "1"); age < 1 {
			t.Errorf("the stuck core's figures are %v s old", age)
		}
		for _, name := range []string{"slipstream_core_requests_total", "slipstream_core_turns_total"} {
			if was, is := before.value(name, "core", "1"), s.value(name, "core", "1"); was != is {
				t.Errorf("%s of the stuck core went from %v to %v", name, was, is)
			}
		}
		if got := s.value("kafka_server_brokertopicmetrics_messagesin_total", "topic", "orders"); got != 20 {
			t.Errorf("%v messages, want 20", got)
		}
	}
	letGo()
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(shareLimit) {
		s := w.scrape("/metrics", asText)
		if s.value("slipstream_core_up", "core", "1") == 1 {
			if injected := s.value("slipstream_core_messages_injected_total", "core", "1"); injected > 20 {
				t.Errorf("%v messages were left for the stuck core", injected)
			}
			return
		}
		if time.Now().After(end) {
			t.Fatal("the core is not known to be back")
		}
	}
}

// TestLateAnswer: what a core answers when nobody waits any more is not shown as what it counts at the next scrape.
func TestLateAnswer(t *testing.T) {
	w := startWatched(t, Options{})
	w.createTopic("orders", 2)
	letGo := w.hold(1)
	defer letGo()
	w.scrape("/metrics", asText) // gives up, and leaves its question with the core
	letGo()
	time.Sleep(2 * shareLimit) // it answers
	c := w.client("producer")
	w.produce(c, "orders", 0, 10, 100)
	w.produce(c, "orders", 1, 10, 100)
	s := w.scrape("/metrics", asText)
	if s.value("slipstream_core_up", "core", "1") != 1 {
		t.Skip("the core was late once more")
	}
	if got := s.value("kafka_server_brokertopicmetrics_messagesin_total", "topic", "orders"); got != 20 {
		t.Errorf("%v messages, want 20", got)
	}
}

// TestScrapesAtOnce: more than a few at a time are refused.
func TestScrapesAtOnce(t *testing.T) {
	w := startWatched(t, Options{})
	letGo := w.hold(0)
	defer letGo()
	var working sync.WaitGroup
	var refused, answered atomic.Int64
	for range 4 * maxScrapes {
		working.Go(func() {
			switch status, _, _ := w.get("/metrics", asText); status {
			case http.StatusOK:
				answered.Add(1)
			case http.StatusServiceUnavailable:
				refused.Add(1)
			}
		})
	}
	working.Wait()
	if answered.Load() < maxScrapes || refused.Load() == 0 || answered.Load()+refused.Load() != 4*maxScrapes {
		t.Errorf("of %d scrapes at once %d were answered and %d refused", 4*maxScrapes, answered.Load(), refused.Load())
	}
}

// TestStoppedCores: a broker whose cores have stopped has nothing more to tell.
func TestStoppedCores(t *testing.T) {
	w := startWatched(t, Options{})
	c := newCollector(Options{Log: nil}, w.broker)
	w.stop()
	families, err := c.Gather()
	if err != nil {
		t.Fatal(err)
	}
	s := scraped{}
	for _, f := range families {
		s[f.GetName()] = f
	}
	if s.value("slipstream_core_up", "core", "0") != 0 || s.value("slipstream_core_up", "core", "1") != 0 {
		t.Error("stopped cores are up")
	}
	if s.value("kafka_server_kafkaserver_brokerstate") != 7 || s.value("kafka_controller_kafkacontroller_activebrokercount") != 0 {
		t.Error("the broker is said to run")
	}
}

// TestManyPartitions: a core spreads its answer over turns, however much there is to
// tell, and none is missing.
func TestManyPartitions(t *testing.T) {
	const partitions = 400
	w := startWatched(t, Options{}, "slipstream.cores=1")
	w.createTopic("many", partitions)
	for _, format := range []string{asText, asProtobuf} {
		time.Sleep(shareLimit)
		s := w.scrape("/metrics", format)
		seen := map[string]bool{}
		for _, m := range s["kafka_log_log_size"].GetMetric() {
			if label(m, "topic") == "many" {
				seen[label(m, "partition")] = true
			}
		}
		if len(seen) != partitions {
			t.Errorf("%d partitions are told of, want %d", len(seen), partitions)
		}
		slices, longest := s.value("slipstream_core_scrape_slices", "core", "0"), s.value("slipstream_core_scrape_longest_slice_seconds", "core", "0")
		if slices < partitions/64 {
			t.Errorf("%d partitions were copied in %v turns", partitions, slices)
		}
		t.Logf("%v slices, the longest of %.1f us", slices, longest*1e6)
	}
}

// TestDeletedTopics: what is no more is told no more, and all topics together have
// not forgotten it.
func TestDeletedTopics(t *testing.T) {
	w := startWatched(t, Options{})
	for _, name := range []string{"first", "second", "third"} {
		w.createTopic(name, 2)
		w.produce(w.client("producer"), name, 1, 5, 100)
	}
	w.deleteTopic("first")
	s := w.scrape("/metrics", asText)
	for _, name := range []string{"first", "second", "third"} {
		told := s.value("kafka_server_brokertopicmetrics_messagesin_total", "topic", name)
		if want := map[bool]float64{true: -1, false: 5}[name == "first"]; told != want {
			t.Errorf("%s has %v messages, want %v", name, told, want)
		}
	}
	if all := s.value("kafka_server_brokertopicmetrics_messagesin_total", "topic", ""); all != 15 {
		t.Errorf("all topics have %v messages, want 15", all)
	}
	if strings.Contains(labels(s["kafka_log_log_size"]), "first") {
		t.Error("a deleted topic has a log")
	}
}

func labels(f *dto.MetricFamily) string {
	var b strings.Builder
	for _, m := range f.GetMetric() {
		b.WriteString(m.String())
	}
	return b.String()
}
