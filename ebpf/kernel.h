/* What pagecache.c uses of the kernel: BPF helpers by their numbers, and of the
 * kernel's structures only the fields that are read. The loader puts the running
 * kernel's offsets in their place (CO-RE), so nothing here is a layout. Helper
 * numbers: include/uapi/linux/bpf.h. Flags of tasks: include/linux/sched.h; those
 * three have had the same values since 5.15. */
#pragma once

typedef unsigned char u8;
typedef unsigned int u32;
typedef unsigned long long u64;

#define SEC(name) __attribute__((section(name), used))
#define inline_always inline __attribute__((always_inline))
#define kernel_struct struct __attribute__((preserve_access_index))

/* Map definitions are types that the loader reads from the object's BTF. */
#define field_uint(name, value) int (*name)[value]
#define field_type(name, type) typeof(type) *name

enum { BPF_MAP_TYPE_HASH = 1, BPF_MAP_TYPE_ARRAY = 2, BPF_MAP_TYPE_LRU_HASH = 9 };
enum { BPF_ANY = 0, BPF_NOEXIST = 1 };
enum { BPF_F_NO_PREALLOC = 1 << 0, BPF_F_MMAPABLE = 1 << 10 };

static void *(*bpf_map_lookup_elem)(void *map, const void *key) = (void *)1;
static long (*bpf_map_update_elem)(void *map, const void *key, const void *value, u64 flags) = (void *)2;
static u64 (*bpf_ktime_get_ns)(void) = (void *)5;
static u64 (*bpf_get_current_pid_tgid)(void) = (void *)14;
static u64 (*bpf_get_current_task)(void) = (void *)35;
static long (*bpf_probe_read_kernel)(void *to, u32 bytes, const void *from) = (void *)113;
static void *(*bpf_get_current_task_btf)(void) = (void *)158;
static long (*bpf_for_each_map_elem)(void *map, void *callback, void *context, u64 flags) = (void *)164;

/* What the running kernel has (the second argument's values are the compiler's). */
#define has_field(type, field) __builtin_preserve_field_info(((type *)0)->field, 2)
#define has_type(type) __builtin_preserve_type_info(*(type *)0, 0)
#define size_of_type(type) __builtin_preserve_type_info(*(type *)0, 1)

/* Two ways to read a field. A program whose arguments the verifier knows the types
 * of (tp_btf) loads it; one that has bare addresses (raw_tp) copies it. typed is
 * known at compile time. */
#define READ(typed, pointer, field)                                                     \
	({                                                                              \
		typeof(pointer) from_ = (pointer);                                      \
		typeof(from_->field) value_;                                            \
		if (typed)                                                              \
			value_ = from_->field;                                          \
		else                                                                    \
			bpf_probe_read_kernel(&value_, sizeof(value_), &from_->field);  \
		value_;                                                                 \
	})

enum {
	PF_MEMALLOC = 0x00000800, /* is reclaiming memory */
	PF_KTHREAD = 0x00200000,
};

enum pageflags { PG_head = 6 }; /* the running kernel's value is put in */
#define PG_HEAD __builtin_preserve_enum_value(*(typeof(enum pageflags) *)PG_head, 1)

kernel_struct super_block {
	u32 s_dev; /* major << 20 | minor: not what stat(2) says */
	unsigned long s_magic;
};

kernel_struct inode {
	unsigned long i_ino;
	struct super_block *i_sb;
	struct address_space *i_mapping;
	u32 i_nlink;
};

kernel_struct address_space {
	struct inode *host;
};

/* 5.15 hands out pages. */
kernel_struct page {
	struct address_space *mapping;
	unsigned long index;
	u8 compound_order; /* in the second page; until 6.2 */
};

kernel_struct folio {
	struct address_space *mapping;
	unsigned long index;
	unsigned long flags; /* until 6.17 */
};

kernel_struct folio___memdesc {
	struct {
		unsigned long f;
	} flags; /* since 6.18 */
};

kernel_struct folio___order {
	u8 _folio_order; /* 6.0 to 6.5 */
};

kernel_struct folio___count {
	u32 _folio_nr_pages; /* 6.0 to 6.14 */
};

kernel_struct folio___pages {
	u32 _nr_pages; /* since 6.15 */
};

kernel_struct folio___flags {
	unsigned long _flags_1; /* since 6.6 the order is in its lowest byte */
};

kernel_struct file {
	struct address_space *f_mapping;
	void *private_data;
};

enum { OVERLAYFS_SUPER_MAGIC = 0x794c7630 };

kernel_struct fdtable {
	u32 max_fds;
	struct file **fd;
};

kernel_struct files_struct {
	struct fdtable *fdt;
};

kernel_struct task_struct {
	u32 flags;
	struct task_struct *group_leader;
	struct files_struct *files;
	char comm[16];
};
