package broker

import (
	"slipstream/internal/metadata"
	"slipstream/protocol"
	"slipstream/reactor"
)

// Shutdown, core by core: stop accepting, finish what is under way, answer
// parked fetches with what there is, and when no core has a connection left,
// flush and close the partitions. No core stops while another may still send it
// a visit.

// closing is how far a core has come.
type closing struct {
	quiet  bool // no connection, no request
	resign bool // core 0: the controller was told to put this node out of service
	stores bool // told to close its partitions
	closed bool
	errs   []error
}

// quieted tells a core that every core is quiet.
type quieted struct{}

// Deliver implements reactor.Message: being woken is all there is to it.
func (*quieted) Deliver(*reactor.Core) {}

// DrainStarted implements reactor.Drainer: nobody waits any longer.
func (s *Shard) DrainStarted(*reactor.Core) {
	s.stopCleaners()
	if s.controller != nil {
		s.controller.snapshots.stop()
	}
	s.coordinating.stop()
	for op := s.fetching.head; op != nil; op = op.after {
		op.maxWaitMillis = 0
		op.Fire(&op.timer)
	}
	for op := s.shares.fetching.head; op != nil; {
		next := op.after
		op.maxWaitMillis = 0
		op.Fire(&op.timer)
		op = next
	}
}

// Drained implements reactor.Drainer.
func (s *Shard) Drained(*reactor.Core) bool {
	if !s.stopCheckpoints() {
		return false
	}
	if !s.closing.quiet {
		s.closing.quiet = true
		if int(s.broker.quiet.Add(1)) == len(s.broker.shards) {
			for _, other := range s.broker.shards {
				if other != s {
					s.core.Send(other.core, &quieted{})
				}
			}
		}
	}
	if int(s.broker.quiet.Load()) < len(s.broker.shards) {
		return false
	}
	if s.controller != nil && !s.closing.resign {
		s.closing.resign = true
		s.resign()
	}
	if !s.broker.resigned.Load() || s.controller != nil && s.controller.snapshots.underWay() {
		return false
	}
	if !s.closing.stores {
		s.closing.stores = true
		s.store.Close(func(errs []error) { s.closing.closed, s.closing.errs = true, errs })
	}
	return s.closing.closed
}

// resign commits that this node is out of service, as Kafka's controlled shutdown
// does, and then lets every core close its partitions. A log that can no longer
// be written does not keep the broker from stopping.
func (s *Shard) resign() {
	s.proposeAll((*metadata.Controller).Shutdown, func(code protocol.ErrorCode) {
		if code != protocol.NONE {
			s.broker.log.Warn("the shutdown could not be written to the metadata log", "error", code)
		}
		s.broker.resigned.Store(true)
		for _, other := range s.broker.shards {
			s.core.Send(other.core, &quieted{})
		}
	})
}
