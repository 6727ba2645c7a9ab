package main

import (
	"fmt"
	"os"
	"path/filepath"
)

// throughput measures one connection with several requests in flight, with small
// batches and with large ones.
func throughput(s *scene) error {
	cs, stop, err := s.brokers()
	if err != nil {
		return err
	}
	defer stop()
	for _, load := range []struct {
		records, inFlight int
		peerRate, peerCPU goal
	}{
		{16, 8, atLeast(6), atMost(1.0 / 6)},
		{250, 4, atLeast(4), atMost(0.25)},
	} {
		if err := throughputOf(s, cs, load.records, load.inFlight, load.peerRate, load.peerCPU); err != nil {
			return err
		}
	}
	return nil
}

// Each round of throughput ends after so many bytes or so much time: what a disk
// takes a while to write back should not be in the next contender's way.
const (
	throughputBytes = 256 << 20
	throughputNanos = int64(8e8)
)

func throughputOf(s *scene, cs []*contender, records, inFlight int, peerRate, peerCPU goal) error {
	t := newTopic(fmt.Sprintf("throughput-%d", records), records, 1024)
	byContender := map[*contender]*lane{}
	var sink *lane
	what := fmt.Sprintf("%d x 1 KiB batches, %d in flight", records, inFlight)
	work := func(c *contender, _ int) (*measurement, error) {
		if sink != nil && c == sink.c {
			return sink.pipeline(s.r.amount(throughputBytes), inFlight)
		}
		// A topic of its own for each round, deleted at once: dirty pages that nobody wants
		// any more are never written.
		l, err := c.lane(t)
		if err != nil {
			return nil, err
		}
		m, err := l.pipeline(s.r.amount(throughputBytes), inFlight)
		if err != nil {
			return nil, err
		}
		return m, t.delete(c.server)
	}
	// The answer's size, for the sink.
	if err := cs[0].on(func() (err error) { byContender[cs[0]], err = cs[0].lane(t); return err }); err != nil {
		return err
	}
	if err := cs[0].on(func() error { return t.delete(cs[0].server) }); err != nil {
		return err
	}
	sink, err := s.rawEcho("write loop", t, byContender[cs[0]].answer, "-kind", "sink", "-file", filepath.Join(s.dir, "sink"))
	if err != nil {
		return err
	}
	defer os.Remove(filepath.Join(s.dir, "sink"))
	defer sink.c.server.stop()
	sink.c.server.pause()
	trials, err := s.interleave(what, s.r.rounds, append(cs[:len(cs):len(cs)], sink.c), work)
	if err != nil {
		return err
	}
	s.versusRates(what, trials, goal{}, goal{}, peerRate, peerCPU)
	return nil
}

// versusRates reports rate and server CPU per GB beside the raw limit and the peer.
func (s *scene) versusRates(what string, trials []*trial, rawRate, rawCPU, peerRate, peerCPU goal) {
	mine := of(trials, ours)
	for _, other := range trials {
		rate, cpu := rawRate, rawCPU
		if other.c.role == peer {
			rate, cpu = peerRate, peerCPU
		}
		if other == mine || len(other.rounds) == 0 {
			continue
		}
		s.versus(what+": rate", "GB/s", mine.rate(), other.rate(), rate)
		s.versus(what+": server CPU", "s/GB", mine.cpuPerGB(), other.cpuPerGB(), cpu)
	}
	s.chartTrials(what+": rate", "GB/s", false, trials, (*trial).rate)
	s.chartTrials(what+": server CPU", "s/GB", true, trials, (*trial).cpuPerGB)
}

// pipeline produces for a round.
func (l *lane) pipeline(bytes, inFlight int) (*measurement, error) {
	p, err := l.producer()
	if err != nil {
		return nil, err
	}
	defer p.c.close()
	defer onThread()()
	watch := l.c.stopwatch()
	n, err := p.pipeline(l.t, l.batches, bytes/l.t.batchBytes, inFlight, throughputNanos)
	if err != nil {
		return nil, err
	}
	l.batches += n
	return watch.stop(&measurement{ops: int64(n), bytes: int64(n * l.t.batchBytes)}), nil
}

