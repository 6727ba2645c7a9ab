package metrics

import (
	"errors"
	"strings"

	"slipstream/ebpf"
)

// Attribution is where the page cache's figures come from: package ebpf's.
type Attribution interface {
	Snapshot() ebpf.Snapshot
	// Missing names the figures that are not counted, and why.
	Missing() (figures []string, err error)
	// Mode is how the programs are attached.
	Mode() string
}

const (
	withBPF = "when BPF programs could be loaded"
	pages   = " In pages."
)

// others stands for the topic and the client of what is told together: no topic
// can be called so.
const others = "(others)"

func cacheFamily(name, help string) *family {
	return optional(withBPF, counter, "slipstream_page_cache_"+name+"_total", help+pages, "topic", "partition", "client")
}

var (
	cacheUp      = own(gauge, "slipstream_page_cache_attribution", "1 if page-cache events are attributed by BPF programs, and how they are attached; 0 if they could not be loaded. What is missing then, and why, is in the labels and in the log.", "mode", "missing", "reason")
	cacheLookups = cacheFamily("lookups", "Looked up for the client's reads of the partition.")
	cacheMisses  = cacheFamily("demand_misses", "Of these, not there: the read had to wait for the disk. Hits are lookups less these.")
	cacheAhead   = cacheFamily("readahead", "Brought in beside what was asked for.")
	cacheWrites  = cacheFamily("write_inserts", "Brought in by appends.")
	cacheForeign = cacheFamily("foreign_inserts", "Brought in by other processes.")
	cacheEvicted = cacheFamily("evictions", "Taken by the kernel for want of memory, or dropped by another process.")
	cacheDropped = cacheFamily("drops", "Let go by the broker: deleted, truncated, or dropped behind a cold read.")
	cacheBlame   = optional("when BPF programs could be loaded and something was evicted", counter, "slipstream_page_cache_evicted_by_total",
		"Pages of a partition that went while a culprit was bringing others in: a client's reads of a partition, its appends (no client), or another process."+pages,
		"topic", "partition", "culprit_topic", "culprit_partition", "culprit_client", "culprit_process")

	cacheFilesRefused    = optional(withBPF, counter, "slipstream_page_cache_files_refused_total", "Log files that could not be observed.")
	cacheReadersRefused  = optional(withBPF, counter, "slipstream_page_cache_readers_refused_total", "Readers counted with others, because there are too many.")
	cacheCulpritsRefused = optional(withBPF, counter, "slipstream_page_cache_culprits_refused_total", "Evicted pages whose culprit is not told, because there are too many.")
	cacheRecursion       = optional(withBPF, counter, "slipstream_page_cache_recursion_misses_total", "Events that were not counted, because the program was interrupted on the same processor.")
	tailEvictions        = optional(withBPF, counter, "slipstream_page_cache_tail_evictions_total", "Evictions near the ends of logs, where tail readers are, by who was bringing other pages in: cold reads, or anything else."+pages, "by")
)

// cacheColumns are the figures of a cell, in the order of cellCounts.
var cacheColumns = []*family{cacheLookups, cacheMisses, cacheAhead, cacheWrites, cacheForeign, cacheEvicted, cacheDropped}

func cellCounts(c *ebpf.Cell) []uint64 {
	return []uint64{c.Lookups, c.DemandMisses, c.Readahead, c.WriteInserts, c.ForeignInserts, c.Evictions, c.Drops}
}

// cacheLimits bound what is told by name.
type cacheLimits struct{ cells, culprits limiter }

func newCacheLimits(series int) cacheLimits {
	return cacheLimits{newLimiter(series, len(cacheColumns)), newLimiter(series, 1)}
}

func (c *collector) putAttribution(out *output) {
	a := c.options.Attribution
	if a == nil {
		reason := "switched off"
		if c.options.AttributionRefused != nil {
			reason = c.options.AttributionRefused.Error()
		}
		out.put(cacheUp, 0, "", "all", firstLine(reason))
		return
	}
	missing, err := a.Missing()
	out.put(cacheUp, 1, a.Mode(), strings.Join(missing, ", "), firstLine(errors.Join(err)))
	s := a.Snapshot()
	c.putCells(out, s.Cells)
	c.putCulprits(out, s.Evictions)
	out.count(cacheFilesRefused, s.Counters.FilesRefused)
	out.count(cacheReadersRefused, s.Counters.ReadersRefused)
	out.count(cacheCulpritsRefused, s.Counters.CulpritsRefused)
	out.count(cacheRecursion, s.Counters.RecursionMisses)
	out.count(tailEvictions, s.Counters.TailEvictionsCold, "cold")
	out.count(tailEvictions, s.Counters.TailEvictionsOthers, "others")
}

// firstLine is what of a reason fits a label.
func firstLine(reason any) string {
	text := ""
	switch r := reason.(type) {
	case error:
		text = r.Error()
	case string:
		text = r
	}
	line, _, _ := strings.Cut(text, "\n")
	return line
}

// putCells gives the cells that have a name, and the others together. Clients
// whose ids differ only in what is no UTF-8 are one.
func (c *collector) putCells(out *output, cells []ebpf.Cell) {
	items, rest := make([]item, 0, len(cells)), make([]uint64, len(cacheColumns))
	at := make(map[string]int, len(cells))
	for i := range cells {
		counts := cellCounts(&cells[i])
		if cells[i].Partition == "" {
			add(rest, counts)
			continue
		}
		key := cells[i].Partition + "\x00" + clean(cells[i].Client)
		if j, ok := at[key]; ok {
			add(items[j].counts, counts)
			continue
		}
		at[key] = len(items)
		items = append(items, item{key, counts, i})
	}
	named, left := c.cache.cells.update(items, rest)
	for _, it := range named {
		topic, partition := splitPartition(cells[it.at].Partition)
		for i, f := range cacheColumns {
			out.count(f, it.counts[i], topic, partition, cells[it.at].Client)
		}
	}
	for i, f := range cacheColumns {
		out.count(f, left[i], others, "", others)
	}
}

func add(to, counts []uint64) {
	for i, n := range counts {
		to[i] += n
	}
}

func (c *collector) putCulprits(out *output, evictions []ebpf.Eviction) {
	items := make([]item, 0, len(evictions))
	at := make(map[string]int, len(evictions))
	for i := range evictions {
		e := &evictions[i]
		key := strings.Join([]string{e.Victim, e.CulpritPartition, clean(e.CulpritClient), clean(e.CulpritProcess)}, "\x00")
		if j, ok := at[key]; ok {
			items[j].counts[0] += e.Pages
			continue
		}
		at[key] = len(items)
		items = append(items, item{key, []uint64{e.Pages}, i})
	}
	named, left := c.cache.culprits.update(items, []uint64{0})
	for _, it := range named {
		e := &evictions[it.at]
		topic, partition := splitPartition(e.Victim)
		culprit, culpritPartition := splitPartition(e.CulpritPartition)
		out.count(cacheBlame, it.counts[0], topic, partition, culprit, culpritPartition, e.CulpritClient, e.CulpritProcess)
	}
	if left[0] > 0 {
		out.count(cacheBlame, left[0], others, "", "", "", others, "")
	}
}

// splitPartition takes "topic-3" apart.
func splitPartition(name string) (topic, partition string) {
	if i := strings.LastIndexByte(name, '-'); i >= 0 {
		return name[:i], name[i+1:]
	}
	return name, ""
}
