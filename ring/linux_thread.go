package ring

import "golang.org/x/sys/unix"

// LowerThread has the calling thread run only when no other thread wants its processor (SCHED_IDLE), and its own reads and writes come
// last where the disk's scheduler knows priorities. The goroutine must be locked to the thread, and stay so: raising the priority
// again takes rights that a broker may not have. SCHED_IDLE and not a niceness: whatever wakes up takes the processor from such a
// thread at once, where it waits for the rest of a nice one's slice (3 ms on two processors). The disk's lowest best-effort priority and
// not its idle class: a commit of the file system's journal may wait for such a write, and others for the commit.
// Where any of it is refused the thread stays as it is.
func LowerThread() {
	_ = unix.SchedSetAttr(0, &unix.SchedAttr{Size: unix.SizeofSchedAttr, Policy: unix.SCHED_IDLE}, 0)
	const (
		whoProcess = 1 // a thread, too
		lowest     = 2<<13 | 7
	)
	_, _, _ = unix.Syscall(unix.SYS_IOPRIO_SET, whoProcess, 0, lowest)
}
