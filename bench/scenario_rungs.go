package main

import (
	"fmt"
	"path/filepath"

	"golang.org/x/sys/unix"

	"slipstream/ring"
)

// rungs measures what the boundaries of the fetch ladder rest on (reactor/limits.go):
// from what size on a stretch is worth a splice, for itself and for whoever waits
// beside it, and how near the cold lane comes to reading the file and nothing else.
func rungs(s *scene) error {
	for _, beside := range []bool{false, true} {
		if err := rungsBySize(s, beside); err != nil {
			return err
		}
	}
	return coldLane(s)
}

// rungSizes are the fetches: from what sendfile does in 15 us to the bulk rung's.
var rungSizes = []struct {
	name  string
	bytes int
}{{"64 KiB", 64 << 10}, {"256 KiB", 256 << 10}, {"1 MiB", 1 << 20}, {"4 MiB", 4 << 20}}

// rungBytes is the size of the log that is read.
const rungBytes = 128 << 20

// rungsBySize reads a resident log by each rung, forced; beside: while a producer
// makes round trips on the same core.
func rungsBySize(s *scene, beside bool) error {
	cs, byContender, stop, err := forcedRungs(s, fmt.Sprint("beside-", beside), "hot", "bulk", "cold")
	if err != nil {
		return err
	}
	defer stop()
	for _, size := range rungSizes {
		what := size.name + " fetches"
		if beside {
			what += " beside a producer"
		}
		trials, err := s.interleave(what, s.r.rounds, cs, func(c *contender, _ int) (*measurement, error) {
			l := byContender[c]
			if !beside {
				defer onThread()()
				return l.drain(0, int32(size.bytes), s.r.check)
			}
			return l.drainBeside(int32(size.bytes), s.r.check)
		})
		if err != nil {
			return err
		}
		for _, t := range trials[1:] {
			s.versus(what+": rate of "+t.c.name, "GB/s", t.rate(), trials[0].rate(), goal{})
			s.versus(what+": CPU of "+t.c.name, "s/GB", t.cpuPerGB(), trials[0].cpuPerGB(), goal{})
			if beside {
				s.versus(what+": round trip p50, "+t.c.name, "us", t.quantile(50), trials[0].quantile(50), goal{})
				s.versus(what+": round trip p99, "+t.c.name, "us", t.quantile(99), trials[0].quantile(99), goal{})
			}
		}
	}
	return nil
}

// forcedRungs starts a broker for each rung, with a log of its own to read.
func forcedRungs(s *scene, dir string, names ...string) (cs []*contender, lanes map[*contender]*lane, stop func(), err error) {
	stop = func() {
		for _, c := range cs {
			c.server.stop()
		}
	}
	lanes = map[*contender]*lane{}
	for _, name := range names {
		sv, err := s.r.startCounted(filepath.Join(s.dir, dir, name), nil, "--set", "slipstream.fetch.rung="+name)
		if err != nil {
			stop()
			return nil, nil, nil, err
		}
		c := &contender{name: name, role: ours, server: sv}
		cs = append(cs, c)
		l, err := c.lane(newTopic("rungs", 16, 1024))
		if err == nil {
			err = l.fill(s.r.amount(rungBytes))
		}
		if err != nil {
			stop()
			return nil, nil, nil, err
		}
		lanes[c] = l
		sv.pause()
	}
	return cs, lanes, stop, nil
}

// drainBeside reads the log while a producer of another topic makes round trips;
// the latencies are the producer's.
func (l *lane) drainBeside(maxBytes int32, check bool) (*measurement, error) {
	side, err := l.c.lane(newTopic(fmt.Sprintf("beside-%d-%d", maxBytes, nanotime()), 1, 1024))
	if err != nil {
		return nil, err
	}
	p, err := side.producer()
	if err != nil {
		return nil, err
	}
	defer p.c.close()
	type drained struct {
		m   *measurement
		err error
	}
	done := make(chan drained, 1)
	go func() {
		defer onThread()()
		m, err := l.drain(0, maxBytes, check)
		done <- drained{m, err}
	}()
	latency := newHistogram()
	for {
		select {
		case d := <-done:
			if d.err != nil {
				return nil, d.err
			}
			d.m.latency = latency
			return d.m, side.t.delete(l.c.server)
		default:
		}
		begun := nanotime()
		if err = p.c.write(side.t.frame(side.batches)); err == nil {
			err = p.acknowledged()
		}
		if err != nil {
			<-done
			return nil, err
		}
		latency.record(nanotime() - begun)
		side.batches++
	}
}

