//go:build ignore

/* Who brings a log's pages into the page cache, and who pushes them out.
 *
 *   user space (observer.go)                    kernel (this file)
 *   cores[c].slots: what core c reads now  -->  added():   demand miss, readahead, write, foreign
 *   inodes: (device, inode) -> number      -->  deleted(): eviction, drop
 *   log_files[number]: where the data ends
 *   cells[n]: counters                     <--  atomic adds
 *   evictions: (victim, culprit) -> pages  <--
 *
 * All arrays are mapped into the broker: neither side makes a system call for the other. Programs run for every page of
 * the machine, so what is not ours leaves after one look-up. deleted() runs under the lock of the file's page tree with
 * interrupts off: it adds to counters and leaves the rest to the next added(). */
#include "kernel.h"

char terms[] SEC("license") = "GPL";

enum {
	SLOTS = 16,     /* reactor.ObservedReads */
	VICTIMS = 4,    /* partitions whose pages one reclaim takes before it is known for whom */
	STALE = 100000000, /* nanoseconds after which a reclaim is not put down to the next insert */
};

enum file_flags {
	FILE_FORGOTTEN = 1, /* about to be deleted: only the departure of its pages counts */
	FILE_GROWING = 2,   /* the one of its partition that is appended to */
};

/* A read that a core has announced. generation is odd while the slot is being written. */
struct slot {
	u32 file, reader; /* number; cell */
	u64 first, last;  /* pages */
	u32 generation, pad;
};

/* What a core shares. Bit i of active: slot i is in use. */
struct core {
	u32 active, pad;
	u64 tail_evictions; /* pages near logs' ends that went for its cold reads */
	u64 unused[6];      /* to a cache line */
	struct slot slots[SLOTS];
};

struct log_file {
	u64 extent; /* pages: the first that holds none of the data */
	u32 cell;   /* of its partition */
	u32 flags;
};

/* One cache line, for one client's reads of one partition. */
struct cell {
	u64 demand, readahead, written, foreign, evicted, dropped, unused[2];
};

/* An inode, as the page cache knows it. */
struct inode_key {
	u64 ino;
	u32 dev, pad;
};

/* Who inserts: a cell (a reader, or a partition that is appended to) or a process. core is that of a cold read, from 1. */
struct culprit {
	u32 cell, pid, core, pad;
	char comm[16];
};

struct eviction_key {
	u32 victim, culprit, pid, pad;
	char comm[16];
};

/* Pages that a thread's reclaim took and that nobody has been blamed for yet. */
struct pending {
	u64 since; /* nanoseconds */
	u32 used, pad;
	struct {
		u32 cell, near; /* near: of pages, those near the log's end */
		u64 pages;
	} victims[VICTIMS];
};

struct shared {
	u32 tgid, pad;      /* the broker */
	u64 tail_pages;     /* how far from its end a log's pages are wanted by tail readers */
	u64 tail_evictions; /* of these, those that went for anything but cold reads */
	u64 evictions_full, pending_full; /* blame that found no room in its map */
	u64 unused[2];
	struct culprit last; /* who inserted last: whom kswapd works for */
};

/* What identify() finds. */
struct identity {
	u32 tgid, tid, dev, found;
	u64 ino;
};

/* Entries of arrays and hashes are set when the object is loaded, from Options. */
struct {
	field_uint(type, BPF_MAP_TYPE_ARRAY);
	field_uint(map_flags, BPF_F_MMAPABLE);
	field_uint(max_entries, 1);
	field_type(key, u32);
	field_type(value, struct core);
} cores SEC(".maps");

struct {
	field_uint(type, BPF_MAP_TYPE_HASH);
	field_uint(max_entries, 1);
	field_type(key, u32);
	field_type(value, u32);
} threads SEC(".maps"); /* a core's thread -> core */

struct {
	field_uint(type, BPF_MAP_TYPE_HASH);
	field_uint(map_flags, BPF_F_NO_PREALLOC);
	field_uint(max_entries, 1);
	field_type(key, struct inode_key);
	field_type(value, u32);
} inodes SEC(".maps");

