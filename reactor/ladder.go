package reactor

import (
	"fmt"
	"syscall"

	"golang.org/x/sys/unix"
)

// Rung is a way for a stretch of a file to get to a socket: a rung of the fetch
// ladder (ARCHITECTURE, "The page cache"). It is chosen when the bytes are sent,
// not when the response is made, which may be minutes earlier.
type Rung uint8

const (
	// RungAuto takes for each stretch the cheapest that fits.
	RungAuto Rung = iota
	// RungRelay sends the receive blocks that the bytes came in. It is the service's
	// to say, with AddRelay; what cannot leave that way is sent as by RungAuto.
	RungRelay
	// RungHot is sendfile on the core, of what is in the page cache.
	RungHot
	// RungBulk is SPLICE by the ring, through a pipe, of what is in the page cache.
	RungBulk
	// RungCold is the cold lane, for what is not.
	RungCold
	// RungCount is the number of rungs, RungAuto included.
	RungCount
)

var rungNames = [RungCount]string{"auto", "relay", "hot", "bulk", "cold"}

// String is the name that ParseRung takes.
func (r Rung) String() string {
	if r < RungCount {
		return rungNames[r]
	}
	return fmt.Sprintf("Rung(%d)", uint8(r))
}

// ParseRung reads "auto", "relay", "hot", "bulk" or "cold". A rung that is forced
// (Config.Rung) and cannot be had gives way to the next that can: hot and bulk to
// cold where bytes are not in the page cache, bulk to hot where no pipe is left.
func ParseRung(name string) (Rung, error) {
	for r, n := range rungNames {
		if n == name {
			return Rung(r), nil
		}
	}
	return 0, fmt.Errorf("unknown rung of the fetch ladder %q: want auto, relay, hot, bulk or cold", name)
}

// RungCounters count what one rung did.
type RungCounters struct {
	Stretches uint64 // that it served, in part or whole
	Bytes     uint64 // that it sent
}

// RungBytes are bytes by the rung that sent them.
type RungBytes [RungCount]uint64

// countSent counts n bytes of a stretch as sent by a rung.
func (c *Core) countSent(s *segment, r Rung, n int) {
	c.Stats.Rungs[r].Bytes += uint64(n)
	if s.tally != nil {
		s.tally[r] += uint64(n)
	}
}

// use notes that a rung is to send from a stretch.
func (c *Core) use(s *segment, r Rung) {
	if s.rung == r {
		return
	}
	if r == RungCold {
		if s.rung != RungAuto {
			c.Stats.HotTurnedCold++
		}
		if s.tail {
			c.Stats.TailMisses++
		}
	}
	s.rung = r
	c.Stats.Rungs[r].Stretches++
}

// waits is returned in place of an error by a way of sending that will come back
// to the connection by itself: it waits for a read or for a splice.
const waits = unix.EINPROGRESS

// sendStretch sends up to n bytes of the file segment that is next. 0 without an
// error is a file that ended early.
func (c *Conn) sendStretch(s *segment, n int) (int, syscall.Errno) {
	core := c.Core
	if c.send.bulk != nil {
		return 0, c.resumeBulk()
	}
	if core.forced == RungCold || core.cold.has(s) {
		return c.sendCold(s, n)
	}
	if core.bulkFits(s) {
		if moved, errno := c.startBulk(s); moved {
			return 0, errno
		}
	}
	if have := core.resident(s, n); have > 0 {
		return c.sendHot(s, have)
	}
	return c.sendCold(s, n)
}

// resident is how many of the next n bytes of a stretch are in the page cache.
func (c *Core) resident(s *segment, n int) int {
	c.Stats.ResidencyChecks++
	return c.Kernel.Resident(s.file.FD(), s.off, n)
}

// sendHot sends n bytes that are in the page cache.
func (c *Conn) sendHot(s *segment, n int) (int, syscall.Errno) {
	if !c.setNonblock(true) {
		return 0, waits // it is closed
	}
	core := c.Core
	core.use(s, RungHot)
	observed := s.file.Observed()
	if observed != 0 {
		core.Observer.Begin(0, observed, s.reader, s.off, n)
	}
	core.Stats.SendsNow++
	sent, errno := core.Kernel.SendFileNow(c.fd, s.file.FD(), s.off, n)
	if observed != 0 {
		core.Observer.End(0, sent)
	}
	core.countSent(s, RungHot, sent)
	return sent, errno
}