// coldLane reads a log that was dropped from the page cache, beside a loop that
// does nothing but read the same dropped file.
func coldLane(s *scene) error {
	c, err := s.broker()
	if err != nil {
		return err
	}
	defer c.server.stop()
	l, err := c.lane(newTopic("cold", 250, 1024))
	if err != nil {
		return err
	}
	if err := l.fill(s.r.amount(4 * rungBytes)); err != nil {
		return err
	}
	segments := segmentFiles(c.server.dir, "cold")
	if len(segments) == 0 {
		return fmt.Errorf("no segment of topic cold in %s", c.server.dir)
	}
	lane, loop := series{who: "cold lane"}, series{who: "read loop"}
	cpu := series{who: "cold lane"}
	left := series{}
	for round := range s.r.rounds {
		for _, ours := range []bool{round%2 == 0, round%2 != 0} {
			if err := dropFiles(segments); err != nil {
				return err
			}
			if !ours {
				rate, err := readLoop(segments)
				if err != nil {
					return err
				}
				loop.rounds = append(loop.rounds, rate)
				continue
			}
			m, err := measure(c, round, func(*contender, int) (*measurement, error) {
				defer onThread()()
				return l.drain(0, fetchBytes, s.r.check)
			})
			if err != nil {
				return err
			}
			lane.rounds = append(lane.rounds, gigabytes(m)/m.seconds)
			cpu.rounds = append(cpu.rounds, m.serverCPU/gigabytes(m))
			if there, known := residentBytes(c.server.dir, l.t.name); known {
				left.rounds = append(left.rounds, float64(there)/float64(m.bytes))
			}
		}
	}
	lane.all, loop.all, cpu.all, left.all = median(lane.rounds), median(loop.rounds), median(cpu.rounds), median(left.rounds)
	s.versus("1 MiB fetches, dropped: rate", "GB/s", lane, loop, goal{})
	s.alone("1 MiB fetches, dropped: server CPU", "s/GB", cpu, goal{})
	s.alone("part of the log left in the page cache", "", left, below(0.02))
	return nil
}

// onFiles opens files in turn.
func onFiles(paths []string, do func(k ring.Kernel, fd int, size int64) error) error {
	k := ring.NewLinux()
	for _, path := range paths {
		fd, err := k.Open(path, unix.O_RDWR, 0)
		if err != nil {
			return err
		}
		size, err := k.Size(fd)
		if err == nil {
			err = do(k, fd, size)
		}
		k.Close(fd)
		if err != nil {
			return err
		}
	}
	return nil
}

// dropFiles writes files out and takes them out of the page cache.
func dropFiles(paths []string) error {
	return onFiles(paths, func(k ring.Kernel, fd int, _ int64) error {
		if err := k.Sync(fd); err != nil {
			return err
		}
		return k.Advise(fd, 0, 0, unix.FADV_DONTNEED)
	})
}

// readLoop reads files from beginning to end, a mebibyte at a time, and returns GB/s.
func readLoop(paths []string) (float64, error) {
	defer onThread()()
	buf := make([]byte, 1<<20)
	var bytes int64
	begun := nanotime()
	err := onFiles(paths, func(k ring.Kernel, fd int, size int64) error {
		for at := int64(0); at < size; at += int64(len(buf)) {
			n, errno := k.ReadNow(fd, buf, at)
			if errno != 0 {
				return errno
			}
			bytes += int64(n)
		}
		return nil
	})
	return float64(bytes) / float64(nanotime()-begun), err
}
