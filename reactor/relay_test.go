package reactor

import (
	"encoding/binary"
	"fmt"
	"net"
	"testing"
	"time"

	"slipstream/ring"

	"golang.org/x/sys/unix"
)

// relayServer sends what is published, frames whose first byte is 'p', to the
// requests that wait for it, all others. The bytes of publication i are those of
// the file from i*size on, behind the 'p'. Each answer is 'm', the bytes, 'e'.
type relayServer struct {
	service
	file    *testFile
	size    int
	at      int
	waiting []*Request
	publish []*Request
	sockets int // bytes of the sockets' send buffers; 0: the default
}

func newRelayServer(f *testFile, size int) *relayServer {
	s := &relayServer{file: f, size: size}
	s.service.opened = func(c *Conn) {
		if s.sockets > 0 {
			unix.SetsockoptInt(c.fd, unix.SOL_SOCKET, unix.SO_SNDBUF, s.sockets)
		}
	}
	s.service.request = func(r *Request) Disposition {
		if len(r.Payload) > 0 && r.Payload[0] == 'p' {
			s.publish = append(s.publish, r)
		} else {
			s.waiting = append(s.waiting, r)
		}
		return Hold
	}
	s.service.endTurn = func(c *Core) {
		for _, p := range s.publish {
			s.relay(p)
		}
		s.publish = s.publish[:0]
		if c.Draining() {
			for _, r := range s.waiting {
				r.FinishSilent()
			}
			s.waiting = s.waiting[:0]
		}
	}
	return s
}

// relay answers those who wait, in the two pieces that a batch might come in, then
// the publisher.
func (s *relayServer) relay(p *Request) {
	half := s.size / 2
	one, ok := p.Piece(p.Payload[1 : 1+half])
	two, both := p.Piece(p.Payload[1+half:])
	if !ok || !both {
		panic("a payload is not in its block")
	}
	for _, r := range s.waiting {
		b := r.Conn.Core.Arena.Alloc(6)
		head := binary.BigEndian.AppendUint32(b.Bytes()[:0], uint32(s.size+2))
		_ = append(head, 'm', 'e')
		b.Retain()
		r.AddBlock(b, 0, 5)
		s.file.refs.Add(2)
		r.AddRelay(one, s.file, int64(s.at), Purpose{})
		r.AddRelay(two, s.file, int64(s.at+half), Purpose{})
		r.AddBlock(b, 5, 6)
		r.Finish()
	}
	s.waiting = s.waiting[:0]
	s.at += s.size
	echoFrame(p)
}

func (s *relayServer) publication(i int) []byte {
	b := binary.BigEndian.AppendUint32(nil, uint32(1+s.size))
	return append(append(b, 'p'), s.file.data[i*s.size:(i+1)*s.size]...)
}

// readRelayed reads the answers to subscriptions that saw publications from first on.
func (s *relayServer) readRelayed(c net.Conn, first, n int) error {
	c.SetReadDeadline(time.Now().Add(30 * time.Second))
	buf := make([]byte, 4)
	for i := first; i < first+n; i++ {
		got, err := readFrame(c, buf)
		if err != nil {
			return fmt.Errorf("publication %d: %w", i, err)
		}
		want := "m" + string(s.file.data[i*s.size:(i+1)*s.size]) + "e"
		if string(got[4:]) != want {
			return fmt.Errorf("publication %d differs", i)
		}
		buf = got
	}
	return nil
}

func subscriptions(n int) []byte {
	var b []byte
	for range n {
		b = append(b, frame(1, 10)...)
	}
	return b
}

// TestRelay has many connections wait for what one sends: all of them get it from
// the block that it came in, whether that is a provided buffer or the connection's.
func TestRelay(t *testing.T) {
	levels(t, func(t *testing.T, level ring.Level) {
		for _, size := range []int{64, 5_000, 60_000} {
			const subscribers, rounds = 64, 20
			svc := newRelayServer(newTestFile(t, size*rounds), size)
			s := serve(t, Config{Level: level}, svc)
			var all []*net.TCPConn
			for range subscribers {
				all = append(all, s.dial())
			}
			publisher := s.dial()
			for i := range rounds {
				for _, c := range all {
					c.Write(subscriptions(1))
				}
				s.eventually(0, "all wait", func(*Core) bool { return len(svc.waiting) == subscribers })
				if err := exchange(publisher, [][]byte{svc.publication(i)}, 1); err != nil {
					t.Fatal(err)
				}
				for _, c := range all {
					if err := svc.readRelayed(c, i, 1); err != nil {
						t.Fatal(err)
					}
				}
			}
			want := uint64(subscribers * rounds * size)
			if st := s.stats(0); st.Rungs[RungRelay].Bytes+st.FileBytesSent != want || st.Rungs[RungRelay].Bytes < want*9/10 {
				t.Errorf("%d bytes of %d were relayed, %d left from the file", st.Rungs[RungRelay].Bytes, want, st.FileBytesSent)
			}
			if refs := svc.file.refs.Load(); refs != 0 {
				t.Errorf("%d references to the file are left", refs)
			}
		}
	})
}