// consumeBytes is the size of the log that consume reads, which stays in the page cache.
const consumeBytes = 512 << 20

// fetchBytes is the size of a fetch of consume: what Kafka's consumer asks of a
// partition by default.
const fetchBytes = 1 << 20

// consume measures 1 MiB fetches of a log that is in the page cache, on one
// connection, the bytes discarded in the receiver's kernel.
func consume(s *scene) error {
	cs, stop, err := s.brokers()
	if err != nil {
		return err
	}
	defer stop()
	t := newTopic("consume", 250, 1024)
	byContender, err := lanes(cs, t)
	if err != nil {
		return err
	}
	if err := each(cs, func(c *contender) error { return byContender[c].fill(s.r.amount(consumeBytes)) }); err != nil {
		return err
	}
	segments := segmentFiles(cs[0].server.dir, t.name)
	if len(segments) == 0 {
		return fmt.Errorf("no segment of topic %s in %s", t.name, cs[0].server.dir)
	}
	request, _ := fetchFrame("bulk", t.name, fetchBytes)
	loop, err := s.rawLimit("sendfile loop", "-kind", "sendfile", "-in", itoa(len(request)), "-out", itoa(fetchBytes), "-file", segments[0])
	if err != nil {
		return err
	}
	defer loop.server.stop()
	loop.server.pause()
	if err := s.apart(append(cs[:len(cs):len(cs)], loop)...); err != nil {
		return err
	}
	calls := s.count("system calls", "raw_syscalls/sys_enter")
	trials, err := s.interleave("1 MiB fetches, in the page cache", s.r.rounds, append(cs[:len(cs):len(cs)], loop), func(c *contender, _ int) (*measurement, error) {
		defer onThread()()
		return calls.during(c, func() (*measurement, error) {
			if c == loop {
				return fetchRaw(c, request, fetchBytes, s.r.amount(consumeBytes)/fetchBytes)
			}
			return byContender[c].drain(0, fetchBytes, s.r.check)
		})
	})
	if err != nil {
		return err
	}
	s.versusRates("1 MiB fetches", trials, atLeast(0.9), atMost(1.15), atLeast(1.5), goal{})
	for _, t := range trials {
		if v, ok := calls.perOp(t); ok {
			s.alone("system calls a fetch: "+t.c.name, "", v, goal{})
		}
	}
	return each(cs, func(c *contender) error { return t.delete(c.server) })
}

// fill produces until the topic has so many bytes.
func (l *lane) fill(bytes int) error {
	p, err := l.producer()
	if err != nil {
		return err
	}
	defer p.c.close()
	n, err := p.pipeline(l.t, l.batches, bytes/l.t.batchBytes-l.batches, 4, 0)
	l.batches += n
	return err
}

// drain fetches the topic from an offset to its end.
func (l *lane) drain(from int64, maxBytes int32, check bool) (*measurement, error) {
	k, err := l.t.consume(l.c.server.port, "bulk", from, maxBytes, check)
	if err != nil {
		return nil, err
	}
	defer k.c.close()
	m := &measurement{}
	watch := l.c.stopwatch()
	for k.next < l.nextOffset() {
		if err := k.ask(); err != nil {
			return nil, err
		}
		d, err := k.receive()
		if err != nil {
			return nil, err
		}
		m.ops++
		m.bytes += int64(d.bytes)
	}
	return watch.stop(m), nil
}

// fetchRaw asks a raw limit n times for so many bytes.
func fetchRaw(from *contender, request []byte, bytes, n int) (*measurement, error) {
	c, err := dial(from.server.port)
	if err != nil {
		return nil, err
	}
	defer c.close()
	watch := from.stopwatch()
	for range n {
		if err := c.write(request); err != nil {
			return nil, err
		}
		for left := bytes; left > 0; {
			got, err := c.discard(left)
			if err != nil {
				return nil, err
			}
			left -= got
		}
	}
	return watch.stop(&measurement{ops: int64(n), bytes: int64(n * bytes)}), nil
}
