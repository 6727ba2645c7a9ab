package reactor

import (
	"fmt"
	"math"
	"time"
)

// Limits names every bound of one core. A zero field takes its default. Nothing
// on a core grows past these: a full queue is back-pressure, a refused
// connection or a closed one, each with its counter in [Counters].
type Limits struct {
	// SQEntries and CQEntries size the ring. A turn that fills the submission
	// queue enters early; completions past CQEntries wait in the kernel.
	SQEntries uint32
	CQEntries uint32

	// MaxConnections is the most connections of this core. The next ones are
	// accepted and closed at once.
	MaxConnections int
	// MaxArrivals is how many accepted sockets may wait for a Doorkeeper's decision.
	// Past it the core accepts no more.
	MaxArrivals int
	// MaxFrameBytes is the largest frame length that is believed (Kafka's
	// socket.request.max.bytes), without its 4-byte prefix.
	MaxFrameBytes int
	// MaxPendingRequestsPerConn and MaxPendingBytesPerConn bound what one
	// connection has under way: requests not yet answered, and the bytes of those
	// requests and of response blocks that have not left. Past either no more of
	// its frames are dispatched and it stops receiving. One request is always
	// allowed, however large.
	MaxPendingRequestsPerConn int
	MaxPendingBytesPerConn    int
	// FramesPerTurn is the most frames of one connection dispatched in one turn.
	FramesPerTurn int

	// ProvidedBuffers of ProvidedBufferBytes each are what quiet connections of a
	// core share to receive into (level 6.1 and up). A power of two.
	ProvidedBuffers     int
	ProvidedBufferBytes int
	// CopyOutBytes: while fewer than half of the provided buffers are at home, a
	// frame of up to this size is copied out, so that a parked request does not
	// hold a whole buffer.
	CopyOutBytes int
	// DirectBlockBytes is the largest block that a direct connection receives
	// into; only a larger frame gets a larger block.
	DirectBlockBytes int

	// SmallStretchBytes: responses that have no more bytes of files left than this
	// leave whole, and before all others of the turn.
	SmallStretchBytes int
	// SendFileTurnBytes is the most file bytes that all others together send in one
	// turn, so that it stays short; SendFileAloneBytes while nobody else is served.
	// Measured with 1 MiB fetches by sendfile beside a producer (bench -only rungs, two
	// processors): 64, 128 and 256 KiB a turn gave 1.8, 3.1 and 3.2 GB/s, and round
	// trips of 69, 79 and 112 us (p50). Alone, turns of 1 MiB give 0.74 to 1.0 of what
	// a loop of sendfile does (bench -only consume, on a machine with other work).
	SendFileTurnBytes  int
	SendFileAloneBytes int
	// BulkBytes: stretches of at least so many bytes may leave by the bulk rung.
	// Measured beside sendfile (bench -only rungs, two processors): fetches of 256 KiB
	// get 0.4 of its rate at 2.5 times its processor time, of 1 MiB 1.1 and 1.24, of 4
	// MiB 1.75 and 1.05. A producer beside 1 MiB fetches waits 24 to 43 us instead of
	// 77 to 112 (p50), but 240 to 510 instead of 210 to 260 at p99: with two
	// processors the worker is in its way. Fetches of Kafka's default mebibyte end on
	// a batch, below it: hence half of it.
	BulkBytes int
	// BulkPipes is the most pipes of a core, each of PipeBytes.
	BulkPipes int
	PipeBytes int
	// ColdBytes is the memory of the cold lane; one step of a mebibyte it always
	// has. ColdReads is the most of its reads in flight, ColdAheadBytes how far it
	// reads ahead of one consumer.
	ColdBytes      int
	ColdReads      int
	ColdAheadBytes int
	// ColdIdleNanos: what was read ahead and is not asked for in that time is given up.
	ColdIdleNanos int64
	// SendBatch is the most response segments gathered into one SENDMSG.
	SendBatch int

	// OpSlots is the most ring requests in flight.
	OpSlots int
	// MailboxEntries is the room of each core-to-core ring; a power of two.
	MailboxEntries int
	// InjectEntries is the room of the queue from foreign goroutines.
	InjectEntries int
	// ArenaBytes is the most memory the arena maps: provided buffers, receive
	// blocks, responses. Pages not yet touched cost nothing.
	ArenaBytes int

	// IdleNanos closes a connection on which nothing moved for so long
	// (connections.max.idle.ms); negative: never.
	IdleNanos int64
	// DirectIdleNanos sends an idle direct connection back to quiet.
	DirectIdleNanos int64
	// StarvedNanos: while connections wait for memory, one that holds a block for
	// an unfinished frame without receiving for so long is closed.
	StarvedNanos int64
	// LingerNanos is how long a drained connection, its responses sent, waits for
	// the peer to close before it is closed. Closing at once would reset it, and
	// with it responses that the peer has not read.
	LingerNanos int64
	// AcceptRetryNanos is the pause after an accept failed for lack of
	// descriptors or memory.
	AcceptRetryNanos int64
	// SpillRetryNanos is how long a core with messages or jobs that found their
	// queue full may park before it tries again.
	SpillRetryNanos int64
}

