package broker

import (
	"sync"
	"sync/atomic"
	"time"

	"slipstream/storage"
)

// Recovery: each data directory has num.recovery.threads.per.data.dir threads. They open its partitions, and what threads find none to open
// validate segments of those that others are about. So neither many small logs nor one large one leaves a thread idle.

// recovery is the opening of a data directory's partitions on several threads.
type recovery struct {
	work  []*opening
	next  atomic.Int64
	spare chan struct{} // one for each thread that has nothing to do
	all   *recoveries
}

// recoveries are those of all data directories together.
type recoveries struct {
	broker     *Broker
	partitions int
	opened     atomic.Int64 // of these
	validated  atomic.Int64 // bytes
	total      atomic.Int64 // bytes to be validated, 0: not known yet
	began      time.Time
}

// openAll opens partitions on several threads and logs progress once it has taken a second.
func (b *Broker) openAll(work []*opening) {
	threads := max(b.recoveryThreads(), 1)
	if threads == 1 {
		for _, o := range work { // in order and on this thread, as the simulator needs it
			b.openOne(o, nil)
		}
		return
	}
	all := &recoveries{broker: b, partitions: len(work), began: time.Now()}
	byDir := map[*logDir]*recovery{}
	for _, o := range work {
		r := byDir[o.dir]
		if r == nil {
			r = &recovery{spare: make(chan struct{}, threads), all: all}
			byDir[o.dir] = r
		}
		r.work = append(r.work, o)
	}
	var wait sync.WaitGroup
	for _, r := range byDir { // at once: the order does not show
		for range threads {
			wait.Go(r.open)
		}
	}
	finished := make(chan struct{})
	go func() { wait.Wait(); close(finished) }()
	all.watch(work, finished)
}

// open is one thread's work.
func (r *recovery) open() {
	for i := r.next.Add(1) - 1; i < int64(len(r.work)); i = r.next.Add(1) - 1 {
		r.all.broker.openOne(r.work[i], r)
		r.all.opened.Add(1)
	}
	r.spare <- struct{}{}
}

// watch logs progress every second until all is done.
func (all *recoveries) watch(work []*opening, finished <-chan struct{}) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for first := true; ; first = false {
		select {
		case <-finished:
			return
		case <-tick.C:
		}
		if first {
			go all.addUp(work)
		}
		all.tell()
	}
}

// told takes note of bytes that were validated.
func (r *recovery) told(bytes int64) { r.all.validated.Add(bytes) }

// parallel has do called for each number below n, on this thread and on those that are to spare.
func (r *recovery) parallel(n int, do func(i int)) {
	var next atomic.Int64
	share := func() {
		for i := next.Add(1) - 1; i < int64(n); i = next.Add(1) - 1 {
			do(int(i))
		}
	}
	var wait sync.WaitGroup
	for helpers, helping := 0, true; helping && helpers < n-1; helpers++ {
		select {
		case <-r.spare:
			wait.Go(func() {
				share()
				r.spare <- struct{}{}
			})
		default:
			helping = false
		}
	}
	share()
	wait.Wait()
}

// addUp finds out how much there is to be validated, of what is opened already too.
func (all *recoveries) addUp(work []*opening) {
	total := int64(0)
	for _, o := range work {
		if o.dir == nil || o.dir.clean {
			continue
		}
		name := storage.DirName(o.topic.name, o.partition)
		total += storage.BytesToValidate(all.broker.kernel, o.dir.path+"/"+name, o.dir.points.RecoveryPoint[name])
	}
	all.total.Store(total)
}

// tell logs how far it has come, and about how long it will take.
func (all *recoveries) tell() {
	fields := []any{"done", all.opened.Load(), "of", all.partitions}
	done, total := all.validated.Load(), all.total.Load()
	if total > 0 {
		fields = append(fields, "validated_mb", done>>20, "of_mb", max(total, done)>>20)
		if left := total - done; done > 0 && left > 0 {
			seconds := time.Since(all.began).Seconds() * float64(left) / float64(done)
			fields = append(fields, "left_seconds", int64(seconds+0.5))
		}
	}
	all.broker.log.Info("opening partitions", fields...)
}
