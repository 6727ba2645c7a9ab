package main

import (
	"encoding/binary"
	"io"
	"net"
	"testing"
	"time"
)

// stallServer answers every frame with 16 bytes, but reads nothing for a while once
// it has had so many.
func stallServer(t *testing.T, frameBytes, after int, stall time.Duration) (port int) {
	t.Helper()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			c.(*net.TCPConn).SetReadBuffer(256 << 10)
			go func() {
				defer c.Close()
				frame, answer := make([]byte, frameBytes), make([]byte, 16)
				for n := 0; ; n++ {
					if n == after {
						time.Sleep(stall)
					}
					if _, err := io.ReadFull(c, frame); err != nil {
						return
					}
					if _, err := c.Write(answer); err != nil {
						return
					}
				}
			}()
		}
	}()
	return l.Addr().(*net.TCPAddr).Port
}

// TestOpenLoopCountsFromTheSchedule: a server that stalls for 300 ms under 1,000
// requests a second keeps about 300 of them waiting, 150 ms on average, and an open
// loop says so. A closed loop sees one slow request.
func TestOpenLoopCountsFromTheSchedule(t *testing.T) {
	const stall = 300 * time.Millisecond
	tp := newTopic("stall", 64, 1024)
	fake := &server{port: stallServer(t, len(tp.frames[0]), 300, stall)}
	l := &lane{c: &contender{name: "fake", role: raw, server: fake}, t: tp, answer: answer{bytes: 16}}
	m, err := l.stream(openLoop{perSecond: 1000, seconds: 1})
	if err != nil {
		t.Fatal(err)
	}
	if m.latency.count() != 1000 || m.late.count() != 1000 || m.service.count() != 1000 {
		t.Fatalf("%d latencies, %d from the real sending, %d latenesses of 1000", m.latency.count(), m.service.count(), m.late.count())
	}
	slow := func(h *histogram) int { // how many took longer than a third of the stall
		n := 0
		for _, b := range h.hdr.Distribution() {
			if b.From > int64(stall/3) {
				n += int(b.Count)
			}
		}
		return n
	}
	if n := slow(m.latency); n < 150 {
		t.Errorf("%d of 1000 requests waited for more than 100 ms, want about 200", n)
	}
	if got := m.latency.micros(100); got < 280e3 {
		t.Errorf("the longest took %g us, want the stall of 300 ms", got)
	}
	// 300 frames of 64 KiB do not fit the sockets' buffers: most were sent late, and from then on
	// they look fast. That the schedule was kept is what the generator's lateness says.
	if corrected, uncorrected := m.latency.hdr.Mean(), m.service.hdr.Mean(); uncorrected > corrected {
		t.Errorf("counted from the real sending the mean is %g ns, from the schedule %g", uncorrected, corrected)
	}
	if late := m.late.micros(50); late > 50e3 {
		t.Errorf("the generator itself is late by %g us in the median: a stalled server made it wait", late)
	}
	closed := &lane{c: &contender{name: "fake", role: raw, server: &server{port: stallServer(t, len(tp.frames[0]), 300, stall)}},
		t: tp, answer: answer{bytes: 16}}
	c, err := closed.roundTrips(1000)
	if err != nil {
		t.Fatal(err)
	}
	if n := slow(c.latency); n != 1 {
		t.Errorf("a closed loop saw %d slow requests, want the one that met the stall", n)
	}
}

// TestStreamKeepsItsSchedule: the last batch is due when the schedule says so, and
// what is never answered is an error.
func TestStreamKeepsItsSchedule(t *testing.T) {
	st := &stream{interval: int64(1e9 / 5000.0), count: 3, begun: 1000}
	for i, want := range []int64{1000, 201_000, 401_000} {
		if st.due() != want {
			t.Errorf("batch %d is due at %d, want %d", i, st.due(), want)
		}
		st.sent++
	}
	if st.due() != never {
		t.Errorf("after the last the next is due at %d", st.due())
	}
}

// TestFanout: the whole generator against the sendfile loop, every byte verified.
func TestFanout(t *testing.T) {
	s := &scene{Name: "test", dir: t.TempDir(), r: &run{}}
	tp := newTopic("fanout", 4, 700)
	l, err := s.rawFanout("sendfile loop", tp, answer{bytes: 60})
	if err != nil {
		t.Fatal(err)
	}
	defer l.c.server.stop()
	for round := range 2 {
		m, err := l.stream(openLoop{perSecond: 500, seconds: 0.3, consumers: 5, check: true})
		if err != nil {
			t.Fatal(err)
		}
		if m.latency.count() != 5*150 || m.bytes != int64(5*150*tp.batchBytes) {
			t.Errorf("round %d: %d deliveries of %d bytes", round, m.latency.count(), m.bytes)
		}
	}
	if m, err := l.roundTripsToConsumer(50, true); err != nil || m.latency.count() != 50 {
		t.Errorf("one at a time: %v", err)
	}
	if cpu := l.c.server.cpuSeconds(); cpu <= 0 || cpu > 10 {
		t.Errorf("the server used %g s of CPU", cpu)
	}
}

// TestVerify: what consumers check would find a wrong byte, a wrong batch and a
// wrong offset.
func TestVerify(t *testing.T) {
	tp := newTopic("verify", 3, 100)
	log := func() (b []byte) {
		for i := range 10 {
			at := len(b)
			b = append(b, tp.batches[i%variants]...)
			binary.BigEndian.PutUint64(b[at:], uint64(3*i))
		}
		return b
	}
	if err := tp.verify(log(), 0); err != nil {
		t.Fatal(err)
	}
	if err := tp.verify(log()[2*tp.batchBytes:], 6); err != nil {
		t.Fatal(err)
	}
	for name, spoil := range map[string]func([]byte) []byte{
		"a byte":              func(b []byte) []byte { b[tp.batchBytes+90] ^= 1; return b },
		"a whole other batch": func(b []byte) []byte { copy(b[8:tp.batchBytes], tp.batches[1][8:]); return b },
		"an offset":           func(b []byte) []byte { b[7]++; return b },
		"a missing batch":     func(b []byte) []byte { return append(b[:tp.batchBytes], b[2*tp.batchBytes:]...) },
		"half a batch":        func(b []byte) []byte { return b[:tp.batchBytes/2] },
	} {
		if tp.verify(spoil(log()), 0) == nil {
			t.Errorf("%s wrong, and nothing was found", name)
		}
	}
}

// TestRecordsOf: heads of responses that are cut anywhere are errors, not panics.
func TestRecordsOf(t *testing.T) {
	tp := newTopic("records", 1, 100)
	whole := wrapFetched(nil, tp.name, tp.batches[0])
	at, n, err := recordsOf(whole, len(tp.name))
	if err != nil || n != tp.batchBytes || at+n+3 != len(whole) {
		t.Fatalf("records at %d of %d bytes: %v", at, n, err)
	}
	for cut := range at - 1 {
		if _, _, err := recordsOf(whole[:cut], len(tp.name)); err == nil {
			t.Errorf("a head of %d bytes was believed", cut)
		}
	}
	whole[13] = 1 // the error code
	if _, _, err := recordsOf(whole, len(tp.name)); err == nil {
		t.Error("an error was not seen")
	}
}
