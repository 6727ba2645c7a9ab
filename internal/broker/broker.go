// Package broker is slipstream's broker: dispatch, one file per API key, the
// controller, start-up and shutdown. Everything that runs per request belongs to
// one core (see Shard); broker.go, open.go and serve.go are what surrounds the
// cores.
package broker

import (
	"log/slog"
	"net/netip"
	"sync/atomic"

	"slipstream/protocol"
	"slipstream/reactor"
)

// Broker is one node: its identity, its cores and what they have in common.
// Its fields do not change once the cores run, but for the atomic ones.
type Broker struct {
	log      *slog.Logger
	settings Settings
	kernel   kernel
	dirs     []*logDir                // log.dirs, in order
	metaDir  *logDir                  // the one with the metadata log
	where    map[string]*logDir       // partitions by directory name, as this start found them
	opened   map[partitionKey]*logDir // where this start has found or made partitions

	clusterID   string
	directoryID protocol.UUID
	epoch       int32 // the metadata log's, as of this start

	nodeID         int32
	advertisedHost string
	advertisedPort int32
	bound          netip.AddrPort
	listeners      []int // one descriptor per core

	autoCreate        bool
	fetchMaxBytes     int32
	fetchSessionSlots int
	consumerGroups    bool // group.coordinator.rebalance.protocols has consumer

	shards   []*Shard
	cores    []*reactor.Core
	report   Report
	state    atomic.Int32 // a State
	quiet    atomic.Int32 // cores without connections, while stopping
	resigned atomic.Bool  // this node is out of service: cores may close
	failure  atomic.Pointer[error]
	onFatal  func()
}

// State is how far the broker has come, in Kafka's numbers.
type State int32

// The states that a broker of ours goes through.
const (
	StateStarting     State = 1
	StateRunning      State = 3
	StateShuttingDown State = 6 // told to stop: PENDING_CONTROLLED_SHUTDOWN
	StateStopped      State = 7 // its cores have: SHUTTING_DOWN
)

// MetadataEpoch is the metadata log's epoch as of this start.
func (b *Broker) MetadataEpoch() int32 { return b.epoch }

// State may be asked by any goroutine.
func (b *Broker) State() State { return State(b.state.Load()) }

// Watcher looks at a broker from outside, as metrics do. Watch is called when its
// cores are about to run; an error keeps the broker from starting. What it returns
// is called when they have stopped.
type Watcher interface {
	Watch(b *Broker) (stop func(), err error)
}

// fatal stops the broker for an error that it cannot go on after.
func (b *Broker) fatal(err error) {
	b.log.Error("stopping", "error", err)
	if b.failure.CompareAndSwap(nil, &err) && b.onFatal != nil {
		b.onFatal()
	}
}

// Cores returns the broker's cores, for whoever turns them.
func (b *Broker) Cores() []*reactor.Core { return b.cores }

// Address is where the broker listens.
func (b *Broker) Address() netip.AddrPort { return b.bound }
