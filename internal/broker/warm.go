package broker

import (
	"maps"
	"sync"
	"sync/atomic"
	"time"

	"slipstream/protocol"
	"slipstream/storage"
)

// Warm start: before the doors are opened, what the tail readers of the last run
// will ask for is read into the page cache: from their places on, which
// slipstream-readers-checkpoint keeps, newest first, within slipstream.warm.bytes
// and slipstream.warm.ms. What is there already is not read, and nothing is dropped.

// warmThreads is how many files are read at once: enough for a device to work on
// several requests, few enough for one that cannot.
const warmThreads = 4

// WarmReport is what a warm start came to.
type WarmReport struct {
	Partitions    int   // with tail readers
	Stale         int   // places that do not fit their logs, ignored
	ResidentBytes int64 // wanted, and in the page cache already
	ReadBytes     int64
	LeftOutBytes  int64 // wanted, beyond the bounds
	TookMillis    int64
}

// warming is a warm start under way.
type warming struct {
	b        *Broker
	stop     <-chan struct{}
	deadline int64 // CLOCK_MONOTONIC
	threads  int
	done     atomic.Int64 // bytes
	read     atomic.Int64
	missed   atomic.Int64
	stale    int
}

// Warm reads ahead what the last run's tail readers will ask for. It ends early
// when stop is closed. The cores must not have been started.
func (b *Broker) Warm(stop <-chan struct{}) WarmReport {
	var r WarmReport
	if b.settings.WarmBytes <= 0 || b.settings.WarmMillis <= 0 {
		return r
	}
	places := b.readers()
	if len(places) == 0 {
		return r
	}
	begun := b.kernel.Monotonic()
	w := &warming{b: b, stop: stop, deadline: begun + b.settings.WarmMillis*1e6, threads: warmThreads}
	if b.settings.RecoveryThreads == 1 {
		w.threads = 1 // in order, as the simulator needs it
	}
	tails := w.findTails(w.wanted(places, begun))
	limit := b.settings.WarmBytes
	if memory := storage.AvailableMemory(b.kernel); memory > 0 {
		limit = min(limit, memory/2) // what is resident should stay so
	}
	steps, total, leftOut := storage.WarmSteps(tails, limit)
	w.readAll(steps, total)
	r = WarmReport{
		Partitions: len(places) - w.stale, Stale: w.stale,
		ResidentBytes: w.done.Load() - w.read.Load() - w.missed.Load(), ReadBytes: w.read.Load(),
		LeftOutBytes: leftOut + total - w.done.Load(), TookMillis: (b.kernel.Monotonic() - begun) / 1e6,
	}
	b.log.Info("warm start", "partitions", r.Partitions, "stale", r.Stale, "read_bytes", r.ReadBytes,
		"resident_bytes", r.ResidentBytes, "left_out_bytes", r.LeftOutBytes, "millis", r.TookMillis)
	b.report.Warm = r
	return r
}

// readers are the places of the last run's tail readers, of all directories.
func (b *Broker) readers() map[string]int64 {
	all := map[string]int64{}
	for _, d := range b.usable() {
		places, note := storage.ReadReaders(b.kernel, d.path)
		if note != "" {
			b.log.Warn("warm start", "directory", d.path, "note", note)
		}
		maps.Copy(all, places)
	}
	return all
}

// wantedTail is a partition with readers.
type wantedTail struct {
	log  *storage.Partition
	at   int64
	tail *storage.WarmTail
}

// wanted finds the partitions that readers are in, and lets them know: should
// nobody come before the broker is restarted again, it is still known who was there.
func (w *warming) wanted(places map[string]int64, now int64) (all []wantedTail) {
	for _, t := range w.b.shards[controllerCore].image.Topics() {
		for i := range t.Partitions {
			key := partitionKey{protocol.UUID(t.ID), t.Partitions[i].Index}
			at, ok := places[storage.DirName(t.Name, key.partition)]
			h := w.b.shards[w.b.ownerOf(key)].hosted[key]
			if !ok || h == nil || h.log == nil {
				continue
			}
			if o := h.log.Offsets(); at < o.LogStart || at > o.LogEnd {
				continue // another log of that name, or one that was cut
			}
			h.log.SetReaders(at, now)
			all = append(all, wantedTail{log: h.log, at: at})
		}
	}
	w.stale = len(places) - len(all)
	return all
}

// findTails finds what those readers will read.
func (w *warming) findTails(all []wantedTail) (tails []*storage.WarmTail) {
	w.parallel(len(all), func() func(int) {
		return func(i int) {
			x := &all[i]
			var err error
			if x.tail, err = x.log.TailFrom(w.b.kernel, x.at); err != nil {
				w.b.log.Warn("warm start: a reader's place was not found", "partition", x.log.Dir(), "error", err)
			}
		}
	})
	for i := range all {
		if all[i].tail != nil {
			tails = append(tails, all[i].tail)
		}
	}
	return tails
}

// readAll reads steps in order, several at once, and logs progress once it has
// taken a second.
func (w *warming) readAll(steps []storage.WarmStep, total int64) {
	finished := make(chan struct{})
	defer close(finished)
	if w.threads > 1 {
		go w.tell(finished, total)
	}
	w.parallel(len(steps), func() func(int) {
		buffer := make([]byte, storage.WarmStepBytes)
		return func(i int) {
			s := &steps[i]
			n, err := s.Read(w.b.kernel, buffer)
			if err != nil {
				w.missed.Add(s.Bytes() - n)
				w.b.log.Warn("warm start: a log could not be read ahead", "error", err)
			}
			w.read.Add(n)
			w.done.Add(s.Bytes())
		}
	})
}

// tell logs progress.
func (w *warming) tell(finished <-chan struct{}, total int64) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-finished:
			return
		case <-tick.C:
			w.b.log.Info("warming the page cache", "done_bytes", w.done.Load(), "of", total)
		}
	}
}

// parallel does n things on several threads, in order as far as that goes, until
// they are done or time is up. each makes a thread's worker.
func (w *warming) parallel(n int, each func() func(int)) {
	var next atomic.Int64
	work := func() {
		do := each()
		for i := next.Add(1) - 1; i < int64(n) && !w.over(); i = next.Add(1) - 1 {
			do(int(i))
		}
	}
	if w.threads == 1 {
		work()
		return
	}
	var wait sync.WaitGroup
	for range min(w.threads, n) {
		wait.Go(work)
	}
	wait.Wait()
}

// over says that the time is up, or that the broker is told to stop.
func (w *warming) over() bool {
	select {
	case <-w.stop:
		return true
	default:
	}
	return w.b.kernel.Monotonic() >= w.deadline
}
