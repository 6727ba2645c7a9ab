package crash

import (
	"math/rand"
	"time"

	"slipstream/internal/clients/harness"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// Kafka's error codes that a producer which sends again may meet.
const (
	outOfOrderSequence = 45
	duplicateSequence  = 46
)

// resender is an idempotent producer that speaks the protocol itself and lives through crashes: what was not answered is
// sent again with the same producer id and sequence, and must be there once.
type resender struct {
	w        *writer
	id       int64 // producer id; -1: to be asked for
	epoch    int16
	sequence int32 // of the next new batch
	open     []int // numbers of the batch that was not answered
	openAt   int32 // its sequence
}

func (s *resender) run(ld *Load) {
	l := ld.l
	wire, err := harness.Dial(ld.addr)
	if err != nil {
		return
	}
	defer wire.Close()
	go func() { <-ld.ctx.Done(); wire.Close() }()
	rng := rand.New(rand.NewSource(int64(len(s.w.fates))))
	for ld.pause(time.Duration(rng.Int63n(int64(20 * time.Millisecond)))) {
		if s.id < 0 && !s.begin(wire) {
			return
		}
		again := len(s.open) > 0
		if !again {
			l.mu.Lock()
			for range 1 + rng.Intn(5) {
				s.open = append(s.open, s.w.next())
			}
			l.mu.Unlock()
			s.openAt = s.sequence
			s.sequence += int32(len(s.open))
		} else {
			l.mu.Lock()
			l.counts.SentAgain++
			l.mu.Unlock()
		}
		if !s.send(l, wire, again) {
			return
		}
	}
}

// begin asks for a producer id.
func (s *resender) begin(wire *harness.Wire) bool {
	req := kmsg.NewPtrInitProducerIDRequest()
	req.SetVersion(2)
	resp, err := wire.Do(req, 30*time.Second)
	if err != nil {
		return false
	}
	r := resp.(*kmsg.InitProducerIDResponse)
	s.id, s.epoch, s.sequence = r.ProducerID, r.ProducerEpoch, 0
	return r.ErrorCode == 0 && r.ProducerID >= 0
}

// send sends the open batch. It is false when the broker does not answer.
func (s *resender) send(l *Ledger, wire *harness.Wire, again bool) bool {
	values := make([]string, len(s.open))
	for i, n := range s.open {
		values[i] = string(s.w.value(n))
	}
	b := harness.NewBatch(values...)
	b.Timestamp = time.Now().UnixMilli()
	b.ProducerID, b.Epoch, b.Sequence = s.id, s.epoch, s.openAt
	resp, err := wire.Do(harness.Produce(9, s.w.of.name, [16]byte{}, s.w.log.partition, -1, b.Bytes()), time.Minute)
	if err != nil {
		return false
	}
	p := resp.(*kmsg.ProduceResponse).Topics[0].Partitions[0]
	switch {
	case p.ErrorCode == 0:
		for i, n := range s.open {
			l.acknowledged(s.w, n, p.BaseOffset+int64(i))
		}
	case p.ErrorCode == outOfOrderSequence && l.o.Power && !s.w.of.flushes:
		s.id = -1 // what came before it is lost: it begins anew, and what it never heard of stays unwritten
		l.mu.Lock()
		for _, n := range s.open {
			s.w.fates[n] = missing
		}
		l.mu.Unlock()
	default:
		l.finding("%v: a batch of producer %d (id %d) with sequence %d, sent again: %v, is refused with error %d (duplicates are not answered with %d)", s.w.log, s.w.id, s.id, s.openAt, again, p.ErrorCode, duplicateSequence)
		s.id = -1
	}
	s.open = nil
	return true
}