struct {
	field_uint(type, BPF_MAP_TYPE_ARRAY);
	field_uint(map_flags, BPF_F_MMAPABLE);
	field_uint(max_entries, 1);
	field_type(key, u32);
	field_type(value, struct log_file);
} log_files SEC(".maps");

struct {
	field_uint(type, BPF_MAP_TYPE_ARRAY);
	field_uint(map_flags, BPF_F_MMAPABLE);
	field_uint(max_entries, 1);
	field_type(key, u32);
	field_type(value, struct cell);
} cells SEC(".maps");

struct {
	field_uint(type, BPF_MAP_TYPE_HASH);
	field_uint(max_entries, 1);
	field_type(key, struct eviction_key);
	field_type(value, u64);
} evictions SEC(".maps");

/* By thread. The kernel forgets those not used for longest: io_uring's workers come and go. */
struct {
	field_uint(type, BPF_MAP_TYPE_LRU_HASH);
	field_uint(max_entries, 1024);
	field_type(key, u32);
	field_type(value, struct pending);
} reclaims SEC(".maps");

struct {
	field_uint(type, BPF_MAP_TYPE_ARRAY);
	field_uint(map_flags, BPF_F_MMAPABLE);
	field_uint(max_entries, 1);
	field_type(key, u32);
	field_type(value, struct shared);
} state SEC(".maps");

struct {
	field_uint(type, BPF_MAP_TYPE_ARRAY);
	field_uint(map_flags, BPF_F_MMAPABLE);
	field_uint(max_entries, 1);
	field_type(key, u32);
	field_type(value, struct identity);
} identities SEC(".maps");

static inline_always struct shared *share(void)
{
	u32 zero = 0;
	return bpf_map_lookup_elem(&state, &zero);
}

static inline_always void add(u64 *counter, u64 n)
{
	__sync_fetch_and_add(counter, n);
}

/* How many pages a folio has. Only its head knows, and where it says so has moved. */
static inline_always u64 pages_of(struct folio *f, const int typed)
{
	unsigned long flags;

	if (!has_type(struct folio))
		return 1; /* 5.15: no file system that logs live on has larger ones */
	if (has_field(struct folio___memdesc, flags.f))
		flags = READ(typed, (struct folio___memdesc *)f, flags.f);
	else
		flags = READ(typed, f, flags);
	if (!(flags >> PG_HEAD & 1))
		return 1;
	if (has_field(struct folio___pages, _nr_pages))
		return READ(typed, (struct folio___pages *)f, _nr_pages);
	if (has_field(struct folio___count, _folio_nr_pages))
		return READ(typed, (struct folio___count *)f, _folio_nr_pages);
	if (has_field(struct folio___order, _folio_order))
		return 1ULL << (READ(typed, (struct folio___order *)f, _folio_order) & 31);
	if (has_field(struct folio___flags, _flags_1))
		return 1ULL << (READ(typed, (struct folio___flags *)f, _flags_1) & 31);
	if (has_field(struct page, compound_order)) { /* 5.17 to 5.19 */
		struct page *second = (void *)f + size_of_type(struct page);
		return 1ULL << (READ(0, second, compound_order) & 31);
	}
	return 1;
}

/* A field of a folio's head; 5.15 has pages instead. */
#define HEAD(typed, f, field) (has_type(struct folio) ? READ(typed, f, field) : READ(typed, (struct page *)(f), field))

/* What is known of a page's file, or null: not ours. */
static inline_always struct log_file *file_of(struct folio *f, u32 *number, struct inode **inode, const int typed)
{
	struct inode_key key = {};
	struct inode *host = READ(typed, HEAD(typed, f, mapping), host);
	u32 *n;

	if (!host)
		return 0;
	key.ino = READ(typed, host, i_ino);
	key.dev = READ(typed, READ(typed, host, i_sb), s_dev);
	n = bpf_map_lookup_elem(&inodes, &key);
	if (!n)
		return 0;
	*number = *n;
	*inode = host;
	return bpf_map_lookup_elem(&log_files, n);
}

static inline_always u64 index_of(struct folio *f, const int typed)
{
	return HEAD(typed, f, index);
}

