package sim

import (
	"slices"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"

	"slipstream/ring"
)

var scenarios = append(append(ringScenarios, socketScenarios...), fileScenarios...)

var ringScenarios = []scenario{
	{"entries", 0, func(m *machine) {
		m.one("nop", func(s *ring.SQE) { s.PrepNop() })
		m.one("no such opcode", func(s *ring.SQE) { *s = ring.SQE{Opcode: 250} })
		m.one("unknown flags", func(s *ring.SQE) { *s = ring.SQE{Opcode: ring.OpNop, Flags: 1 << 7} })
		m.one("accept with ioprio 4096", func(s *ring.SQE) { s.PrepAccept(0, nil, nil, 0); s.IOPrio = 1 << 12 })
		m.one("fixed file that is none", func(s *ring.SQE) { s.PrepFsync(0, 0); s.Flags = ring.SQEFixedFile })
		m.get(1, func(s *ring.SQE) { s.PrepNop() })
		m.get(2, func(s *ring.SQE) { *s = ring.SQE{Opcode: 250} })
		m.get(3, func(s *ring.SQE) { s.PrepNop() })
		m.told("a bad entry among good ones", 3)
		m.get(1, func(s *ring.SQE) { s.PrepNop() }).Flags = ring.SQEIOLink
		m.get(2, func(s *ring.SQE) { *s = ring.SQE{Opcode: 250} }).Flags = ring.SQEIOLink
		m.get(3, func(s *ring.SQE) { s.PrepNop() })
		m.quiet("a bad entry in a link")
	}},
	{"bad descriptors", 0, func(m *machine) {
		mem := m.memory(4096)
		const bad = 9999
		for _, op := range []struct {
			name string
			prep func(s *ring.SQE, fd int)
		}{
			{"accept", func(s *ring.SQE, fd int) { s.PrepAccept(fd, nil, nil, 0) }},
			{"recv", func(s *ring.SQE, fd int) { s.PrepRecv(fd, ptr(mem), 8, 0) }},
			{"send", func(s *ring.SQE, fd int) { s.PrepSend(fd, ptr(mem), 8, 0) }},
			{"shutdown", func(s *ring.SQE, fd int) { s.PrepShutdown(fd, unix.SHUT_WR) }},
			{"read", func(s *ring.SQE, fd int) { s.PrepRead(fd, ptr(mem), 8, 0) }},
			{"write", func(s *ring.SQE, fd int) { s.PrepWrite(fd, ptr(mem), 8, 0) }},
			{"fsync", func(s *ring.SQE, fd int) { s.PrepFsync(fd, ring.FsyncDatasync) }},
			{"fallocate", func(s *ring.SQE, fd int) { s.PrepFallocate(fd, 1, 0, 4096) }},
			{"poll", func(s *ring.SQE, fd int) { s.PrepPollAdd(fd, unix.POLLIN) }},
			{"close", func(s *ring.SQE, fd int) { s.PrepClose(fd) }},
			{"msg ring", func(s *ring.SQE, fd int) { s.PrepMsgRing(fd, 1, 2, 0) }},
		} {
			m.one(op.name+" of a bad descriptor", func(s *ring.SQE) { op.prep(s, bad) })
			file := m.file("f", "some bytes")
			switch op.name {
			case "accept", "recv", "send", "shutdown", "msg ring":
				m.one(op.name+" of a file", func(s *ring.SQE) { op.prep(s, file) })
			}
			listener, _ := m.listen()
			switch op.name {
			case "recv", "send", "fsync", "fallocate":
				m.one(op.name+" of a listener", func(s *ring.SQE) { op.prep(s, listener) })
			}
		}
		ours, _ := m.pair()
		m.one("accept on a connection", func(s *ring.SQE) { s.PrepAccept(ours, nil, nil, 0) })
		m.one("fsync of a socket", func(s *ring.SQE) { s.PrepFsync(ours, 0) })
		m.one("fsync with unknown flags", func(s *ring.SQE) { s.PrepFsync(ours, 8) })
		m.one("shutdown with a bad how", func(s *ring.SQE) { s.PrepShutdown(ours, 7) })
		m.one("close of the ring itself", func(s *ring.SQE) { s.PrepClose(m.ring.FD()) })
	}},
	{"links", 0, func(m *machine) {
		fd := m.file("f", "0123456789")
		mem := m.memory(4096)
		for _, c := range []struct {
			name  string
			flag  uint8
			n     uint32
			skips []uint64
		}{
			{"full reads", ring.SQEIOLink, 5, nil},
			{"a short read", ring.SQEIOLink, 50, nil},
			{"a short read, hard", ring.SQEIOHardlink, 50, nil},
			{"skip the first", ring.SQEIOLink, 5, []uint64{1}},
			{"skip a first that is short", ring.SQEIOLink, 50, []uint64{1}},
			{"skip the second after a short", ring.SQEIOLink, 50, []uint64{2}},
			{"skip all", ring.SQEIOLink, 5, []uint64{1, 2, 3}},
		} {
			if len(c.skips) > 0 && m.level < ring.Level61 {
				continue
			}
			entries := []*ring.SQE{
				m.get(1, func(s *ring.SQE) { s.PrepRead(fd, ptr(mem), c.n, 0) }),
				m.get(2, func(s *ring.SQE) { s.PrepNop() }),
				m.get(3, func(s *ring.SQE) { s.PrepRead(fd, ptr(mem), 2, 3) }),
			}
			entries[0].Flags, entries[1].Flags = c.flag, c.flag
			for _, d := range c.skips {
				entries[d-1].Flags |= ring.SQECQESkipSuccess
			}
			m.quietSorted(c.name)
		}
		m.get(1, func(s *ring.SQE) { s.PrepRead(9999, ptr(mem), 5, 0) }).Flags = ring.SQEIOLink
		m.get(2, func(s *ring.SQE) { s.PrepNop() }).Flags = ring.SQEIOLink
		m.get(3, func(s *ring.SQE) { s.PrepNop() })
		m.quietSorted("a first that fails")
		m.get(1, func(s *ring.SQE) { s.PrepNop() }).Flags = ring.SQEIOLink
		m.get(2, func(s *ring.SQE) { s.PrepRead(9999, ptr(mem), 5, 0) }).Flags = ring.SQEIOHardlink
		m.get(3, func(s *ring.SQE) { s.PrepNop() }).Flags = ring.SQEIOLink
		m.get(4, func(s *ring.SQE) { s.PrepNop() })
		m.quietSorted("mixed links")
	}},
	{"timeouts", 0, func(m *machine) {
		ts := (*ring.Timespec)(ptr(m.memory(64)))
		*ts = ring.TimespecOf(2_000_000)
		m.one("2 ms", func(s *ring.SQE) { s.PrepTimeout(ts, 0, 0) })
		*ts = ring.TimespecOf(3600e9)
		m.get(1, func(s *ring.SQE) { s.PrepTimeout(ts, 0, 0) })
		m.quiet("an hour")
		m.get(2, func(s *ring.SQE) { s.PrepTimeoutRemove(1, 0) })
		m.told("removed", 2)
		m.one("remove what is not there", func(s *ring.SQE) { s.PrepTimeoutRemove(1, 0) })
		m.get(1, func(s *ring.SQE) { s.PrepTimeout(ts, 2, 0) })
		m.quiet("two completions or an hour")
		m.get(2, func(s *ring.SQE) { s.PrepNop() })
		m.get(3, func(s *ring.SQE) { s.PrepNop() })
		m.told("two completions", 3)
		*ts = ring.TimespecOf(3600e9)
		m.get(1, func(s *ring.SQE) { s.PrepTimeout(ts, 0, 0) })
		m.tick()
		*ts = ring.TimespecOf(1_000_000)
		m.get(2, func(s *ring.SQE) { s.PrepTimeoutUpdate(ts, 1, 0) })
		m.told("updated to 1 ms", 2)
		*ts = ring.Timespec{Sec: -1}
		m.one("a negative time", func(s *ring.SQE) { s.PrepTimeout(ts, 0, 0) })
		*ts = ring.TimespecOf(m.kernel.Monotonic() + 1_000_000)
		m.one("absolute", func(s *ring.SQE) { s.PrepTimeout(ts, 0, ring.TimeoutAbs) })
		*ts = ring.TimespecOf(1000)
		m.get(1, func(s *ring.SQE) { s.PrepTimeout(ts, 0, 0) }).Flags = ring.SQEIOLink
		m.get(2, func(s *ring.SQE) { s.PrepNop() })
		m.quietSorted("a timeout breaks a link")
		m.get(1, func(s *ring.SQE) { s.PrepTimeout(ts, 0, ring.TimeoutETimeSuccess) }).Flags = ring.SQEIOLink
		m.get(2, func(s *ring.SQE) { s.PrepNop() })
		m.quietSorted("unless told not to")
	}},
	{"cancel", 0, func(m *machine) {
		ours, peer := m.pair()
		mem := m.memory(4096)
		m.get(1, func(s *ring.SQE) { s.PrepRecv(ours, ptr(mem), 8, 0) })
		m.quiet("a receive waits")
		m.get(2, func(s *ring.SQE) { s.PrepCancel64(7, 0) })
		m.told("cancel of another", 1)
		m.get(2, func(s *ring.SQE) { s.PrepCancel64(1, 0) })
		m.told("cancel", 2)
		m.get(2, func(s *ring.SQE) { s.PrepCancel64(1, 0) })
		m.told("again", 1)
		m.one("bad flags", func(s *ring.SQE) { s.PrepCancel64(1, 1<<20) })
		if m.level >= ring.Level61 {
			m.get(1, func(s *ring.SQE) { s.PrepRecv(ours, ptr(mem), 100, unix.MSG_WAITALL) })
			peer.send("part")
			m.quiet("a whole receive has a part")
			m.get(2, func(s *ring.SQE) { s.PrepCancel64(1, 0) })
			m.told("is cancelled, and keeps it", 2)
			for d := range uint64(3) {
				m.get(10+d, func(s *ring.SQE) { s.PrepPollAdd(ours, unix.POLLIN) })
			}
			m.quiet("three polls")
			m.get(20, func(s *ring.SQE) { s.PrepCancelFD(ours, ring.AsyncCancelAll) })
			m.told("all of a descriptor", 4)
			ts := (*ring.Timespec)(ptr(m.memory(64)))
			*ts = ring.TimespecOf(3600e9)
			m.get(10, func(s *ring.SQE) { s.PrepPollAdd(ours, unix.POLLIN) })
			m.get(11, func(s *ring.SQE) { s.PrepTimeout(ts, 0, 0) })
			m.quiet("a poll and a timeout")
			m.get(20, func(s *ring.SQE) { s.PrepCancel64(0, ring.AsyncCancelAny) })
			m.told("anything", 3)
			m.one("cancel of a bad descriptor", func(s *ring.SQE) { s.PrepCancelFD(9999, 0) })
			m.one("cancel of an idle descriptor", func(s *ring.SQE) { s.PrepCancelFD(ours, 0) })
		}
		m.get(1, func(s *ring.SQE) { s.PrepRecv(ours, ptr(mem), 8, 0) }).Flags = ring.SQEIOLink
		m.get(2, func(s *ring.SQE) { s.PrepNop() })
		m.quiet("a receive and a nop behind it")
		m.get(3, func(s *ring.SQE) { s.PrepCancel64(2, 0) })
		m.told("what waits behind a link is not found", 1)
		m.get(3, func(s *ring.SQE) { s.PrepCancel64(1, 0) })
		m.told("the receive is", 3)
	}},
	{"messages", ring.Level61, func(m *machine) {
		other, err := ring.New(m.kernel, ring.Options{Entries: 8, Level: m.level})
		if err != nil {
			m.Fatal(err)
		}
		m.one("to another ring", func(s *ring.SQE) { s.PrepMsgRing(other.FD(), 42, 0xbeef, 0) })
		m.settle()
		other.Enter(1, 20_000_000)
		buf := make([]ring.CQE, 4)
		for _, c := range buf[:other.Reap(buf)] {
			m.note("arrived: %#x %s", c.UserData, result(c))
		}
		m.get(1, func(s *ring.SQE) { s.PrepMsgRing(m.ring.FD(), 7, 9, 0) })
		m.told("to itself", 2)
		m.one("unknown flags", func(s *ring.SQE) { s.PrepMsgRing(other.FD(), 0, 0, 1<<10) })
		m.get(1, func(s *ring.SQE) { s.PrepMsgRing(other.FD(), 1, 2, 0) }).Flags = ring.SQECQESkipSuccess
		m.quiet("skipped")
		other.Close()
	}},
	{"eventfd", 0, func(m *machine) {
		fd, err := m.kernel.Eventfd()
		if err != nil {
			m.Fatal(err)
		}
		m.fds = append(m.fds, fd)
		mem := m.memory(64)
		m.get(1, func(s *ring.SQE) { s.PrepRead(fd, ptr(mem), 8, 0) })
		m.quiet("a read of 0 waits")
		m.kernel.Signal(fd)
		m.told("signalled", 1)
		m.note("count %d", mem[0])
		m.kernel.Signal(fd)
		m.kernel.Signal(fd)
		m.one("poll", func(s *ring.SQE) { s.PrepPollAdd(fd, unix.POLLIN) })
		m.one("read", func(s *ring.SQE) { s.PrepRead(fd, ptr(mem), 8, 0) })
		m.note("count %d", mem[0])
		m.one("a read that is too small", func(s *ring.SQE) { s.PrepRead(fd, ptr(mem), 4, 0) })
		m.get(1, func(s *ring.SQE) { s.PrepPollMultishot(fd, unix.POLLIN) })
		m.quiet("polled again and again")
		m.kernel.Signal(fd)
		m.quiet("signalled")
		m.kernel.Signal(fd)
		m.quiet("again")
		m.get(2, func(s *ring.SQE) { s.PrepPollRemove(1) })
		m.told("removed", 2)
		m.one("remove again", func(s *ring.SQE) { s.PrepPollRemove(1) })
	}},
	{"overflow", 0, func(m *machine) {
		r, err := ring.New(m.kernel, ring.Options{Entries: 4, CQEntries: 4, Level: m.level})
		if err != nil {
			m.Fatal(err)
		}
		for i := range uint64(20) {
			s := r.Get()
			s.PrepNop()
			s.UserData = i
		}
		r.Enter(0, 0)
		buf := make([]ring.CQE, 64)
		n := 0
		for range 20 {
			for _, c := range buf[:r.Reap(buf)] {
				m.note("completion %d", c.UserData)
				n++
			}
			r.Enter(0, 0)
		}
		m.note("%d in all, overflowed %v", n, r.Counters.Overflows > 0)
		r.Close()
	}},
	{"deferred work", ring.Level61, func(m *machine) {
		ours, peer := m.pair()
		mem := m.memory(4096)
		m.get(1, func(s *ring.SQE) { s.PrepRecv(ours, ptr(mem), 8, 0) })
		m.quiet("a receive")
		peer.send("abc")
		m.note("no enter: %d completions, memory %q", m.ring.Ready(), mem[:3])
		m.tick()
		m.note("after one: %d, %q", m.ring.Ready(), mem[:3])
		m.reap()
	}},
	{"setup and register", 0, func(m *machine) {
		for _, c := range []struct {
			name    string
			entries uint32
			p       ring.Params
		}{
			{"no entries", 0, ring.Params{}},
			{"too many", 1 << 20, ring.Params{}},
			{"clamped", 1 << 20, ring.Params{Flags: ring.SetupClamp}},
			{"odd", 5, ring.Params{}},
			{"completion queue too small", 8, ring.Params{Flags: ring.SetupCQSize, CQEntries: 4}},
			{"completion queue 0", 8, ring.Params{Flags: ring.SetupCQSize}},
			{"completion queue odd", 8, ring.Params{Flags: ring.SetupCQSize, CQEntries: 33}},
			{"unknown flag", 8, ring.Params{Flags: 1 << 30}},
			{"deferred alone", 8, ring.Params{Flags: ring.SetupDeferTaskrun}},
			{"taskrun flag alone", 8, ring.Params{Flags: ring.SetupTaskrunFlag}},
			{"deferred", 8, ring.Params{Flags: ring.SetupDeferTaskrun | ring.SetupSingleIssuer}},
			{"submit all", 8, ring.Params{Flags: ring.SetupSubmitAll}},
			{"no array", 8, ring.Params{Flags: ring.SetupNoSQArray}},
		} {
			if m.level == ring.Level61 && c.p.Flags&ring.SetupNoSQArray != 0 {
				continue
			}
			p := c.p
			ms, err := m.kernel.Setup(c.entries, &p)
			m.note("setup, %s: %s", c.name, errno(err))
			if err == nil {
				m.note("%d entries, %d completions, array %v", p.SQEntries, p.CQEntries, ms.SQArray != nil)
				m.kernel.Teardown(ms)
			}
		}
		if m.level < ring.Level61 {
			return
		}
		mem := m.memory(8192)
		for _, c := range []struct {
			name string
			op   uint32
			reg  bufReg
		}{
			{"3 buffers", ring.RegisterPbufRing, bufReg{addr: uint64(uintptr(ptr(mem))), entries: 3, group: 5}},
			{"not on a page", ring.RegisterPbufRing, bufReg{addr: uint64(uintptr(ptr(mem))) + 16, entries: 4, group: 5}},
			{"4 buffers", ring.RegisterPbufRing, bufReg{addr: uint64(uintptr(ptr(mem))), entries: 4, group: 5}},
			{"the same group", ring.RegisterPbufRing, bufReg{addr: uint64(uintptr(ptr(mem))), entries: 4, group: 5}},
			{"off", ring.UnregisterPbufRing, bufReg{group: 5}},
			{"off again", ring.UnregisterPbufRing, bufReg{group: 5}},
		} {
			_, e := m.kernel.Register(m.ring.FD(), c.op, unsafe.Pointer(&c.reg), 1)
			m.note("buffers, %s: %s", c.name, errno(e))
		}
		_, e := m.kernel.Register(m.ring.FD(), 4711, nil, 0)
		m.note("register 4711: %s", errno(e))
		_, e = m.kernel.Register(9999, 8, nil, 0)
		m.note("register of a bad descriptor: %s", errno(e))
	}},
}

// quietSorted is quiet with the completions in the order of their user data.
func (m *machine) quietSorted(what string) {
	m.Helper()
	m.quiet(what)
	last := m.log[len(m.log)-1]
	head, list, _ := strings.Cut(last, ": ")
	parts := strings.Split(list, ", ")
	slices.Sort(parts)
	m.log[len(m.log)-1] = head + ": " + strings.Join(parts, ", ")
}
