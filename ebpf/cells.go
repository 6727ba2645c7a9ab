package ebpf

import "sync/atomic"

// cellName is whose cell it is.
type cellName struct {
	partition, client string
}

// registry gives out cells. Cell 0 is for all that there was no room for.
type registry struct {
	partitions map[string]*partition
	unused     []uint32
	next       uint32
	cells      int
	clients    int // per partition
	refused    uint64
}

// partition is one whose files are, or were, observed.
type partition struct {
	cell    uint32 // its own, 0 if there was none left
	files   int
	clients map[string]uint32 // by client id
}

func (r *registry) init(o Options) {
	r.partitions = map[string]*partition{}
	r.next, r.cells, r.clients = 1, o.Cells, o.Clients
}

// partition finds a partition or makes it known.
func (a *Attribution) partition(name string) *partition {
	p := a.registry.partitions[name]
	if p == nil {
		p = &partition{clients: map[string]uint32{}}
		p.cell = a.takeCell(name, "")
		if p.cell == 0 {
			return p // not kept: there may be room another time
		}
		a.registry.partitions[name] = p
	}
	return p
}

// reader gives a client's reads of a partition a number.
func (a *Attribution) reader(name, client string) uint32 {
	a.mu.Lock()
	defer a.mu.Unlock()
	p := a.partition(name)
	if p.cell == 0 || client == "" {
		return 0
	}
	cell, ok := p.clients[client]
	if !ok {
		if len(p.clients) >= a.registry.clients {
			a.registry.refused++
			return 0
		}
		if cell = a.takeCell(name, client); cell == 0 {
			return 0
		}
		p.clients[client] = cell
	}
	return cell | a.generations[cell].Load()<<cellBits
}

// takeCell takes a free cell, 0 if there is none.
func (a *Attribution) takeCell(partition, client string) uint32 {
	r := &a.registry
	var cell uint32
	if last := len(r.unused) - 1; last >= 0 {
		cell = r.unused[last]
		r.unused = r.unused[:last]
	} else if int(r.next) < r.cells {
		cell = r.next
		r.next++
	} else {
		r.refused++
		return 0
	}
	a.names[cell].Store(&cellName{partition, client})
	return cell
}

// giveBack frees a cell. What it counted goes to cell 0, so that sums stay true;
// its readers' numbers are no longer good.
func (a *Attribution) giveBack(cell uint32) {
	a.generations[cell].Store((a.generations[cell].Load() + 1) & (1<<(32-cellBits) - 1))
	a.names[cell].Store(nil)
	from, to := &a.cells[cell], &a.cells[0]
	for _, c := range [][2]*uint64{
		{&from.Demand, &to.Demand}, {&from.Readahead, &to.Readahead}, {&from.Written, &to.Written},
		{&from.Foreign, &to.Foreign}, {&from.Evicted, &to.Evicted}, {&from.Dropped, &to.Dropped},
	} {
		atomic.AddUint64(c[1], atomic.SwapUint64(c[0], 0))
	}
	for _, o := range a.observers {
		atomic.AddUint64(&o.lookups[0], atomic.SwapUint64(&o.lookups[cell], 0))
	}
	a.registry.unused = append(a.registry.unused, cell)
}