static inline_always struct task_struct *task(const int typed)
{
	return typed ? bpf_get_current_task_btf() : (void *)bpf_get_current_task();
}

/* The process as a culprit, by the name of its first thread: others are often named after what they do. */
static inline_always void process(struct culprit *who, u32 tgid, const int typed)
{
	struct task_struct *leader = READ(typed, task(typed), group_leader);

	who->pid = tgid;
	if (typed) { /* in two words: where the kernel is locked down, copying from its memory is refused */
		((volatile u64 *)who->comm)[0] = ((volatile u64 *)&leader->comm)[0];
		((volatile u64 *)who->comm)[1] = ((volatile u64 *)&leader->comm)[1];
	} else {
		bpf_probe_read_kernel(who->comm, sizeof(who->comm), &leader->comm);
	}
}

/* Adds to the blame of a culprit. */
static inline_always void blame(struct shared *s, u32 victim, const struct culprit *who, u64 pages, u64 near)
{
	struct eviction_key key = {.victim = victim, .culprit = who->cell, .pid = who->pid};
	u64 *sum;

	__builtin_memcpy(key.comm, who->comm, sizeof(key.comm));
	sum = bpf_map_lookup_elem(&evictions, &key);
	if (sum)
		add(sum, pages);
	else if (bpf_map_update_elem(&evictions, &key, &pages, BPF_NOEXIST)) {
		sum = bpf_map_lookup_elem(&evictions, &key); /* another CPU was first, or there is no room */
		add(sum ? sum : &s->evictions_full, pages);
	}
	if (near) {
		struct core *c = 0;
		u32 core = who->core - 1;

		if (who->core)
			c = bpf_map_lookup_elem(&cores, &core);
		add(c ? &c->tail_evictions : &s->tail_evictions, near);
	}
}

/* A search for the announced read that an insert belongs to. */
struct search {
	u64 index, pages;
	u64 distance; /* from the best found so far; 0: inside of it */
	u64 overlap;
	u32 file, reader, found, core;
};

/* Compares a slot of a core. Reads of the same file: the one that the pages lie in, else the nearest before them, since
 * reading ahead goes forward; else any. Not static: so it is verified once, not for each of its calls. */
__attribute__((noinline)) int consider(struct search *s, struct slot *announced, u32 cold)
{
	volatile struct slot *slot = announced;
	u64 first, last, from, to, overlap = 0, distance;
	u32 generation, reader;

	if (!s || !slot)
		return 0;
	generation = slot->generation;
	if (slot->file != s->file)
		return 0;
	reader = slot->reader;
	first = slot->first;
	last = slot->last;
	if (generation & 1 || generation != slot->generation)
		return 0; /* being announced just now, so not what brought this in */
	from = s->index > first ? s->index : first;
	to = s->index + s->pages - 1;
	to = to < last ? to : last;
	if (from <= to) {
		overlap = to - from + 1;
		distance = 0;
	} else if (s->index > last) {
		distance = s->index - last;
	} else {
		distance = 1ULL << 63 | (first - s->index);
	}
	if (s->found && (distance > s->distance || (distance == s->distance && overlap <= s->overlap)))
		return 0;
	s->found = 1;
	s->distance = distance;
	s->overlap = overlap;
	s->reader = reader;
	s->core = cold;
	return 0;
}

static __attribute__((noinline)) long consider_core(void *map, u32 *id, struct core *c, struct search *s)
{
	u32 active = *(volatile u32 *)&c->active;

	for (int i = 0; i < SLOTS; i++)
		if (active >> i & 1)
			consider(s, &c->slots[i], i ? *id + 1 : 0);
	return 0;
}

