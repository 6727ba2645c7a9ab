package storage

import (
	"encoding/binary"
	"fmt"
	"math"
	"sort"

	"slipstream/protocol"
)

// A .txnindex file has an entry for each aborted transaction whose marker is in its segment, by the marker's
// offset. There is none for a segment without. Big-endian:
//
//	0         2             10             18            26
//	+---------+-------------+--------------+-------------+--------------------+
//	| version | producer id | first offset | last offset | last stable offset |
//	| 0 int16 | int64       | int64        | int64       | int64              |
//	+---------+-------------+--------------+-------------+--------------------+
//
// Last is the marker's offset. The last stable offset is that behind the marker: where the oldest other transaction that was
// open then had begun. It never falls from entry to entry, so a reader who has come to one at or beyond the end of
// what it reads has seen all that it needs to know.
//
// The entries of the active segment are in memory; its file is written when it is closed. Those of closed segments are read when
// they are needed, by a helper, and kept in memory up to a limit. After a crash the index of everything past the recovery point is made anew.
const (
	txnEntryBytes   = 34
	txnEntryVersion = 0
)

// abortedTxn is an entry.
type abortedTxn struct {
	producer int64
	first    int64
	last     int64 // the marker's offset
	stable   int64
}

func (e *abortedTxn) appendTo(b []byte) []byte {
	b = binary.BigEndian.AppendUint16(b, txnEntryVersion)
	for _, v := range [...]int64{e.producer, e.first, e.last, e.stable} {
		b = binary.BigEndian.AppendUint64(b, uint64(v))
	}
	return b
}

func encodeAborted(list []abortedTxn) []byte {
	if len(list) == 0 {
		return nil
	}
	b := make([]byte, 0, len(list)*txnEntryBytes)
	for i := range list {
		b = list[i].appendTo(b)
	}
	return b
}

// decodeAborted reads the .txnindex of a segment whose offsets are [base, end).
func decodeAborted(b []byte, base, end int64) ([]abortedTxn, error) {
	if len(b)%txnEntryBytes != 0 {
		return nil, fmt.Errorf("%w: the .txnindex has %d bytes", errDoubtful, len(b))
	}
	list := make([]abortedTxn, 0, len(b)/txnEntryBytes)
	before := abortedTxn{last: base - 1}
	for ; len(b) > 0; b = b[txnEntryBytes:] {
		field := func(at int) int64 { return int64(binary.BigEndian.Uint64(b[at:])) }
		e := abortedTxn{field(2), field(10), field(18), field(26)}
		if b[0] != 0 || b[1] != txnEntryVersion || e.last <= before.last || e.last >= end || e.first < 0 || e.first >= e.last || e.stable > e.last+1 {
			return nil, fmt.Errorf("%w: the .txnindex has an entry %+v behind %+v", errDoubtful, e, before)
		}
		before = e
		list = append(list, e)
	}
	return list, nil
}

// finishAborted writes the .txnindex of a segment that gets no more entries, if it has any. Doing it twice, even at
// once, does no harm.
func finishAborted(k kernel, path string, list []abortedTxn, sync bool) error {
	if len(list) == 0 {
		return nil
	}
	return finishFile(k, path+txnIndexSuffix, 0, encodeAborted(list), sync)
}

// AbortedTransaction tells a consumer to leave out what a producer has written from an offset on, up to its next
// abort marker.
type AbortedTransaction = protocol.AbortedTransaction

// collectAborted appends what a reader of [from, upTo) must know of a segment's entries. It returns true if later
// segments have nothing more.
func collectAborted(list []abortedTxn, from, upTo int64, dst []AbortedTransaction) ([]AbortedTransaction, bool) {
	i := sort.Search(len(list), func(i int) bool { return list[i].last >= from })
	for ; i < len(list); i++ {
		e := &list[i]
		if e.first < upTo {
			dst = append(dst, AbortedTransaction{ProducerID: e.producer, FirstOffset: e.first})
		}
		if e.stable >= upTo {
			return dst, true
		}
	}
	return dst, false
}

// aborts are a segment's aborted transactions.
type aborts struct {
	count     int32
	list      []abortedTxn // all count of them, or nil: they are in the file only
	unwritten bool         // the file does not have them
	newer     *segment     // in the store's list of those in memory that could be dropped
	older     *segment
	cached    bool
}

