package reactor

import "syscall"

// Gauges are what a core holds now, beside what is now in Counters.
type Gauges struct {
	ArenaBytes      int // in blocks not yet released, buffers of quiet connections excepted
	ArenaMapped     int // counted against the limit
	ArenaLimit      int
	ArenaPeak       int // the most in blocks at once
	BuffersProvided int // of quiet connections
	BuffersAtHome   int // of these, free
	ArrivalsWaiting int // sockets that wait for the Doorkeeper
	OpsInFlight     int // requests that the ring has not completed
	MailWaiting     int // messages from other cores not yet delivered
	MailSpilled     int // messages to other cores that found no room yet
	JobsOpen        int // offloaded and not yet completed
	JobsWaiting     int // of these, found the helpers full
}

// Gauges tells what the core holds now. It is called on the core.
func (c *Core) Gauges() Gauges {
	g := Gauges{
		ArenaBytes: c.Arena.inUse, ArenaMapped: c.Arena.mapped, ArenaLimit: c.Arena.limit, ArenaPeak: c.Arena.peak,
		ArrivalsWaiting: len(c.arrivals), OpsInFlight: c.ops.inFlight, MailSpilled: c.spilled, JobsOpen: c.jobs, JobsWaiting: c.jobSpill.len(),
	}
	if c.provided != nil {
		g.BuffersProvided, g.BuffersAtHome = len(c.provided.blocks), c.provided.home
	}
	for _, box := range c.inboxes {
		g.MailWaiting += int(box.tail.Load() - box.head.Load())
	}
	return g
}

// Counters are a core's plain counters, written by its thread only. They are
// totals since the start, except where "now" is said.
type Counters struct {
	Turns       uint64 // times round the loop
	Enters      uint64 // turns' enters
	Parks       uint64 // enters that were allowed to wait
	ParkedNanos uint64 // time in those
	SpunNanos   uint64 // time in turns that found nothing to do
	Submissions uint64 // submission entries filled
	Completions uint64 // completions handled

	StaleCompletions uint64 // for a slot that had moved on
	OpSlotsExhausted uint64 // requests refused: Limits.OpSlots in flight

	ConnectionsOpen    int    // now
	ConnectionsOpened  uint64 // accepted and served
	ConnectionsRefused uint64 // accepted over Limits.MaxConnections, while draining, or not let in by the Doorkeeper
	ConnectionsIdle    uint64 // closed for Limits.IdleNanos
	ConnectionsStarved uint64 // closed for Limits.StarvedNanos
	ConnectionsReset   uint64 // ended by the peer: ECONNRESET, EPIPE, ETIMEDOUT
	ConnectionsMuted   int    // now: not received from for a time
	Mutes              uint64 // times that one was muted
	AcceptErrors       uint64 // accepts that failed
	AcceptPauses       uint64 // of these, for lack of descriptors or memory

	Requests  uint64 // frames dispatched
	Responses uint64 // requests finished with a response
	Silent    uint64 // requests finished without one

	ResponsesDropped uint64 // of the responses, did not leave: their connection closed

	RequestsOpen int // now: dispatched and not finished

	BytesReceived uint64
	BytesSent     uint64 // file bytes included
	FileBytesSent uint64
	RelaysMissed  uint64 // pieces that a socket did not take at once: they left from their file
	TailMisses    uint64 // stretches near the end of a log that were not in the page cache

	Rungs           [RungCount]RungCounters // of the fetch ladder, by Rung
	ResidencyChecks uint64                  // questions what of a file is in the page cache
	HotTurnedCold   uint64                  // stretches of which a part was in the page cache and the rest not
	ColdBytes       uint64                  // read for responses, or ahead of them, by the cold lane
	ColdSteps       uint64                  // in so many steps
	ColdStepsShared uint64                  // steps that more than one connection was sent from
	ColdStepsWasted uint64                  // steps that none was sent from
	ColdWaits       uint64                  // times that a connection waited for a step
	ColdDropped     uint64                  // bytes of pages dropped behind a read
	ColdReadErrors  uint64                  // reads that failed
	LastColdError   syscall.Errno           // the last of these
	FileReadErrors  uint64                  // stretches of files that sendfile or splice could not read
	LastFileError   syscall.Errno           // the last of these
	ColdReading     int                     // now: reads in flight
	ColdHeldBytes   int                     // now: memory of steps
	BulkPipes       int                     // now: pipes, in use or at home
	BulkPipesClosed uint64                  // pipes closed because they might hold bytes
	BulkStolen      uint64                  // pipes taken from a connection whose socket stayed full

	BytesCopied  uint64 // received bytes moved to make frames contiguous
	Receives     uint64 // completed receives with data
	Sends        uint64 // completed ring sends
	SendsNow     uint64 // sends and sendfiles answered inline
	SendsBlocked uint64 // of these, EAGAIN: the peer reads too slowly

	FramesNegative uint64 // connections closed for a frame length below 0
	FramesTooLarge uint64 // connections closed for one over Limits.MaxFrameBytes
	FramesCutShort uint64 // connections that ended inside a frame
	FilesCutShort  uint64 // connections closed because a response's file ended early

	WentDirect         uint64 // changes from quiet to direct
	WentQuiet          uint64 // and back
	BuffersExhausted   uint64 // receives ended with ENOBUFS
	FramesCopiedOut    uint64 // small frames copied to let a scarce buffer go
	DispatchPaused     uint64 // back-pressure: bound on pending requests or bytes reached
	ReceivePaused      uint64 // back-pressure: a receive cancelled or not armed
	ReceiveNoMemory    uint64 // back-pressure: a receive that waits for the arena
	AllocationsRefused uint64 // arena allocations over budget
	MapFailures        uint64 // mmap, munmap or madvise refused

	MessagesSent     uint64 // to other cores
	MessagesReceived uint64
	MessagesInjected uint64
	MessagesSpilled  uint64 // found the ring to a core full
	MessagesDropped  uint64 // were for a core that had stopped
	MessageRings     uint64 // cores woken
	RingFailures     uint64 // MSG_RINGs that failed (and were replaced by the eventfd)
	JobsOffloaded    uint64
	JobsSpilled      uint64 // found the helpers full

	UnexpectedErrors uint64 // errors that no other counter names
	LastUnexpected   string // the last of these: operation and errno
}