/* Decides what an insert of ours into a log was, counts it, and says who is to blame for what went for it. */
static inline_always void attribute(struct log_file *file, u32 number, u64 index, u64 pages, u32 tid, struct culprit *who)
{
	struct search s = {.index = index, .pages = pages, .file = number};
	u32 *core = bpf_map_lookup_elem(&threads, &tid), cell;
	struct core *own = core ? bpf_map_lookup_elem(&cores, core) : 0;
	struct cell *counters;

	/* A core that reads on its own thread inserts for that read; the ring's reads may insert on any thread. */
	if (own && own->active & 1)
		consider(&s, &own->slots[0], 0);
	if (!s.found)
		bpf_for_each_map_elem(&cores, consider_core, &s, 0);
	cell = s.found && (s.overlap || index < file->extent) ? s.reader : file->cell;
	counters = bpf_map_lookup_elem(&cells, &cell);
	if (!counters)
		return;
	who->cell = cell;
	if (s.overlap) {
		add(&counters->demand, s.overlap);
		if (pages > s.overlap)
			add(&counters->readahead, pages - s.overlap);
	} else if (index < file->extent) {
		add(&counters->readahead, pages);
	} else {
		add(&counters->written, pages);
		return;
	}
	who->core = s.core;
}

/* Blames who inserts for what this thread's reclaim took just before. */
static inline_always void settle(struct shared *s, u32 tid, u32 tgid, struct culprit *who, const int typed)
{
	struct pending *p = bpf_map_lookup_elem(&reclaims, &tid);
	struct culprit us = {};

	if (!p || !p->used)
		return;
	if (bpf_ktime_get_ns() - p->since > STALE) {
		process(&us, tgid, typed);
		who = &us;
	}
	for (int i = 0; i < VICTIMS; i++) {
		u64 pages = p->victims[i].pages;
		if (pages)
			blame(s, p->victims[i].cell, who, pages, p->victims[i].near);
		p->victims[i].pages = 0;
		p->victims[i].near = 0;
	}
	p->used = 0;
}

/* Remembers who inserted last, for the day that kswapd reclaims. Torn when two CPUs insert at once; then it is one of
 * the two with the other's name. */
static inline_always void remember(struct shared *s, const struct culprit *who)
{
	if (s->last.cell == who->cell && s->last.pid == who->pid && s->last.core == who->core)
		return;
	s->last = *who;
}

static inline_always int added(struct folio *f, const int typed)
{
	u64 id = bpf_get_current_pid_tgid();
	u32 tgid = id >> 32, tid = id, number;
	struct shared *s = share();
	struct culprit who = {};
	struct inode *inode;
	struct log_file *file;

	if (!s)
		return 0;
	file = file_of(f, &number, &inode, typed);
	if (file && file->flags & FILE_FORGOTTEN)
		file = 0; /* another file's, that got the number of one that we deleted */
	if (tgid != s->tgid) {
		struct cell *counters = file ? bpf_map_lookup_elem(&cells, &file->cell) : 0;
		if (counters)
			add(&counters->foreign, pages_of(f, typed));
		if (s->last.pid == tgid)
			return 0;
		process(&who, tgid, typed);
		remember(s, &who);
		return 0;
	}
	if (file)
		attribute(file, number, index_of(f, typed), pages_of(f, typed), tid, &who);
	if (!who.cell)
		process(&who, tgid, typed); /* not a log */
	remember(s, &who);
	settle(s, tid, tgid, &who, typed);
	return 0;
}

/* Puts pages aside that this thread's reclaim took: for whom, its next insert tells. */
static inline_always void postpone(struct shared *s, u32 tid, u32 victim, u64 pages, u64 near)
{
	struct pending *p = bpf_map_lookup_elem(&reclaims, &tid);

	if (!p) {
		struct pending first = {};
		bpf_map_update_elem(&reclaims, &tid, &first, BPF_NOEXIST);
		p = bpf_map_lookup_elem(&reclaims, &tid);
	}
	if (!p) {
		add(&s->pending_full, pages);
		return;
	}
	for (int i = 0; i < VICTIMS; i++) {
		if (p->victims[i].pages && p->victims[i].cell != victim)
			continue;
		p->victims[i].cell = victim;
		p->victims[i].pages += pages;
		p->victims[i].near += near;
		p->used = 1;
		p->since = bpf_ktime_get_ns();
		return;
	}
	add(&s->pending_full, pages);
}

