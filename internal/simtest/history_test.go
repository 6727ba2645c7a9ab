package simtest

import (
	"fmt"
	"math"

	"slipstream/protocol"
)

// history is what the clients know of a partition: what must be true of it from
// now on.
type history struct {
	name    string
	durable bool // flush.messages=1: a power cut changes nothing

	at    map[int64]string // the record at an offset, as acknowledged or read
	acked map[string]int64 // where a record was acknowledged to be
	high  int64            // the highest offset known to have been reached

	deleted int64 // records below it may have been deleted on demand
	start   int64 // and below this one they were

	retainsBytes int64            // retention.bytes; 0: everything stays
	retainsNanos int64            // retention.ms, likewise
	sent         map[string]int64 // when a record was sent last before it was acknowledged
	times        map[int64]int64  // the timestamps of records that were read, ms

	sick   bool // a fault may have taken what was not synced: until the restart nothing is known
	rotten bool // the medium, or a read of it, gave wrong bytes: what is there may be gone or damaged
}

// mayShrink: records go for age, or for want of room.
func (h *history) mayShrink() bool { return h.retainsBytes > 0 || h.retainsNanos > 0 }

// doubtful: a fault's entry of the plan says that anything may be read.
func (h *history) doubtful() bool { return h.sick || h.rotten }

func newHistory(name string, durable bool) *history {
	return &history{name: name, durable: durable, at: map[int64]string{}, acked: map[string]int64{}, sent: map[string]int64{}, times: map[int64]int64{}}
}

// powerCut: of a partition that is not synced nothing is known any more.
func (h *history) powerCut() {
	if !h.durable {
		clear(h.at)
		clear(h.acked)
		clear(h.times)
		h.high = 0
	}
}

// saw: the record id is at an offset.
func (h *history) saw(offset int64, id string) error {
	if h.doubtful() {
		return nil
	}
	if known, ok := h.at[offset]; ok && known != id {
		return fmt.Errorf("%s: offset %d holds %s and held %s", h.name, offset, id, known)
	}
	if at, ok := h.acked[id]; ok && at != offset && id[0] == 'i' {
		return fmt.Errorf("%s: record %s is at offset %d and was acknowledged at %d", h.name, id, offset, at)
	}
	h.at[offset] = id
	h.high = max(h.high, offset+1)
	return nil
}

func (h *history) ack(offset int64, id string) error {
	if h.doubtful() {
		return nil
	}
	if at, ok := h.acked[id]; ok && at != offset && id[0] == 'i' {
		return fmt.Errorf("%s: record %s was acknowledged at offset %d and again at %d", h.name, id, at, offset)
	}
	if err := h.saw(offset, id); err != nil {
		return err
	}
	h.acked[id] = offset
	return nil
}

// reached: a high watermark was told in answer to a request that was sent when floor
// was known.
func (h *history) reached(offset, floor int64) error {
	if offset < floor && !h.doubtful() {
		return fmt.Errorf("%s: the high watermark is told as %d and was at least %d before it was asked for", h.name, offset, floor)
	}
	h.high = max(h.high, offset)
	return nil
}

// begins: the log's start was told in answer to a request that was sent when records below
// floor were gone, in the same life of the broker.
func (h *history) begins(start, floor int64) error {
	if h.doubtful() {
		return nil
	}
	if start < floor {
		return fmt.Errorf("%s: the log starts at %d and did at %d before that was asked", h.name, start, floor)
	}
	h.start = max(h.start, start)
	return nil
}

// retained: a log that begins at first has not lost more than its settings say; bytes are
// those of its batches. What it had before was there for age or size to take.
func (h *history) retained(first, bytes, now int64) error {
	if first <= h.deleted || !h.mayShrink() {
		return nil
	}
	if h.retainsBytes > 0 && bytes < h.retainsBytes {
		return fmt.Errorf("%s: the log starts at %d and has %d bytes, retention.bytes is %d", h.name, first, bytes, h.retainsBytes)
	}
	for id, at := range h.acked {
		if age := now - h.sent[id]; h.retainsNanos > 0 && at < first && age < h.retainsNanos-2e6 {
			return fmt.Errorf("%s: the log starts at %d, without record %s at %d, which was sent %.1f ms ago; retention.ms is %d", h.name, first, id, at, float64(age)/1e6, h.retainsNanos/1e6)
		}
	}
	return nil
}

