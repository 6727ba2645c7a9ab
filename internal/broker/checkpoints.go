package broker

import (
	"slipstream/internal/metadata"
	"slipstream/reactor"
	"slipstream/storage"
)

// Every log.flush.offset.checkpoint.interval.ms, and soon after a log was compacted, core 0 collects every core's
// recovery points and log start offsets and a helper writes Kafka's checkpoint
// files. They are what a start after a crash goes by.

// checkpointRound visits the cores one after the other, then the disk.
type checkpointRound struct {
	shard *Shard // core 0's
	all   []storage.Checkpoint
	at    int
	timer reactor.Timer
	soon  bool // a log was compacted since the round began
	under bool // a round is under way
	ended bool // no other begins: the broker stops
	spare []metadata.Directory
	tried []triedDir
}

// triedDir is what writing a directory's checkpoint files came to.
type triedDir struct {
	dir *logDir
	err error
}

// cleanedCheckpointNanos is how long the checkpoint of a log that was compacted waits for
// those of others. (Kafka writes its file after each; what a crash in between costs is
// that the log is compacted once more.)
const cleanedCheckpointNanos = 1e9

func (s *Shard) startCheckpoints() {
	if s.broker.settings.CheckpointMillis <= 0 {
		return
	}
	s.checkpoints = &checkpointRound{shard: s}
	s.checkpoints.wait()
}

// wait waits for the next round.
func (r *checkpointRound) wait() {
	if r.ended {
		return
	}
	nanos := r.shard.broker.settings.CheckpointMillis * 1e6
	if r.soon {
		nanos = min(nanos, cleanedCheckpointNanos)
	}
	r.shard.core.After(nanos, &r.timer, r)
}

// checkpointSoon has a round begin soon: a log was compacted. On core 0.
func (s *Shard) checkpointSoon() {
	r := s.checkpoints
	if r == nil || r.soon {
		return
	}
	r.soon = true
	if r.timer.Armed() { // else a round is under way, and waits when it ends
		s.core.Cancel(&r.timer)
		r.wait()
	}
}

// Fire implements reactor.TimerHandler: a round begins on core 0.
func (r *checkpointRound) Fire(*reactor.Timer) {
	r.all, r.at, r.soon, r.under = r.all[:0], 0, false, true
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
	s := r.shard
	for _, t := range r.tried {
		if t.err != nil {
			s.broker.log.Error("checkpoint files could not be written", "directory", t.dir.path, "error", t.err)
			s.suspectDir(t.dir, t.err)
		}
	}
	r.under = false
	s.controller.measured(r.spare)
	r.wait()
}

// stopCheckpoints lets no further round begin, and says whether none is under way. The last checkpoints are written when all cores
// have stopped (Broker.Finish), and a helper that is still at it would be in the way of that, or put older ones in their place.
func (s *Shard) stopCheckpoints() bool {
	r := s.checkpoints
	if r == nil {
		return true
	}
	if r.ended = true; r.timer.Armed() {
		s.core.Cancel(&r.timer)
	}
	return !r.under
}

// checkpointWrite is a round on its way to a helper.
type checkpointWrite checkpointRound

// Deliver implements reactor.Message.
func (w *checkpointWrite) Deliver(c *reactor.Core) {
	w.tried = w.tried[:0]
	for _, d := range w.shard.broker.usable() {
		if !w.shard.offline[d.index] {
			w.tried = append(w.tried, triedDir{dir: d})
		}
	}
	c.Offload((*checkpointRound)(w))
}

// Work implements reactor.Job.
func (r *checkpointRound) Work(k kernel) reactor.Message {
	var dirs []*logDir
	for i := range r.tried {
		t := &r.tried[i]
		t.err = storage.WriteCheckpoints(k, t.dir.path, checkpointsIn(t.dir, r.all))
		dirs = append(dirs, t.dir)
	}
	r.spare = r.shard.broker.measure(dirs)
	return r
}

// checkpointsIn are those of the partitions that are in a directory.
func checkpointsIn(d *logDir, all []storage.Checkpoint) (in []storage.Checkpoint) {
	for i := range all {
		if all[i].DataDir == d.path {
			in = append(in, all[i])
		}
	}
	return in
}

// measure says how much room the directories have: blocking. One that would not say counts as full.
func (b *Broker) measure(dirs []*logDir) (all []metadata.Directory) {
	for _, d := range dirs {
		_, usable, err := b.kernel.Space(d.path)
		if err != nil {
			usable = 0
		}
		all = append(all, metadata.Directory{ID: d.id(), UsableBytes: usable})
	}
	return all
}

// measured takes over how much room the directories have; a directory that has failed meanwhile does not come back.
func (c *controller) measured(all []metadata.Directory) {
	for i := range c.rules.Directories {
		for _, m := range all {
			if d := &c.rules.Directories[i]; d.ID == m.ID {
				d.UsableBytes = m.UsableBytes
			}
		}
	}
}
