package main

import (
	"fmt"
)

// stream is open-loop load: batch i is sent at begun + i x interval, whatever
// became of the ones before, and is timed from then: a server that stalls answers
// for everything that should have been sent meanwhile (what is called coordinated
// omission when it is left out). The latency of a batch ends with its delivery to
// a consumer; with no consumer, with its acknowledgement.
type stream struct {
	t        *topic
	interval int64 // nanoseconds
	count    int   // batches
	senders  []*sender
	readers  []*consumer
	first    int64 // the offset that batch 0 will have
	other    *otherReader
	beside   *members // who heartbeat in the same loop

	latency, service, late *histogram

	begun     int64
	sent      int // batches that the schedule has handed to senders
	acked     int
	delivered int     // to all readers together
	bytes     int64   // likewise
	sentAt    []int64 // when each batch was really sent
	loop      *loop
}

// otherReader is a reader that is not a consumer of partition 0: receive says which
// of the stream's batches have come.
type otherReader struct {
	c       *client
	ask     func() error
	receive func() ([]int, error)
}

// sender is a producer of a stream: what it still has to write.
type sender struct {
	p       *producer
	number  int   // of its handler
	queue   []int // batches that are due and not wholly written
	written int   // bytes of the first of them
	watched bool
	unacked []int // batches that are written, oldest first
}

// graceNanos is how long a stream waits for what is missing after its last send.
const graceNanos = int64(30e9)

// run plays the stream over its producers and readers and closes neither.
func (st *stream) run(producers []*producer) error {
	defer onThread()()
	st.latency, st.service, st.late = newHistogram(), newHistogram(), newHistogram()
	st.sentAt = make([]int64, st.count)
	var err error
	if st.loop, err = newLoop(); err != nil {
		return err
	}
	defer st.loop.close()
	for _, p := range producers {
		s := &sender{p: p, number: len(st.loop.handlers), queue: make([]int, 0, st.count/len(producers)+1),
			unacked: make([]int, 0, st.count/len(producers)+1)}
		st.senders = append(st.senders, s)
		if err := st.loop.add(p.c, func() error { return st.ready(s) }); err != nil {
			return err
		}
	}
	for _, k := range st.readers {
		if err := st.loop.add(k.c, func() error { return st.receive(k) }); err != nil {
			return err
		}
		if err := k.ask(); err != nil {
			return err
		}
	}
	if st.other != nil {
		if err := st.loop.add(st.other.c, st.receiveOther); err != nil {
			return err
		}
		if err := st.other.ask(); err != nil {
			return err
		}
	}
	st.begun = nanotime() + 1e6
	st.loop.due, st.loop.tick = st.due, st.send
	if st.beside != nil {
		if err := st.beside.join(st); err != nil {
			return err
		}
	}
	if err := st.loop.run(st.done); err != nil {
		return err
	}
	if st.acked < st.count || st.delivered < st.deliveries() {
		return fmt.Errorf("of %d batches %d were acknowledged and %d of %d deliveries made %.0f s after the last was due",
			st.count, st.acked, st.delivered, st.deliveries(), float64(graceNanos)/1e9)
	}
	return nil
}

// deliveries is how many there should be: none where acknowledgements are timed.
func (st *stream) deliveries() int {
	n := len(st.readers)
	if st.other != nil {
		n++
	}
	return st.count * n
}

func (st *stream) dueAt(i int) int64 { return st.begun + int64(i)*st.interval }

func (st *stream) due() int64 {
	if st.sent == st.count {
		return never
	}
	return st.dueAt(st.sent)
}

func (st *stream) done() bool {
	if st.sent < st.count {
		return false
	}
	return st.acked == st.count && st.delivered == st.deliveries() || nanotime() > st.dueAt(st.count)+graceNanos
}

// send hands the batch that is due to its sender. How late that is is the
// generator's own doing; that a socket has no room is the server's.
func (st *stream) send() error {
	i := st.sent
	st.sent++
	s := st.senders[i%len(st.senders)]
	st.late.record(nanotime() - st.dueAt(i))
	s.queue = append(s.queue, i)
	return st.flush(s)
}

// flush writes what the socket takes.
func (st *stream) flush(s *sender) error {
	for len(s.queue) > 0 {
		i := s.queue[0]
		if s.written == 0 {
			st.sentAt[i] = nanotime()
		}
		frame := st.t.frame(i + int(st.first)/st.t.records) // first is that of partition 0
		n, err := s.p.c.send(frame[s.written:])
		s.written += n
		if err == errWouldBlock {
			return st.watch(s, true)
		}
		if err != nil {
			return err
		}
		s.queue, s.written = s.queue[1:], 0
		s.unacked = append(s.unacked, i)
	}
	return st.watch(s, false)
}

func (st *stream) watch(s *sender, writable bool) error {
	if s.watched == writable {
		return nil
	}
	s.watched = writable
	return st.loop.watch(s.p.c, s.number, writable)
}

// ready takes a sender's acknowledgements, and writes on.
func (st *stream) ready(s *sender) error {
	for len(s.unacked) > 0 {
		err := s.p.acknowledged()
		if err == errWouldBlock {
			break
		}
		if err != nil {
			return err
		}
		i := s.unacked[0]
		s.unacked = s.unacked[1:]
		st.acked++
		if st.deliveries() == 0 {
			st.complete(i, nanotime())
		}
	}
	if s.watched {
		return st.flush(s)
	}
	return nil
}

// receive takes a reader's response, if it is whole, and asks for the next.
func (st *stream) receive(k *consumer) error {
	d, err := k.receive()
	if err != nil {
		return err
	}
	now := nanotime()
	if err := k.ask(); err != nil {
		return err
	}
	st.bytes += int64(d.bytes)
	for b := range d.batches {
		i := int(d.offset-st.first)/st.t.records + b
		if i < 0 || i >= st.sent {
			return fmt.Errorf("offset %d was delivered, which is none of this stream's", d.offset)
		}
		st.complete(i, now)
		st.delivered++
	}
	return nil
}

// receiveOther is receive for the other kind of reader.
func (st *stream) receiveOther() error {
	batches, err := st.other.receive()
	if err != nil {
		return err
	}
	now := nanotime()
	if err := st.other.ask(); err != nil {
		return err
	}
	for _, i := range batches {
		if i < 0 || i >= st.sent {
			return fmt.Errorf("a batch was delivered that is none of this stream's")
		}
		st.complete(i, now)
		st.delivered++
	}
	return nil
}

// complete times batch i.
func (st *stream) complete(i int, now int64) {
	st.latency.record(now - st.dueAt(i))
	st.service.record(now - st.sentAt[i])
}
