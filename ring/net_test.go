package ring

import (
	"net/netip"
	"strings"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

func TestAcceptReceiveSend(t *testing.T) {
	atLevels(t, Level515, func(h *harness) {
		ours, peer := h.pair()
		if errno := h.kernel.SetNoDelay(ours); errno != 0 {
			h.Errorf("TCP_NODELAY: %v", errno)
		}
		mem := h.memory(64)

		// A receive that must wait, then one that need not.
		h.get(1, func(s *SQE) { s.PrepRecv(ours, pointer(mem), 64, 0) })
		h.quiet()
		h.write(peer, "hello")
		h.want(h.await(1)[0], 1, 5)
		if got := string(mem[:5]); got != "hello" {
			h.Errorf("received %q", got)
		}
		h.write(peer, "again")
		if n := h.ok(func(s *SQE) { s.PrepRecv(ours, pointer(mem), 64, 0) }); string(mem[:n]) != "again" {
			h.Errorf("received %q", mem[:n])
		}

		out := h.text("to the peer")
		if n := h.ok(func(s *SQE) { s.PrepSend(ours, pointer(out), uint32(len(out)), unix.MSG_NOSIGNAL) }); n != len(out) {
			h.Errorf("sent %d", n)
		}
		if got := h.read(peer, len(out)); got != "to the peer" {
			h.Errorf("the peer got %q", got)
		}

		unix.Shutdown(peer, unix.SHUT_WR)
		if n := h.ok(func(s *SQE) { s.PrepRecv(ours, pointer(mem), 64, 0) }); n != 0 {
			h.Errorf("received %d at the end, want 0", n)
		}
	})
}

func TestSendmsg(t *testing.T) {
	atLevels(t, Level515, func(h *harness) {
		ours, peer := h.pair()
		a, b := h.text("header,"), h.text("body")
		iovs := iovecs(h.memory(64), a, b)
		msg := (*unix.Msghdr)(pointer(h.memory(64)))
		msg.Iov = &iovs[0]
		msg.SetIovlen(2)
		if n := h.ok(func(s *SQE) { s.PrepSendmsg(ours, msg, unix.MSG_WAITALL|unix.MSG_NOSIGNAL) }); n != 11 {
			h.Errorf("sent %d", n)
		}
		if got := h.read(peer, 11); got != "header,body" {
			h.Errorf("the peer got %q", got)
		}
	})
}

// iovecs lays iovecs for parts into mem.
func iovecs(mem []byte, parts ...[]byte) []unix.Iovec {
	v := (*[4]unix.Iovec)(pointer(mem))[:len(parts)]
	for i, p := range parts {
		v[i].Base = &p[0]
		v[i].SetLen(len(p))
	}
	return v
}

func TestSendZC(t *testing.T) {
	atLevels(t, Level61, func(h *harness) {
		ours, peer := h.pair()
		out := h.text("no copy")
		h.get(1, func(s *SQE) { s.PrepSendZC(ours, pointer(out), 7, 0, 0) })
		got := h.await(2)
		h.want(got[0], 1, 7)
		if !got[0].More() || got[0].Notif() {
			h.Errorf("first completion has flags %#x, want MORE", got[0].Flags)
		}
		h.want(got[1], 1, 0)
		if got[1].More() || !got[1].Notif() {
			h.Errorf("second completion has flags %#x, want NOTIF", got[1].Flags)
		}
		if s := h.read(peer, 7); s != "no copy" {
			h.Errorf("the peer got %q", s)
		}
	})
}

func TestShutdownAndClose(t *testing.T) {
	atLevels(t, Level515, func(h *harness) {
		listener, at := h.listen()
		peer := h.dial(at)
		ours := h.ok(func(s *SQE) { s.PrepAccept(listener, nil, nil, unix.SOCK_CLOEXEC) })
		mem := h.memory(16)
		h.get(1, func(s *SQE) { s.PrepRecv(ours, pointer(mem), 16, 0) })
		h.quiet()
		h.get(2, func(s *SQE) { s.PrepShutdown(ours, unix.SHUT_RDWR) })
		got := h.await(2)
		h.want(h.byData(got, 1), 1, 0)
		h.want(h.byData(got, 2), 2, 0)
		h.ok(func(s *SQE) { s.PrepClose(ours) })
		if _, err := unix.FcntlInt(uintptr(ours), unix.F_GETFD, 0); err != unix.EBADF {
			h.Errorf("the descriptor is still open: %v", err)
		}
		var p [1]byte
		if n, err := unix.Read(peer, p[:]); n != 0 || err != nil {
			h.Errorf("the peer read %d, %v; want the end", n, err)
		}
	})
}

func TestConnectAndPeerAddress(t *testing.T) {
	atLevels(t, Level515, func(h *harness) {
		listener, at := h.listen()
		peer := h.dial(at)
		sa := (*unix.RawSockaddrInet4)(pointer(h.memory(64)))
		length := (*uint32)(pointer(h.memory(8)))
		*length = unix.SizeofSockaddrInet4
		ours := h.ok(func(s *SQE) {
			s.PrepAccept(listener, unsafe.Pointer(sa), unsafe.Pointer(length), unix.SOCK_CLOEXEC)
		})
		defer unix.Close(ours)
		far, _ := socketName(unix.SYS_GETSOCKNAME, peer)
		if got := h.kernel.PeerAddress(ours); got != far || !got.IsValid() {
			h.Errorf("peer address %s, want %s", got, far)
		}
		if got := netip.AddrPortFrom(netip.AddrFrom4(sa.Addr), networkOrder(sa.Port)); got != far {
			h.Errorf("accept's address %s, want %s", got, far)
		}
		if got := h.kernel.PeerAddress(-1); got.IsValid() {
			h.Errorf("peer address of no socket: %s", got)
		}
	})
}

func TestMultishotAccept(t *testing.T) {
	atLevels(t, Level61, func(h *harness) {
		listener, at := h.listen()
		h.get(1, func(s *SQE) { s.PrepMultishotAccept(listener, nil, nil, unix.SOCK_CLOEXEC) })
		for range 3 {
			peer := h.dial(at)
			c := h.await(1)[0]
			if c.UserData != 1 || c.Res < 0 || !c.More() {
				h.Fatalf("completion %+v, want a descriptor, with MORE", c)
			}
			h.write(peer, "x")
			if got := h.read(int(c.Res), 1); got != "x" {
				h.Errorf("read %q", got)
			}
			unix.Close(int(c.Res))
		}
		h.get(2, func(s *SQE) { s.PrepCancel64(1, 0) })
		got := h.await(2)
		h.want(h.byData(got, 2), 2, 0)
		last := h.byData(got, 1)
		h.wantErrno(last, 1, unix.ECANCELED)
		if last.More() {
			h.Error("a cancelled accept says MORE")
		}
	})
}

func (h *harness) buffers(group uint16, count, size int) *BufferRing {
	h.Helper()
	b, err := NewBufferRing(h.ring, group, count, size, h.memory(count*size))
	if err != nil {
		h.Fatal(err)
	}
	return b
}

// TestMultishotReceive sends more pieces than there are buffers, giving each back.
func TestMultishotReceive(t *testing.T) {
	atLevels(t, Level61, func(h *harness) {
		ours, peer := h.pair()
		b := h.buffers(3, 4, 32)
		h.get(1, func(s *SQE) { s.PrepRecvMultishot(ours, 0, b.Group()) })
		for i := range 100 {
			piece := strings.Repeat(string(rune('a'+i%26)), 1+i%32)
			h.write(peer, piece)
			got := ""
			for len(got) < len(piece) {
				for _, c := range h.await(1) {
					id, ok := c.Buffer()
					if !ok || !c.More() || c.Res <= 0 {
						h.Fatalf("completion %+v, want bytes in a buffer, with MORE", c)
					}
					got += string(b.Buffer(id)[:c.Res])
					b.Recycle(id)
				}
				b.Publish()
			}
			if got != piece {
				h.Fatalf("received %q, want %q", got, piece)
			}
		}
		unix.Shutdown(peer, unix.SHUT_WR)
		c := h.await(1)[0]
		h.want(c, 1, 0)
		if c.More() {
			h.Error("the end of the stream says MORE")
		}
		if err := b.Close(); err != nil {
			h.Error(err)
		}
		if err := b.Close(); err != nil {
			h.Errorf("closing twice: %v", err)
		}
	})
}

func TestBuffersExhausted(t *testing.T) {
	atLevels(t, Level61, func(h *harness) {
		ours, peer := h.pair()
		b := h.buffers(0, 2, 16)
		h.get(1, func(s *SQE) { s.PrepRecvMultishot(ours, 0, 0) })
		all := strings.Repeat("0123456789abcdef", 4)
		h.write(peer, all)
		got := h.await(3)
		seen := ""
		for _, c := range got[:2] {
			id, ok := c.Buffer()
			if !ok || c.Res != 16 || !c.More() {
				h.Fatalf("completion %+v, want a full buffer", c)
			}
			seen += string(b.Buffer(id))
			b.Recycle(id)
		}
		h.wantErrno(got[2], 1, unix.ENOBUFS)
		if _, ok := got[2].Buffer(); ok || got[2].More() {
			h.Errorf("completion %+v, want an end without a buffer", got[2])
		}
		h.quiet() // recycled but not published: still nothing

		b.Publish()
		h.get(2, func(s *SQE) { s.PrepRecvMultishot(ours, 0, 0) })
		for len(seen) < len(all) {
			for _, c := range h.await(1) {
				if id, ok := c.Buffer(); ok {
					seen += string(b.Buffer(id)[:c.Res])
				}
			}
		}
		if seen != all {
			h.Errorf("received %q, want %q", seen, all)
		}
	})
}

func TestReceiveSelectsABuffer(t *testing.T) {
	atLevels(t, Level61, func(h *harness) {
		ours, peer := h.pair()
		b := h.buffers(9, 8, 64)
		for i := range 20 {
			h.get(uint64(i), func(s *SQE) { s.PrepRecvSelect(ours, 0, 0, 9) })
			h.write(peer, "one shot")
			c := h.await(1)[0]
			h.want(c, uint64(i), 8)
			id, ok := c.Buffer()
			if !ok || string(b.Buffer(id)[:8]) != "one shot" {
				h.Fatalf("completion %+v", c)
			}
			b.Recycle(id)
			b.Publish()
		}
	})
}

// TestBufferRingWraps takes the 16-bit tail past its end: buffers of one byte, so
// that one write takes all of them.
func TestBufferRingWraps(t *testing.T) {
	atLevels(t, Level61, func(h *harness) {
		const count = 256
		ours, peer := h.pair()
		h.ring = h.newRing(Options{Entries: 8, CQEntries: 4 * count})
		b := h.buffers(1, count, 1)
		arm := func() { h.get(1, func(s *SQE) { s.PrepRecvMultishot(ours, 0, 1) }) }
		arm()
		for round := range 1<<16/count + 2 {
			text := strings.Repeat(string(rune('a'+round%26)), count)
			h.write(peer, text)
			for n := 0; n < count; {
				for _, c := range h.await(1) {
					id, ok := c.Buffer()
					if !ok {
						h.wantErrno(c, 1, unix.ENOBUFS) // it saw the end of the ring before the end of the stream
						b.Publish()
						arm()
						continue
					}
					if got := b.Buffer(id)[0]; got != text[0] || c.Res != 1 {
						h.Fatalf("round %d: byte %q in completion %+v, want %q", round, got, c, text[0])
					}
					b.Recycle(id)
					n++
				}
			}
			b.Publish()
		}
	})
}

func TestBufferRingIsChecked(t *testing.T) {
	atLevels(t, Level515, func(h *harness) {
		mem := h.memory(4096)
		for _, c := range []struct {
			count, size int
		}{{0, 16}, {3, 16}, {1 << 16, 0}, {4, 0}, {4, -1}, {8, 1024}, {-4, 4}} {
			if _, err := NewBufferRing(h.ring, 1, c.count, c.size, mem); err == nil {
				h.Errorf("%d buffers of %d in 4096 bytes were accepted", c.count, c.size)
			}
		}
		_, err := NewBufferRing(h.ring, 1, 4, 16, mem)
		if h.level == Level515 {
			mustBe(h, err, ErrUnsupported)
			return
		}
		if err != nil {
			h.Error(err)
		}
		if _, err := NewBufferRing(h.ring, 1, 4, 16, mem); err == nil {
			h.Error("a group was registered twice")
		}
	})
}

func TestPollOneShotAndMultishot(t *testing.T) {
	atLevels(t, Level515, func(h *harness) {
		ours, peer := h.pair()
		h.get(1, func(s *SQE) { s.PrepPollAdd(ours, unix.POLLIN) })
		h.quiet()
		h.write(peer, "x")
		c := h.await(1)[0]
		if c.UserData != 1 || c.Res&unix.POLLIN == 0 || c.More() {
			h.Errorf("completion %+v, want POLLIN, once", c)
		}
		h.read(ours, 1)

		h.get(2, func(s *SQE) { s.PrepPollMultishot(ours, unix.POLLIN) })
		for range 3 {
			h.write(peer, "x")
			if c := h.await(1)[0]; c.Res&unix.POLLIN == 0 || !c.More() {
				h.Errorf("completion %+v, want POLLIN, with MORE", c)
			}
			h.read(ours, 1)
		}
		h.get(3, func(s *SQE) { s.PrepPollRemove(2) })
		got := h.await(2)
		h.wantErrno(h.byData(got, 2), 2, unix.ECANCELED)
		h.want(h.byData(got, 3), 3, 0)
		h.wantErrno(h.one(func(s *SQE) { s.PrepPollRemove(777) }), 0x0123456789abcdef, unix.ENOENT)
	})
}

func TestCancel(t *testing.T) {
	atLevels(t, Level515, func(h *harness) {
		ours, _ := h.pair()
		mem := h.memory(16)
		recv := func(s *SQE) { s.PrepRecv(ours, pointer(mem), 16, 0) }
		h.get(1, recv)
		h.quiet()
		h.get(2, func(s *SQE) { s.PrepCancel64(1, 0) })
		got := h.await(2)
		h.wantErrno(h.byData(got, 1), 1, unix.ECANCELED)
		h.want(h.byData(got, 2), 2, 0)

		h.wantErrno(h.one(func(s *SQE) { s.PrepCancel64(1, 0) }), 0x0123456789abcdef, unix.ENOENT)

		if h.level < Level61 {
			return
		}
		h.get(3, recv)
		h.get(4, recv)
		h.quiet()
		h.get(5, func(s *SQE) { s.PrepCancelFD(ours, AsyncCancelAll) })
		got = h.await(3)
		h.wantErrno(h.byData(got, 3), 3, unix.ECANCELED)
		h.wantErrno(h.byData(got, 4), 4, unix.ECANCELED)
		h.want(h.byData(got, 5), 5, 2)
	})
}
