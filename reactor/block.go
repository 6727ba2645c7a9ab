package reactor

import (
	"bytes"
	"unsafe"
)

// Block is a piece of memory outside the Go heap, which the kernel may be told
// about. It is counted: it starts with one reference, and its memory is free for
// others when the last is released. Only the core that owns it may touch the
// count.
type Block struct {
	mem   []byte // the whole room, of the block's size class
	n     int    // bytes asked for
	refs  int32
	class int8 // size class, or classLarge, or classProvided
	arena *Arena
	super *super
	home  *bufferPool // a provided buffer's ring
	id    uint16      // a provided buffer's number

	// A provided buffer in a connection's inbox: its unread bytes, when they came,
	// and the next.
	from, to int
	came     int64
	next     *Block // inbox, or free list
}

const (
	classLarge    = -1
	classProvided = -2
)

// Bytes is the memory asked for. Its capacity is the block's real size, all of
// which may be used. The contents are not cleared.
func (b *Block) Bytes() []byte {
	if invariants {
		b.mustLive("read")
	}
	return b.mem[:b.n]
}

// Size is the block's real size in bytes.
func (b *Block) Size() int { return len(b.mem) }

// Retain adds a reference.
func (b *Block) Retain() {
	if b.refs <= 0 {
		panic("reactor: retained a Block that was released")
	}
	b.refs++
}

// Release gives one reference back; the last frees the memory. It must be called
// on the core that owns the block.
func (b *Block) Release() {
	if b.refs <= 0 {
		panic("reactor: Block released once too often")
	}
	if invariants {
		b.arena.mustOwn()
	}
	b.refs--
	if b.refs > 0 {
		return
	}
	if b.class == classProvided {
		b.home.put(b)
		return
	}
	b.arena.free(b)
}

// shared reports whether someone besides the caller holds the block.
func (b *Block) shared() bool { return b.refs > 1 }

// address is where byte i of the block is, for the kernel.
func (b *Block) address(i int) unsafe.Pointer {
	if invariants {
		b.mustLive("given to the kernel")
	}
	return unsafe.Pointer(&b.mem[i])
}

func (b *Block) mustLive(what string) {
	if b.refs <= 0 {
		panic("reactor: a released Block was " + what)
	}
}

const poison = 0xDB

// bury makes a use after release visible: the memory is overwritten and the
// next owner of the memory gets a new Block, so that stale pointers keep
// pointing at a dead one.
func (b *Block) bury() *Block {
	overwrite(b.mem)
	fresh := *b
	return &fresh
}

var poisoned = bytes.Repeat([]byte{poison}, 4096)

// overwrite fills memory that nobody may read any more.
func overwrite(mem []byte) {
	for len(mem) > 0 {
		mem = mem[copy(mem, poisoned):]
	}
}
