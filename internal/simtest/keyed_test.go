package simtest

import (
	"bytes"
	"fmt"
	"strings"

	"slipstream/protocol"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// keyed is a compacted topic, who writes to it and who reads it from its beginning again
// and again. What must hold is what those rely on who keep a table in such a topic: a scan
// that has come to the end has the last value of every key, and, if it took less than
// delete.retention.ms, has not kept a value whose key was deleted.
type keyed struct {
	run       *run
	topic     *topic
	keys      int
	retention int64 // delete.retention.ms, in nanoseconds

	writes  []keyWrite // acknowledged, by their offsets
	pending []keyWrite // sent, in doubt; their offsets are not known
	writer  keyWriter
	reader  keyReader

	settleFrom int64 // from here on there are only fillers, and everything before is to be cleaned; -1: not yet
	settled    bool
	scans      int
}

// keyWrite is a record: a value, which says its number, or a tombstone.
type keyWrite struct {
	offset    int64
	key       string
	number    int
	tombstone bool
}

func (w *keyWrite) String() string {
	if w.tombstone {
		return fmt.Sprintf("tombstone of %s at %d", w.key, w.offset)
	}
	return fmt.Sprintf("%s=%d at %d", w.key, w.number, w.offset)
}

const fillerKey = "filler"

// keyWriter writes one batch after the other, each until it is acknowledged.
type keyWriter struct {
	conn     *conn
	wait     int64
	asked    bool
	id       int64
	epoch    int16
	sequence int32
	number   int
	padding  int
}

// keyReader is a scan under way.
type keyReader struct {
	conn  *conn
	wait  int64
	asked bool
	next  int64
	begun int64
	table map[string]keyWrite
	old   int // records that compaction might have removed, of those before settleFrom
}

func (r *run) newKeyed() *keyed {
	k := &keyed{run: r, topic: newTopic("state", 1, true), keys: 2 + r.rand.IntN(8), retention: int64(5+r.rand.IntN(60)) * 1e6, settleFrom: -1}
	k.topic.configs = map[string]string{"cleanup.policy": "compact", "min.cleanable.dirty.ratio": "0.01", "delete.retention.ms": fmt.Sprint(k.retention / 1e6)}
	k.writer.id = -1
	k.reader.rewind(r)
	return k
}

func (k *keyed) step() error {
	if err := k.writer.step(k); err != nil {
		return fmt.Errorf("writer of keys: %w", err)
	}
	if err := k.reader.step(k); err != nil {
		return fmt.Errorf("reader of keys: %w", err)
	}
	return nil
}

// stepConn sees to a connection; true: requests can be sent.
func (r *run) stepConn(at **conn, wait *int64, asked *bool) (bool, error) {
	if *at == nil {
		if r.now() < *wait {
			return false, nil
		}
		*at, *asked = dial(r.node.world), false
	}
	if err := (*at).receive(); err != nil {
		return false, err
	}
	(*at).mayBreak(r.rand)
	if (*at).gone() {
		*at = nil
		*wait = r.now() + r.rand.Int64N(5e6)
		return false, nil
	}
	return !*asked && r.now() >= *wait, nil
}

func (w *keyWriter) step(k *keyed) error {
	r := k.run
	ready, err := r.stepConn(&w.conn, &w.wait, &w.asked)
	if !ready || err != nil {
		return err
	}
	switch {
	case w.id < 0:
		w.askForID(k)
	case k.pending != nil:
		w.send(k)
	case !r.quiet:
		for range 1 + r.rand.IntN(4) {
			w.number++
			k.pending = append(k.pending, keyWrite{key: fmt.Sprint("k", r.rand.IntN(k.keys)), number: w.number, tombstone: r.rand.IntN(4) == 0})
		}
		w.padding = r.rand.IntN(400)
		w.send(k)
	case k.settleFrom >= 0 && !k.settled:
		w.number++
		w.padding = r.node.segment / 3
		k.pending = []keyWrite{{key: fillerKey, number: w.number}}
		w.send(k)
	}
	return nil
}

func (w *keyWriter) askForID(k *keyed) {
	w.asked = true
	req := kmsg.NewPtrInitProducerIDRequest()
	req.ProducerID, req.ProducerEpoch = -1, -1
	w.conn.send(req, 4, func(resp kmsg.Response) {
		w.asked = false
		r := resp.(*kmsg.InitProducerIDResponse)
		if r.ErrorCode != codeNone {
			w.wait = k.run.now() + 1e6
			return
		}
		k.run.gotProducerID(r.ProducerID)
		w.id, w.epoch = r.ProducerID, r.ProducerEpoch
	})
}

func (w *keyWriter) send(k *keyed) {
	info := protocol.NewBatchInfo(0, -1)
	info.ProducerID, info.ProducerEpoch, info.BaseSequence = w.id, w.epoch, w.sequence
	var bl protocol.Builder
	bl.Begin(nil, info)
	for _, one := range k.pending {
		record := protocol.Record{Timestamp: k.run.node.world.Kernel().Wall() / 1e6, Key: []byte(one.key)}
		if !one.tombstone {
			record.Value = append(fmt.Appendf(nil, "%d ", one.number), bytes.Repeat([]byte{'.'}, w.padding)...)
		}
		bl.Append(&record)
	}
	_, batch := bl.Finish()
	req := kmsg.NewPtrProduceRequest()
	req.Acks, req.TimeoutMillis = -1, 30_000
	t := kmsg.NewProduceRequestTopic()
	t.Topic = k.topic.name
	p := kmsg.NewProduceRequestTopicPartition()
	p.Records = batch
	t.Partitions = append(t.Partitions, p)
	req.Topics = append(req.Topics, t)
	w.asked = true
	w.conn.send(req, 9, func(resp kmsg.Response) {
		w.asked = false
		if err := w.answered(k, &resp.(*kmsg.ProduceResponse).Topics[0].Partitions[0]); err != nil {
			k.run.fail(fmt.Errorf("writer of keys: %w", err))
		}
	})
}

func (w *keyWriter) answered(k *keyed, p *kmsg.ProduceResponseTopicPartition) error {
	switch p.ErrorCode {
	case codeNone:
	case codeUnknownTopic, codeNotLeader, codeStorageError:
		if p.ErrorCode == codeStorageError {
			k.run.refused++
		}
		w.wait = k.run.now() + 1e6
		return nil
	default:
		return fmt.Errorf("error %d", p.ErrorCode)
	}
	if n := len(k.writes); n > 0 && p.BaseOffset <= k.writes[n-1].offset {
		return fmt.Errorf("acknowledged at %d, the last one was at %d", p.BaseOffset, k.writes[n-1].offset)
	}
	for i, one := range k.pending {
		one.offset = p.BaseOffset + int64(i)
		k.writes = append(k.writes, one)
	}
	w.sequence += int32(len(k.pending))
	k.run.acked += len(k.pending)
	k.pending = nil
	return nil
}

func (s *keyReader) rewind(r *run) {
	s.next, s.begun, s.table, s.old = 0, -1, map[string]keyWrite{}, 0
	s.wait = r.node.world.Now() + r.rand.Int64N(4e6)
}

func (s *keyReader) step(k *keyed) error {
	ready, err := k.run.stepConn(&s.conn, &s.wait, &s.asked)
	if !ready || err != nil {
		return err
	}
	if s.begun < 0 {
		s.begun = k.run.now()
	}
	s.asked = true
	req := kmsg.NewPtrFetchRequest()
	req.ReplicaID, req.MaxWaitMillis, req.MinBytes, req.MaxBytes, req.SessionEpoch = -1, 5, 1, 100_000, -1
	t := kmsg.NewFetchRequestTopic()
	t.Topic = k.topic.name
	p := kmsg.NewFetchRequestTopicPartition()
	p.FetchOffset, p.CurrentLeaderEpoch, p.PartitionMaxBytes = s.next, -1, int32(1+k.run.rand.IntN(50_000))
	t.Partitions = append(t.Partitions, p)
	req.Topics = append(req.Topics, t)
	s.conn.send(req, 11, func(resp kmsg.Response) {
		s.asked = false
		if err := s.fetched(k, &resp.(*kmsg.FetchResponse).Topics[0].Partitions[0]); err != nil {
			k.run.fail(fmt.Errorf("reader of keys: %w", err))
		}
	})
	return nil
}

func (s *keyReader) fetched(k *keyed, p *kmsg.FetchResponseTopicPartition) error {
	switch p.ErrorCode {
	case codeNone:
	case codeUnknownTopic, codeNotLeader, codeStorageError:
		s.wait = k.run.now() + 1e6
		return nil
	default:
		return fmt.Errorf("error %d at offset %d", p.ErrorCode, s.next)
	}
	err := eachBatch(p.RecordBatches, func(b protocol.Batch) error {
		err := eachOf(b, func(r *protocol.Record) error {
			if r.Offset < s.next {
				return nil
			}
			return s.take(k, r)
		})
		s.next = max(s.next, b.NextOffset())
		return err
	})
	if err != nil || s.next < p.HighWatermark {
		return err
	}
	if err := s.check(k); err != nil {
		return err
	}
	k.scans++
	k.settled = k.settleFrom >= 0 && s.old == 0 && s.begun > 0
	s.rewind(k.run)
	return nil
}

// take takes a record in.
func (s *keyReader) take(k *keyed, r *protocol.Record) error {
	w := keyWrite{offset: r.Offset, key: string(r.Key), tombstone: r.Value == nil}
	if !w.tombstone {
		number, _, _ := strings.Cut(string(r.Value), " ")
		if _, err := fmt.Sscan(number, &w.number); err != nil {
			return fmt.Errorf("offset %d holds %q", r.Offset, r.Value)
		}
	}
	k.run.read++
	if known := k.at(w.offset); known != nil && (known.key != w.key || known.tombstone != w.tombstone || !w.tombstone && known.number != w.number) {
		return fmt.Errorf("read %v, and %v was acknowledged there", &w, known)
	}
	if last, ok := s.table[w.key]; w.offset < k.settleFrom && (w.tombstone || ok && last.offset < k.settleFrom) {
		s.old++
	}
	s.table[w.key] = w
	return nil
}

// at is what was acknowledged at an offset.
func (k *keyed) at(offset int64) *keyWrite {
	lo, hi := 0, len(k.writes)
	for lo < hi {
		if mid := (lo + hi) / 2; k.writes[mid].offset < offset {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	if lo < len(k.writes) && k.writes[lo].offset == offset {
		return &k.writes[lo]
	}
	return nil
}

// check holds a scan that has come to the end against what was acknowledged.
func (s *keyReader) check(k *keyed) error {
	quick := k.run.now()-s.begun < k.retention-2e6 // the broker counts in milliseconds
	last := map[string]*keyWrite{}
	var keys []string
	for i := range k.writes {
		if w := &k.writes[i]; w.offset < s.next {
			if last[w.key] == nil {
				keys = append(keys, w.key)
			}
			last[w.key] = w
		}
	}
	for _, key := range keys {
		want := last[key]
		got, ok := s.table[key]
		switch {
		case ok && got.offset > want.offset: // one that is in doubt
		case want.tombstone && !ok:
		case want.tombstone && !got.tombstone && !quick:
		case want.tombstone && !got.tombstone:
			return fmt.Errorf("a scan from %.3f ms to the end at %d has %v and missed the %v", float64(s.begun)/1e6, s.next, &got, want)
		case !ok:
			return fmt.Errorf("a scan to the end at %d has not found %v", s.next, want)
		case got.offset != want.offset:
			return fmt.Errorf("a scan to the end at %d has %v for the last of its key, and not %v", s.next, &got, want)
		}
	}
	return nil
}

// clean has everything that can be removed be removed: it writes fillers, so that segments
// are closed and there is something to clean, until a scan finds nothing more than it must.
func (k *keyed) clean() error {
	if err := k.run.drive(60e9, func() bool { return k.pending == nil }); err != nil {
		return fmt.Errorf("the writer of keys gets no answer: %w", err)
	}
	k.settleFrom = 0
	if n := len(k.writes); n > 0 {
		k.settleFrom = k.writes[n-1].offset + 1
	}
	scans := k.scans
	if err := k.run.drive(2e9, func() bool { return k.settled && k.scans > scans+1 }); err != nil {
		return fmt.Errorf("what compaction may remove of the offsets below %d stays, %d records and tombstones: %w", k.settleFrom, k.reader.old, err)
	}
	return nil
}
