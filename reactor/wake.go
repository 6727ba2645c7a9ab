package reactor

import (
	"syscall"
	"unsafe"

	"slipstream/ring"
)

// A parked core waits in its ring. It is woken there by another core's MSG_RING,
// or, from outside or where the level has no MSG_RING, by its eventfd, which it
// always has a read armed on.

const eventBytes = 8

// startWake makes the eventfd and arms the read.
func (c *Core) startWake() error {
	mem, err := c.Arena.setAside(eventBytes)
	if err != nil {
		return err
	}
	fd, err := c.Kernel.Eventfd()
	if err != nil {
		return err
	}
	c.eventCount = mem
	c.injected.mu.Lock()
	c.eventfd = fd
	c.injected.mu.Unlock()
	c.ringFD.Store(int32(c.Ring.FD()))
	c.armEvent()
	return nil
}

func (c *Core) armEvent() {
	sqe, userData := c.submit((*eventRead)(c), 0)
	if sqe == nil {
		return // cannot be: slots are kept for the core itself
	}
	sqe.PrepRead(c.eventfd, unsafe.Pointer(&c.eventCount[0]), eventBytes, 0)
	c.eventOp = userData
}

// eventRead handles the eventfd's reads. Its message, if it brought one, is in
// the injector or a mailbox.
type eventRead Core

func (e *eventRead) Complete(_ uint64, res int32, _ uint32) {
	c := (*Core)(e)
	c.eventOp = 0
	if res == -int32(syscall.ECANCELED) || c.drain.phase == drainStopping {
		return
	}
	if res < 0 {
		c.unexpected("read of the eventfd", syscall.Errno(-res))
	}
	c.armEvent()
}

// wake makes a parked core turn, with this turn's enter if MSG_RING can.
func (c *Core) wake(to *Core) {
	if !c.has.MsgRing {
		to.signal()
		return
	}
	sqe := c.entry()
	sqe.PrepMsgRing(int(to.ringFD.Load()), 0, userDataRung, 0)
	sqe.UserData = userDataRinging | uint64(to.ID)
	if c.has.CQESkip {
		sqe.Flags |= ring.SQECQESkipSuccess
	}
}

// ringFailed replaces a MSG_RING that did not arrive.
func (c *Core) ringFailed(peer int) {
	c.Stats.RingFailures++
	if peer < len(c.peers) {
		c.peers[peer].core.signal()
	}
}

// unexpected names and counts an error that nothing else does.
func (c *Core) unexpected(what string, errno syscall.Errno) {
	c.Stats.UnexpectedErrors++
	c.Stats.LastUnexpected = what + ": " + errno.Error()
}

// cancel asks for the end of a request; its own completion tells that it ended.
func (c *Core) cancel(userData uint64) {
	sqe := c.entry()
	sqe.PrepCancel64(userData, 0)
	sqe.UserData = userDataIgnored
}
