package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// laggards are consumers that read a topic from far behind its end, as fast as they
// can or at a pace, beside whatever else is measured. Each has a thread.
type laggards struct {
	l       *lane
	at      []int64 // the offset that each goes on from
	check   bool
	stopped atomic.Bool
	bytes   atomic.Int64
	wg      sync.WaitGroup
	mu      sync.Mutex
	err     error
}

// newLaggards places n readers evenly over a topic, so that none reads what another
// has just brought in.
func newLaggards(l *lane, n int, check bool) *laggards {
	g := &laggards{l: l, check: check}
	for i := range n {
		g.at = append(g.at, int64(l.batches*i/n*l.t.records))
	}
	return g
}

// start lets them read, each at bytesPerSecond; 0 is as fast as they can.
func (g *laggards) start(bytesPerSecond float64) error {
	g.stopped.Store(false)
	g.bytes.Store(0)
	g.err = nil
	for i := range g.at {
		k, err := g.l.t.consume(g.l.c.server.port, "lagging-"+itoa(i), g.at[i], fetchBytes, g.check)
		if err != nil {
			g.stop()
			return err
		}
		g.wg.Go(func() {
			defer k.c.close()
			if err := g.read(k, bytesPerSecond); err != nil {
				g.mu.Lock()
				g.err = err
				g.mu.Unlock()
			}
			g.at[i] = k.next
		})
	}
	return nil
}

// read goes through the topic, and from its end back to its beginning.
func (g *laggards) read(k *consumer, bytesPerSecond float64) error {
	defer onThread()()
	begun, mine := nanotime(), int64(0)
	for !g.stopped.Load() {
		if k.next >= g.l.nextOffset() {
			k.next = 0
		}
		if err := k.ask(); err != nil {
			return err
		}
		d, err := k.receive()
		if err != nil {
			return err
		}
		g.bytes.Add(int64(d.bytes))
		mine += int64(d.bytes)
		if bytesPerSecond > 0 {
			due := begun + int64(float64(mine)/bytesPerSecond*1e9)
			time.Sleep(time.Duration(due - nanotime()))
		}
	}
	return nil
}

// stop ends them.
func (g *laggards) stop() error {
	g.stopped.Store(true)
	g.wg.Wait()
	return g.err
}

// settleTime is how long readers read before anything beside them is measured.
const settleTime = 300 * time.Millisecond

// beside measures what runs beside the readers, and what they read meanwhile.
func (g *laggards) beside(bytesPerSecond float64, f func() (*measurement, error)) (*measurement, error) {
	if err := g.start(bytesPerSecond); err != nil {
		return nil, err
	}
	time.Sleep(settleTime)
	begun, read := nanotime(), g.bytes.Load()
	m, err := f()
	seconds, read := float64(nanotime()-begun)/1e9, g.bytes.Load()-read
	if stopped := g.stop(); err == nil && stopped != nil {
		err = fmt.Errorf("a lagging reader: %w", stopped)
	}
	if err != nil {
		return nil, err
	}
	m.extra = map[string]float64{readersRate: float64(read) / seconds}
	return m, nil
}

// readersRate names what the readers read a second, all together.
const readersRate = "readers' bytes a second"

// topicFiles are all files of a topic's partitions.
func topicFiles(dir, topic string) []string {
	files, _ := filepath.Glob(filepath.Join(dir, topic+"-[0-9]*", "*"))
	return files
}

// syncAndDrop writes a topic's files to the disk and takes them out of the page cache.
func syncAndDrop(dir, topic string) error {
	for _, name := range topicFiles(dir, topic) {
		f, err := os.Open(name)
		if errors.Is(err, fs.ErrNotExist) {
			continue // a file that was on its way to its name
		}
		if err != nil {
			return err
		}
		err = unix.Fdatasync(int(f.Fd()))
		if err == nil {
			err = unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED)
		}
		f.Close()
		if err != nil {
			return fmt.Errorf("dropping %s: %w", name, err)
		}
	}
	return nil
}

// readIn brings a topic's log into the page cache. Done by this process, it counts
// for nobody's cgroup, and nothing that happens in one pushes it out.
func readIn(dir, topic string) error {
	buffer := make([]byte, 1<<20)
	for _, name := range segmentFiles(dir, topic) {
		f, err := os.Open(name)
		if err != nil {
			return err
		}
		for err == nil {
			_, err = f.Read(buffer)
		}
		f.Close()
		if err != io.EOF {
			return err
		}
	}
	return nil
}

// residentBytes is how much of a topic's log is in the page cache; false where the
// kernel cannot tell (cachestat is there from 6.5 on).
func residentBytes(dir, topic string) (int64, bool) {
	var total int64
	for _, name := range segmentFiles(dir, topic) {
		f, err := os.OpenFile(name, os.O_RDWR, 0)
		if err != nil {
			return 0, false
		}
		var all struct{ off, len uint64 }
		var stat struct{ cached, dirty, writeback, evicted, recently uint64 }
		const cachestat = 451
		_, _, errno := unix.Syscall6(cachestat, f.Fd(), uintptr(unsafe.Pointer(&all)), uintptr(unsafe.Pointer(&stat)), 0, 0, 0)
		f.Close()
		if errno != 0 {
			return 0, false
		}
		total += int64(stat.cached) * int64(os.Getpagesize())
	}
	return total, true
}

// readDevice reads files around the page cache with so many readers at different
// places for a while: what the device gives, in bytes a second.
func readDevice(files []string, readers int, forSeconds float64) (float64, error) {
	var bytes atomic.Int64
	var wg sync.WaitGroup
	errs := make([]error, readers)
	begun := nanotime()
	for i := range readers {
		wg.Go(func() {
			errs[i] = readDirect(files, i, readers, begun+int64(forSeconds*1e9), &bytes)
		})
	}
	wg.Wait()
	for _, err := range errs {
		if err != nil {
			return 0, err
		}
	}
	return float64(bytes.Load()) / (float64(nanotime()-begun) / 1e9), nil
}

// readDirect reads on from the i-th n-th of the files until a time.
func readDirect(files []string, i, n int, until int64, bytes *atomic.Int64) error {
	const step = 1 << 20
	buffer, err := unix.Mmap(-1, 0, step, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
	if err != nil {
		return err
	}
	defer unix.Munmap(buffer)
	for at := len(files) * i / n; ; at = (at + 1) % len(files) {
		fd, err := unix.Open(files[at], unix.O_RDONLY|unix.O_DIRECT|unix.O_CLOEXEC, 0)
		if err != nil {
			return fmt.Errorf("reading %s around the page cache: %w", files[at], err)
		}
		for off := int64(0); ; off += step {
			got, err := unix.Pread(fd, buffer, off)
			bytes.Add(int64(max(got, 0)))
			if nanotime() > until || err != nil {
				unix.Close(fd)
				return err
			}
			if got < step {
				break
			}
		}
		unix.Close(fd)
	}
}
