package storage

import (
	"crypto/sha256"
	"encoding/binary"
	"math/bits"
)

// offsetMap says, of each key in the dirty part of a log, at which offset it is last. It is bounded: it takes 24 bytes a
// key, whatever the keys are, and a cleaning that finds it full goes no further in the log than what it has taken in; the next one
// goes on there.
//
// A key is its SHA-256, cut to 128 bits. Two keys with the same would be taken for one, and a record be lost. Among a
// billion keys that happens with a probability of 1.5e-21 (n^2 / 2^129), and nobody can make it happen: a collision of SHA-256 cut
// to 128 bits takes 2^64 hashes, where Kafka's MD5, of the same size, falls to a laptop in seconds. With the processor's SHA
// instructions it is as fast.
type offsetMap struct {
	entries []offsetEntry
	used    int
	full    int   // as many entries may be used
	latest  int64 // all offsets up to this one are taken in; -1: none
}

// offsetEntry is a slot; one that is free has no offset.
type offsetEntry struct {
	key  keyHash
	next int64 // the offset after the last at which the key was seen, so that 0 is free
}

type keyHash struct{ high, low uint64 }

const offsetEntryBytes = 24

// offsetLoad is how much of the map's slots are used at most (log.cleaner.io.buffer.load.factor is 0.9, too).
const offsetLoad = 0.9

func hashOf(key []byte) keyHash {
	sum := sha256.Sum256(key)
	return keyHash{binary.BigEndian.Uint64(sum[:]), binary.BigEndian.Uint64(sum[8:])}
}

// reset empties the map and gives it room for a number of keys, as far as that takes no more than limit bytes. At least a few
// keys always have room.
func (m *offsetMap) reset(keys, limit int64) {
	slots := int(max(min(int64(float64(keys)/offsetLoad)+1, limit/offsetEntryBytes), 64))
	if cap(m.entries) >= slots {
		m.entries = m.entries[:slots]
		clear(m.entries)
	} else {
		m.entries = make([]offsetEntry, slots)
	}
	m.used, m.full, m.latest = 0, int(float64(slots)*offsetLoad), -1
}

// release gives the memory back, if it is much.
func (m *offsetMap) release() {
	if cap(m.entries) > 64<<10/offsetEntryBytes {
		m.entries = nil
	}
}

// slot finds a key's entry, or the free one that it would go to.
func (m *offsetMap) slot(key keyHash) *offsetEntry {
	n := uint64(len(m.entries))
	i, _ := bits.Mul64(key.high, n) // high is as good as random: [0, n) evenly
	for {
		e := &m.entries[i]
		if e.next == 0 || e.key == key {
			return e
		}
		if i++; i == n {
			i = 0
		}
	}
}

// put notes that a key is at an offset, larger than any before. False: there is no room for another key.
func (m *offsetMap) put(key keyHash, offset int64) bool {
	e := m.slot(key)
	if e.next == 0 {
		if m.used == m.full {
			return false
		}
		m.used++
		e.key = key
	}
	e.next = offset + 1
	return true
}

// last is the last offset at which a key was seen, -1 if it was not.
func (m *offsetMap) last(key keyHash) int64 { return m.slot(key).next - 1 }

// utilization is the part of the slots that is used.
func (m *offsetMap) utilization() float64 { return float64(m.used) / float64(max(len(m.entries), 1)) }
