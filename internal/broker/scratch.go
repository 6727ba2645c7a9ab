package broker

import (
	"sync"

	"slipstream/protocol"
)

// scratches are the helpers' decoders for compressed batches. Helpers are
// goroutines, so a pool of theirs may be shared; cores never touch it.
var scratches = sync.Pool{New: func() any { return new(protocol.Scratch) }}
