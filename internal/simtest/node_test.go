package simtest

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"strings"

	"slipstream/internal/broker"
	"slipstream/internal/config"
	"slipstream/internal/metadata"
	"slipstream/internal/sim"
	"slipstream/reactor"
	"slipstream/ring"
)

var address = netip.MustParseAddrPort("127.0.0.1:9092")

// node is the machine that the broker runs on, over all its lives.
type node struct {
	world   *sim.World
	cores   int
	several bool // data directories
	sets    []string
	segment int // bytes; Kafka's settings do not go below a mebibyte

	broker  *broker.Broker
	driver  *sim.Driver
	running []*reactor.Core
	ready   bool
	log     logged
	starts  int
	ladder  reactor.Counters // of all lives: of it the rungs and the cold lane
	after   func()
}

// logged keeps what the broker logs.
type logged struct {
	lines    []string
	errors   []string
	expected string                 // in errors that are no failure
	told     func(line string) bool // whether an error is what a fault of the plan leads to; may be nil

	compacted int // logs
}

func (l *logged) Enabled(context.Context, slog.Level) bool { return true }
func (l *logged) WithAttrs([]slog.Attr) slog.Handler       { return l }
func (l *logged) WithGroup(string) slog.Handler            { return l }
func (l *logged) Handle(_ context.Context, r slog.Record) error {
	var b strings.Builder
	b.WriteString(r.Message)
	r.Attrs(func(a slog.Attr) bool {
		fmt.Fprintf(&b, " %s=%v", a.Key, a.Value)
		return true
	})
	if r.Message == "a log was compacted" {
		l.compacted++
	}
	l.lines = append(l.lines, r.Level.String()+" "+b.String())
	expected := l.expected != "" && strings.Contains(b.String(), l.expected) || l.told != nil && l.told(b.String())
	expected = expected || strings.Contains(b.String(), "were made anew: its indexes do not fit its log") // a power cut may tear them
	if r.Level >= slog.LevelError && !expected {
		l.errors = append(l.errors, b.String())
	}
	return nil
}

// smallSegments are topic settings with segments that roll often.
type smallSegments struct {
	broker.TopicSettings
	bytes int
}

func (s smallSegments) Resolve(topic []metadata.ConfigEntry, b broker.BrokerConfigs) broker.TopicConfig {
	c := s.TopicSettings.Resolve(topic, b)
	c.Log.SegmentBytes = int32(s.bytes)
	return c
}

// dirs are the data directories.
func (n *node) dirs() string {
	if n.several {
		return "/data,/disk2,/disk3"
	}
	return "/data"
}

func (n *node) settings() (broker.Settings, error) {
	c, err := config.Load("", append([]string{
		fmt.Sprint("slipstream.cores=", n.cores),
		"log.flush.offset.checkpoint.interval.ms=20",
		"slipstream.drain.ms=200",
		"num.recovery.threads.per.data.dir=1",
	}, n.sets...))
	if err != nil {
		return broker.Settings{}, err
	}
	s, err := broker.SettingsFrom(c, n.dirs(), address.String(), 4096)
	if err != nil {
		return s, err
	}
	s.Topics = smallSegments{s.Topics, n.segment}
	s.SelfCheck = true
	s.Metadata.SnapshotBytes, s.Metadata.Retention.Bytes = 2<<10, 8<<10 // most starts find a snapshot
	s.MaxOpenFiles = 48                                                 // descriptors are opened again and again
	s.Limits = reactor.Limits{
		SQEntries: 64, CQEntries: 128, MaxConnections: 64, MaxFrameBytes: 4 << 20, MaxPendingRequestsPerConn: 16,
		ProvidedBuffers: 16, ProvidedBufferBytes: 2 << 10, DirectBlockBytes: 32 << 10, OpSlots: 4096, ArenaBytes: 48 << 20,
		SmallStretchBytes: 2 << 10, SendFileTurnBytes: 6 << 10, SendFileAloneBytes: 20 << 10,
		BulkBytes: 6 << 10, BulkPipes: 2, PipeBytes: 16 << 10,
		ColdBytes: s.Limits.ColdBytes, ColdReads: 2, ColdIdleNanos: 3e6,
	}
	return s, nil
}

