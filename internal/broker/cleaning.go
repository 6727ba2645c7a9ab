package broker

import (
	"slipstream/reactor"
	"slipstream/storage"
)

// Compaction: cleaners (log.cleaner.threads of them) each clean one log after the other, the filthiest first, wherever it is.
// A cleaner is a message: it begins on core 0, visits every core and looks at its partitions, a bounded number in a turn, goes to the
// core that owns the filthiest log, stays while that is cleaned (storage does that, with helpers), and comes home.
// Where nothing is worth it, it comes again after log.cleaner.backoff.ms. The memory for a cleaner's map of keys, and the budget for
// its reading and writing, are equal parts of the broker's.

// CleanerSettings are what compaction goes by.
type CleanerSettings struct {
	Threads       int     // log.cleaner.threads; 0, or log.cleaner.enable=false: none
	MapBytes      int64   // log.cleaner.dedupe.buffer.size, of all
	BytesPerSec   float64 // log.cleaner.io.max.bytes.per.second, of all
	BackoffMillis int64   // log.cleaner.backoff.ms
}

// maxCleaners is how many cleaners there are at most.
const maxCleaners = 64

// syncsPerLook is how many logs a cleaner has synced, on a core and in a round, so that they can be cleaned in a later one: after a
// crash that can be all of them.
const syncsPerLook = 16

// CleanerFigures are Kafka's figures of its log cleaner.
type CleanerFigures struct {
	MaxDirtyRatio        float64 // of the filthiest log, when it was last looked for
	RecopyRatio          float64 // bytes written of bytes read, of the last cleaning
	MaxCleanSeconds      float64 // that the last cleaning took
	MaxBufferUtilization float64 // of its map
	MaxDelayMillis       int64   // how long dirty records had outstayed max.compaction.lag.ms
	LastLookMillis       int64   // wall clock, when logs were last looked at
}

// cleaning is what core 0 has of compaction.
type cleaning struct {
	cleaners []*cleanerRound
	figures  CleanerFigures
	stopped  bool
}

// cleanerRound is one cleaner on its way.
type cleanerRound struct {
	first    *Shard // core 0's
	number   int
	settings CleanerSettings
	memory   storage.Cleaner

	at      int // the core that it is on
	index   int // the partition that it looks at next, from the end of the list
	syncs   int // that it has asked for on this core
	best    storage.Cleanable
	bestAt  int
	figures CleanerFigures
	cleaned bool // this round
	timer   reactor.Timer
}

// startCleaners begins with as many cleaners as there are to be. On core 0.
func (s *Shard) startCleaners() {
	settings := s.broker.settings.Topics.Cleaner(s.brokerConfigs())
	if settings.Threads < 1 && len(s.cleaning.cleaners) == 0 {
		settings.Threads = 1 // one that looks whether that has changed
	}
	for n := len(s.cleaning.cleaners); n < min(settings.Threads, maxCleaners); n++ {
		r := &cleanerRound{first: s, number: n}
		s.cleaning.cleaners = append(s.cleaning.cleaners, r)
		s.core.After(settings.BackoffMillis*1e6, &r.timer, r)
	}
}

// stopCleaners has no further round begin. One that is under way ends: at the latest when its log is closed.
func (s *Shard) stopCleaners() {
	s.cleaning.stopped = true
	for _, r := range s.cleaning.cleaners {
		if r.timer.Armed() {
			s.core.Cancel(&r.timer)
		}
	}
}

// Fire implements reactor.TimerHandler: a round begins, on core 0.
func (r *cleanerRound) Fire(*reactor.Timer) {
	s := r.first
	r.settings = s.broker.settings.Topics.Cleaner(s.brokerConfigs())
	if r.number == 0 {
		s.startCleaners()
	}
	if r.number >= r.settings.Threads {
		r.memory = storage.Cleaner{}
		r.rest()
		return
	}
	r.at, r.best, r.bestAt, r.cleaned = 0, storage.Cleanable{}, 0, false
	r.figures = CleanerFigures{LastLookMillis: s.core.Wall / 1e6}
	r.begin()
}

// rest waits for the next round.
func (r *cleanerRound) rest() {
	if !r.first.cleaning.stopped {
		r.first.core.After(max(r.settings.BackoffMillis, 1)*1e6, &r.timer, r)
	}
}

// begin begins with the partitions of the core that it is on.
func (r *cleanerRound) begin() {
	r.index, r.syncs = r.first.broker.shards[r.at].store.Partitions(), 0
	r.Deliver(r.first.broker.shards[r.at].core)
}

