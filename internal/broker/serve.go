package broker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"

	"slipstream/internal/metadata"
	"slipstream/protocol"
	"slipstream/reactor"
	"slipstream/storage"
)

// Serve opens the data directory, runs the cores until ctx ends, and closes it
// cleanly. ready is called once, when clients can connect.
func Serve(ctx context.Context, s Settings, k kernel, helpers reactor.Helpers, log *slog.Logger, ready func(Report)) error {
	begun := k.Monotonic()
	b, err := New(s, k, helpers, log)
	if err != nil {
		return err
	}
	if s.Watcher != nil {
		stop, err := s.Watcher.Watch(b)
		if err != nil {
			b.release()
			return err
		}
		defer stop()
	}
	b.Warm(ctx.Done())
	stopped := make(chan struct{}) // a fatal error
	var once sync.Once
	b.onFatal = func() { once.Do(func() { close(stopped) }) }
	ended := make(chan error, len(b.cores))
	for _, c := range b.cores {
		go func() { ended <- c.Run() }()
	}
	b.Begin(func() {
		r := b.Report()
		r.TookMillis = (k.Monotonic() - begun) / 1e6 // what New took, the watcher, a warm start, and registering
		ready(r)
	})
	running := len(b.cores)
	select {
	case <-ctx.Done():
	case <-stopped:
	case err = <-ended: // a core that failed, perhaps to start
		running--
		b.quiet.Add(int32(len(b.cores))) // the others need not wait for it
	}
	b.drainAll()
	for range running {
		err = errors.Join(err, <-ended)
	}
	if cause := b.failure.Load(); cause != nil {
		err = errors.Join(*cause, err)
	}
	finished := b.Finish(err == nil)
	if b.failure.Load() != nil {
		if finished != nil { // it follows from the cause, which is what to tell
			b.log.Error("closing the data directories", "error", finished)
		}
		return err
	}
	return errors.Join(err, finished)
}

// Report is what the screen at start-up shows.
func (b *Broker) Report() Report {
	r := b.report
	r.Addresses = []string{b.bound.String()}
	r.Level = b.cores[controllerCore].Level().String()
	r.NodeID, r.ClusterID, r.Cores = b.nodeID, b.clusterID, len(b.cores)
	for _, d := range b.dirs {
		r.DataDirs = append(r.DataDirs, d.path)
	}
	return r
}

// drainAll asks every core to stop.
func (b *Broker) drainAll() {
	b.state.Store(int32(StateShuttingDown))
	for _, c := range b.cores {
		c.Inject(&drainCore{b})
	}
}

// drainCore starts a core's shutdown.
type drainCore struct{ b *Broker }

// Deliver implements reactor.Message.
func (d *drainCore) Deliver(c *reactor.Core) { c.Drain(c.Now + d.b.settings.DrainMillis*1e6) }

// Drain asks every core to stop, as a signal would.
func (b *Broker) Drain() { b.drainAll() }

// Finish is what remains when every core has stopped: the checkpoint files and,
// after a clean end, the marker that says so.
func (b *Broker) Finish(clean bool) error {
	defer b.release()
	b.state.Store(int32(StateStopped))
	var all []storage.Checkpoint
	for _, s := range b.shards {
		all = s.store.Checkpoints(all)
		clean = clean && s.closing.closed
		for _, err := range s.closing.errs {
			b.log.Error("closing a partition", "error", err)
		}
	}
	return b.finishDirectories(all, clean)
}

// finishDirectories writes the checkpoint files of every directory that is in service and, where all of it was closed, the marker.
func (b *Broker) finishDirectories(all []storage.Checkpoint, clean bool) (err error) {
	for _, d := range b.usable() {
		if b.shards[controllerCore].offline[d.index] {
			continue
		}
		failed := storage.WriteCheckpoints(b.kernel, d.path, checkpointsIn(d, all))
		if failed == nil && clean && !b.unclosed(d) {
			failed = storage.WriteCleanShutdown(b.kernel, d.path, b.brokerEpoch())
		}
		err = errors.Join(err, failed)
	}
	return err
}

// unclosed is whether a partition in a directory could not be closed.
func (b *Broker) unclosed(d *logDir) bool {
	for _, s := range b.shards {
		for _, err := range s.closing.errs {
			var e *storage.CloseError
			if !errors.As(err, &e) || e.DataDir == d.path {
				return true
			}
		}
	}
	return false
}

// brokerEpoch is that of this node's registration.
func (b *Broker) brokerEpoch() int64 {
	if r := b.shards[controllerCore].image.Broker(b.nodeID); r != nil {
		return r.BrokerEpoch
	}
	return -1
}

