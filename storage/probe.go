package storage

import (
	"fmt"
	"runtime"
	"slices"
	"syscall"
	"unsafe"

	"slipstream/ring"

	"golang.org/x/sys/unix"
)

// WriterProbe is what the probe of a data directory found.
type WriterProbe struct {
	Writer       Writer
	FileSystem   string
	InlineNanos  int64 // median of a 16 KiB append by pwritev(2); 0: not measured
	RingNanos    int64 // the same by the ring, its enter included; 0: not measured
	Preallocates bool  // the file system can allocate blocks ahead
}

const (
	probeWrites    = 48
	probeBytes     = 16 << 10
	probeName      = ".slipstream-probe" + tmpSuffix
	ringEnterNanos = 1500 // of a ring append is the enter, which a turn makes once for everything
)

// ProbeWriter measures both writers in a data directory, on a file that it removes again, and chooses: the ring where a
// write by it takes no longer than one in place (XFS, btrfs), else inline (ext4, where a worker does it). It takes a few
// milliseconds and needs a ring of its own. On an error the choice is inline.
func ProbeWriter(k ring.Kernel, dataDir string) (WriterProbe, error) {
	p := WriterProbe{Writer: WriterInline}
	var err error
	if p.FileSystem, err = k.FileSystem(dataDir); err != nil {
		return p, err
	}
	path := dataDir + "/" + probeName
	fd, err := k.Open(path, syscall.O_RDWR|syscall.O_CREAT|syscall.O_TRUNC, fileMode)
	if err != nil {
		return p, err
	}
	defer func() {
		closeQuietly(k, fd)
		_ = k.Remove(path)
	}()
	memory, err := unix.Mmap(-1, 0, probeBytes, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
	if err != nil {
		return p, fmt.Errorf("map memory for the writer probe: %w", err)
	}
	defer unix.Munmap(memory)
	p.Preallocates = k.Allocate(fd, 0, 2*probeWrites*probeBytes) == nil
	if p.InlineNanos, err = probeInline(k, fd, memory); err != nil {
		return p, err
	}
	if p.RingNanos, err = probeRing(k, fd, memory); err != nil {
		return p, err
	}
	if p.RingNanos <= p.InlineNanos+ringEnterNanos {
		p.Writer = WriterRing
	}
	return p, nil
}

func probeInline(k ring.Kernel, fd int, memory []byte) (int64, error) {
	iovecs := []unix.Iovec{{Base: &memory[0]}}
	iovecs[0].SetLen(len(memory))
	return median(k, func(i int64) error {
		n, errno := k.WriteNow(fd, iovecs, i*probeBytes)
		return probeResult(n, errno)
	})
}

// probeRing measures appends by a ring on a thread that ends with it: a ring belongs to its thread.
func probeRing(k ring.Kernel, fd int, memory []byte) (nanos int64, err error) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		var r *ring.Ring
		if r, err = ring.New(k, ring.Options{Entries: 8}); err != nil {
			return
		}
		defer r.Close()
		cqes := make([]ring.CQE, 8)
		nanos, err = median(k, func(i int64) error {
			r.Get().PrepWrite(fd, unsafe.Pointer(&memory[0]), probeBytes, uint64(probeWrites+i)*probeBytes)
			for r.Reap(cqes) == 0 { // an enter may return early, for a signal
				if err := r.Enter(1, -1); err != nil {
					return err
				}
			}
			if res := cqes[0].Res; res < 0 {
				return probeResult(0, syscall.Errno(-res))
			}
			return probeResult(int(cqes[0].Res), 0)
		})
	}()
	<-done
	return nanos, err
}

func probeResult(n int, errno syscall.Errno) error {
	switch {
	case errno != 0:
		return fmt.Errorf("the writer probe's file takes no bytes: %w", errno)
	case n != probeBytes:
		return fmt.Errorf("the writer probe's file takes no bytes: %w", syscall.ENOSPC)
	}
	return nil
}

// median is the median time of a number of writes.
func median(k ring.Kernel, write func(i int64) error) (int64, error) {
	times := make([]int64, probeWrites)
	for i := range times {
		began := k.Monotonic()
		if err := write(int64(i)); err != nil {
			return 0, err
		}
		times[i] = k.Monotonic() - began
	}
	slices.Sort(times)
	return times[len(times)/2], nil
}
