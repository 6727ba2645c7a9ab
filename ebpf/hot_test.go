package ebpf

import (
	"io"
	"math"
	"net"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"slipstream/reactor"

	"golang.org/x/sys/unix"
)

// TestHotCallsDoNotAllocate: what a core calls for each read and append.
func TestHotCallsDoNotAllocate(t *testing.T) {
	r := look(t, "", Options{})
	f := logFile(t, filepath.Join(t.TempDir(), "0.log"), 1<<20)
	file, reader := r.o.File(int(f.Fd()), "log-0", 1<<20), r.o.Reader("log-0", "client")
	if n := testing.AllocsPerRun(1000, func() {
		r.o.Begin(3, file, reader, 4096, 1<<16)
		r.o.End(3, 1<<16)
		r.o.Extent(file, 1<<21)
		r.o.TailEvictions()
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// BenchmarkAnnounce is what a read costs its core: Begin and End.
func BenchmarkAnnounce(b *testing.B) {
	a, err := New(1, Options{})
	need(b, err)
	defer a.Close()
	f := logFile(b, filepath.Join(b.TempDir(), "0.log"), 1<<20)
	o := a.Observer(0)
	file, reader := o.File(int(f.Fd()), "log-0", 1<<20), o.Reader("log-0", "client")
	for b.Loop() {
		o.Begin(0, file, reader, 4096, 1<<16)
		o.End(0, 1<<16)
	}
}

// BenchmarkExtent is what an append costs its core.
func BenchmarkExtent(b *testing.B) {
	a, err := New(1, Options{})
	need(b, err)
	defer a.Close()
	f := logFile(b, filepath.Join(b.TempDir(), "0.log"), 1<<20)
	o := a.Observer(0)
	file := o.File(int(f.Fd()), "log-0", 1<<20)
	for n := int64(0); b.Loop(); n++ {
		o.Extent(file, n)
	}
}

// TestHotThroughput: what is in the cache is sent as fast with the programs as
// without, at least 0.98 x. Passes alternate, each pair gives a ratio, and the
// median of the ratios counts. Pairs are made until the median is known to 1 %
// (with 95 % confidence), or for some seconds: on a machine with other work it is
// known less well, and then only what is evident fails.
func TestHotThroughput(t *testing.T) {
	if testing.Short() {
		t.Skip("a measurement")
	}
	r := look(t, "", Options{})
	const bytes = 4 << 20
	f := logFile(t, filepath.Join(t.TempDir(), "0.log"), bytes)
	file, reader := r.o.File(int(f.Fd()), "log-0", bytes), r.o.Reader("log-0", "client")
	send := sender(t)
	pass := func(o reactor.CacheObserver) float64 {
		start := time.Now()
		for off := 0; off < bytes; off += 64 << 10 {
			o.Begin(0, file, reader, int64(off), 64<<10)
			n := send(f, int64(off), 64<<10)
			o.End(0, n)
		}
		return bytes / time.Since(start).Seconds()
	}
	pass(r.o)
	var ratios []float64
	var median, low, high float64
	for start := time.Now(); time.Since(start) < 6*time.Second; {
		for i := range 50 {
			var on, off float64
			if i%2 == 0 {
				on, off = pass(r.o), unlooked(r, pass)
			} else {
				off, on = unlooked(r, pass), pass(r.o)
			}
			ratios = append(ratios, on/off)
		}
		slices.Sort(ratios)
		n := float64(len(ratios))
		median, low, high = ratios[int(n/2)], ratios[int(n/2-0.98*math.Sqrt(n))], ratios[int(n/2+0.98*math.Sqrt(n))]
		if high-low < 0.02 {
			break
		}
	}
	t.Logf("throughput with the programs / without, of %d pairs: %.3f (%.3f to %.3f)", len(ratios), median, low, high)
	if high < 0.98 {
		t.Errorf("with the programs, cached pages are sent at %.3f x the rate", median)
	}
}

// unlooked makes a pass with the programs detached.
func unlooked(r *rig, pass func(reactor.CacheObserver) float64) float64 {
	r.Helper()
	r.detach()
	defer r.reattach()
	return pass(reactor.Unobserved{})
}

// sender sends a file's bytes over loopback TCP to a reader that throws them away.
func sender(t *testing.T) func(f *os.File, off int64, n int) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	client, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	server, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	ended := make(chan struct{})
	go func() {
		io.Copy(io.Discard, client)
		close(ended)
	}()
	socket, err := server.(*net.TCPConn).File() // blocking
	if err != nil {
		t.Fatal(err)
	}
	server.Close()
	if err := unix.SetNonblock(int(socket.Fd()), false); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		socket.Close()
		<-ended
		client.Close()
	})
	return func(f *os.File, off int64, n int) int {
		sent, err := unix.Sendfile(int(socket.Fd()), int(f.Fd()), &off, n)
		if err != nil {
			t.Fatal(err)
		}
		return sent
	}
}
