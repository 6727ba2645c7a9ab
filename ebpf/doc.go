// Package ebpf sees what the kernel's page cache does with the broker's logs, and
// says for whom: which partition and which client a page was looked up for, had to
// be read for, was read ahead for, and who was bringing pages in when one went.
//
// Two small BPF programs sit on the tracepoints at which pages enter and leave the
// page cache. A core announces its reads in memory that it shares with them
// (reactor.CacheObserver), so that nothing on a core's hot path makes a system call.
// Everything here is an observer: without it the broker runs as it does with it.
package ebpf
