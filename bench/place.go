package main

import (
	"fmt"
	"os"
	"runtime"
	"strconv"

	"golang.org/x/sys/unix"
)

// Where client and server share a processor, a round trip costs a switch between
// them; where they do not, it wakes one up twice, which takes three times as long
// on a virtual machine. Left to itself the scheduler does now this, now that, and
// a comparison finds which. A client on another machine never shares the server's
// processor: so the scenarios that measure latency keep them apart, slipstream and
// the raw limits alike. Apache Kafka, whose many threads would crowd on what the
// generator leaves of a small machine, may run everywhere.

// placement is where the generator's threads and the servers run; nil: anywhere.
type placement struct{ generator, servers unix.CPUSet }

// placed is in force for the scenario that runs.
var placed *placement

// apart gives the generator the last processor that this process may use, and the
// servers the others.
func (s *scene) apart(cs ...*contender) error {
	var all unix.CPUSet
	if err := unix.SchedGetaffinity(0, &all); err != nil {
		return err
	}
	if all.Count() < 2 {
		s.note("one processor: client and server share it")
		return nil
	}
	last := 0
	for i := range 1024 {
		if all.IsSet(i) {
			last = i
		}
	}
	p := &placement{servers: all}
	p.generator.Set(last)
	p.servers.Clear(last)
	placed = p
	return p.place(cs)
}

// together puts generator and servers on one processor.
func (s *scene) together(cs ...*contender) error {
	p := &placement{}
	p.generator.Set(0)
	p.servers.Set(0)
	placed = p
	return p.place(cs)
}

// place puts servers where they belong; nowhere, if p is nil.
func (p *placement) place(cs []*contender) error {
	if p == nil {
		return nil
	}
	for _, c := range cs {
		if c.role == peer || c.server == nil {
			continue
		}
		tasks, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", c.server.pid()))
		if err != nil {
			return err
		}
		for _, task := range tasks {
			tid, _ := strconv.Atoi(task.Name())
			if err := unix.SchedSetaffinity(tid, &p.servers); err != nil && err != unix.ESRCH {
				return fmt.Errorf("placing %s: %w", c.name, err)
			}
		}
	}
	return nil
}

// onThread runs the generator's work on this goroutine as it should be run: on a
// thread of its own, whose timers are exact, in its place, and, where that is
// permitted, ahead of others, as a client on another machine would be. The result
// undoes it.
func onThread() func() {
	runtime.LockOSThread()
	tid := unix.Gettid()
	unix.Prctl(unix.PR_SET_TIMERSLACK, 1, 0, 0, 0)
	nice := niceness(tid)
	unix.Setpriority(unix.PRIO_PROCESS, tid, min(nice, -10))
	var before unix.CPUSet
	unix.SchedGetaffinity(tid, &before)
	if placed != nil {
		unix.SchedSetaffinity(tid, &placed.generator)
	}
	return func() {
		unix.SchedSetaffinity(tid, &before)
		unix.Setpriority(unix.PRIO_PROCESS, tid, nice)
		unix.Prctl(unix.PR_SET_TIMERSLACK, 0, 0, 0, 0)
		runtime.UnlockOSThread()
	}
}

// niceness is a thread's, from -20 to 19; the system call adds 20 the other way round.
func niceness(tid int) int {
	v, err := unix.Getpriority(unix.PRIO_PROCESS, tid)
	if err != nil {
		return 0
	}
	return 20 - v
}
