package broker

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"slipstream/internal/config"
	"slipstream/reactor"
	"slipstream/ring"
	"slipstream/storage"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// testBroker is a broker inside the test process, on the real kernel.
type testBroker struct {
	t     *testing.T
	addr  string
	dir   string
	stop  func() error
	logs  *logBuffer
	level slog.LevelVar // of logs

	report Report
	broker *Broker
}

// Watch implements Watcher.
func (b *testBroker) Watch(broker *Broker) (func(), error) {
	b.broker = broker
	return func() {}, nil
}

// figures are a core's counters now.
func (b *testBroker) figures(core int) (counters reactor.Counters, store storage.StoreStats) {
	b.t.Helper()
	s := new(CoreSnapshot)
	done := make(chan struct{})
	if !b.broker.Ask(core, s, func(bool) { close(done) }) {
		b.t.Fatal("a core does not answer")
	}
	<-done
	return s.Counters, s.Storage
}

// startTestBroker serves dir (empty: a new one) with settings, at the ring level
// that SLIPSTREAM_RING_LEVEL names. It is stopped by the test's end at the latest.
func startTestBroker(t *testing.T, dir string, sets ...string) *testBroker {
	t.Helper()
	b, err := tryTestBroker(t, dir, func(k ring.Kernel) ring.Kernel { return k }, sets...)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// tryTestBroker is startTestBroker on a kernel with something between, for a start that may be refused. dir is a list as
// log.dirs is.
func tryTestBroker(t *testing.T, dir string, through func(ring.Kernel) ring.Kernel, sets ...string) (*testBroker, error) {
	t.Helper()
	if dir == "" {
		dir = t.TempDir()
	}
	if level := os.Getenv("SLIPSTREAM_RING_LEVEL"); level != "" {
		sets = append(sets, "slipstream.ring.level="+level)
	}
	cfg, err := config.Load("", append([]string{"slipstream.wait.policy=park"}, sets...))
	if err != nil {
		t.Fatal(err)
	}
	s, err := SettingsFrom(cfg, dir, "127.0.0.1:0", 4096)
	if err != nil {
		t.Fatal(err)
	}
	s.DrainMillis = 1000
	b := &testBroker{t: t, dir: dir, logs: new(logBuffer)}
	s.Watcher, s.LogLevel = b, &b.level
	ctx, cancel := context.WithCancel(context.Background())
	ready, ended := make(chan Report, 1), make(chan error, 1)
	kernel, err := ring.Open(os.Getenv("SLIPSTREAM_RING_KERNEL"))
	if err != nil {
		t.Fatal(err)
	}
	helpers := reactor.NewHelpers(2)
	go func() {
		ended <- Serve(ctx, s, through(kernel), helpers, slog.New(slog.NewTextHandler(b.logs, &slog.HandlerOptions{Level: &b.level})), func(r Report) { ready <- r })
	}()
	select {
	case r := <-ready:
		b.addr, b.report = r.Addresses[0], r
	case err := <-ended:
		cancel()
		helpers.Close()
		return nil, fmt.Errorf("the broker did not start: %w\n%s", err, b.logs)
	case <-time.After(20 * time.Second):
		t.Fatal("the broker is not ready after 20 s")
	}
	var stopped bool
	b.stop = func() error {
		if stopped {
			return nil
		}
		stopped = true
		cancel()
		select {
		case err := <-ended:
			helpers.Close()
			return err
		case <-time.After(20 * time.Second):
			return fmt.Errorf("the broker has not stopped after 20 s")
		}
	}
	t.Cleanup(func() {
		if err := b.stop(); err != nil {
			t.Errorf("stop: %v\n%s", err, b.logs)
		}
	})
	return b, nil
}

// wire is one connection that speaks kmsg.
type wire struct {
	t    *testing.T
	conn net.Conn
	corr int32
}

func (b *testBroker) dial() *wire {
	b.t.Helper()
	c, err := net.Dial("tcp", b.addr)
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() { c.Close() })
	return &wire{t: b.t, conn: c}
}

func (w *wire) send(req kmsg.Request) {
	w.t.Helper()
	w.corr++
	if _, err := w.conn.Write(kmsg.NewRequestFormatter(kmsg.FormatterClientID("test")).AppendRequest(nil, req, w.corr)); err != nil {
		w.t.Fatal(err)
	}
}

