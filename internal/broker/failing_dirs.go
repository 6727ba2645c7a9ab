package broker

import (
	"fmt"

	"slipstream/internal/metadata"
	"slipstream/protocol"
	"slipstream/reactor"
	"slipstream/storage"
)

// A data directory that fails while the broker runs:
//
//	a partition's fsync, write, roll; a checkpoint; a new partition's files   any core: suspect
//	   -> core 0: does a small durable write in the directory work?           a helper
//	   -> no: every core gives its partitions there up, some a turn           KAFKA_STORAGE_ERROR
//	   -> core 0: records: no leader, and a registration without it           LEADER_NOT_AVAILABLE
//
// Where the write works it was the file, not the disk: then only that partition has failed. A directory stays out of
// service until the broker is restarted, as in Kafka. Without the metadata log there is no broker, nor without any directory.

// tryPauseNanos is the least time from one look at a directory to the next: a partition that fails at each
// append asks for one each time.
const tryPauseNanos = 1e9

// suspect implements storage.StoreOptions.Suspect.
func (s *Shard) suspect(p *storage.Partition, err error) {
	d := s.broker.dirAt(p.DataDir())
	if d == nil {
		return
	}
	if id := p.ID(); id.Topic == metadata.MetadataTopic && p.Failed() {
		s.broker.metadataFailed(d, err)
		return
	}
	s.suspectDir(d, err)
}

// metadataFailed ends the broker.
func (b *Broker) metadataFailed(d *logDir, err error) {
	b.fatal(fmt.Errorf("data directory %s, which has the metadata log, has failed, and the broker cannot go on without it: %w", d.abs, err))
}

// suspectDir has core 0 find out whether a directory still works.
func (s *Shard) suspectDir(d *logDir, err error) {
	t := &dirTrial{dir: d, shard: s.broker.shards[controllerCore], cause: err}
	if t.shard == s {
		t.begin()
		return
	}
	s.core.Send(t.shard.core, t)
}

// dirTrial finds out whether a directory works.
type dirTrial struct {
	dir    *logDir
	shard  *Shard // core 0's
	cause  error
	result error
	tried  bool
}

// dirTrials are those of core 0: when each directory may be looked at again, and whether it is being looked at.
type dirTrials struct {
	after   map[*logDir]int64 // core.Now
	running map[*logDir]bool
}

// Deliver implements reactor.Message: on core 0, before the trial and after it.
func (t *dirTrial) Deliver(*reactor.Core) {
	if !t.tried {
		t.begin()
		return
	}
	s := t.shard
	s.trials.running[t.dir] = false
	s.trials.after[t.dir] = s.core.Now + tryPauseNanos
	if t.result != nil {
		s.failDirectory(t.dir, t.result)
		return
	}
	s.broker.log.Warn("something has failed in a data directory that works", "directory", t.dir.abs, "error", t.cause)
}

func (t *dirTrial) begin() {
	s, d := t.shard, t.dir
	if s.trials.running == nil {
		s.trials = dirTrials{after: map[*logDir]int64{}, running: map[*logDir]bool{}}
	}
	if s.trials.running[d] || s.trials.after[d] > s.core.Now || d.index >= 0 && s.offline[d.index] {
		return
	}
	s.trials.running[d] = true
	s.core.Offload(t)
}

// Work implements reactor.Job.
func (t *dirTrial) Work(k kernel) reactor.Message {
	t.result, t.tried = storage.TryDirectory(k, t.dir.path), true
	return t
}

// failDirectory takes a directory out of service, on core 0.
func (s *Shard) failDirectory(d *logDir, err error) {
	b := s.broker
	if d == b.metaDir {
		b.metadataFailed(d, err)
		return
	}
	if s.offline[d.index] {
		return
	}
	left := 0
	for _, other := range b.usable() {
		if other != d && !s.offline[other.index] {
			left++
		}
	}
	if left == 0 {
		b.fatal(fmt.Errorf("data directory %s, the last one, has failed: %w", d.abs, err))
		return
	}
	b.log.Error("a data directory has failed: its partitions are out of service until the broker is restarted", "directory", d.abs, "error", err)
	round := &dirFailure{dir: d, first: s, missing: len(b.shards)}
	for _, other := range b.shards {
		f := &coreDirFailure{round: round, shard: other}
		if other == s {
			f.Deliver(s.core)
		} else {
			s.core.Send(other.core, f)
		}
	}
}

// dirFailure counts the cores that have not yet given up what is in a failed directory.
type dirFailure struct {
	dir     *logDir
	first   *Shard
	missing int
}

// Deliver implements reactor.Message: a core is done, on core 0.
func (f *dirFailure) Deliver(*reactor.Core) {
	if f.missing--; f.missing > 0 {
		return
	}
	s, failed := f.first, f.dir
	s.proposeAll(func(c *metadata.Controller) []metadata.Record { return c.FailDirectory(failed.id()) }, func(code protocol.ErrorCode) {
		if code != protocol.NONE {
			s.broker.log.Error("that a data directory has failed could not be written to the metadata log", "directory", failed.abs, "error", code)
		}
	})
}

// coreDirFailure has one core give up what is in a failed directory, topicsPerTurn topics a turn.
type coreDirFailure struct {
	round *dirFailure
	shard *Shard
	begun bool
	keys  []partitionKey
}

// Deliver implements reactor.Message.
func (f *coreDirFailure) Deliver(c *reactor.Core) {
	s, d := f.shard, f.round.dir
	if !f.begun {
		f.begun = true
		s.offline[d.index] = true
		for _, t := range s.topicList {
			for i := range int32(t.partitions) {
				if h := s.hosted[partitionKey{t.id, i}]; h != nil && h.dir == d {
					f.keys = append(f.keys, h.key)
				}
			}
		}
	}
	n := min(len(f.keys), topicsPerTurn)
	for _, key := range f.keys[:n] {
		s.giveUp(key)
	}
	if f.keys = f.keys[n:]; len(f.keys) > 0 {
		c.Send(c, f)
		return
	}
	if s == f.round.first {
		f.round.Deliver(c)
		return
	}
	c.Send(f.round.first.core, f.round)
}

// giveUp takes a partition out of service whose directory has failed. What still works with it sees a partition that is gone.
func (s *Shard) giveUp(key partitionKey) {
	h := s.hosted[key]
	if h == nil || h.failed {
		return
	}
	s.hosted[key] = &hosted{key: key, topic: h.topic, leaderEpoch: h.leaderEpoch, dir: h.dir, failed: true}
	s.outOfService++
	h.gone = true
	s.shares.forgetPartition(key)
	if h.coordinated != nil {
		s.coordinating.forget(h.coordinated)
	}
	if h.log != nil {
		s.store.Abandon(h.log, func() {})
	}
}
