package reactor

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"slipstream/ring"
)

// testFile is a counted File.
type testFile struct {
	file  *os.File
	data  []byte
	refs  atomic.Int64
	ended atomic.Bool
}

func (f *testFile) FD() int          { return int(f.file.Fd()) }
func (f *testFile) Observed() uint32 { return 0 }
func (f *testFile) StreamFD() int    { return f.FD() }
func (f *testFile) EndedEarly()      { f.ended.Store(true) }
func (f *testFile) Readable() int64  { return int64(len(f.data)) }
func (f *testFile) Retain()          { f.refs.Add(1) }
func (f *testFile) Release()         { f.refs.Add(-1) }

func newTestFile(t *testing.T, n int) *testFile {
	t.Helper()
	file, err := os.Create(t.TempDir() + "/log")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { file.Close() })
	f := &testFile{file: file, data: frame(77, n)[4:]}
	if _, err := file.Write(f.data); err != nil {
		t.Fatal(err)
	}
	return f
}

// fileServer answers a request of (offset, length) pairs with those ranges of a
// file, a marker byte before each and one after the last. An odd number of
// pairs is answered at the end of the turn, none with one byte from memory.
type fileServer struct {
	service
	file  *testFile
	later []*Request
}

func newFileServer(f *testFile) *fileServer {
	s := &fileServer{file: f}
	s.service.request = func(r *Request) Disposition {
		if len(r.Payload)/16%2 == 1 {
			s.later = append(s.later, r)
		} else {
			s.answer(r)
		}
		return Next
	}
	s.service.endTurn = func(*Core) {
		for _, r := range s.later {
			s.answer(r)
		}
		s.later = s.later[:0]
	}
	return s
}

func (s *fileServer) answer(r *Request) {
	p := r.Payload
	b := r.Conn.Core.Arena.Alloc(4 + len(p)/16 + 1)
	total := 1
	for i := 0; i < len(p); i += 16 {
		total += 1 + int(binary.BigEndian.Uint64(p[i+8:]))
	}
	head := binary.BigEndian.AppendUint32(b.Bytes()[:0], uint32(total))
	from := 0
	for i := 0; i < len(p); i += 16 {
		head = append(head, 'm')
		b.Retain()
		r.AddBlock(b, from, len(head))
		from = len(head)
		s.file.refs.Add(1)
		r.AddFile(s.file, int64(binary.BigEndian.Uint64(p[i:])), int(binary.BigEndian.Uint64(p[i+8:])), Purpose{})
	}
	head = append(head, 'e')
	r.AddBlock(b, from, len(head))
	r.Finish()
}

// fileExchange asks for ranges, pipelined, and checks the answers.
func fileExchange(c *net.TCPConn, f *testFile, asks int, seed uint64, pause time.Duration) error {
	r := rand.New(rand.NewPCG(seed, 21))
	var out []byte
	var want [][]byte
	for range asks {
		var ask, answer []byte
		for range r.IntN(4) {
			off := r.IntN(len(f.data))
			n := r.IntN(min(len(f.data)-off, 1<<20) + 1)
			if r.IntN(3) == 0 {
				n = min(n, 100)
			}
			ask = binary.BigEndian.AppendUint64(ask, uint64(off))
			ask = binary.BigEndian.AppendUint64(ask, uint64(n))
			answer = append(append(answer, 'm'), f.data[off:off+n]...)
		}
		out = binary.BigEndian.AppendUint32(out, uint32(len(ask)))
		out = append(out, ask...)
		want = append(want, append(answer, 'e'))
	}
	go c.Write(out)
	buf := make([]byte, 4)
	c.SetReadDeadline(time.Now().Add(60 * time.Second))
	for i, w := range want {
		got, err := readFrame(c, buf)
		if err != nil {
			return fmt.Errorf("answer %d: %w", i, err)
		}
		if string(got[4:]) != string(w) {
			return fmt.Errorf("answer %d of %d bytes differs", i, len(w))
		}
		buf = got
		time.Sleep(pause)
	}
	return nil
}