// start opens the data directory and lets the broker begin. It returns when
// clients can connect.
func (n *node) start() (err error) {
	defer func() {
		if p := recover(); p != nil {
			if _, crash := p.(sim.Crash); !crash {
				panic(p)
			}
			err = sim.ErrCrashed
		}
	}()
	n.starts++
	n.ready = false
	s, err := n.settings()
	if err != nil {
		return err
	}
	helpers := n.world.NewHelpers(4)
	b, err := broker.New(s, n.world.Kernel(), helpers, slog.New(&n.log))
	if err != nil {
		return fmt.Errorf("start %d: %w", n.starts, err)
	}
	b.Warm(nil)
	n.broker, n.running = b, b.Cores()
	n.driver = n.world.NewDriver(n.running, helpers)
	n.driver.AfterStep = n.after
	if err := n.driver.Start(); err != nil {
		return err
	}
	b.Begin(func() { n.ready = true })
	if err := n.driver.Run(60e9, func() bool { return n.ready }); err != nil {
		return fmt.Errorf("start %d: becoming ready: %w", n.starts, err)
	}
	return n.healthy()
}

// healthy: nothing was logged that is an error.
func (n *node) healthy() error {
	if len(n.log.errors) > 0 {
		return fmt.Errorf("the broker logged errors: %s", strings.Join(n.log.errors, "; "))
	}
	for _, c := range n.running {
		if err := checkTimes(c); err != nil {
			return err
		}
		if c.Stats.UnexpectedErrors > 0 || c.Stats.StaleCompletions > 0 {
			return fmt.Errorf("core %d: %d unexpected errors (%s), %d stale completions", c.ID, c.Stats.UnexpectedErrors, c.Stats.LastUnexpected, c.Stats.StaleCompletions)
		}
	}
	return nil
}

// stop drains the broker and closes its data directory.
func (n *node) stop() (err error) {
	defer func() {
		if p := recover(); p != nil {
			if _, crash := p.(sim.Crash); !crash {
				panic(p)
			}
			err = sim.ErrCrashed
		}
	}()
	n.broker.Drain()
	if err := n.driver.Run(120e9, n.driver.Stopped); err != nil {
		return fmt.Errorf("draining: %w", err)
	}
	for _, c := range n.running {
		if c.Arena.InUse() != 0 {
			return fmt.Errorf("core %d: stopped with %d bytes of its arena in use", c.ID, c.Arena.InUse())
		}
		c.Close()
	}
	if err := n.broker.Finish(true); err != nil {
		return fmt.Errorf("closing the data directory: %w", err)
	}
	n.countLadder()
	n.running = nil
	return n.healthy()
}

// bury gives back what the crashed program held.
func (n *node) bury() {
	n.countLadder()
	for _, c := range n.running {
		if c.Ring != nil {
			c.Abandon()
		}
	}
	n.running, n.broker, n.driver = nil, nil, nil
}

// countLadder adds up how the cores that are about to go have sent what was fetched.
func (n *node) countLadder() {
	for _, c := range n.running {
		n.addLadder(&c.Stats)
	}
}

func (n *node) addLadder(c *reactor.Counters) {
	l := &n.ladder
	for rung := range c.Rungs {
		l.Rungs[rung].Stretches += c.Rungs[rung].Stretches
		l.Rungs[rung].Bytes += c.Rungs[rung].Bytes
	}
	l.ColdSteps += c.ColdSteps
	l.ColdStepsShared += c.ColdStepsShared
	l.ColdWaits += c.ColdWaits
	l.ColdDropped += c.ColdDropped
	l.ColdReadErrors += c.ColdReadErrors
	l.HotTurnedCold += c.HotTurnedCold
	l.BulkPipesClosed += c.BulkPipesClosed
}

func isCrash(err error) bool { return errors.Is(err, sim.ErrCrashed) }

var levels = []ring.Level{ring.Level515, ring.Level61, ring.LevelNative}
