package sim

import (
	"golang.org/x/sys/unix"

	"slipstream/ring"
)

var socketScenarios = []scenario{
	{"accept", 0, func(m *machine) {
		l, at := m.listen()
		addr := m.memory(128)
		length := m.memory(8)
		length[0] = 128
		m.get(1, func(s *ring.SQE) { s.PrepAccept(l, ptr(addr), ptr(length), unix.SOCK_CLOEXEC) })
		m.quiet("nobody yet")
		p := m.dial(at)
		c := m.await(1)[0]
		m.note("accepted %v, address of family %d in %d bytes", c.Res > 0, addr[0], length[0])
		m.note("peer address is there: %v", m.kernel.PeerAddress(int(c.Res)).IsValid())
		m.note("no delay: %s", errno(m.kernel.SetNoDelay(int(c.Res))))
		m.note("no delay on a file: %s", errno(m.kernel.SetNoDelay(m.file("f", "x"))))
		m.note("no delay on nothing: %s", errno(m.kernel.SetNoDelay(9999)))
		m.note("close: %s", errno(m.kernel.CloseNow(int(c.Res))))
		m.note("close again: %s", errno(m.kernel.CloseNow(int(c.Res))))
		m.note("the peer sees it %s", p.end())
		m.get(1, func(s *ring.SQE) { s.PrepAccept(l, nil, nil, unix.SOCK_CLOEXEC) })
		m.quiet("waiting")
		m.kernel.SetNonblock(l, true)
		m.get(2, func(s *ring.SQE) { s.PrepAccept(l, nil, nil, unix.SOCK_CLOEXEC) })
		m.quiet("on a nonblocking listener")
		m.get(3, func(s *ring.SQE) { s.PrepCancel64(2, 0) })
		m.quietSorted("cancelled")
		m.kernel.SetNonblock(l, false)
		m.get(2, func(s *ring.SQE) { s.PrepCancel64(1, 0) })
		m.told("cancelled", 2)
		m.one("bad flags", func(s *ring.SQE) { s.PrepAccept(l, nil, nil, 1) })
		m.get(1, func(s *ring.SQE) { s.PrepAccept(l, nil, nil, unix.SOCK_CLOEXEC) })
		m.quiet("waiting")
		m.get(2, func(s *ring.SQE) { s.PrepShutdown(l, unix.SHUT_RD) })
		m.told("listener shut down", 2)
	}},
	{"accept, many", ring.Level61, func(m *machine) {
		l, at := m.listen()
		m.get(1, func(s *ring.SQE) { s.PrepMultishotAccept(l, nil, nil, unix.SOCK_CLOEXEC) })
		for range 3 {
			m.dial(at)
			c := m.await(1)[0]
			m.note("accepted %v more %v", c.Res > 0, c.More())
		}
		m.get(2, func(s *ring.SQE) { s.PrepCancel64(1, 0) })
		m.told("cancelled", 2)
	}},
	{"refused", 0, func(m *machine) {
		l, at := m.listen()
		_, _, err := m.kernel.Listen(at, 8, false)
		m.note("the same address: %s", errno(err))
		_, _, err = m.kernel.Listen(at, 8, true)
		m.note("the same, shared: %s", errno(err))
		m.note("close: %s", errno(m.kernel.CloseNow(l)))
		m.note("not accepted, not reset")
	}},
	{"receive", 0, func(m *machine) {
		ours, peer := m.pair()
		mem := m.memory(4096)
		recv := func(n uint32, flags uint32) func(s *ring.SQE) {
			return func(s *ring.SQE) { s.PrepRecv(ours, ptr(mem), n, flags) }
		}
		m.get(1, recv(64, 0))
		m.quiet("nothing yet")
		peer.send("h")
		m.told("one byte", 1)
		peer.send("hello")
		m.one("peek", recv(2, unix.MSG_PEEK))
		m.note("%q", mem[:2])
		m.one("without waiting", recv(5, unix.MSG_DONTWAIT))
		m.note("%q", mem[:5])
		m.one("nothing, without waiting", recv(5, unix.MSG_DONTWAIT))
		m.note("nonblock: %s", errno(m.kernel.SetNonblock(ours, true)))
		m.get(1, recv(5, 0))
		m.quiet("a nonblocking socket does not matter to a receive")
		m.get(2, func(s *ring.SQE) { s.PrepCancel64(1, 0) })
		m.told("cancelled", 2)
		m.get(1, func(s *ring.SQE) { s.PrepRead(ours, ptr(mem), 5, 0) })
		m.quiet("nor to a read")
		m.get(2, func(s *ring.SQE) { s.PrepCancel64(1, 0) })
		m.told("cancelled", 2)
		m.one("nor to a poll", func(s *ring.SQE) { s.PrepPollAdd(ours, unix.POLLOUT) })
		m.kernel.SetNonblock(ours, false)
		if m.level >= ring.Level61 {
			m.get(1, recv(6, unix.MSG_WAITALL))
			peer.send("abc")
			m.quiet("half of it")
			peer.send("def")
			m.told("whole", 1)
			m.note("%q", mem[:6])
			m.get(1, recv(6, unix.MSG_WAITALL)).Flags = ring.SQEIOLink
			m.get(2, func(s *ring.SQE) { s.PrepNop() })
			peer.send("xy")
			m.quiet("half of it")
			peer.closeWrite()
			m.told("cut short", 2)
		} else {
			peer.closeWrite()
		}
		m.one("the end", recv(64, 0))
		m.one("still", recv(64, 0))
		m.one("read(2) too", func(s *ring.SQE) { s.PrepRead(ours, ptr(mem), 10, 0) })
		m.one("a bad address", func(s *ring.SQE) { s.PrepSend(ours, nil, 5, unix.MSG_NOSIGNAL) })
		m.note("connected: %v", m.kernel.PeerAddress(ours).IsValid())
		m.note("the peer sees it %s", peer.end())
	}},
	{"receive after reset", 0, func(m *machine) {
		mem := m.memory(4096)
		recv := func(fd int) func(s *ring.SQE) {
			return func(s *ring.SQE) { s.PrepRecv(fd, ptr(mem), 64, 0) }
		}
		ours, peer := m.pair()
		m.get(1, recv(ours))
		m.quiet("waits")
		peer.reset()
		m.told("reset", 1)
		m.one("then the end", recv(ours))
		m.note("connected: %v", m.kernel.PeerAddress(ours).IsValid())
		m.one("send", func(s *ring.SQE) { s.PrepSend(ours, ptr(mem), 5, unix.MSG_NOSIGNAL) })
		m.one("shutdown", func(s *ring.SQE) { s.PrepShutdown(ours, unix.SHUT_WR) })

		ours, peer = m.pair()
		peer.reset()
		m.one("send first", func(s *ring.SQE) { s.PrepSend(ours, ptr(mem), 5, unix.MSG_NOSIGNAL) })
		m.one("send again", func(s *ring.SQE) { s.PrepSend(ours, ptr(mem), 5, unix.MSG_NOSIGNAL) })
		m.one("receive", recv(ours))

		ours, peer = m.pair()
		m.get(1, func(s *ring.SQE) { s.PrepPollAdd(ours, unix.POLLIN|unix.POLLRDHUP) })
		m.quiet("poll")
		peer.reset()
		m.told("poll of a reset", 1)

		ours, peer = m.pair()
		peer.closeWrite()
		peer.reset()
		m.one("after an end and a reset", recv(ours))
		m.one("and then", recv(ours))
	}},
	{"receive into provided buffers", ring.Level61, func(m *machine) {
		mem := m.memory(4096)
		group, err := ring.NewBufferRing(m.ring, 3, 4, 8, mem)
		if err != nil {
			m.Fatal(err)
		}
		ours, peer := m.pair()
		m.get(1, func(s *ring.SQE) { s.PrepRecvMultishot(ours, 0, 3) })
		m.quiet("armed")
		take := func(n int) {
			for _, c := range m.await(n) {
				id, ok := c.Buffer()
				text := ""
				if ok {
					text = string(group.Buffer(id)[:c.Res])
					group.Recycle(id)
				}
				m.note("%s %q nonempty %v", result(c), text, c.Flags&ring.CQEFSockNonempty != 0 && c.Res == 8)
			}
		}
		peer.send("a")
		take(1)
		peer.send("bc")
		take(1)
		group.Publish()
		peer.send("12345678")
		c := m.await(1)[0]
		m.note("a full buffer: %s", result(c))
		id, _ := c.Buffer()
		group.Recycle(id)
		group.Publish()
		peer.closeWrite()
		take(1)
		m.one("again, after the end", func(s *ring.SQE) { s.PrepRecvMultishot(ours, 0, 3) })
		m.one("once, after the end", func(s *ring.SQE) { s.PrepRecvSelect(ours, 0, 0, 3) })

		ours, peer = m.pair()
		m.one("no such group", func(s *ring.SQE) { s.PrepRecvMultishot(ours, 0, 9) })
		m.one("without buffers", func(s *ring.SQE) { s.PrepRecvMultishot(ours, 0, 3); s.Flags = 0 })
		m.one("whole", func(s *ring.SQE) { s.PrepRecvMultishot(ours, unix.MSG_WAITALL, 3) })
		m.one("send into a chosen buffer", func(s *ring.SQE) { s.PrepNop(); s.Flags = ring.SQEBufferSelect })
		m.get(1, func(s *ring.SQE) { s.PrepRecvMultishot(ours, 0, 3) })
		m.quiet("armed")
		m.get(2, func(s *ring.SQE) { s.PrepCancel64(1, 0) })
		m.told("cancelled", 2)
		m.get(1, func(s *ring.SQE) { s.PrepRecvSelect(ours, 3, 0, 3) })
		m.quiet("once, at most 3 bytes")
		peer.send("wxyz")
		c = m.told("three", 1)[0]
		id, _ = c.Buffer()
		m.note("%q", group.Buffer(id)[:3])
		if m.level < ring.LevelNative {
			return // the real 6.1 asks for a buffer before it knows of bytes, later kernels do not
		}
		m.get(1, func(s *ring.SQE) { s.PrepRecvMultishot(ours, 0, 3) })
		got := ""
		for range 3 {
			c := m.await(1)[0]
			id, _ := c.Buffer()
			m.note("%s", result(c))
			got += string(group.Buffer(id)[:c.Res])
			peer.send("12345678")
		}
		m.note("%q", got)
		c = m.await(1)[0]
		m.note("all buffers are out: %s", result(c))
		m.one("armed without buffers", func(s *ring.SQE) { s.PrepRecvMultishot(ours, 0, 3) })
		group.Close()
	}},
	{"send", 0, func(m *machine) {
		ours, peer := m.pair()
		out := m.text("to the peer")
		m.one("send", func(s *ring.SQE) { s.PrepSend(ours, ptr(out), 11, unix.MSG_NOSIGNAL) })
		m.note("%q", peer.read(11))
		iovs := (*[2]unix.Iovec)(ptr(m.memory(64)))
		iovs[0] = unix.Iovec{Base: &out[0], Len: 3}
		iovs[1] = unix.Iovec{Base: &out[7], Len: 4}
		msg := (*unix.Msghdr)(ptr(m.memory(64)))
		msg.Iov, msg.Iovlen = &iovs[0], 2
		m.one("sendmsg", func(s *ring.SQE) { s.PrepSendmsg(ours, msg, unix.MSG_NOSIGNAL) })
		m.note("%q", peer.read(7))
		n, e := m.kernel.SendNow(ours, iovs[:], true)
		m.note("send now: %d %s", n, errno(e))
		m.one("write(2)", func(s *ring.SQE) { s.PrepWrite(ours, ptr(out), 2, 0) })
		m.note("%q", peer.read(9))
		m.one("nothing", func(s *ring.SQE) { s.PrepSend(ours, ptr(out), 0, unix.MSG_NOSIGNAL) })
		m.one("shutdown", func(s *ring.SQE) { s.PrepShutdown(ours, unix.SHUT_WR) })
		m.note("the peer sees it %s", peer.end())
		m.one("send after shutdown", func(s *ring.SQE) { s.PrepSend(ours, ptr(out), 11, unix.MSG_NOSIGNAL) })
		n, e = m.kernel.SendNow(ours, iovs[:], true)
		m.note("send now after shutdown: %d %s", n, errno(e))
		n, e = m.kernel.SendNow(9999, iovs[:], true)
		m.note("send now on nothing: %d %s", n, errno(e))
		n, e = m.kernel.SendNow(m.file("f", ""), iovs[:], true)
		m.note("send now on a file: %d %s", n, errno(e))
		peer.send("still here")
		mem := m.memory(64)
		m.one("receive after shutdown", func(s *ring.SQE) { s.PrepRecv(ours, ptr(mem), 10, unix.MSG_WAITALL) })
		m.one("shutdown of both", func(s *ring.SQE) { s.PrepShutdown(ours, unix.SHUT_RDWR) })
		m.one("receive", func(s *ring.SQE) { s.PrepRecv(ours, ptr(mem), 10, 0) })
	}},
	{"send to one that does not read", 0, func(m *machine) {
		ours, peer := m.pair()
		peer.pause()
		const big = 64 << 10
		out := m.memory(big)
		iovs := (*[1]unix.Iovec)(ptr(m.memory(64)))
		iovs[0] = unix.Iovec{Base: &out[0], Len: big}
		m.kernel.SetNonblock(ours, true)
		const calm = 100 // half a second on Linux, whose TCP makes room for a little more when it has probed a closed window
		full := 0
		for tries := 0; full < calm && tries < 100000; tries++ {
			if _, e := m.kernel.SendNow(ours, iovs[:], false); e != unix.EAGAIN {
				full = 0
				continue
			}
			full++
			m.settle()
		}
		m.note("full: %v", full == calm)
		file := m.file("f", "file bytes")
		n, e := m.kernel.SendFileNow(ours, file, 0, 10)
		m.note("send file now: %d %s", n, errno(e))
		m.get(1, func(s *ring.SQE) { s.PrepSend(ours, ptr(out), big, unix.MSG_NOSIGNAL) })
		m.quiet("ring send on a nonblocking socket")
		m.get(2, func(s *ring.SQE) { s.PrepCancel64(1, 0) })
		m.told("cancelled", 2)
		m.kernel.SetNonblock(ours, false)
		m.get(1, func(s *ring.SQE) { s.PrepPollAdd(ours, unix.POLLOUT) })
		m.quiet("a poll for room waits")
		peer.drain()
		m.told("room", 1)
		m.get(1, func(s *ring.SQE) { s.PrepCancel64(7, 0) })
		m.told("nothing left", 1)
	}},
	{"send file", 0, func(m *machine) {
		ours, peer := m.pair()
		fd := m.file("f", "0123456789")
		m.kernel.SetNonblock(ours, true)
		for _, c := range []struct {
			off int64
			n   int
		}{{0, 4}, {4, 100}, {10, 5}, {50, 5}, {0, 0}} {
			n, e := m.kernel.SendFileNow(ours, fd, c.off, c.n)
			m.note("at %d, %d: %d %s", c.off, c.n, n, errno(e))
		}
		m.note("%q", peer.read(10))
		_, e := m.kernel.SendFileNow(9999, fd, 0, 4)
		m.note("to nothing: %s", errno(e))
		_, e = m.kernel.SendFileNow(ours, 9999, 0, 4)
		m.note("from nothing: %s", errno(e))
		peer.reset()
		_, e = m.kernel.SendFileNow(ours, fd, 0, 4)
		m.note("after a reset: %s", errno(e))
		_, e = m.kernel.SendFileNow(ours, fd, 0, 4)
		m.note("again: %s", errno(e))
	}},
	{"zero copy", ring.Level61, func(m *machine) {
		ours, peer := m.pair()
		out := m.text("no copy")
		m.get(1, func(s *ring.SQE) { s.PrepSendZC(ours, ptr(out), 7, unix.MSG_NOSIGNAL, 0) })
		m.told("two completions", 2)
		m.note("%q", peer.read(7))
	}},
	{"close", 0, func(m *machine) {
		mem := m.memory(64)
		ours, peer := m.pair()
		m.one("close", func(s *ring.SQE) { s.PrepClose(ours) })
		m.note("the peer sees it %s", peer.end())

		ours, peer = m.pair()
		peer.send("unread")
		m.note("close with bytes unread: %s", errno(m.kernel.CloseNow(ours)))
		m.note("the peer sees it %s", peer.end())

		ours, peer = m.pair()
		m.get(1, func(s *ring.SQE) { s.PrepRecv(ours, ptr(mem), 8, 0) })
		m.quiet("a receive waits")
		m.note("close under it: %s", errno(m.kernel.CloseNow(ours)))
		m.note("the peer sees it %s", peer.end())
		peer.send("x")
		m.told("it still receives", 1)
		m.note("the peer sees it %s", peer.end())
	}},
	{"poll", 0, func(m *machine) {
		ours, peer := m.pair()
		mem := m.memory(64)
		m.one("writable", func(s *ring.SQE) { s.PrepPollAdd(ours, unix.POLLIN|unix.POLLOUT) })
		m.get(1, func(s *ring.SQE) { s.PrepPollAdd(ours, unix.POLLIN) })
		m.quiet("not readable")
		peer.send("x")
		m.told("readable", 1)
		m.get(1, func(s *ring.SQE) { s.PrepPollAdd(ours, unix.POLLIN|unix.POLLRDHUP) })
		m.told("at once", 1)
		m.one("receive", func(s *ring.SQE) { s.PrepRecv(ours, ptr(mem), 8, 0) })
		m.get(1, func(s *ring.SQE) { s.PrepPollAdd(ours, unix.POLLIN|unix.POLLRDHUP) })
		m.quiet("not readable")
		peer.closeWrite()
		m.told("ended", 1)
		m.one("shut down both", func(s *ring.SQE) { s.PrepShutdown(ours, unix.SHUT_WR) })
		m.one("hung up", func(s *ring.SQE) { s.PrepPollAdd(ours, unix.POLLIN) })
		fd := m.file("f", "x")
		m.one("a file", func(s *ring.SQE) { s.PrepPollAdd(fd, unix.POLLIN|unix.POLLOUT) })
		l, at := m.listen()
		m.get(1, func(s *ring.SQE) { s.PrepPollAdd(l, unix.POLLIN) })
		m.quiet("a listener")
		m.dial(at)
		m.told("someone is there", 1)
		m.get(1, func(s *ring.SQE) { s.PrepPollAdd(ours, unix.POLLPRI) })
		m.told("never asked for, told all the same", 1)
	}},
	{"splice", 0, func(m *machine) {
		fd := m.file("f", "0123456789")
		ours, peer := m.pair()
		r, w := m.pipe()
		m.one("file to pipe", func(s *ring.SQE) { s.PrepSplice(fd, 2, w, ring.CurrentPosition, 5, 0) })
		m.one("pipe to socket", func(s *ring.SQE) { s.PrepSplice(r, ring.CurrentPosition, ours, ring.CurrentPosition, 5, 0) })
		m.note("%q", peer.read(5))
		m.one("file to socket", func(s *ring.SQE) { s.PrepSplice(fd, 0, ours, ring.CurrentPosition, 5, 0) })
		m.one("an offset for a pipe", func(s *ring.SQE) { s.PrepSplice(fd, 0, w, 3, 5, 0) })
		m.one("nothing there, not waiting", func(s *ring.SQE) {
			s.PrepSplice(r, ring.CurrentPosition, ours, ring.CurrentPosition, 5, unix.SPLICE_F_NONBLOCK)
		})
		m.one("past the end", func(s *ring.SQE) { s.PrepSplice(fd, 100, w, ring.CurrentPosition, 5, 0) })
		m.one("from nothing", func(s *ring.SQE) { s.PrepSplice(9999, 0, w, ring.CurrentPosition, 5, 0) })
		m.get(1, func(s *ring.SQE) { s.PrepSplice(fd, 6, w, ring.CurrentPosition, 50, 0) }).Flags = ring.SQEIOLink
		m.get(2, func(s *ring.SQE) { s.PrepSplice(r, ring.CurrentPosition, ours, ring.CurrentPosition, 50, 0) })
		m.told("a short splice breaks a link, and leaves bytes in the pipe", 2)
		mem := m.memory(64)
		m.one("which are there", func(s *ring.SQE) { s.PrepRead(r, ptr(mem), 64, 0) })
		m.note("%q", string(mem[:4]))
	}},
}
