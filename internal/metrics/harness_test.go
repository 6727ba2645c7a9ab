package metrics

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"sync"
	"testing"
	"time"

	"slipstream/internal/broker"
	"slipstream/internal/config"
	"slipstream/reactor"
	"slipstream/ring"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// watched is a broker in the test's process, on the real kernel, with its metrics.
type watched struct {
	t       testing.TB
	address string
	url     string
	dir     string
	broker  *broker.Broker
	logs    *lockedBuffer
	stop    func()
}

// lockedBuffer is a log that several goroutines write.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// spy keeps the broker that is watched.
type spy struct {
	*Server
	seen *broker.Broker
}

func (s *spy) Watch(b *broker.Broker) (func(), error) {
	s.seen = b
	return s.Server.Watch(b)
}

func startWatched(t testing.TB, o Options, sets ...string) *watched {
	t.Helper()
	w := &watched{t: t, dir: t.TempDir(), logs: new(lockedBuffer)}
	if level := os.Getenv("SLIPSTREAM_RING_LEVEL"); level != "" {
		sets = append(sets, "slipstream.ring.level="+level)
	}
	cfg, err := config.Load("", append([]string{"slipstream.wait.policy=park", "slipstream.cores=2"}, sets...))
	if err != nil {
		t.Fatal(err)
	}
	s, err := broker.SettingsFrom(cfg, w.dir, "127.0.0.1:0", 4096)
	if err != nil {
		t.Fatal(err)
	}
	s.DrainMillis = 500
	helpers := reactor.NewHelpers(2)
	log := slog.New(slog.NewTextHandler(w.logs, nil))
	o.Listen, o.Log, o.Helpers, o.Version = "127.0.0.1:0", log, helpers, "test"
	server, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	watcher := &spy{Server: server}
	s.Watcher = watcher
	ctx, cancel := context.WithCancel(t.Context())
	ready, ended := make(chan broker.Report, 1), make(chan error, 1)
	go func() {
		ended <- broker.Serve(ctx, s, ring.NewLinux(), helpers, log, func(r broker.Report) { ready <- r })
	}()
	select {
	case r := <-ready:
		w.address, w.url, w.broker = r.Addresses[0], "http://"+server.Address(), watcher.seen
	case err := <-ended:
		t.Fatalf("the broker did not start: %v\n%s", err, w.logs)
	case <-time.After(20 * time.Second):
		t.Fatal("the broker is not ready after 20 s")
	}
	w.stop = sync.OnceFunc(func() {
		cancel()
		select {
		case err := <-ended:
			if err != nil {
				t.Errorf("stop: %v\n%s", err, w.logs)
			}
			helpers.Close()
		case <-time.After(20 * time.Second):
			t.Error("the broker has not stopped after 20 s")
		}
	})
	t.Cleanup(w.stop)
	return w
}

// client is a Kafka client of the broker.
func (w *watched) client(id string, options ...kgo.Opt) *kgo.Client {
	w.t.Helper()
	c, err := kgo.NewClient(append([]kgo.Opt{
		kgo.SeedBrokers(w.address), kgo.ClientID(id), kgo.DisableIdempotentWrite(), kgo.RequiredAcks(kgo.AllISRAcks()),
		kgo.ProducerBatchCompression(kgo.NoCompression()), kgo.RecordPartitioner(kgo.ManualPartitioner()),
	}, options...)...)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(c.Close)
	return c
}

func (w *watched) createTopic(name string, partitions int32) {
	w.t.Helper()
	c := w.client("admin")
	if _, err := kadm.NewClient(c).CreateTopic(w.t.Context(), partitions, 1, nil, name); err != nil {
		w.t.Fatal(err)
	}
	c.Close()
}

// produce sends records of n bytes to a partition, one batch each.
func (w *watched) produce(c *kgo.Client, topic string, partition int32, count, n int) {
	w.t.Helper()
	for range count {
		r := &kgo.Record{Topic: topic, Partition: partition, Value: bytes.Repeat([]byte{'x'}, n)}
		if err := c.ProduceSync(w.t.Context(), r).FirstErr(); err != nil {
			w.t.Fatal(err)
		}
	}
}

