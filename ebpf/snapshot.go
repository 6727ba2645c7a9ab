package ebpf

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/cilium/ebpf"
)

// Cell is what the page cache did for one client's reads of one partition, in
// pages of the system's page size, since the start. The cell whose Client is ""
// is the partition's own: what no client's read asked for (appends, other
// processes, the broker's own reads) and what left. The cell whose Partition is ""
// holds together all those that there was no room for.
type Cell struct {
	Partition, Client string // "topic-3"; the client id
	// Lookups are the pages that reads went through. Hits are those of them that
	// were there: Lookups less DemandMisses.
	Lookups      uint64
	DemandMisses uint64 // pages that a read asked for and that were not there
	Readahead    uint64 // pages of the same file that the kernel brought in beside them
	// WriteInserts are pages that appends brought in, ForeignInserts those that
	// other processes did.
	WriteInserts, ForeignInserts uint64
	Evictions                    uint64 // pages that the kernel took for want of memory, or another process dropped
	Drops                        uint64 // pages that the broker itself let go: deleted, truncated or dropped behind a cold read
}

// Hits are the pages that were there when a read came for them.
func (c *Cell) Hits() uint64 {
	return c.Lookups - min(c.Lookups, c.DemandMisses)
}

// Eviction is how many of a partition's pages went while a culprit was bringing
// others in: a client's reads of a partition, its appends (CulpritClient ""), or a
// process ("cat/4711"), which may be this one when it was not a log that it read
// or wrote. All empty: unknown, or no longer told apart.
type Eviction struct {
	Victim                          string // partition
	CulpritPartition, CulpritClient string
	CulpritProcess                  string // name and process id
	Pages                           uint64
}

// Counters say how far the figures can be trusted.
type Counters struct {
	// FilesRefused is how many times a log file was not observed, because
	// Options.Files were, or because the kernel refused.
	FilesRefused uint64
	// ReadersRefused is how many times a reader had to be counted with others,
	// because there were Options.Cells or Options.Clients already.
	ReadersRefused uint64
	// CulpritsRefused is the evicted pages whose culprit is not told, because there
	// were Options.Culprits already.
	CulpritsRefused uint64
	// RecursionMisses is how many times the kernel did not run a program because it
	// was interrupted on the same processor while running.
	RecursionMisses uint64
	// TailEvictions are pages near the ends of logs that went for cold reads, and
	// for anything else.
	TailEvictionsCold, TailEvictionsOthers uint64
}

// Snapshot is all that was counted. Cells are in order of partition and client,
// evictions of victim and culprit.
type Snapshot struct {
	Cells     []Cell
	Evictions []Eviction
	Counters  Counters
}

// Snapshot reads the counters. It may be called on any goroutine but a core's, and
// holds up none: what was counted meanwhile may be in it or not.
func (a *Attribution) Snapshot() Snapshot {
	a.snapshots.Lock()
	defer a.snapshots.Unlock()
	var s Snapshot
	blamed := a.readEvictions()
	counts := a.readCells()
	evicted := make(map[uint32]uint64) // by victim, what nobody has been blamed for
	for i, c := range counts {
		name := a.names[i].Load()
		if name == nil && (i != 0 || c == Cell{}) {
			continue
		}
		if name != nil {
			c.Partition, c.Client = name.partition, name.client
		}
		if c.Evictions > 0 {
			evicted[uint32(i)] = c.Evictions
		}
		s.Cells = append(s.Cells, c)
	}
	s.Evictions = a.evictions(blamed, evicted)
	slices.SortFunc(s.Cells, func(x, y Cell) int {
		return cmpStrings(x.Partition, y.Partition, x.Client, y.Client)
	})
	s.Counters = a.counters()
	a.sweep.run(a, counts, blamed, time.Now())
	return s
}

// readCells reads the cells that are or were in use, without their names.
func (a *Attribution) readCells() []Cell {
	a.mu.Lock()
	n := a.registry.next
	a.mu.Unlock()
	all := make([]Cell, n)
	for i := range all {
		all[i] = a.readCell(i)
	}
	return all
}

func (a *Attribution) readCell(i int) Cell {
	from := &a.cells[i]
	c := Cell{
		DemandMisses: atomic.LoadUint64(&from.Demand), Readahead: atomic.LoadUint64(&from.Readahead),
		WriteInserts: atomic.LoadUint64(&from.Written), ForeignInserts: atomic.LoadUint64(&from.Foreign),
		Evictions: atomic.LoadUint64(&from.Evicted), Drops: atomic.LoadUint64(&from.Dropped),
	}
	for _, o := range a.observers {
		c.Lookups += atomic.LoadUint64(&o.lookups[i])
	}
	return c
}

// blame is an entry of the map of evictions.
type blame struct {
	key   pagecacheEvictionKey
	pages uint64
}

func (a *Attribution) readEvictions() (all []blame) {
	var key pagecacheEvictionKey
	var pages uint64
	each := a.maps.Maps[pagecacheMapEvictions].Iterate()
	for each.Next(&key, &pages) {
		all = append(all, blame{key, pages})
	}
	return all
}

