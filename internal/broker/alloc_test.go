package broker

import (
	"encoding/binary"
	"io"
	"net"
	"runtime"
	"testing"
	"time"

	"slipstream/reactor"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// What a request in steady state allocates, on the whole path from socket to
// log and back: nothing. Counted over many requests in the whole process, client
// included, so a little is allowed for the runtime's own goroutines.
func TestRequestsDoNotAllocate(t *testing.T) {
	const perRequest = 0.05
	for _, cores := range []int{1, 2} {
		b := startTestBroker(t, "", setCores(cores))
		w := b.dial()
		w.createTopic("t", 2)
		for i, c := range []struct {
			name  string
			frame []byte
		}{
			{"produce", encode(9, produceRequest("t", 0, testBatch(4, "x")))},
			{"produce to the other core", encode(9, produceRequest("t", 1, testBatch(4, "x")))},
			{"fetch", encode(12, fetchRequest("t", 0, 0, 100))},
			{"fetch from the other core", encode(12, fetchRequest("t", 1, 0, 100))},
			{"fetch by name", encode(11, fetchRequest("t", 0, 0, 100))},
		} {
			if i >= 2 { // a fetch returns the same bytes each time
				time.Sleep(10 * time.Millisecond)
			}
			if got := allocationsPerRequest(t, b.addr, c.frame); got > perRequest {
				t.Errorf("%d cores: %s allocates %.2f times", cores, c.name, got)
			}
		}
	}
}

// A fetch in a session, parked and woken by an append each time: the tail
// consumer's path.
func TestTailFetchDoesNotAllocate(t *testing.T) {
	b := startTestBroker(t, "")
	w := b.dial()
	w.createTopic("t", 1)
	fetch := fetchRequest("t", 0, 0, 5000)
	fetch.SessionEpoch = 0
	resp := w.ask(11, fetchRequest("t", 0, 0, 0)).(*kmsg.FetchResponse)
	_ = resp
	fetch.SetVersion(11)
	// Each produce wakes the fetch that waits for it, on two connections.
	consumer, producer := rawConn(t, b.addr), rawConn(t, b.addr)
	produce := encode(9, produceRequest("t", 0, testBatch(1, "x")))
	buf := make([]byte, 1<<20)
	offset := int64(0)
	frames := make([][]byte, 2)
	for i := range frames {
		frames[i] = encode(11, fetchRequest("t", 0, int64(1000+i), 5000))
	}
	at := differing(frames[0], frames[1]) - 7
	round := func() {
		binary.BigEndian.PutUint64(frames[0][at:], uint64(offset))
		must(t, writeAll(consumer, frames[0]))
		must(t, writeAll(producer, produce))
		_, err := readFrame(producer, buf)
		must(t, err)
		n, err := readFrame(consumer, buf)
		must(t, err)
		if n < 60 {
			t.Fatalf("a tail fetch returned %d bytes", n)
		}
		offset++
	}
	for range 300 {
		round()
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	const rounds = 2000
	for range rounds {
		round()
	}
	runtime.ReadMemStats(&after)
	if counters, _ := b.figures(0); counters.Rungs[reactor.RungRelay].Stretches < rounds {
		t.Errorf("%d of %d batches were relayed", counters.Rungs[reactor.RungRelay].Stretches, rounds)
	}
	if got := float64(after.Mallocs-before.Mallocs) / rounds; got > 0.05 {
		t.Errorf("a produce and the fetch that it wakes allocate %.2f times", got)
	}
}

func differing(a, b []byte) int {
	for i := len(a) - 1; i >= 0; i-- {
		if a[i] != b[i] {
			return i
		}
	}
	return -1
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func encode(version int16, req kmsg.Request) []byte {
	req.SetVersion(version)
	return kmsg.NewRequestFormatter(kmsg.FormatterClientID("test")).AppendRequest(nil, req, 7)
}

func rawConn(t *testing.T, addr string) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	must(t, err)
	t.Cleanup(func() { c.Close() })
	must(t, c.SetDeadline(time.Now().Add(60*time.Second)))
	return c
}

func writeAll(c net.Conn, b []byte) error {
	_, err := c.Write(b)
	return err
}

func readFrame(c net.Conn, buf []byte) (int, error) {
	if _, err := io.ReadFull(c, buf[:4]); err != nil {
		return 0, err
	}
	n := int(binary.BigEndian.Uint32(buf))
	_, err := io.ReadFull(c, buf[:n])
	return n, err
}

// Within a transaction that is under way, and for readers of committed records, nothing is allocated either.
func TestTransactionalRequestsDoNotAllocate(t *testing.T) {
	for _, cores := range []int{1, 2} {
		b := startTestBroker(t, "", setCores(cores))
		w := b.dial()
		w.createTopic("t", 2)
		c := b.txnClient("tx", 2)
		for p := range int32(2) {
			c.produce("t", p, "first")
			frames := make([][]byte, 3500)
			for i := range frames {
				req, version := c.produceRequest("t", p, "next")
				frames[i] = encode(version, req)
			}
			if got := allocationsOver(t, b.addr, frames); got > 0.05 {
				t.Errorf("%d cores: a produce within a transaction, partition %d, allocates %.2f times", cores, p, got)
			}
		}
		c.end(true)
		time.Sleep(10 * time.Millisecond)
		for p := range int32(2) {
			req := fetchRequest("t", p, 0, 100)
			req.IsolationLevel, req.Topics[0].Partitions[0].PartitionMaxBytes = 1, 4096
			if got := allocationsPerRequest(t, b.addr, encode(12, req)); got > 0.05 {
				t.Errorf("%d cores: a fetch of committed records, partition %d, allocates %.2f times", cores, p, got)
			}
		}
	}
}

// allocationsPerRequest sends one frame over and over.
func allocationsPerRequest(t *testing.T, addr string, frame []byte) float64 {
	t.Helper()
	frames := make([][]byte, 3500)
	for i := range frames {
		frames[i] = frame
	}
	return allocationsOver(t, addr, frames)
}

// allocationsOver sends frames, several in flight, and counts after the first 500.
func allocationsOver(t *testing.T, addr string, frames [][]byte) float64 {
	t.Helper()
	c := rawConn(t, addr)
	buf := make([]byte, 4<<20)
	const inFlight = 4
	round := func(frames [][]byte) {
		for i := range len(frames) + inFlight {
			if i >= inFlight {
				if _, err := readFrame(c, buf); err != nil {
					t.Fatal(err)
				}
			}
			if i < len(frames) {
				must(t, writeAll(c, frames[i]))
			}
		}
	}
	round(frames[:500])
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	round(frames[500:])
	runtime.ReadMemStats(&after)
	return float64(after.Mallocs-before.Mallocs) / float64(len(frames)-500)
}
