package ebpf

//go:generate go tool bpf2go -cc clang-14 -strip llvm-strip-14 -cflags "-O2 -Wall -Werror -mcpu=v3" -target bpfel -type core -type slot -type log_file -type cell -type inode_key -type eviction_key -type pending -type shared -type identity pagecache pagecache.c