// DefaultLimits are the values that zero fields take.
func DefaultLimits() Limits {
	return Limits{
		SQEntries:                 1024,
		CQEntries:                 8192,
		MaxConnections:            100_000,
		MaxArrivals:               1000,
		MaxFrameBytes:             100 << 20,
		MaxPendingRequestsPerConn: 128,
		MaxPendingBytesPerConn:    4 << 20,
		FramesPerTurn:             64,
		ProvidedBuffers:           256,
		ProvidedBufferBytes:       16 << 10,
		CopyOutBytes:              2 << 10,
		DirectBlockBytes:          256 << 10,
		SmallStretchBytes:         64 << 10,
		SendFileTurnBytes:         128 << 10,
		SendFileAloneBytes:        1 << 20,
		BulkBytes:                 512 << 10,
		BulkPipes:                 8,
		PipeBytes:                 1 << 20,
		ColdBytes:                 32 << 20,
		ColdReads:                 4,
		ColdAheadBytes:            4 << 20,
		ColdIdleNanos:             int64(time.Second),
		SendBatch:                 maxSendBatch,
		OpSlots:                   1 << 19,
		MailboxEntries:            512,
		InjectEntries:             4096,
		ArenaBytes:                512 << 20,
		IdleNanos:                 int64(10 * time.Minute),
		DirectIdleNanos:           int64(time.Second),
		StarvedNanos:              int64(10 * time.Second),
		LingerNanos:               int64(time.Second),
		AcceptRetryNanos:          int64(20 * time.Millisecond),
		SpillRetryNanos:           int64(100 * time.Microsecond),
	}
}

const (
	// prefixBytes is Kafka's frame length prefix.
	prefixBytes = 4
	// maxSendBatch keeps a msghdr and its iovecs within a 1 KiB block.
	maxSendBatch = 60
	// slotsPerConn: a connection has at most a receive, a send, a poll or two
	// splices, and two shutdowns in flight.
	slotsPerConn = 5
	// pageBytes is the page cache's unit.
	pageBytes = 4096
	// maxFrameLimit keeps frame arithmetic far from overflow.
	maxFrameLimit = 1 << 30
	// smallDirectBytes is the block of a direct connection with small frames:
	// the first block at level 5.15, where there are no provided buffers.
	smallDirectBytes = 16 << 10
	// reapBatch is the most completions taken from the ring in one turn.
	reapBatch = 4096
	// turnNanos is how long a turn takes completions and messages in, about: what
	// else has arrived waits for the next, so that responses leave meanwhile.
	turnNanos = 500_000
	// clockStep is how many of them are taken in between two readings of the clock.
	clockStep = 8
)

