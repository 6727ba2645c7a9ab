package main

import (
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// flushProducers is how many producers wait for a flush of their own at a time.
const flushProducers = 64

// syncTracepoints tell of fsync and fdatasync on a file, from a system call or the
// ring, on the file systems that logs lie on.
var syncTracepoints = map[string]string{"ext4": "ext4/ext4_sync_file_enter", "xfs": "xfs/xfs_file_fsync", "btrfs": "btrfs/btrfs_sync_file"}

// flush measures acknowledgements that wait for the disk: many producers with
// flush.messages=1 beside one loop of write and fdatasync.
func flush(s *scene) error {
	cs, stop, err := s.brokers()
	if err != nil {
		return err
	}
	defer stop()
	t := newTopic("flush", 1, 1024)
	byContender, err := lanes(cs, t, "flush.messages", "1")
	if err != nil {
		return err
	}
	syncs := &counter{}
	if name, ok := syncTracepoints[describeMachine(s.dir).FileSystem]; ok {
		syncs = s.count("fdatasyncs", name)
	} else {
		s.note("fdatasyncs are not counted: no tracepoint of this file system is known")
	}
	loop := &contender{name: "fdatasync loop", role: raw}
	group, err := s.rawEcho("raw group commit", t, byContender[cs[0]].answer, "-kind", "commit", "-file", filepath.Join(s.dir, "commit"))
	if err != nil {
		return err
	}
	defer group.c.server.stop()
	group.c.server.pause()
	byContender[group.c] = group
	trials, err := s.interleave("64 producers, flush.messages=1, 1 KiB each, closed loop", s.openRounds(), append(cs[:len(cs):len(cs)], loop, group.c), func(c *contender, _ int) (*measurement, error) {
		if c == loop {
			return syncLoop(loop, filepath.Join(s.dir, "sync"), t.batches[0], s.r.seconds)
		}
		return syncs.during(c, func() (*measurement, error) { return byContender[c].crowd(flushProducers, s.r.seconds) })
	})
	if err != nil {
		return err
	}
	mine, base := of(trials, ours), of(trials, raw)
	if v, ok := syncs.perOp(mine); ok {
		s.alone("fdatasyncs per acknowledged batch", "", v, below(0.1))
	}
	goals := []goal{{}, atMost(2.5), {}}
	for i, p := range percentiles {
		s.versus("acknowledgement "+p.name, "us", mine.quantile(p.value), base.quantile(p.value), goals[i])
	}
	s.versus("acknowledged batches", "1/s", mine.opsRate(), base.opsRate(), goal{})
	for _, t := range trials {
		if t.c != group.c {
			continue
		}
		for _, p := range percentiles {
			s.versus("acknowledgement "+p.name, "us", mine.quantile(p.value), t.quantile(p.value), goal{})
		}
		s.versus("acknowledged batches", "1/s", mine.opsRate(), t.opsRate(), goal{})
	}
	if other := of(trials, peer); other != nil {
		if v, ok := syncs.perOp(other); ok {
			s.alone("Apache Kafka: fdatasyncs per batch", "", v, goal{})
		}
		for _, p := range percentiles {
			s.versus("acknowledgement "+p.name, "us", mine.quantile(p.value), other.quantile(p.value), goal{})
		}
		s.versus("acknowledged batches", "1/s", mine.opsRate(), other.opsRate(), goal{})
	}
	s.plotTrials("Acknowledgement of a batch that is on the disk", trials, mark{"<= 2.5 x fdatasync", ninesOf(99), 2.5 * base.quantile(99).all})
	s.chartTrials("Acknowledged batches", "1/s", false, trials, (*trial).opsRate)
	return each(cs, func(c *contender) error { return t.delete(c.server) })
}

// syncLoop appends to a file and waits until that is on the disk, again and again.
func syncLoop(c *contender, path string, record []byte, forSeconds float64) (*measurement, error) {
	f, err := os.Create(path)
	if err != nil {
		return nil, err
	}
	defer os.Remove(path)
	defer f.Close()
	defer onThread()()
	m := &measurement{latency: newHistogram()}
	watch := c.stopwatch()
	begun := nanotime()
	for at := begun; at < begun+int64(forSeconds*1e9); {
		if _, err := unix.Write(int(f.Fd()), record); err != nil {
			return nil, err
		}
		if err := unix.Fdatasync(int(f.Fd())); err != nil {
			return nil, err
		}
		now := nanotime()
		m.latency.record(now - at)
		at = now
		m.ops++
		m.bytes += int64(len(record))
	}
	return watch.stop(m), nil
}

// crowd lets many producers produce, each with one batch in flight, for a while.
func (l *lane) crowd(producers int, forSeconds float64) (*measurement, error) {
	m := &measurement{latency: newHistogram()}
	defer onThread()()
	loop, err := newLoop()
	if err != nil {
		return nil, err
	}
	defer loop.close()
	all, err := l.producers(producers)
	if err != nil {
		return nil, err
	}
	watch := l.c.stopwatch()
	end, waiting := nanotime()+int64(forSeconds*1e9), 0
	for _, p := range all {
		defer p.c.close()
		sent := int64(0)
		send := func() error {
			sent = nanotime()
			waiting++
			l.batches++
			return p.c.write(l.t.frame(l.batches - 1))
		}
		err = loop.add(p.c, func() error {
			if err := p.acknowledged(); err != nil {
				return err
			}
			now := nanotime()
			m.latency.record(now - sent)
			waiting--
			m.ops++
			m.bytes += int64(l.t.batchBytes)
			if now < end {
				return send()
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
		if err := send(); err != nil {
			return nil, err
		}
	}
	limit := end + graceNanos
	err = loop.run(func() bool { return waiting == 0 || nanotime() > limit })
	if err == nil && waiting > 0 {
		err = errUnanswered
	}
	return watch.stop(m), err
}