// frame reads one response frame, without its length; nil when the broker closed.
func (w *wire) frame() []byte {
	w.t.Helper()
	w.conn.SetReadDeadline(time.Now().Add(15 * time.Second))
	var size [4]byte
	if _, err := io.ReadFull(w.conn, size[:]); err != nil {
		if ne, ok := err.(net.Error); ok && ne.Timeout() {
			w.t.Fatal("no answer within 15 s")
		}
		return nil
	}
	b := make([]byte, binary.BigEndian.Uint32(size[:]))
	if _, err := io.ReadFull(w.conn, b); err != nil {
		w.t.Fatal(err)
	}
	return b
}

// frameOrNothing is frame on a connection that may be reset.
func (w *wire) frameOrNothing() []byte {
	w.conn.SetReadDeadline(time.Now().Add(15 * time.Second))
	b := make([]byte, 1<<20)
	if _, err := readFrame(w.conn, b); err != nil {
		return nil
	}
	return b
}

func (w *wire) receive(req kmsg.Request) kmsg.Response {
	w.t.Helper()
	b := w.frame()
	if b == nil {
		w.t.Fatalf("the connection was closed instead of an answer to key %d version %d", req.Key(), req.GetVersion())
	}
	resp := req.ResponseKind()
	skip := 4
	if resp.IsFlexible() && resp.Key() != 18 {
		skip = 5
	}
	if err := resp.ReadFrom(b[skip:]); err != nil {
		w.t.Fatalf("key %d version %d: %v", req.Key(), req.GetVersion(), err)
	}
	return resp
}

// ask sends a request and reads its answer.
func (w *wire) ask(version int16, req kmsg.Request) kmsg.Response {
	w.t.Helper()
	req.SetVersion(version)
	w.send(req)
	return w.receive(req)
}

// createTopic makes a topic and returns its id.
func (w *wire) createTopic(name string, partitions int32, configs ...string) [16]byte {
	w.t.Helper()
	req := kmsg.NewPtrCreateTopicsRequest()
	t := kmsg.NewCreateTopicsRequestTopic()
	t.Topic, t.NumPartitions, t.ReplicationFactor = name, partitions, 1
	for i := 0; i+1 < len(configs); i += 2 {
		c := kmsg.NewCreateTopicsRequestTopicConfig()
		c.Name, c.Value = configs[i], &configs[i+1]
		t.Configs = append(t.Configs, c)
	}
	req.Topics = append(req.Topics, t)
	resp := w.ask(7, req).(*kmsg.CreateTopicsResponse)
	if code := resp.Topics[0].ErrorCode; code != 0 {
		message := ""
		if m := resp.Topics[0].ErrorMessage; m != nil {
			message = *m
		}
		w.t.Fatalf("create %s: error %d %s", name, code, message)
	}
	return resp.Topics[0].TopicID
}

// produceRequest is a request with one batch for one partition.
func produceRequest(topic string, partition int32, batch []byte) *kmsg.ProduceRequest {
	req := kmsg.NewPtrProduceRequest()
	req.Acks, req.TimeoutMillis = -1, 10_000
	t := kmsg.NewProduceRequestTopic()
	t.Topic = topic
	p := kmsg.NewProduceRequestTopicPartition()
	p.Partition, p.Records = partition, batch
	t.Partitions = append(t.Partitions, p)
	req.Topics = append(req.Topics, t)
	return req
}

// fetchRequest is a sessionless request for one partition.
func fetchRequest(topic string, partition int32, offset int64, waitMillis int32) *kmsg.FetchRequest {
	req := kmsg.NewPtrFetchRequest()
	req.MaxWaitMillis, req.MinBytes, req.MaxBytes, req.SessionEpoch = waitMillis, 1, 50<<20, -1
	t := kmsg.NewFetchRequestTopic()
	t.Topic = topic
	p := kmsg.NewFetchRequestTopicPartition()
	p.Partition, p.FetchOffset, p.PartitionMaxBytes, p.CurrentLeaderEpoch = partition, offset, 1<<20, -1
	t.Partitions = append(t.Partitions, p)
	req.Topics = append(req.Topics, t)
	return req
}

func setCores(n int) string { return "slipstream.cores=" + strconv.Itoa(n) }

// logBuffer is what a broker has logged, for tests that read it while the broker goes on.
type logBuffer struct {
	mu   sync.Mutex
	text strings.Builder
}

func (b *logBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *logBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}