func (l Limits) withDefaults() Limits {
	d := DefaultLimits()
	setDefault(&l.SQEntries, d.SQEntries)
	setDefault(&l.CQEntries, max(d.CQEntries, 2*l.SQEntries))
	setDefault(&l.MaxConnections, d.MaxConnections)
	setDefault(&l.MaxArrivals, d.MaxArrivals)
	setDefault(&l.MaxFrameBytes, d.MaxFrameBytes)
	setDefault(&l.MaxPendingRequestsPerConn, d.MaxPendingRequestsPerConn)
	setDefault(&l.MaxPendingBytesPerConn, d.MaxPendingBytesPerConn)
	setDefault(&l.FramesPerTurn, d.FramesPerTurn)
	setDefault(&l.ProvidedBuffers, d.ProvidedBuffers)
	setDefault(&l.ProvidedBufferBytes, d.ProvidedBufferBytes)
	setDefault(&l.CopyOutBytes, d.CopyOutBytes)
	setDefault(&l.DirectBlockBytes, d.DirectBlockBytes)
	setDefault(&l.SmallStretchBytes, d.SmallStretchBytes)
	setDefault(&l.SendFileTurnBytes, d.SendFileTurnBytes)
	setDefault(&l.SendFileAloneBytes, d.SendFileAloneBytes)
	setDefault(&l.BulkBytes, d.BulkBytes)
	setDefault(&l.BulkPipes, d.BulkPipes)
	setDefault(&l.PipeBytes, d.PipeBytes)
	setDefault(&l.ColdBytes, d.ColdBytes)
	setDefault(&l.ColdReads, d.ColdReads)
	setDefault(&l.ColdAheadBytes, d.ColdAheadBytes)
	setDefault(&l.ColdIdleNanos, d.ColdIdleNanos)
	setDefault(&l.SendBatch, d.SendBatch)
	setDefault(&l.OpSlots, max(d.OpSlots, slotsPerConn*l.MaxConnections+1<<15))
	setDefault(&l.MailboxEntries, d.MailboxEntries)
	setDefault(&l.InjectEntries, d.InjectEntries)
	setDefault(&l.ArenaBytes, d.ArenaBytes)
	setDefault(&l.IdleNanos, d.IdleNanos)
	if l.IdleNanos < 0 {
		l.IdleNanos = math.MaxInt64
	}
	setDefault(&l.DirectIdleNanos, d.DirectIdleNanos)
	setDefault(&l.StarvedNanos, d.StarvedNanos)
	setDefault(&l.LingerNanos, d.LingerNanos)
	setDefault(&l.AcceptRetryNanos, d.AcceptRetryNanos)
	setDefault(&l.SpillRetryNanos, d.SpillRetryNanos)
	return l
}

func setDefault[T int | int64 | uint32](v *T, d T) {
	if *v == 0 {
		*v = d
	}
}

// check names the first limit that cannot work.
func (l *Limits) check() error {
	powerOfTwo := func(n int) bool { return n > 0 && n&(n-1) == 0 }
	minArena := l.ProvidedBuffers*l.ProvidedBufferBytes + 4*superBytes
	switch {
	case l.MaxConnections < 1:
		return fmt.Errorf("reactor: MaxConnections is %d, want at least 1", l.MaxConnections)
	case l.MaxFrameBytes < 1 || l.MaxFrameBytes > maxFrameLimit:
		return fmt.Errorf("reactor: MaxFrameBytes is %d, want 1 to %d", l.MaxFrameBytes, maxFrameLimit)
	case l.MaxPendingRequestsPerConn < 1 || l.MaxPendingBytesPerConn < 1 || l.FramesPerTurn < 1:
		return fmt.Errorf("reactor: a bound per connection is below 1")
	case !powerOfTwo(l.ProvidedBuffers) || l.ProvidedBuffers > 1<<15:
		return fmt.Errorf("reactor: ProvidedBuffers is %d, want a power of two up to 32768", l.ProvidedBuffers)
	case l.ProvidedBufferBytes < 64 || l.DirectBlockBytes < smallDirectBytes:
		return fmt.Errorf("reactor: receive buffers of %d and %d bytes are too small", l.ProvidedBufferBytes, l.DirectBlockBytes)
	case l.SendBatch < 1 || l.SendBatch > maxSendBatch:
		return fmt.Errorf("reactor: SendBatch is %d, want 1 to %d", l.SendBatch, maxSendBatch)
	case l.SmallStretchBytes < 0 || l.SendFileTurnBytes < 1 || l.SendFileAloneBytes < 1 || l.BulkBytes < 1 || l.BulkPipes < 0 || l.PipeBytes < 2*pageBytes:
		return fmt.Errorf("reactor: a bound on sending files is too small")
	case l.ColdBytes < 0 || l.ColdReads < 1 || l.ColdAheadBytes < 0 || l.ColdIdleNanos < 1:
		return fmt.Errorf("reactor: a bound of the cold lane is too small")
	case l.OpSlots < slotsPerConn*l.MaxConnections+16:
		return fmt.Errorf("reactor: OpSlots is %d, want at least %d for each of %d connections", l.OpSlots, slotsPerConn, l.MaxConnections)
	case l.OpSlots >= 1<<31:
		return fmt.Errorf("reactor: OpSlots is %d, want below 2^31", l.OpSlots)
	case !powerOfTwo(l.MailboxEntries) || l.InjectEntries < 1:
		return fmt.Errorf("reactor: MailboxEntries is %d, want a power of two", l.MailboxEntries)
	case l.ArenaBytes < minArena:
		return fmt.Errorf("reactor: ArenaBytes is %d, want at least %d", l.ArenaBytes, minArena)
	}
	return nil
}