// abortedIn adds an aborted transaction whose marker was written into s, the active segment.
func (p *Partition) abortedIn(s *segment, e abortedTxn) {
	if s.aborts.count == 0 {
		p.txns.aborting = append(p.txns.aborting, s)
	}
	s.aborts.list = append(s.aborts.list, e)
	s.aborts.count++
	s.aborts.unwritten = true
}

// AbortedTransactions appends to dst the aborted transactions that a reader of the batches in [from, upTo) must know,
// without order. If that takes reading the disk it returns a lookup, which a helper has been given: when that is done, the same
// call with it has the answer. A lookup of something else is the same as none. An error means that the index cannot be read.
func (p *Partition) AbortedTransactions(from, upTo int64, dst []AbortedTransaction, l *AbortedLookup) ([]AbortedTransaction, *AbortedLookup, error) {
	if l != nil && l.p == p && l.from == from && l.upTo == upTo {
		if !l.done {
			return dst, l, nil
		}
		return append(dst, l.found...), nil, l.err
	}
	if len(p.txns.aborting) == 0 || from >= upTo {
		return dst, nil, nil
	}
	base := p.segments[p.segmentFor(from)].base
	had, complete := len(dst), false
	for _, s := range p.txns.abortingFrom(base) {
		if s.aborts.list == nil {
			return dst[:had], p.lookUpAborted(from, upTo, base), nil
		}
		p.store.aborts.used(s)
		if dst, complete = collectAborted(s.aborts.list, from, upTo, dst); complete {
			break
		}
	}
	return dst, nil, nil
}

// AbortsFrom says whether there are aborted transactions that a reader from an offset on might have to know.
func (p *Partition) AbortsFrom(offset int64) bool {
	n := len(p.txns.aborting)
	return n > 0 && p.endOf(p.segmentFor(p.txns.aborting[n-1].base)) > offset
}

// abortingAt is where in aborting the segment of a base offset is, or would be.
func (t *transactions) abortingAt(base int64) (i int, found bool) {
	i = sort.Search(len(t.aborting), func(i int) bool { return t.aborting[i].base >= base })
	return i, i < len(t.aborting) && t.aborting[i].base == base
}

// abortingFrom are the segments with aborted transactions from a base offset on.
func (t *transactions) abortingFrom(base int64) []*segment {
	i, _ := t.abortingAt(base)
	return t.aborting[i:]
}

// maxAbortedBytes is the most that a .txnindex is believed to have.
const maxAbortedBytes = math.MaxInt32

// abortedCache keeps entries of closed segments in memory: those that were used last.
type abortedCache struct {
	newest, oldest *segment
	entries        int
}

// cachedAborted is how many entries a store keeps (32 bytes each).
const cachedAborted = 64 << 10

// keep takes a closed segment's entries in, whose file has them all.
func (c *abortedCache) keep(s *segment, list []abortedTxn) {
	if s.aborts.list != nil {
		return
	}
	s.aborts.list = list
	c.link(s)
	c.entries += len(list)
	for c.entries > cachedAborted && c.oldest != s {
		c.drop(c.oldest)
	}
}

// used makes s the one that is dropped last.
func (c *abortedCache) used(s *segment) {
	if s.aborts.cached && c.newest != s {
		c.unlink(s)
		c.link(s)
	}
}

// drop forgets a segment's entries, if the file has them.
func (c *abortedCache) drop(s *segment) {
	if s.aborts.cached {
		c.unlink(s)
		c.entries -= len(s.aborts.list)
		s.aborts.list = nil
	}
}

func (c *abortedCache) link(s *segment) {
	a := &s.aborts
	a.older, a.newer, a.cached = c.newest, nil, true
	if c.newest != nil {
		c.newest.aborts.newer = s
	} else {
		c.oldest = s
	}
	c.newest = s
}

func (c *abortedCache) unlink(s *segment) {
	a := &s.aborts
	if a.newer != nil {
		a.newer.aborts.older = a.older
	} else {
		c.newest = a.older
	}
	if a.older != nil {
		a.older.aborts.newer = a.newer
	} else {
		c.oldest = a.newer
	}
	a.older, a.newer, a.cached = nil, nil, false
}

// abortsWritten notes that a closed segment's file has all of its entries: from now on they need not be in memory.
func (p *Partition) abortsWritten(s *segment) {
	if a := &s.aborts; a.unwritten {
		a.unwritten = false
		list := a.list
		a.list = nil
		p.store.aborts.keep(s, list)
	}
}