// Begin commits what this start adds to the metadata log (the new leader's epoch,
// the records of a new cluster, this broker's registration) and then opens the
// doors; ready is called on core 0. The cores must have been started.
func (b *Broker) Begin(ready func()) {
	b.cores[controllerCore].Inject(&begin{b: b, ready: ready})
}

// begin runs on core 0: each step is committed before the next is decided.
type begin struct {
	b     *Broker
	ready func()
}

// Deliver implements reactor.Message.
func (m *begin) Deliver(*reactor.Core) {
	s := m.b.shards[controllerCore]
	node := m.b.node()
	var voters *metadata.Voters
	if s.controller.log.Offsets().LogEnd == 0 {
		if voters = s.image.Voters(); voters == nil && s.controller.rules.Bootstrap == nil {
			voters = m.b.voters()
		}
	}
	var then []metadata.Record
	s.controller.lead(voters, m.next("begin an epoch of the metadata log", func() {
		s.propose(func(c *metadata.Controller) (first []metadata.Record) {
			first, then = c.Activate(node)
			return first
		}, m.next("begin the metadata log", func() {
			s.propose(func(*metadata.Controller) []metadata.Record { return then }, m.next("register the controller", func() {
				s.proposeAll(func(c *metadata.Controller) []metadata.Record {
					return c.Register(node, s.controller.log.Offsets().LogEnd)
				}, m.next("register the broker", func() { m.b.openDoors(m.ready) }))
			}))
		}))
	}))
}

// next goes on if the last step was committed.
func (m *begin) next(what string, then func()) func(protocol.ErrorCode) {
	return func(code protocol.ErrorCode) {
		if m.b.cores[controllerCore].Draining() {
			return // told to stop while starting
		}
		if code != protocol.NONE {
			m.b.fatal(fmt.Errorf("cannot %s: %s", what, code))
			return
		}
		then()
	}
}

// node is what this broker says of itself in its registration.
func (b *Broker) node() metadata.Node {
	var directories []metadata.UUID
	for _, d := range b.usable() {
		directories = append(directories, d.id())
	}
	return metadata.Node{
		Incarnation: metadata.UUID(b.randomID()),
		Directories: directories, Where: b.whereIs,
		Endpoints: []metadata.Endpoint{{Name: "PLAINTEXT", Host: b.advertisedHost, Port: uint16(b.advertisedPort)}},
	}
}

// recordsPerBatch keeps a batch of many partitions' changes within what
// Kafka's raft reads: 10,000 records, 8 MiB.
const recordsPerBatch = 10_000

// proposeAll proposes records that need not be atomic, in as many batches as it
// takes. decide runs once.
func (s *Shard) proposeAll(decide func(*metadata.Controller) []metadata.Record, done func(protocol.ErrorCode)) {
	var rest []metadata.Record
	var step func(protocol.ErrorCode)
	step = func(code protocol.ErrorCode) {
		if code != protocol.NONE || len(rest) == 0 {
			done(code)
			return
		}
		n := min(len(rest), recordsPerBatch)
		batch := rest[:n:n]
		rest = rest[n:]
		s.propose(func(*metadata.Controller) []metadata.Record { return batch }, step)
	}
	s.propose(func(c *metadata.Controller) []metadata.Record {
		all := decide(c)
		n := min(len(all), recordsPerBatch)
		rest = all[n:]
		return all[:n:n]
	}, step)
}

// openDoors arms every core's listener, then calls ready on core 0.
func (b *Broker) openDoors(ready func()) {
	left := len(b.shards)
	first := b.shards[controllerCore]
	for i, s := range b.shards {
		d := &openDoor{fd: b.listeners[i], shard: s, first: first, done: func() {
			left--
			if left == 0 {
				b.listeners = nil // the cores' now
				b.state.Store(int32(StateRunning))
				ready()
				first.startCheckpoints()
				first.controller.snapshots.begin()
				first.startCleaners()
			}
		}}
		if s == first {
			d.Deliver(s.core)
		} else {
			first.core.Send(s.core, d)
		}
	}
}

// openDoor has one core load its coordinators, arms its listener and reports back
// to core 0.
type openDoor struct {
	fd    int
	shard *Shard
	first *Shard
	done  func()
	back  bool
}

// Deliver implements reactor.Message.
func (d *openDoor) Deliver(c *reactor.Core) {
	if !d.back {
		d.shard.coordinating.start()
		c.Listen(d.fd)
		d.back = true
		if c != d.first.core {
			c.Send(d.first.core, d)
			return
		}
	}
	d.done()
}