// consume reads count records of a topic from the start.
func (w *watched) consume(id, topic string, partitions int32, count int) {
	w.t.Helper()
	at := map[int32]kgo.Offset{}
	for i := range partitions {
		at[i] = kgo.NewOffset().AtStart()
	}
	c := w.client(id, kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: at}), kgo.FetchMaxWait(100*time.Millisecond))
	ctx, cancel := context.WithTimeout(w.t.Context(), 20*time.Second)
	defer cancel()
	for got := 0; got < count; {
		f := c.PollFetches(ctx)
		if err := f.Err(); err != nil {
			w.t.Fatalf("%d of %d records: %v", got, count, err)
		}
		got += f.NumRecords()
	}
	c.Close()
}

// get requests a page.
func (w *watched) get(path, accept string) (status int, kind string, body []byte) {
	w.t.Helper()
	req, err := http.NewRequestWithContext(w.t.Context(), http.MethodGet, w.url+path, nil)
	if err != nil {
		w.t.Fatal(err)
	}
	if accept != "" {
		req.Header.Set("Accept", accept)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		w.t.Fatal(err)
	}
	defer resp.Body.Close()
	if body, err = io.ReadAll(resp.Body); err != nil {
		w.t.Fatal(err)
	}
	return resp.StatusCode, resp.Header.Get("Content-Type"), body
}

// Both formats, read by the official parser.
const (
	asText     = "text/plain;version=0.0.4"
	asProtobuf = "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited"
)

type scraped map[string]*dto.MetricFamily

func (w *watched) scrape(path, format string) scraped {
	w.t.Helper()
	status, kind, body := w.get(path, format)
	if status != http.StatusOK {
		w.t.Fatalf("%s: %d\n%s", path, status, body)
	}
	all, err := parse(kind, body)
	if err != nil {
		w.t.Fatalf("%s as %s: %v", path, kind, err)
	}
	return all
}

func parse(kind string, body []byte) (scraped, error) {
	all := scraped{}
	decoder := expfmt.NewDecoder(bytes.NewReader(body), expfmt.ResponseFormat(http.Header{"Content-Type": {kind}}))
	for {
		var f dto.MetricFamily
		if err := decoder.Decode(&f); errors.Is(err, io.EOF) {
			return all, nil
		} else if err != nil {
			return nil, err
		}
		if !model.LegacyValidation.IsValidMetricName(f.GetName()) {
			return nil, fmt.Errorf("%s is no name of a metric", f.GetName())
		}
		all[f.GetName()] = &f
	}
}

// check has the official library look for what a registry would refuse: metrics
// that are there twice, names and labels that are none.
func (w *watched) check(o Options) {
	w.t.Helper()
	all, err := prometheus.Gatherers{newCollector(o, w.broker)}.Gather()
	if err != nil || len(all) < 100 {
		w.t.Errorf("%d families: %v", len(all), err)
	}
}

// metric finds the one metric of a family with such labels, given as pairs; nil if
// there is none.
func (s scraped) metric(name string, labels ...string) *dto.Metric {
	f := s[name]
	if f == nil {
		return nil
	}
next:
	for _, m := range f.Metric {
		for i := 0; i < len(labels); i += 2 {
			if label(m, labels[i]) != labels[i+1] {
				continue next
			}
		}
		return m
	}
	return nil
}

func label(m *dto.Metric, name string) string {
	for _, l := range m.Label {
		if l.GetName() == name {
			return l.GetValue()
		}
	}
	return ""
}

// value is that of a counter or gauge; -1 if there is none.
func (s scraped) value(name string, labels ...string) float64 {
	m := s.metric(name, labels...)
	switch {
	case m == nil:
		return -1
	case m.Counter != nil:
		return m.Counter.GetValue()
	}
	return m.Gauge.GetValue()
}

// sum adds up all of a family.
func (s scraped) sum(name string) (total float64) {
	if f := s[name]; f != nil {
		for _, m := range f.Metric {
			total += m.GetCounter().GetValue() + m.GetGauge().GetValue()
		}
	}
	return total
}

func (w *watched) deleteTopic(name string) {
	w.t.Helper()
	c := w.client("admin")
	if _, err := kadm.NewClient(c).DeleteTopic(w.t.Context(), name); err != nil {
		w.t.Fatal(err)
	}
	c.Close()
}
