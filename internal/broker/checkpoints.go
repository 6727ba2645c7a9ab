package broker

import (
	"slipstream/reactor"
	"slipstream/storage"
)

// Every log.flush.offset.checkpoint.interval.ms core 0 collects every core's
// recovery points and log start offsets and a helper writes Kafka's checkpoint
// files. They are what a start after a crash goes by.

// checkpointRound visits the cores one after the other, then the disk.
type checkpointRound struct {
	shard *Shard // core 0's
	all   []storage.Checkpoint
	at    int
	timer reactor.Timer
	err   error
}

func (s *Shard) startCheckpoints() {
	if s.broker.settings.CheckpointMillis <= 0 {
		return
	}
	r := &checkpointRound{shard: s}
	s.core.After(s.broker.settings.CheckpointMillis*1e6, &r.timer, r)
}

// Fire implements reactor.TimerHandler: a round begins on core 0.
func (r *checkpointRound) Fire(*reactor.Timer) {
	r.all, r.at = r.all[:0], 0
	r.Deliver(r.shard.core)
}

// Deliver implements reactor.Message: on each core in turn, and on core 0 again
// when the files are written.
func (r *checkpointRound) Deliver(c *reactor.Core) {
	shards := r.shard.broker.shards
	if r.at < len(shards) {
		r.all = shards[r.at].store.Checkpoints(r.all)
		r.at++
		if r.at < len(shards) {
			c.Send(shards[r.at].core, r)
			return
		}
		if c != r.shard.core {
			r.at = len(shards)
			c.Send(r.shard.core, (*checkpointWrite)(r))
			return
		}
		(*checkpointWrite)(r).Deliver(c)
		return
	}
	if r.err != nil {
		r.shard.broker.log.Error("checkpoint files could not be written", "error", r.err)
	}
	r.shard.core.After(r.shard.broker.settings.CheckpointMillis*1e6, &r.timer, r)
}

// checkpointWrite is a round on its way to a helper.
type checkpointWrite checkpointRound

// Deliver implements reactor.Message.
func (w *checkpointWrite) Deliver(c *reactor.Core) { c.Offload((*checkpointRound)(w)) }

// Work implements reactor.Job.
func (r *checkpointRound) Work(k kernel) reactor.Message {
	r.err = storage.WriteCheckpoints(k, r.shard.broker.dir, r.all)
	return r
}
