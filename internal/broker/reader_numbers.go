package broker

import (
	"strings"
	"unsafe"
)

// readerNumbers are the numbers that a core's CacheObserver has given to what
// clients read: who a page was read for is said with every range of a response, so
// the answer is kept. Not for ever: the observer takes numbers back from clients
// that have not read for long.
type readerNumbers struct {
	numbers map[readerKey]uint32
	since   int64 // the core's time when they were last all given up
}

// readerKey is a client's reads of a partition. Client ids are compared as they
// are; two clients of one id are one.
type readerKey struct {
	partition partitionKey
	client    string
}

const (
	readerNumbersKept  = 10_000
	readerNumbersNanos = 60e9
	// readerClientBytes is the longest client id that is told apart: Kafka knows no
	// bound but that of a string, 32 KiB.
	readerClientBytes = 256
)

// readerOf is the number under which the core's observer counts a part's reads.
func (s *Shard) readerOf(p *fetchPart) uint32 {
	r, client := &s.readers, p.visit.op.clientID
	if s.broker.settings.Observers == nil || len(client) > readerClientBytes {
		return 0
	}
	key := readerKey{p.key, unsafe.String(unsafe.SliceData(client), len(client))}
	if n, ok := r.numbers[key]; ok && s.core.Now-r.since < readerNumbersNanos {
		return n
	}
	if r.numbers == nil || len(r.numbers) >= readerNumbersKept || s.core.Now-r.since >= readerNumbersNanos {
		r.numbers, r.since = make(map[readerKey]uint32), s.core.Now
	}
	key.client = strings.Clone(key.client) // the frame goes
	n := s.core.Observer.Reader(p.topic.partitionNames[p.key.partition], key.client)
	r.numbers[key] = n
	return n
}
