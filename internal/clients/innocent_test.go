package clients

import (
	"bytes"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"slipstream/internal/clients/harness"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// innocent is a client that behaves while others do not: on one raw connection, so that even a reconnect would show,
// it produces a record, fetches it back, and compares, again and again.
type innocent struct {
	t      testing.TB
	stop   chan struct{}
	done   sync.WaitGroup
	rounds atomic.Int64
	worst  time.Duration
	err    error
}

const innocentPatience = 3 * time.Second

func startInnocent(t testing.TB, b *harness.Broker) *innocent {
	t.Helper()
	topic := topicName(t, "innocent")
	createTopic(t, b, topic, 1)
	w, err := harness.Dial(b.Addr)
	if err != nil {
		t.Fatal(err)
	}
	in := &innocent{t: t, stop: make(chan struct{})}
	in.done.Add(1)
	go func() {
		defer in.done.Done()
		defer w.Close()
		for {
			select {
			case <-in.stop:
				return
			default:
			}
			start := time.Now()
			if in.err = in.round(w, topic); in.err != nil {
				return
			}
			in.worst = max(in.worst, time.Since(start))
			in.rounds.Add(1)
			time.Sleep(time.Millisecond)
		}
	}()
	return in
}

func (in *innocent) round(w *harness.Wire, topic string) error {
	at := in.rounds.Load()
	value := fmt.Sprintf("record %d", at)
	resp, err := w.Do(harness.Produce(9, topic, [16]byte{}, 0, -1, harness.NewBatch(value).Bytes()), 2*innocentPatience)
	if err != nil {
		return fmt.Errorf("round %d, producing: %w", at, err)
	}
	p := resp.(*kmsg.ProduceResponse).Topics[0].Partitions[0]
	if p.ErrorCode != 0 || p.BaseOffset != at {
		return fmt.Errorf("round %d, producing: error %d, offset %d", at, p.ErrorCode, p.BaseOffset)
	}
	resp, err = w.Do(fetchRequest(12, topic, [16]byte{}, 0, at), 2*innocentPatience)
	if err != nil {
		return fmt.Errorf("round %d, fetching: %w", at, err)
	}
	f := resp.(*kmsg.FetchResponse)
	if len(f.Topics) != 1 || len(f.Topics[0].Partitions) != 1 || !bytes.Contains(f.Topics[0].Partitions[0].RecordBatches, []byte(value)) {
		return fmt.Errorf("round %d, fetching: %q is not in the answer", at, value)
	}
	return nil
}

// finish ends the client and requires that it never noticed anything. Where the others were soon done it has time to
// make its rounds beside what they left.
func (in *innocent) finish(atLeast int64) {
	in.t.Helper()
	for until := time.Now().Add(4 * innocentPatience); in.rounds.Load() < atLeast && time.Now().Before(until); {
		time.Sleep(10 * time.Millisecond)
	}
	close(in.stop)
	in.done.Wait()
	if in.err != nil {
		in.t.Errorf("the innocent connection noticed: %v", in.err)
	}
	if n := in.rounds.Load(); n < atLeast {
		in.t.Errorf("the innocent connection made %d rounds, want at least %d", n, atLeast)
	}
	if in.worst > innocentPatience {
		in.t.Errorf("the innocent connection's slowest round took %v", in.worst)
	}
	in.t.Logf("the innocent connection made %d rounds, the slowest took %v", in.rounds.Load(), in.worst)
}

// requireMemory holds slipstream's resident memory under a bound. Java's heap is Java's business.
func requireMemory(t testing.TB, b *harness.Broker, limit int64) {
	t.Helper()
	if b.Kind != harness.Slipstream {
		return
	}
	u, err := b.Usage()
	if err != nil {
		t.Fatal(err)
	}
	t.Log(u)
	if u.PeakBytes > limit {
		t.Errorf("resident memory peaked at %d MB, the bound is %d MB", u.PeakBytes>>20, limit>>20)
	}
}
