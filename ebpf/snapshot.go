package ebpf

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
// or wrote. All empty: unknown.
type Eviction struct {
	Victim                          string // partition
	CulpritPartition, CulpritClient string
	CulpritProcess                  string // name and process id
	Pages                           uint64
}