static inline_always int deleted(struct folio *f, const int typed)
{
	u64 id = bpf_get_current_pid_tgid(), pages, near = 0, index;
	u32 tgid = id >> 32, number, flags;
	struct culprit who = {};
	struct inode *inode;
	struct log_file *file = file_of(f, &number, &inode, typed);
	struct shared *s;
	struct cell *counters;

	if (!file)
		return 0;
	s = share();
	counters = bpf_map_lookup_elem(&cells, &file->cell);
	if (!s || !counters)
		return 0;
	pages = pages_of(f, typed);
	if (file->flags & FILE_FORGOTTEN) {
		if (!READ(typed, inode, i_nlink))
			add(&counters->dropped, pages);
		return 0;
	}
	/* Reclaim marks the task that does it; who truncates, advises or drops behind has no such mark. What the kernel's
	 * threads drop behind (after writeback), they do for us. */
	flags = READ(typed, task(typed), flags);
	if (!(flags & PF_MEMALLOC) && (tgid == s->tgid || flags & PF_KTHREAD)) {
		add(&counters->dropped, pages);
		return 0;
	}
	add(&counters->evicted, pages);
	index = index_of(f, typed);
	if (file->flags & FILE_GROWING && index + s->tail_pages >= file->extent)
		near = pages;
	if (tgid == s->tgid) {
		postpone(s, id, file->cell, pages, near);
		return 0;
	}
	if (flags & PF_KTHREAD)
		who = s->last;
	else
		process(&who, tgid, typed);
	blame(s, file->cell, &who, pages, near);
	return 0;
}

/* The inode that a file's pages are kept under, or null if this is no file. */
static inline_always struct inode *cached_inode(struct file *f)
{
	struct address_space *mapping = f ? READ(0, f, f_mapping) : 0;
	struct inode *inode = mapping ? READ(0, mapping, host) : 0;

	return inode && READ(0, inode, i_mapping) == mapping ? inode : 0;
}

/* What the kernel calls this thread, and the inode behind one of its descriptors: a container's process ids and the
 * inodes of overlays and subvolumes are not those that the page cache sees. Run by the broker, never attached. */
SEC("raw_tp/identify") int identify(u64 *arguments)
{
	u32 zero = 0, fd = arguments[0];
	u64 id = bpf_get_current_pid_tgid();
	struct identity *to = bpf_map_lookup_elem(&identities, &zero);
	struct fdtable *table;
	struct file **place, *file = 0;
	struct inode *inode;

	if (!to)
		return 0;
	to->tgid = id >> 32;
	to->tid = id;
	to->found = 0;
	table = READ(0, READ(0, task(0), files), fdt);
	if (fd >= READ(0, table, max_fds))
		return 0;
	place = READ(0, table, fd);
	bpf_probe_read_kernel(&file, sizeof(file), place + fd);
	if (!file)
		return 0;
	inode = cached_inode(file);
	if (inode && READ(0, READ(0, inode, i_sb), s_magic) == OVERLAYFS_SUPER_MAGIC) {
		/* The file below, or since 6.13 a structure that begins with it. */
		struct file *below = READ(0, file, private_data);
		inode = cached_inode(below);
		if (!inode) {
			bpf_probe_read_kernel(&below, sizeof(below), below);
			inode = cached_inode(below);
		}
	}
	if (!inode)
		return 0;
	to->ino = READ(0, inode, i_ino);
	to->dev = READ(0, READ(0, inode, i_sb), s_dev);
	to->found = 1;
	return 0;
}

SEC("tp_btf/mm_filemap_add_to_page_cache") int added_typed(u64 *arguments)
{
	return added((void *)arguments[0], 1);
}

SEC("tp_btf/mm_filemap_delete_from_page_cache") int deleted_typed(u64 *arguments)
{
	return deleted((void *)arguments[0], 1);
}

SEC("raw_tp/mm_filemap_add_to_page_cache") int added_raw(u64 *arguments)
{
	return added((void *)arguments[0], 0);
}

SEC("raw_tp/mm_filemap_delete_from_page_cache") int deleted_raw(u64 *arguments)
{
	return deleted((void *)arguments[0], 0);
}
