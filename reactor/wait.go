package reactor

import "fmt"

// Wait is what a core does when it has nothing to do.
type Wait int

const (
	// Park waits in the kernel at once. A wake-up costs some 20 us on a virtual
	// machine; an idle core costs nothing.
	Park Wait = iota
	// Spin never waits: it enters the kernel again and again. Halves a small
	// round trip and costs a CPU.
	Spin
	// Adaptive spins for SpinNanos after the last activity, then parks.
	Adaptive
)

// DefaultSpinNanos is how long an adaptive core spins: about two wake-ups, so
// that waiting for less never costs more than parking would have.
const DefaultSpinNanos = 50_000

// ParseWait reads "park", "spin" or "adaptive".
func ParseWait(s string) (Wait, error) {
	for w := Park; w <= Adaptive; w++ {
		if w.String() == s {
			return w, nil
		}
	}
	return 0, fmt.Errorf("unknown waiting policy %q: want park, spin or adaptive", s)
}

func (w Wait) String() string {
	switch w {
	case Park:
		return "park"
	case Spin:
		return "spin"
	case Adaptive:
		return "adaptive"
	}
	return fmt.Sprintf("Wait(%d)", int(w))
}

// waiting decides, from turn to turn, whether the next may block.
type waiting struct {
	policy     Wait
	spinNanos  int64
	lastActive int64
}

func newWaiting(cfg Config) waiting {
	w := waiting{policy: cfg.Wait, spinNanos: cfg.SpinNanos}
	if w.spinNanos == 0 {
		w.spinNanos = DefaultSpinNanos
	}
	return w
}

// mayBlock is asked after a turn that began at now and was busy or not. The
// turn's own clock is enough: no other is read.
func (w *waiting) mayBlock(now int64, busy bool) bool {
	switch w.policy {
	case Park:
		return true
	case Spin:
		return false
	}
	if busy {
		w.lastActive = now
	}
	return now-w.lastActive > w.spinNanos
}
