package simtest

import (
	"fmt"
	"slices"

	"slipstream/internal/guarantees"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// auditor reads everything, committed only, and follows the last stable offsets.
type auditor struct {
	run     *run
	data    link
	version int16
	asking  bool
	wait    int64
	keep    bool
	rounds  int // fetches that were answered
	parts   []*audited
}

type audited struct {
	topic  *topic
	part   guarantees.Partition
	next   int64
	stable int64 // told last; -1: not yet
	high   int64
	floor  int64
	asked  int64 // the offset of the fetch under way
	first  int64
	ids    []string // with keep
	at     []int64
}

func (r *run) newAuditor(keep bool) *auditor {
	a := &auditor{run: r, data: link{run: r, kind: lookForNothing}, version: int16(11 + r.rand.IntN(7)), keep: keep}
	a.find()
	return a
}

// find takes in partitions that have been added.
func (a *auditor) find() {
	for _, t := range a.run.topics {
		for i := range t.parts {
			p := guarantees.Partition{Topic: t.name, Number: int32(i)}
			if !slices.ContainsFunc(a.parts, func(o *audited) bool { return o.part == p }) {
				a.parts = append(a.parts, &audited{topic: t, part: p, stable: -1})
			}
		}
	}
}

func (a *auditor) step() error {
	ready, err := a.data.step()
	if err != nil {
		return fmt.Errorf("auditor: %w", err)
	}
	if !ready || a.asking || a.run.now() < a.wait {
		return nil
	}
	a.asking = true
	a.find()
	req := kmsg.NewPtrFetchRequest()
	req.ReplicaID, req.MaxWaitMillis, req.MinBytes, req.MaxBytes, req.IsolationLevel = -1, int32(5+a.run.rand.IntN(30)), 1, 100_000, 1
	req.SessionID, req.SessionEpoch = 0, -1
	for _, one := range a.parts {
		one.asked, one.floor = one.next, a.run.truth.txns.StableFloor(one.part)
		t := kmsg.NewFetchRequestTopic()
		t.Topic, t.TopicID = one.topic.name, one.topic.id
		p := kmsg.NewFetchRequestTopicPartition()
		p.Partition, p.FetchOffset, p.CurrentLeaderEpoch, p.PartitionMaxBytes = one.part.Number, one.next, -1, 20_000
		t.Partitions = append(t.Partitions, p)
		req.Topics = append(req.Topics, t)
	}
	a.data.call(req, a.version, func(resp kmsg.Response) {
		a.asking = false
		a.rounds++
		a.wait = a.run.now() + a.run.rand.Int64N(10e6)
		if err := a.fetched(resp.(*kmsg.FetchResponse)); err != nil {
			a.run.fail(fmt.Errorf("auditor: %w", err))
		}
	}, func() { a.asking = false })
	return nil
}

func (a *auditor) fetched(r *kmsg.FetchResponse) error {
	if r.ErrorCode != codeNone {
		return fmt.Errorf("error %d", r.ErrorCode)
	}
	for i := range r.Topics {
		for j := range r.Topics[i].Partitions {
			p := &r.Topics[i].Partitions[j]
			for _, one := range a.parts {
				if one.part.Number == p.Partition && (r.Topics[i].Topic == one.topic.name || r.Topics[i].TopicID == one.topic.id) {
					if err := a.fetchedPartition(one, p); err != nil {
						return fmt.Errorf("%s-%d: %w", one.part.Topic, one.part.Number, err)
					}
				}
			}
		}
	}
	return nil
}

func (a *auditor) fetchedPartition(one *audited, p *kmsg.FetchResponseTopicPartition) error {
	if one.next != one.asked {
		return nil // it has gone to the log's start meanwhile
	}
	switch p.ErrorCode {
	case codeNone:
	case codeNotLeader, codeUnknownTopic, codeUnknownTopicID, codeStorageError:
		return nil
	case codeOffsetOutOfRange:
		if h := one.topic.parts[one.part.Number]; one.next >= h.deleted {
			return fmt.Errorf("offset %d is out of range, records up to %d were deleted", one.next, h.deleted)
		}
		earliest(&a.data, one.part, func(offset int64) { one.next, one.first, one.ids, one.at = offset, offset, nil, nil }, func() {})
		return nil
	default:
		return fmt.Errorf("error %d", p.ErrorCode)
	}
	if err := a.run.truth.txns.Stable(one.part, a.run.now(), p.LastStableOffset, p.HighWatermark, one.floor, hangingNanos); err != nil {
		return err
	}
	one.stable, one.high = p.LastStableOffset, p.HighWatermark
	f, err := take(p, one.next, true)
	if err != nil {
		return err
	}
	if f.next > p.LastStableOffset {
		return fmt.Errorf("read up to %d, past the last stable offset %d", f.next, p.LastStableOffset)
	}
	one.next = f.next
	if a.keep {
		one.ids, one.at = append(one.ids, f.ids...), append(one.at, f.offsets...)
	}
	a.run.audited += len(f.ids)
	return a.run.truth.consumed(one.part, &f, true)
}

// finished: everything is read and no transaction is open.
func (a *auditor) finished() bool {
	for _, one := range a.parts {
		if one.stable < 0 || one.next < one.high || one.stable < one.high {
			return false
		}
	}
	return true
}
