package storage

import (
	"testing"

	"slipstream/ring"
)

// FuzzOffsetMap holds the map of a cleaning against a plain one: it forgets no key that it has taken, makes none up, and
// refuses new ones when it is full, not sooner, and not those that it has.
func FuzzOffsetMap(f *testing.F) {
	f.Add([]byte("abcabcabd"), uint8(3))
	f.Add(make([]byte, 300), uint8(200))
	k := ring.NewLinux()
	f.Fuzz(func(t *testing.T, keys []byte, room uint8) {
		var m offsetMap
		defer m.release()
		for round := range 2 {
			if err := m.reset(k, int64(room), int64(room)*offsetEntryBytes); err != nil {
				t.Fatal(err)
			}
			plain := map[string]int64{}
			for at := 0; at+2 <= len(keys); at++ {
				key := keys[at : at+2]
				offset := int64(at) << (round * 32)
				_, known := plain[string(key)]
				switch taken := m.put(m.digestOf(key), offset); {
				case taken:
					plain[string(key)] = offset
				case known || len(plain) < m.full:
					t.Fatalf("the key %x is refused with %d of %d keys, known: %t", key, len(plain), m.full, known)
				}
			}
			if m.used != len(plain) || m.used > m.full || m.full < 50 || m.utilization() > offsetLoad {
				t.Fatalf("%d keys of at most %d, want %d", m.used, m.full, len(plain))
			}
			for at := 0; at+2 <= len(keys); at++ {
				want, known := plain[string(keys[at:at+2])]
				if !known {
					want = -1
				}
				if got := m.last(m.digestOf(keys[at : at+2])); got != want {
					t.Fatalf("%x is at %d, want %d", keys[at:at+2], got, want)
				}
			}
		}
	})
}
