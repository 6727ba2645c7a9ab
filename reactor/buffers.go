package reactor

import "slipstream/ring"

// bufferGroup is the one group of provided buffers that a core registers.
const bufferGroup = 1

// bufferPool is the provided buffers that a core's quiet connections share. A
// buffer is at home (the kernel may fill it), or out: in a connection's inbox
// or under a dispatched request, whose references are counted in its Block.
type bufferPool struct {
	core   *Core
	ring   *ring.BufferRing
	blocks []Block
	home   int
	dirty  bool
}

func newBufferPool(c *Core) (*bufferPool, error) {
	count, size := c.limits.ProvidedBuffers, c.limits.ProvidedBufferBytes
	mem, err := c.Arena.setAside(count * size)
	if err != nil {
		return nil, err
	}
	r, err := ring.NewBufferRing(c.Ring, bufferGroup, count, size, mem)
	if err != nil {
		return nil, err
	}
	p := &bufferPool{core: c, ring: r, blocks: make([]Block, count), home: count}
	for i := range p.blocks {
		at := i * size
		p.blocks[i] = Block{mem: mem[at : at+size : at+size], n: size, class: classProvided, arena: c.Arena, home: p, id: uint16(i)}
	}
	return p, nil
}

// take is the buffer of a completion, with n bytes in it and one reference.
func (p *bufferPool) take(cqe flags, n int) *Block {
	b := &p.blocks[cqe.buffer()]
	if b.refs != 0 {
		panic("reactor: the kernel filled a buffer that was not its own")
	}
	b.refs, b.from, b.to, b.next = 1, 0, n, nil
	p.home--
	return b
}

// put gives a buffer without references back to the kernel, with the turn's
// publish.
func (p *bufferPool) put(b *Block) {
	if invariants {
		overwrite(b.mem)
	}
	p.home++
	p.dirty = true
	p.core.Arena.freed = true // who waits for memory can make do with a buffer
	p.ring.Recycle(b.id)
}

func (p *bufferPool) publish() {
	if p.dirty {
		p.ring.Publish()
		p.dirty = false
	}
}

// scarce reports whether most buffers are out.
func (p *bufferPool) scarce() bool { return p.home < len(p.blocks)/2 }

// recoverStale gives back the buffer of a completion that nobody waited for.
func (p *bufferPool) recoverStale(cqe *ring.CQE) {
	if f := flags(cqe.Flags); f.hasBuffer() {
		p.take(f, 0).Release()
	}
}

// flags are a completion's.
type flags uint32

func (f flags) more() bool      { return uint32(f)&ring.CQEFMore != 0 }
func (f flags) hasBuffer() bool { return uint32(f)&ring.CQEFBuffer != 0 }
func (f flags) buffer() uint16  { return uint16(uint32(f) >> ring.CQEBufferShift) }

// rearmStarved lets connections whose receive found no buffer receive again:
// one for each buffer at home. If none is, they do not wait for other
// connections' requests, which may be parked for long, but receive into the
// arena.
func (c *Core) rearmStarved() {
	if c.starved.head == nil {
		return
	}
	home := c.provided.home
	for conn := c.starved.pop(); conn != nil; conn = c.starved.pop() {
		if conn.closing {
			continue
		}
		if home == 0 {
			conn.goDirect(smallDirectBytes)
		}
		home = max(home-1, 0)
		conn.arm()
	}
}