// complete checks a partition that was read from its start, first, to its end.
func (h *history) complete(first int64, ids []string) error {
	end := first + int64(len(ids))
	if first < h.start && h.deleted < math.MaxInt64 && !h.mayShrink() { // retention goes on while the log is read
		return fmt.Errorf("%s: the log starts at %d, records below %d were deleted", h.name, first, h.start)
	}
	for id, at := range h.acked {
		if at < first && (first <= h.deleted || h.mayShrink()) {
			continue
		}
		if at < first || at >= end || ids[at-first] != id {
			return fmt.Errorf("%s: record %s was acknowledged at offset %d and is not there; the log is from %d to %d", h.name, id, at, first, end)
		}
	}
	if end < h.high {
		return fmt.Errorf("%s: the log ends at %d and had reached %d", h.name, end, h.high)
	}
	seen := map[string]int{}
	last := map[string]int{}
	for offset, id := range ids {
		who, number, ok := parseID(id)
		if !ok {
			return fmt.Errorf("%s: offset %d holds %q, which nobody produced", h.name, offset, id)
		}
		if !who.idempotent() {
			continue
		}
		if before, twice := seen[id]; twice {
			return fmt.Errorf("%s: record %s of an idempotent producer is at offset %d and at %d", h.name, id, before, offset)
		}
		seen[id] = offset
		if l, ok := last[string(who)]; ok && number < l {
			return fmt.Errorf("%s: record %s is behind record %d of the same producer", h.name, id, l)
		}
		last[string(who)] = number
	}
	return nil
}

// keys of compacted topics: few, so that most records are superseded soon.
const keyCount = 13

func keyOf(id string) string {
	_, number, _ := parseID(id)
	return fmt.Sprint("k", number*7%keyCount)
}

// tombstone: every now and then a key is deleted.
func tombstone(id string) bool {
	_, number, _ := parseID(id)
	return number*31%9 == 0
}

// compacted checks a partition of which the last record of each key is to be kept: read
// from its start to its end, end. A key whose last record is a tombstone may be gone.
func (h *history) compacted(offsets []int64, ids []string, end int64) error {
	type last struct {
		offset int64
		id     string
	}
	known, found := map[string]last{}, map[string]last{}
	for id, at := range h.acked {
		if key := keyOf(id); at >= known[key].offset {
			known[key] = last{at, id}
		}
	}
	for at, id := range h.at {
		if key := keyOf(id); at >= known[key].offset {
			known[key] = last{at, id}
		}
	}
	seen := map[string]int64{}
	for i, id := range ids {
		if i > 0 && offsets[i] <= offsets[i-1] {
			return fmt.Errorf("%s: offset %d follows %d", h.name, offsets[i], offsets[i-1])
		}
		if at, twice := seen[id]; twice && id[0] == 'i' {
			return fmt.Errorf("%s: record %s of an idempotent producer is at offset %d and at %d", h.name, id, at, offsets[i])
		}
		seen[id] = offsets[i]
		found[keyOf(id)] = last{offsets[i], id}
	}
	for key, want := range known {
		got, ok := found[key]
		switch {
		case !ok && tombstone(want.id), ok && got.offset > want.offset, ok && got == want:
		case !ok:
			return fmt.Errorf("%s: key %s is gone, and its last record is %s at offset %d", h.name, key, want.id, want.offset)
		default:
			return fmt.Errorf("%s: the last record of key %s is %s at offset %d, and was %s at offset %d", h.name, key, got.id, got.offset, want.id, want.offset)
		}
	}
	if end < h.high {
		return fmt.Errorf("%s: the log ends at %d and had reached %d", h.name, end, h.high)
	}
	return nil
}

// producerName is "i3" for an idempotent producer, "p4" for a plain one.
type producerName string

func (p producerName) idempotent() bool { return p[0] == 'i' }

func recordID(p producerName, number int) string { return fmt.Sprintf("%s-%06d", p, number) }

func parseID(id string) (producerName, int, bool) {
	for i := range id {
		if id[i] == '-' {
			var n int
			if _, err := fmt.Sscanf(id[i+1:], "%06d", &n); err != nil || i < 2 {
				return "", 0, false
			}
			return producerName(id[:i]), n, true
		}
	}
	return "", 0, false
}

// idOf is a record's id: its key, or where keys say something else (keyed topics), its header.
func idOf(r *protocol.Record) string {
	if len(r.Headers) == 1 {
		return string(r.Headers[0].Value)
	}
	return string(r.Key)
}

// eachRecord reads the batches of a fetch: whole ones, then perhaps a part of one.
func eachRecord(b []byte, f func(r *protocol.Record) error) (next int64, err error) {
	next = -1
	err = eachBatch(b, func(batch protocol.Batch) error {
		err := eachOf(batch, f)
		if err == nil {
			next = batch.NextOffset()
		}
		return err
	})
	return next, err
}

// eachBatch goes over the whole batches of a fetch.
func eachBatch(b []byte, f func(batch protocol.Batch) error) error {
	for len(b) >= protocol.LogOverhead {
		n := protocol.LogOverhead + int(protocol.Batch(b).Length())
		if n > len(b) {
			break
		}
		batch := protocol.Batch(b[:n:n])
		b = b[n:]
		if n < protocol.HeaderBytes || !batch.ValidCRC() {
			return fmt.Errorf("the batch at offset %d is damaged", batch.BaseOffset())
		}
		if err := f(batch); err != nil {
			return err
		}
	}
	return nil
}

func eachOf(batch protocol.Batch, f func(r *protocol.Record) error) error {
	var it protocol.Records
	var r protocol.Record
	var scratch protocol.Scratch
	for it.Open(batch, &scratch); it.Next(&r); {
		if err := f(&r); err != nil {
			return err
		}
	}
	defer it.Close()
	return it.Err()
}