// evictions names victims and culprits. evicted is all that went, by victim: what
// is left of it was taken by a reclaim that no insert has followed yet, or there
// was no room for its culprit.
func (a *Attribution) evictions(blamed []blame, evicted map[uint32]uint64) (all []Eviction) {
	for _, b := range blamed {
		e := Eviction{Victim: a.partitionOf(b.key.Victim), Pages: b.pages}
		if name := a.names[b.key.Culprit].Load(); b.key.Culprit != 0 && name != nil {
			e.CulpritPartition, e.CulpritClient = name.partition, name.client
		} else if b.key.Pid != 0 {
			e.CulpritProcess = fmt.Sprintf("%s/%d", text(b.key.Comm[:]), b.key.Pid)
		}
		evicted[b.key.Victim] -= min(evicted[b.key.Victim], b.pages)
		all = append(all, e)
	}
	for victim, pages := range evicted {
		if pages > 0 {
			all = append(all, Eviction{Victim: a.partitionOf(victim), Pages: pages})
		}
	}
	slices.SortFunc(all, func(x, y Eviction) int {
		return cmpStrings(x.Victim, y.Victim, x.CulpritPartition, y.CulpritPartition, x.CulpritClient, y.CulpritClient, x.CulpritProcess, y.CulpritProcess)
	})
	return all
}

func (a *Attribution) partitionOf(cell uint32) string {
	if name := a.names[cell].Load(); name != nil {
		return name.partition
	}
	return ""
}

func (a *Attribution) counters() Counters {
	a.mu.Lock()
	c := Counters{FilesRefused: a.inodes.refused, ReadersRefused: a.registry.refused}
	a.mu.Unlock()
	c.CulpritsRefused = atomic.LoadUint64(&a.state.EvictionsFull) + atomic.LoadUint64(&a.state.PendingFull)
	c.TailEvictionsOthers = atomic.LoadUint64(&a.state.TailEvictions)
	for i := range a.cores {
		c.TailEvictionsCold += atomic.LoadUint64(&a.cores[i].TailEvictions)
	}
	for _, p := range a.programs {
		if s, err := p.Stats(); err == nil {
			c.RecursionMisses += s.RecursionMisses
		}
	}
	return c
}

// text is what stands before the first zero.
func text(from []int8) string {
	b := make([]byte, len(from))
	for i, c := range from {
		b[i] = byte(c)
	}
	before, _, _ := bytes.Cut(b, []byte{0})
	return string(before)
}

// cmpStrings compares pairs, the first that differs deciding.
func cmpStrings(pairs ...string) int {
	for i := 0; i < len(pairs); i += 2 {
		if c := strings.Compare(pairs[i], pairs[i+1]); c != 0 {
			return c
		}
	}
	return 0
}

// idleCell is how long a cell must have counted nothing before it may be given to
// another reader.
const idleCell = 10 * time.Minute

// sweep frees cells when they run out: those of clients that have not read for a
// while, and of partitions that are gone. Clients whose ids are made up anew each
// time would otherwise use up all that there are.
type sweep struct {
	seen    []Cell      // by cell, without names
	at      []time.Time // when it last changed
	refused uint64      // readers, when it last freed some
}

// run is given what the cells count now. Cores may have to wait for it, so it looks
// at all that there is only when somebody was refused a cell, or soon will be.
func (s *sweep) run(a *Attribution, counts []Cell, blamed []blame, now time.Time) {
	for len(s.seen) < len(counts) {
		s.seen, s.at = append(s.seen, Cell{}), append(s.at, now)
	}
	for i := range counts {
		if counts[i] != s.seen[i] {
			s.seen[i], s.at[i] = counts[i], now
		}
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	r := &a.registry
	if r.cells-int(r.next)+len(r.unused) > r.cells/8 && r.refused == s.refused {
		return
	}
	var freed []uint32
	for name, p := range r.partitions {
		for client, cell := range p.clients {
			if s.idle(cell, now) {
				freed = append(freed, cell)
				delete(p.clients, client)
			}
		}
		if p.files == 0 && len(p.clients) == 0 && s.idle(p.cell, now) {
			freed = append(freed, p.cell)
			delete(r.partitions, name)
		}
	}
	if len(freed) > 0 {
		s.refused = r.refused // else there are still some who want one
	}
	for _, cell := range freed {
		s.seen[cell], s.at[cell] = Cell{}, now
		a.giveBack(cell)
	}
	a.dropBlame(blamed, freed)
}

// idle says whether a cell has counted nothing for long. One that is newer than
// this sweep's figures is not.
func (s *sweep) idle(cell uint32, now time.Time) bool {
	return int(cell) < len(s.at) && now.Sub(s.at[cell]) >= idleCell
}

// dropBlame takes cells that have been given back out of the map of evictions;
// what they were blamed for is nobody's from then on.
func (a *Attribution) dropBlame(blamed []blame, cells []uint32) {
	if len(cells) == 0 {
		return
	}
	for _, b := range blamed {
		if slices.Contains(cells, b.key.Victim) || slices.Contains(cells, b.key.Culprit) {
			if err := a.maps.Maps[pagecacheMapEvictions].Delete(b.key); err != nil && err != ebpf.ErrKeyNotExist {
				return
			}
		}
	}
}
