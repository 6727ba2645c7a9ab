package ring

import (
	"runtime"
	"testing"
)

// BenchmarkNop is the price of one enter with one entry: all overhead, no work.
func BenchmarkNop(b *testing.B) {
	for level := Level515; level <= LevelNative; level++ {
		b.Run(level.String(), func(b *testing.B) {
			runtime.LockOSThread()
			defer runtime.UnlockOSThread()
			r, err := New(testKernel(b), Options{Level: level})
			if err != nil {
				b.Skip(err)
			}
			defer r.Close()
			var got [64]CQE
			for b.Loop() {
				r.Get().PrepNop()
				if err := r.Enter(1, -1); err != nil {
					b.Fatal(err)
				}
				r.Reap(got[:])
			}
		})
	}
}

// BenchmarkNopBatch32 is the same, shared by 32 entries.
func BenchmarkNopBatch32(b *testing.B) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	r, err := New(testKernel(b), Options{})
	if err != nil {
		b.Skip(err)
	}
	defer r.Close()
	var got [64]CQE
	for b.Loop() {
		for range 32 {
			r.Get().PrepNop()
		}
		if err := r.Enter(32, -1); err != nil {
			b.Fatal(err)
		}
		r.Reap(got[:])
	}
}