// TestRelayToThoseWhoDoNotRead has a thousand connections wait that never read: the
// blocks that the bytes came in are free again all the same, the publisher goes on
// with few of them, and those who read after all get the right bytes.
func TestRelayToThoseWhoDoNotRead(t *testing.T) {
	levels(t, func(t *testing.T, level ring.Level) {
		const subscribers, rounds, size = 1000, 20, 4_000
		svc := newRelayServer(newTestFile(t, size*rounds), size)
		svc.sockets = 4 << 10
		s := serve(t, Config{Level: level, Limits: Limits{ProvidedBuffers: 16, ProvidedBufferBytes: 8 << 10}}, svc)
		var all []*net.TCPConn
		for range subscribers {
			all = append(all, s.dialSlow(2<<10))
		}
		for _, c := range all {
			c.Write(subscriptions(rounds))
		}
		s.eventually(0, "all wait", func(*Core) bool { return len(svc.waiting) == subscribers })
		publisher := s.dial()
		for i := range rounds {
			if err := exchange(publisher, [][]byte{svc.publication(i)}, 1); err != nil {
				t.Fatal(err)
			}
			s.eventually(0, "all wait again", func(*Core) bool { return len(svc.waiting) == subscribers || i == rounds-1 })
		}
		s.on(0, func(c *Core) {
			if c.Stats.RelaysMissed == 0 || c.Stats.Rungs[RungRelay].Bytes == 0 {
				t.Errorf("%d bytes were relayed, %d pieces were not", c.Stats.Rungs[RungRelay].Bytes, c.Stats.RelaysMissed)
			}
			for _, conn := range c.conns {
				for seg := conn.send.first; seg != nil; seg = seg.next {
					if seg.relayed != nil {
						t.Error("an answer that has not left keeps a receive block")
					}
				}
			}
			if c.provided != nil && c.provided.home < len(c.provided.blocks)/2 {
				t.Errorf("%d of %d provided buffers are home", c.provided.home, len(c.provided.blocks))
			}
		})
		for _, c := range all[:100] {
			if err := svc.readRelayed(c, 0, rounds); err != nil {
				t.Fatal(err)
			}
		}
		for _, c := range all[100:] {
			c.SetLinger(0)
			c.Close()
		}
		s.eventually(0, "references are given back", func(*Core) bool { return svc.file.refs.Load() == 0 })
	})
}

// TestRelayInOrder finishes a response that could be relayed while an earlier
// request of the connection has no answer yet: it leaves behind it, from the file.
func TestRelayInOrder(t *testing.T) {
	f := newTestFile(t, 3000)
	svc := newRelayServer(f, 3000)
	var first *Request
	take := svc.service.request
	svc.service.request = func(r *Request) Disposition {
		if len(r.Payload) == 1 {
			first = r
			return Next
		}
		return take(r)
	}
	s := serve(t, Config{}, svc)
	c := s.dial()
	c.Write(frame(1, 1))
	c.Write(subscriptions(1))
	s.eventually(0, "it waits", func(*Core) bool { return len(svc.waiting) == 1 })
	if err := exchange(s.dial(), [][]byte{svc.publication(0)}, 1); err != nil {
		t.Fatal(err)
	}
	s.on(0, func(*Core) { echoFrame(first) })
	buf, err := readFrame(c, make([]byte, 4))
	if err != nil || len(buf) != 5 {
		t.Fatalf("the first answer has %d bytes: %v", len(buf), err)
	}
	if err := svc.readRelayed(c, 0, 1); err != nil {
		t.Fatal(err)
	}
	if st := s.stats(0); st.RelaysMissed != 2 || st.FileBytesSent != 3000 || st.Rungs[RungRelay].Bytes != 0 {
		t.Errorf("missed %d pieces, %d bytes left from the file, %d relayed", st.RelaysMissed, st.FileBytesSent, st.Rungs[RungRelay].Bytes)
	}
}