// Deliver implements reactor.Message: the next partitions of a core.
func (r *cleanerRound) Deliver(c *reactor.Core) {
	shards := r.first.broker.shards
	if !r.look(shards[r.at], c.Wall/1e6) {
		c.Send(c, r)
		return
	}
	if r.at++; r.at < len(shards) {
		c.Send(shards[r.at].core, (*cleanerArrival)(r))
		return
	}
	if r.best.Partition == nil {
		r.goHome(c)
		return
	}
	(*cleanerWork)(r).goTo(c)
}

// cleanerArrival is a cleaner that comes to a core to look at its partitions.
type cleanerArrival cleanerRound

// Deliver implements reactor.Message.
func (r *cleanerArrival) Deliver(*reactor.Core) { (*cleanerRound)(r).begin() }

// look looks at partitions of a core, as many as one turn has time for. It returns true when it has seen all. It goes
// from the end of the list: one that is taken off it is replaced by the last.
func (r *cleanerRound) look(s *Shard, nowMillis int64) bool {
	r.index = min(r.index, s.store.Partitions())
	for n, segments := 0, 0; r.index > 0; n++ {
		if n == partitionsPerSlice || segments > segmentsPerSlice {
			return false
		}
		r.index--
		p := s.store.Partition(r.index)
		if r.syncs < syncsPerLook && p.SyncForCleaning() {
			r.syncs++
		}
		c, ok := p.Cleanable(nowMillis)
		if !ok {
			continue
		}
		segments += p.Segments()
		r.figures.MaxDirtyRatio = max(r.figures.MaxDirtyRatio, c.Ratio)
		r.figures.MaxDelayMillis = max(r.figures.MaxDelayMillis, c.DelayMillis)
		if c.Due() && c.Filthier(&r.best) {
			r.best, r.bestAt = c, r.at
		}
	}
	return true
}

// cleanerWork is a cleaner on its way to the log that it has chosen.
type cleanerWork cleanerRound

func (r *cleanerWork) goTo(c *reactor.Core) {
	to := r.first.broker.shards[r.bestAt].core
	if to == c {
		r.Deliver(c)
		return
	}
	c.Send(to, r)
}

// Deliver implements reactor.Message: on the core that owns the log. What could be cleaned is looked at again: it may be another
// cleaner's by now, or gone.
func (r *cleanerWork) Deliver(c *reactor.Core) {
	round := (*cleanerRound)(r)
	best, ok := r.best.Partition.Cleanable(c.Wall / 1e6)
	if !ok || !best.Due() {
		round.goHome(c)
		return
	}
	threads := int64(min(max(r.settings.Threads, 1), maxCleaners))
	options := storage.CleanOptions{MapBytes: r.settings.MapBytes / threads, BytesPerSecond: r.settings.BytesPerSec / float64(threads)}
	id := best.Partition.ID()
	best.Partition.Clean(&best, &r.memory, options, func(result storage.CleanResult) {
		round.cleaned = result.Err == nil && result.To > result.From
		f := &round.figures
		f.MaxCleanSeconds, f.MaxBufferUtilization = float64(result.Nanos)/1e9, result.BufferUtilization
		f.RecopyRatio = float64(result.WrittenBytes) / float64(max(result.MapBytes+result.ReadBytes, 1))
		if round.cleaned {
			r.first.broker.log.Info("a log was compacted", "topic", id.Topic, "partition", id.Partition, "result", result.String())
		}
		round.goHome(c)
	})
}

// goHome goes back to core 0.
func (r *cleanerRound) goHome(c *reactor.Core) {
	home := (*cleanerHome)(r)
	if c == r.first.core {
		home.Deliver(c)
		return
	}
	c.Send(r.first.core, home)
}

// cleanerHome is a cleaner at the end of its round.
type cleanerHome cleanerRound

// Deliver implements reactor.Message. After a log that was cleaned the next round begins at once.
func (r *cleanerHome) Deliver(c *reactor.Core) {
	s := r.first
	figures := &s.cleaning.figures
	last := *figures
	*figures = r.figures
	if r.figures.MaxCleanSeconds == 0 { // nothing was cleaned: the last one's stay
		figures.MaxCleanSeconds, figures.MaxBufferUtilization, figures.RecopyRatio = last.MaxCleanSeconds, last.MaxBufferUtilization, last.RecopyRatio
	}
	r.best = storage.Cleanable{}
	if r.cleaned {
		s.checkpointSoon()
	}
	if r.cleaned && !s.cleaning.stopped {
		c.After(0, &r.timer, (*cleanerRound)(r))
		return
	}
	(*cleanerRound)(r).rest()
}
