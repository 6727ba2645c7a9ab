package reactor

import (
	"encoding/binary"
	"math"
	"testing"
)

// FuzzFrames cuts arbitrary bytes into arbitrary chunks, as provided buffers or
// by a direct receive, and compares the frames with those of the whole.
func FuzzFrames(f *testing.F) {
	f.Add([]byte{0, 0, 0, 1, 7, 0, 0, 0, 0, 0, 0, 0, 3, 1, 2, 3, 255}, []byte{1, 2, 200})
	f.Add([]byte{255, 255, 255, 255}, []byte{4})
	f.Add([]byte{0, 0, 40, 0, 1}, []byte{2})
	f.Add(append([]byte{0, 0, 3, 0}, make([]byte, 1200)...), []byte{3, 130, 255, 129})
	f.Fuzz(func(t *testing.T, stream, cuts []byte) {
		const maxFrame = 5000
		c := &Core{eventfd: -1}
		c.limits = Limits{MaxFrameBytes: maxFrame, ProvidedBufferBytes: 64, DirectBlockBytes: 1024, CopyOutBytes: 0, IdleNanos: math.MaxInt64, DirectIdleNanos: 1}
		c.Arena = newArena(c, 8<<20)
		defer c.Arena.close()
		c.dead.kind = listDead
		conn := &Conn{Core: c}
		var got [][]byte
		take := func() {
			for {
				payload, in := conn.nextFrame()
				if in == nil {
					return
				}
				got = append(got, append([]byte{}, payload...))
				in.Release()
			}
		}
		rest := stream
		for i := 0; len(rest) > 0 && !conn.closing; i++ {
			cut := 50
			if len(cuts) > 0 {
				cut = int(cuts[i%len(cuts)])
			}
			if cut >= 128 && conn.receive.inbox == nil { // direct, as armDirect does it
				conn.goDirect(128)
				need, ok := conn.frameBytes(conn.begun())
				if !ok {
					break
				}
				if conn.receive.block != nil && conn.receive.from == conn.receive.fill {
					conn.refit()
				}
				if !conn.makeRoom(max(need, 1)) {
					t.Fatal("no memory")
				}
				n, _ := conn.room(conn.receive.fill-conn.receive.from, need)
				if n < 1 || conn.receive.fill+n > conn.receive.block.Size() {
					t.Fatalf("a direct receive of %d bytes at %d of %d", n, conn.receive.fill, conn.receive.block.Size())
				}
				n = copy(conn.receive.block.mem[conn.receive.fill:conn.receive.fill+min(n, cut)], rest)
				conn.receive.fill += n
				rest = rest[n:]
			} else {
				if conn.receive.direct && conn.receive.from == conn.receive.fill {
					conn.goQuiet()
				}
				b := c.Arena.Alloc(64)
				b.from, b.to = 0, copy(b.mem[:1+cut%64], rest)
				rest = rest[b.to:]
				conn.pushInbox(b)
			}
			take()
		}
		want, bad := cutFrames(stream, maxFrame)
		if len(got) != len(want) || bad != conn.closing {
			t.Fatalf("%d frames, closed %v; want %d, closed %v", len(got), conn.closing, len(want), bad)
		}
		for i := range want {
			if string(got[i]) != string(want[i]) {
				t.Fatalf("frame %d is %x, want %x", i, got[i], want[i])
			}
		}
		conn.dropInput()
		if c.Arena.InUse() != 0 {
			t.Fatalf("%d bytes are left", c.Arena.InUse())
		}
	})
}

// cutFrames is the framing in the obvious way.
func cutFrames(b []byte, maxFrame int) (frames [][]byte, bad bool) {
	for len(b) >= 4 {
		n := int(int32(binary.BigEndian.Uint32(b)))
		if n < 0 || n > maxFrame {
			return frames, true
		}
		if len(b) < 4+n {
			return frames, false
		}
		frames = append(frames, b[4:4+n])
		b = b[4+n:]
	}
	return frames, false
}
