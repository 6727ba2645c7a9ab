package broker

import (
	"sync/atomic"
	"testing"
)

// TestRecoveryReadsEverySegment has any number of segments validated by any number of spare threads: each is, once. (One
// that was left out counted as empty, and as the end of its log.)
func TestRecoveryReadsEverySegment(t *testing.T) {
	for n := range 20 {
		for spare := range 6 {
			r := &recovery{spare: make(chan struct{}, 6)}
			for range spare {
				r.spare <- struct{}{}
			}
			done := make([]atomic.Int32, n)
			r.parallel(n, func(i int) { done[i].Add(1) })
			for i := range done {
				if got := done[i].Load(); got != 1 {
					t.Errorf("%d segments, %d threads to spare: number %d was read %d times", n, spare, i, got)
				}
			}
			if len(r.spare) != spare {
				t.Errorf("%d of %d threads are to spare again", len(r.spare), spare)
			}
		}
	}
}
