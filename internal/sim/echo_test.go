package sim

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net/netip"
	"os"
	"strconv"
	"testing"

	"slipstream/reactor"
	"slipstream/ring"
)

// echoService answers each frame with itself: at once, from the core next door, or
// after a helper has been asked.
type echoService struct {
	cores *[]*reactor.Core
	id    int
	open  int
}

func (s *echoService) Opened(*reactor.Conn)  { s.open++ }
func (s *echoService) Closed(*reactor.Conn)  { s.open-- }
func (s *echoService) EndTurn(*reactor.Core) {}

func (s *echoService) Request(r *reactor.Request) reactor.Disposition {
	switch len(r.Payload) % 3 {
	case 0:
		(&echoAnswer{r}).Deliver(r.Conn.Core)
	case 1:
		to := (*s.cores)[(s.id+1)%len(*s.cores)]
		r.Conn.Core.Send(to, &echoHop{r: r})
	case 2:
		r.Conn.Core.Offload(&echoJob{r})
	}
	return reactor.Next
}

type echoHop struct {
	r     *reactor.Request
	there bool
}

func (h *echoHop) Deliver(c *reactor.Core) {
	if !h.there {
		h.there = true
		c.Send(h.r.Conn.Core, h)
		return
	}
	(&echoAnswer{h.r}).Deliver(c)
}

type echoJob struct{ r *reactor.Request }

func (j *echoJob) Work(k ring.Kernel) reactor.Message {
	k.Stat("/") // a door call in the trace
	return &echoAnswer{j.r}
}

type echoAnswer struct{ r *reactor.Request }

func (a *echoAnswer) Deliver(c *reactor.Core) {
	b := c.Arena.Alloc(4 + len(a.r.Payload))
	if b == nil {
		a.r.Conn.Close()
		a.r.FinishSilent()
		return
	}
	binary.BigEndian.PutUint32(b.Bytes(), uint32(len(a.r.Payload)))
	copy(b.Bytes()[4:], a.r.Payload)
	a.r.AddBlock(b, 0, 4+len(a.r.Payload))
	a.r.Finish()
}

// smallLimits make every bound felt.
func smallLimits() reactor.Limits {
	return reactor.Limits{
		SQEntries: 16, CQEntries: 32, MaxConnections: 100, MaxFrameBytes: 1 << 20, MaxPendingRequestsPerConn: 4, MaxPendingBytesPerConn: 128 << 10,
		ProvidedBuffers: 8, ProvidedBufferBytes: 1 << 10, DirectBlockBytes: 16 << 10, MailboxEntries: 4, OpSlots: 1024, ArenaBytes: 16 << 20,
		DirectIdleNanos: 5_000_000,
	}
}

// echoRun runs clients against an echo service, drains it, and returns the trace's
// hash.
func echoRun(t *testing.T, seed uint64) (hash, events uint64) {
	t.Helper()
	levels := []ring.Level{ring.Level515, ring.Level61, ring.LevelNative}
	w := New(seed, Options{Level: levels[seed%3], TinyReads: seed%2 == 0, TraceLines: 400})
	fail := func(format string, args ...any) {
		t.Helper()
		for _, line := range w.Trace() {
			t.Log(line)
		}
		t.Fatalf("seed %d, level %s: %s", seed, levels[seed%3], fmt.Sprintf(format, args...))
	}
	n := 1 + int(seed/3%3)
	var cores []*reactor.Core
	var services []*echoService
	helpers := w.NewHelpers(2)
	addr := netip.MustParseAddrPort("127.0.0.1:9092")
	for i := range n {
		s := &echoService{cores: &cores, id: i}
		c := reactor.NewCore(reactor.Config{ID: i, Kernel: w.Kernel(), Limits: smallLimits(), Helpers: helpers}, s)
		fd, _, err := w.Kernel().Listen(addr, 4, n > 1)
		if err != nil {
			fail("%v", err)
		}
		c.Listen(fd)
		cores, services = append(cores, c), append(services, s)
	}
	reactor.Join(cores)
	d := w.NewDriver(cores, helpers)
	if err := d.Start(); err != nil {
		fail("%v", err)
	}
	r := w.draws.schedule
	type dialogue struct {
		*Client
		want []byte
		cut  bool
	}
	var clients []*dialogue
	for i := range 6 {
		c := &dialogue{Client: w.Dial(addr)}
		for range 1 + r.IntN(8) {
			size := r.IntN(300)
			if r.IntN(4) == 0 {
				size = r.IntN(40_000)
			}
			frame := binary.BigEndian.AppendUint32(nil, uint32(size))
			for j := range size {
				frame = append(frame, byte(j*7+i))
			}
			c.want = append(c.want, frame...)
		}
		switch r.IntN(4) {
		case 0:
			c.Pause()
		case 1:
			c.cut = true
		}
		c.Send(c.want)
		clients = append(clients, c)
	}
	if err := d.RunFor(2_000_000); err != nil {
		fail("%v", err)
	}
	for _, c := range clients {
		c.Resume()
		if c.cut {
			c.Reset()
		}
	}
	err := d.Run(20e9, func() bool {
		for _, c := range clients {
			if !c.cut && len(c.Received()) < len(c.want) && !c.Broken() {
				return false
			}
		}
		return true
	})
	if err != nil {
		for _, c := range clients {
			t.Logf("received %d of %d, unsent %d, broken %v", len(c.Received()), len(c.want), c.Unsent(), c.Broken())
		}
		fail("%v", err)
	}
	for i, c := range clients {
		if c.cut {
			continue
		}
		if !bytes.Equal(c.Received(), c.want) {
			fail("client %d received %d bytes, want %d, or not the same", i, len(c.Received()), len(c.want))
		}
		c.Close()
	}
	for _, c := range cores {
		c.Inject(drainMessage{})
	}
	if err := d.Run(30e9, d.Stopped); err != nil {
		fail("draining: %v", err)
	}
	for i, c := range cores {
		if services[i].open != 0 || c.Arena.InUse() != 0 || c.Stats.UnexpectedErrors != 0 || c.Stats.StaleCompletions != 0 {
			fail("core %d: %d connections, %d bytes in use, unexpected %s", i, services[i].open, c.Arena.InUse(), c.Stats.LastUnexpected)
		}
		c.Close()
	}
	if v := w.Violations(); len(v) > 0 {
		fail("%v", v)
	}
	return w.TraceHash(), w.TraceEvents()
}

type drainMessage struct{}

func (drainMessage) Deliver(c *reactor.Core) { c.Drain(c.Now + 1e9) }

// seeds is how many seeds a test runs: SEEDS, or so many.
func seeds(n int) uint64 {
	if s, err := strconv.Atoi(os.Getenv("SEEDS")); err == nil {
		n = s
	}
	return uint64(n)
}

func TestEchoSeeds(t *testing.T) {
	hashes := map[uint64]uint64{}
	for seed := range seeds(60) {
		if s, err := strconv.Atoi(os.Getenv("SEED")); err == nil {
			seed = uint64(s)
		}
		hash, events := echoRun(t, seed)
		again, eventsAgain := echoRun(t, seed)
		if hash != again || events != eventsAgain {
			t.Fatalf("seed %d: two runs differ: hash %x after %d events, hash %x after %d", seed, hash, events, again, eventsAgain)
		}
		if other, ok := hashes[hash]; ok {
			t.Fatalf("seeds %d and %d have the same trace", seed, other)
		}
		hashes[hash] = seed
	}
}
