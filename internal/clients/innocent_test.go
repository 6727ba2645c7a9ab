package clients

import (
	"bytes"
	"fmt"
	"sync"
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
	rounds int
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
			in.rounds++
			time.Sleep(time.Millisecond)
		}
	}()
	return in
}

func (in *innocent) round(w *harness.Wire, topic string) error {
	value := fmt.Sprintf("record %d", in.rounds)
	resp, err := w.Do(harness.Produce(9, topic, [16]byte{}, 0, -1, harness.NewBatch(value).Bytes()), 2*innocentPatience)
	if err != nil {
		return fmt.Errorf("round %d, producing: %w", in.rounds, err)
	}
	p := resp.(*kmsg.ProduceResponse).Topics[0].Partitions[0]
	if p.ErrorCode != 0 || p.BaseOffset != int64(in.rounds) {
		return fmt.Errorf("round %d, producing: error %d, offset %d", in.rounds, p.ErrorCode, p.BaseOffset)
	}
	resp, err = w.Do(fetchRequest(12, topic, [16]byte{}, 0, int64(in.rounds)), 2*innocentPatience)
	if err != nil {
		return fmt.Errorf("round %d, fetching: %w", in.rounds, err)
	}
	f := resp.(*kmsg.FetchResponse)
	if len(f.Topics) != 1 || len(f.Topics[0].Partitions) != 1 || !bytes.Contains(f.Topics[0].Partitions[0].RecordBatches, []byte(value)) {
		return fmt.Errorf("round %d, fetching: %q is not in the answer", in.rounds, value)
	}
	return nil
}

// finish ends the client and requires that it never noticed anything.
func (in *innocent) finish(atLeast int) {
	in.t.Helper()
	close(in.stop)
	in.done.Wait()
	if in.err != nil {
		in.t.Errorf("the innocent connection noticed: %v", in.err)
	}
	if in.rounds < atLeast {
		in.t.Errorf("the innocent connection made %d rounds, want at least %d", in.rounds, atLeast)
	}
	if in.worst > innocentPatience {
		in.t.Errorf("the innocent connection's slowest round took %v", in.worst)
	}
	in.t.Logf("the innocent connection made %d rounds, the slowest took %v", in.rounds, in.worst)
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