// TestFileResponses mixes file ranges and bytes, pipelined, to fast and slow
// readers, on connections whose receives keep working in between.
func TestFileResponses(t *testing.T) {
	f := newTestFile(t, 3<<20)
	levels(t, func(t *testing.T, level ring.Level) {
		s := serve(t, Config{Level: level, Limits: Limits{DirectIdleNanos: int64(3 * time.Millisecond)}}, newFileServer(f))
		var wait sync.WaitGroup
		for i := range 6 {
			c := s.dial()
			wait.Go(func() {
				for round := range 6 {
					if err := fileExchange(c, f, 12, uint64(i*100+round), time.Duration(i%2)*time.Millisecond); err != nil {
						t.Errorf("connection %d, round %d: %v", i, round, err)
						return
					}
					time.Sleep(time.Duration(round) * time.Millisecond)
				}
			})
		}
		wait.Wait()
		stats := s.stats(0)
		t.Logf("%d sends now, %d of them blocked, %d bytes of files", stats.SendsNow, stats.SendsBlocked, stats.FileBytesSent)
		if stats.FileBytesSent == 0 || stats.SendsBlocked == 0 {
			t.Error("neither files nor full sockets were tried")
		}
		s.stop()
		if f.refs.Load() != 0 {
			t.Errorf("%d references to the file are left", f.refs.Load())
		}
	})
}

// TestFileCutShort closes a connection whose response cannot be completed.
func TestFileCutShort(t *testing.T) {
	f := newTestFile(t, 1000)
	s := serve(t, Config{}, newFileServer(f))
	c := s.dial()
	ask := binary.BigEndian.AppendUint32(nil, 16)
	ask = binary.BigEndian.AppendUint64(ask, 500)
	ask = binary.BigEndian.AppendUint64(ask, 1000)
	if _, err := c.Write(ask); err != nil {
		t.Fatal(err)
	}
	wantClosed(t, c)
	if stats := s.stats(0); stats.FilesCutShort != 1 {
		t.Errorf("counted %d, want 1", stats.FilesCutShort)
	}
	if !f.ended.Load() {
		t.Error("the file was not told")
	}
	s.stop()
	if f.refs.Load() != 0 {
		t.Errorf("%d references are left", f.refs.Load())
	}
}

// TestFileResets aborts connections while files are being sent to them.
func TestFileResets(t *testing.T) {
	f := newTestFile(t, 4<<20)
	levels(t, func(t *testing.T, level ring.Level) {
		s := serve(t, Config{Level: level}, newFileServer(f))
		ask := binary.BigEndian.AppendUint32(nil, 16)
		ask = binary.BigEndian.AppendUint64(ask, 0)
		ask = binary.BigEndian.AppendUint64(ask, 4<<20)
		for i := range 20 {
			c := s.dial()
			c.SetLinger(0)
			for range 5 {
				if _, err := c.Write(ask); err != nil {
					t.Fatal(err)
				}
			}
			if _, err := c.Read(make([]byte, 1+i*10_000)); err != nil {
				t.Fatal(err)
			}
			c.Close()
		}
		s.eventually(0, "all are gone", func(c *Core) bool { return len(c.conns) == 0 })
		if f.refs.Load() != 0 {
			t.Errorf("%d references are left", f.refs.Load())
		}
	})
}

// TestNonblockLeavesArmedReceive: what sending files rests on. A receive that was
// armed while the socket was blocking goes on waiting, and then receiving, after
// O_NONBLOCK is set.
func TestNonblockLeavesArmedReceive(t *testing.T) {
	levels(t, func(t *testing.T, level ring.Level) {
		s := serve(t, Config{Level: level}, newEcho(echoAtOnce))
		c := s.dial()
		for i, size := range []int{100, 100_000, 100} { // quiet, then direct
			if err := exchange(c, [][]byte{frame(i, size)}, 1); err != nil {
				t.Fatal(err)
			}
			// A receive may also end by itself just then: a direct connection goes quiet
			// when it idles. One that stays is enough.
			stays := false
			for try := 0; try < 5 && !stays; try++ {
				var op uint64
				s.on(0, func(c *Core) {
					conn := c.conns[0]
					op = conn.receive.op
					if op == 0 || !conn.setNonblock(true) {
						t.Error("no receive is armed")
					}
				})
				time.Sleep(5 * time.Millisecond)
				s.on(0, func(c *Core) { stays = c.conns[0].receive.op == op })
			}
			if !stays {
				t.Error("the armed receive ended when O_NONBLOCK was set")
			}
		}
		if err := exchange(c, [][]byte{frame(9, 100), frame(10, 200_000), frame(11, 5)}, 1); err != nil {
			t.Fatal(err)
		}
	})
}
