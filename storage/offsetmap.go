package storage

import (
	"crypto/aes"
	"crypto/cipher"
	"encoding/binary"
	"math/bits"
	"unsafe"

	"slipstream/protocol"

	"golang.org/x/sys/unix"
)

// offsetMap says, of each key in the dirty part of a log, at which offset it is last. It is bounded: it takes 24 bytes a
// key, whatever the keys are, and a cleaning that finds it full goes no further in the log than what it has taken in; the next one
// goes on there.
//
// A key is 128 bits: its CBC-MAC with AES-128, its length first, under a key that is drawn for each cleaning. Two keys with the
// same would be taken for one, and a record be lost. Of keys of at most 12 bytes no two have the same; among a billion
// longer ones, of n blocks of 16 bytes, it happens with a probability of n^2 x 3e-21, and nobody who does not know the
// drawn key can make it more likely, where collisions of Kafka's MD5 are for anyone who wants them. With the processor's
// AES instructions it takes a fifth of the time of a hash.
type offsetMap struct {
	entries []offsetEntry
	memory  []byte // of entries, from mmap; nil: they are few
	used    int
	full    int   // as many entries may be used
	latest  int64 // all offsets up to this one are taken in; -1: none
	warmed  int64 // what near has read, so that it is read

	mac       cipher.Block
	in, state [aes.BlockSize]byte
}

// offsetEntry is a slot; one that is free has no offset.
type offsetEntry struct {
	key  protocol.KeyDigest
	next int64 // the offset after the last at which the key was seen, so that 0 is free
}

const (
	offsetEntryBytes = 24
	offsetMapMapped  = 1 << 20 // from this size on a map has memory of its own
)

// offsetLoad is how much of the map's slots are used at most (log.cleaner.io.buffer.load.factor is 0.9, too).
const offsetLoad = 0.9

// digestOf is what stands for a key. It is good until the next reset.
func (m *offsetMap) digestOf(key []byte) protocol.KeyDigest {
	m.in = [aes.BlockSize]byte{}
	binary.BigEndian.PutUint32(m.in[:], uint32(len(key)))
	n := copy(m.in[4:], key)
	m.mac.Encrypt(m.state[:], m.in[:])
	for key = key[n:]; len(key) > 0; key = key[n:] {
		m.in = m.state
		n = min(len(key), aes.BlockSize)
		for i, c := range key[:n] {
			m.in[i] ^= c
		}
		m.mac.Encrypt(m.state[:], m.in[:])
	}
	return protocol.KeyDigest{High: binary.BigEndian.Uint64(m.state[:]), Low: binary.BigEndian.Uint64(m.state[8:])}
}

// reset empties the map and gives it room for a number of keys, as far as that takes no more than limit bytes. At least a few
// keys always have room.
func (m *offsetMap) reset(k kernel, keys, limit int64) error {
	m.release()
	var secret [16]byte
	k.Random(secret[:])
	var err error
	if m.mac, err = aes.NewCipher(secret[:]); err != nil {
		return err
	}
	slots := int(max(min(int64(float64(keys)/offsetLoad)+1, limit/offsetEntryBytes), 64))
	if slots*offsetEntryBytes < offsetMapMapped {
		m.entries = make([]offsetEntry, slots)
	} else {
		// Not of Go's heap: it is large, without pointers, and should be gone when the cleaning is.
		if m.memory, err = unix.Mmap(-1, 0, slots*offsetEntryBytes, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE); err != nil {
			return err
		}
		_ = unix.Madvise(m.memory, unix.MADV_HUGEPAGE) // places are random: with small pages most of the time goes into finding them
		m.entries = unsafe.Slice((*offsetEntry)(unsafe.Pointer(&m.memory[0])), slots)
	}
	m.used, m.full, m.latest = 0, int(float64(slots)*offsetLoad), -1
	return nil
}

// release gives the memory back.
func (m *offsetMap) release() {
	if m.memory != nil {
		_ = unix.Munmap(m.memory) // of a mapping of our own
	}
	m.memory, m.entries = nil, nil
}

// near has the entries of keys brought near, all of them at once: one by one each would be waited for.
func (m *offsetMap) near(run []protocol.RecordShape) {
	n, sum := uint64(len(m.entries)), int64(0)
	for i := range run {
		at, _ := bits.Mul64(run[i].Key.High, n)
		sum += m.entries[at].next
	}
	m.warmed = sum
}

// slot finds a key's entry, or the free one that it would go to.
func (m *offsetMap) slot(key protocol.KeyDigest) *offsetEntry {
	n := uint64(len(m.entries))
	i, _ := bits.Mul64(key.High, n) // high is as good as random: [0, n) evenly
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
func (m *offsetMap) put(key protocol.KeyDigest, offset int64) bool {
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
func (m *offsetMap) last(key protocol.KeyDigest) int64 { return m.slot(key).next - 1 }

// utilization is the part of the slots that is used.
func (m *offsetMap) utilization() float64 { return float64(m.used) / float64(max(len(m.entries), 1)) }
