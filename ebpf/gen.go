package ebpf

// The objects are committed, so that building needs no compiler; the sum says what
// sources they were made from. TestObjectsAreCurrent compiles them again.
//
//go:generate go tool bpf2go -cc clang-14 -strip llvm-strip-14 -cflags "-O2 -Wall -Werror -mcpu=v3" -target bpfel -type core -type slot -type log_file -type cell -type inode_key -type eviction_key -type shared -type identity pagecache pagecache.c
//go:generate sh -c "cat pagecache.c kernel.h gen.go | sha256sum >pagecache.sum"
