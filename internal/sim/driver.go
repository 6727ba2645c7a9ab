package sim

import (
	"errors"
	"fmt"
	"math"
	"strings"

	"slipstream/reactor"
)

// Driver runs a program's cores and helpers in a world, one step at a time: the
// seed picks who goes next. A core whose thread would be waiting in the kernel is
// not turned, so that a wake-up that is forgotten shows as a program that hangs.
type Driver struct {
	world   *World
	cores   []*reactor.Core
	helpers *Helpers
	settled []bool  // turned since the last sign of life, and found nothing to do
	asleep  []int64 // until when a core is inside a call that a slow disk holds up
	parks   int     // of 100 turns, those that may block
	crashed bool
	stuck   int

	// Turns counts the turns of all cores.
	Turns uint64
	// AfterStep, if set, is called after each step, for checks that must hold at
	// every moment.
	AfterStep func()
}

// Errors of Run.
var (
	// ErrCrashed: the machine stopped inside a call (World.CrashAfter).
	ErrCrashed = errors.New("sim: the machine stopped")
	// ErrTimeout: the time given is over.
	ErrTimeout = errors.New("sim: not within the time given")
	// ErrQuiet: nothing will ever happen any more, and it is not done.
	ErrQuiet = errors.New("sim: everything waits and nothing will come")
)

// maxStuck is how often a core may have something due and yet do nothing.
const maxStuck = 10_000

// NewDriver makes a driver of started cores. helpers may be nil.
func (w *World) NewDriver(cores []*reactor.Core, helpers *Helpers) *Driver {
	policies := [...]int{0, 50, 90, 100}
	return &Driver{
		world:   w,
		cores:   cores,
		helpers: helpers,
		settled: make([]bool, len(cores)),
		asleep:  make([]int64, len(cores)),
		parks:   policies[w.draws.schedule.IntN(len(policies))],
	}
}

// Start starts the cores, on the driver's goroutine.
func (d *Driver) Start() (err error) {
	defer d.recoverCrash(&err)
	for _, c := range d.cores {
		if err := c.Start(); err != nil {
			return err
		}
	}
	return nil
}

// Run steps until until is true, looked at after each step, or until limitNanos of
// the world's time have passed. The error of a program that broke the kernel's
// rules tells which.
func (d *Driver) Run(limitNanos int64, until func() bool) error {
	end := d.world.Now() + limitNanos
	d.stir() // who runs it may have injected something
	for !until() {
		if d.world.Now() >= end {
			return ErrTimeout
		}
		if err := d.Step(end); err != nil {
			return err
		}
	}
	return nil
}

// RunFor steps for so many nanoseconds of the world's time.
func (d *Driver) RunFor(nanos int64) error {
	err := d.Run(nanos, func() bool { return false })
	if err == ErrTimeout {
		return nil
	}
	return err
}

// Step lets one core turn, or one job run, or, when nobody has anything to do,
// moves the clock to the next thing that will happen, but not past limit.
func (d *Driver) Step(limit int64) (err error) {
	defer d.recoverCrash(&err)
	if d.crashed || d.world.Down() {
		return ErrCrashed
	}
	if err := d.step(limit); err != nil {
		return err
	}
	if d.AfterStep != nil {
		d.AfterStep()
	}
	if v := d.world.Violations(); len(v) > 0 {
		return fmt.Errorf("sim: seed %d: the program broke the kernel's rules: %s", d.world.Seed(), strings.Join(v, "; "))
	}
	return nil
}

func (d *Driver) recoverCrash(err *error) {
	if p := recover(); p != nil {
		if _, ok := p.(Crash); !ok {
			panic(p)
		}
		d.crashed = true
		*err = ErrCrashed
	}
}

func (d *Driver) step(limit int64) error {
	if d.stuck > maxStuck {
		return fmt.Errorf("sim: seed %d: a core has had a deadline in the past for %d turns and does nothing", d.world.Seed(), d.stuck)
	}
	r := d.world.draws.schedule
	if d.helpers != nil && d.helpers.finish() {
		d.stir()
	}
	able := d.able()
	jobs := d.helpers != nil && d.helpers.Waiting() > 0
	switch {
	case jobs && (len(able) == 0 || r.IntN(4) == 0):
		d.helpers.RunOne()
		d.stir()
	case len(able) > 0:
		d.turn(able[r.IntN(len(able))])
		d.world.Advance(d.world.Now() + r.Int64N(3000)) // a turn takes time
	default:
		return d.pass(limit)
	}
	return nil
}

// able are the cores that may turn and might find something to do.
func (d *Driver) able() []int {
	list := make([]int, 0, len(d.cores))
	for i, c := range d.cores {
		if c.Stopped() || d.asleep[i] > d.world.Now() || d.world.Blocked(c.Ring.FD()) {
			continue
		}
		if !d.settled[i] || c.NextDeadline() <= d.world.Now() || d.world.RingHasNews(c.Ring.FD()) {
			list = append(list, i)
		}
	}
	return list
}

// RingHasNews reports whether a ring has completions, or would have after an enter.
func (w *World) RingHasNews(ringFD int) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	f := w.kernel.file(ringFD)
	if f == nil {
		return false
	}
	u, ok := f.obj.(*uring)
	return ok && (u.hasNews() || load(u.mapping.SQTail) != load(u.mapping.SQHead))
}

func (d *Driver) turn(i int) {
	c := d.cores[i]
	block := d.world.draws.schedule.IntN(100) < d.parks
	due := c.NextDeadline() <= d.world.Now()
	d.world.Note("turn", int64(i))
	d.Turns++
	sent := c.Stats.MessagesSent
	d.world.TakeOwed()
	busy := c.Turn(block)
	if owed := d.world.TakeOwed(); owed > 0 {
		d.asleep[i] = d.world.Now() + owed
	}
	if busy || c.Stats.MessagesSent != sent {
		d.stir()
	}
	if busy {
		return
	}
	d.settled[i] = true
	if due {
		d.stuck++
	}
}

// stir: something was done that may give anyone something to do.
func (d *Driver) stir() {
	d.stuck = 0
	clear(d.settled)
}

// pass lets time pass.
func (d *Driver) pass(limit int64) error {
	next := d.world.NextEvent()
	running := false
	if d.helpers != nil {
		next = min(next, d.helpers.next())
	}
	for i, c := range d.cores {
		if !c.Stopped() {
			running = true
			next = min(next, max(c.NextDeadline(), d.asleep[i]))
			if d.asleep[i] > d.world.Now() {
				next = min(next, d.asleep[i])
			}
		}
	}
	if next == math.MaxInt64 {
		if !running {
			return fmt.Errorf("%w: every core has stopped", ErrQuiet)
		}
		if limit == math.MaxInt64 {
			return ErrQuiet
		}
		next = limit
	}
	d.world.Advance(min(max(next, d.world.Now()+1), max(limit, d.world.Now()+1)))
	clear(d.settled)
	return nil
}

// Stopped reports whether every core has drained.
func (d *Driver) Stopped() bool {
	for _, c := range d.cores {
		if !c.Stopped() {
			return false
		}
	}
	return true
}
