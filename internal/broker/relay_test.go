package broker

import (
	"bytes"
	"fmt"
	"net"
	"strings"
	"syscall"
	"testing"
	"time"

	"slipstream/reactor"
	"slipstream/storage"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// records reads one fetch response and returns the records of its one partition.
func (w *wire) records() ([]byte, error) {
	req := kmsg.NewPtrFetchRequest()
	req.SetVersion(11)
	p := w.receive(req).(*kmsg.FetchResponse).Topics[0].Partitions[0]
	if p.ErrorCode != 0 || len(p.RecordBatches) == 0 {
		return nil, fmt.Errorf("error %d, %d bytes", p.ErrorCode, len(p.RecordBatches))
	}
	return p.RecordBatches, nil
}

// waitFor has a connection wait for a record.
func (w *wire) waitFor(topic string, partition int32, offset int64) {
	req := fetchRequest(topic, partition, offset, 30_000)
	req.SetVersion(11)
	w.send(req)
}

// parked waits until so many fetches are parked on all cores together.
func (b *testBroker) parked(n int) {
	b.t.Helper()
	for range 5000 {
		have := 0
		for core := range b.broker.Cores() {
			s := new(CoreSnapshot)
			done := make(chan struct{})
			if b.broker.Ask(core, s, func(bool) { close(done) }) {
				<-done
				have += s.ParkedFetches
			}
		}
		if have == n {
			return
		}
		time.Sleep(time.Millisecond)
	}
	b.t.Fatalf("%d fetches are not parked", n)
}

// sentOf is how many bytes of a topic left, by all rungs, and how many were to.
func (b *testBroker) sentOf(topic string) (sent, out uint64) {
	for core := range b.broker.Cores() {
		s := &CoreSnapshot{Topics: make([]TopicFigures, 0, 100), Partitions: make([]PartitionFigures, 0, 100)}
		done := make(chan struct{})
		if !b.broker.Ask(core, s, func(bool) { close(done) }) {
			b.t.Fatal("a core does not answer")
		}
		<-done
		for _, t := range s.Topics {
			if t.Name == topic {
				out += t.Counters.BytesOut
				for _, n := range t.Counters.Sent {
					sent += n
				}
			}
		}
	}
	return sent, out
}

// TestFanOut has 64 consumers wait for one partition: all get each batch, and what they
// get is what the log has. With one core it comes from the block that it was received
// in; what is too much for that, or on another core, comes from the file.
func TestFanOut(t *testing.T) {
	const consumers, rounds = 64, 5
	for _, cores := range []int{1, 2} {
		for _, size := range []int{10, 10_000, storage.RelayBytes} {
			t.Run(fmt.Sprintf("%d cores %d bytes", cores, size), func(t *testing.T) {
				b := startTestBroker(t, "", setCores(cores))
				producer := b.dial()
				producer.createTopic("t", 1)
				var all []*wire
				for range consumers {
					all = append(all, b.dial())
				}
				var log []byte
				for round := range int64(rounds) {
					for _, w := range all {
						w.waitFor("t", 0, round)
					}
					b.parked(consumers)
					batch := testBatch(1, strings.Repeat("v", size))
					producer.ask(9, produceRequest("t", 0, batch))
					for i, w := range all {
						got, err := w.records()
						if err != nil {
							t.Fatalf("consumer %d: %v", i, err)
						}
						if i == 0 {
							log = append(log, got...)
						} else if !bytes.Equal(got, log[len(log)-len(got):]) {
							t.Fatalf("consumer %d got something else than the first", i)
						}
					}
				}
				w := b.dial()
				w.waitFor("t", 0, 0)
				if got, err := w.records(); err != nil || !bytes.Equal(got, log) {
					t.Errorf("the log has %d bytes, the consumers got %d: %v", len(got), len(log), err)
				}
				if sent, out := b.sentOf("t"); sent != out || out < uint64(len(log)*consumers) {
					t.Errorf("%d bytes of the topic were sent by one rung or another, of %d", sent, out)
				}
				counters, _ := b.figures(0)
				want := uint64(consumers * rounds)
				if size == storage.RelayBytes || cores > 1 {
					want = 0
				}
				if got := counters.Rungs[reactor.RungRelay].Stretches; cores == 1 && (got > want || got < want*9/10) {
					t.Errorf("%d batches were relayed, want %d", got, want)
				}
			})
		}
	}
}

// TestConsumersThatDoNotRead has a thousand consumers ask and never read: producers and
// a consumer that does read are served as before. (Sockets that are full are package
// reactor's to test, which can make them small.)
func TestConsumersThatDoNotRead(t *testing.T) {
	const silent, rounds = 1000, 10
	b := startTestBroker(t, "")
	producer, reader := b.dial(), b.dial()
	producer.createTopic("t", 1)
	for i := range silent {
		w := &wire{t: t, conn: dialSmall(t, b.addr)}
		for offset := range int64(rounds) {
			w.waitFor("t", 0, offset)
		}
		if i%100 == 0 {
			b.parked(i + 1)
		}
	}
	for round := range int64(rounds) {
		reader.waitFor("t", 0, round)
		b.parked(silent + 1)
		began := time.Now()
		producer.ask(9, produceRequest("t", 0, testBatch(1, strings.Repeat("v", 4_000))))
		got, err := reader.records()
		if err != nil || lastBatch(t, got).BaseOffset() != round {
			t.Fatalf("round %d: %d bytes, %v", round, len(got), err)
		}
		if took := time.Since(began); took > 5*time.Second {
			t.Errorf("round %d took %v", round, took)
		}
	}
	counters, _ := b.figures(0)
	if counters.Rungs[reactor.RungRelay].Stretches < silent*rounds/2 || counters.AllocationsRefused > 0 || counters.ConnectionsStarved > 0 {
		t.Errorf("%d batches were relayed, %d allocations refused, %d connections starved",
			counters.Rungs[reactor.RungRelay].Stretches, counters.AllocationsRefused, counters.ConnectionsStarved)
	}
}

// dialSmall connects with a small receive buffer.
func dialSmall(t *testing.T, addr string) net.Conn {
	t.Helper()
	d := net.Dialer{Control: func(_, _ string, raw syscall.RawConn) error {
		var err error
		raw.Control(func(fd uintptr) { err = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RCVBUF, 2048) })
		return err
	}}
	c, err := d.Dial("tcp", addr)
	must(t, err)
	t.Cleanup(func() { c.Close() })
	return c
}
