package main

import (
	"bytes"
	"encoding/binary"
	"io"
	"math/rand"
	"net"
	"os"
	"path/filepath"
	"testing"
)

func block(b byte, n int) []byte { return bytes.Repeat([]byte{b}, n) }

func newDisk(t *testing.T, size, tear int64) (d *disk, image func() []byte) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "disk.img")
	if err := os.WriteFile(path, make([]byte, size), 0o600); err != nil {
		t.Fatal(err)
	}
	d, err := openDisk(path, tear)
	if err != nil {
		t.Fatal(err)
	}
	return d, func() []byte {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
}

// TestCutTakesOnlyWhatWasNotFlushed writes, flushes and writes again: the flushed is there after every cut, of the rest
// each tear unit is the old or the new one, and over many cuts all of keeping, dropping and tearing come up.
func TestCutTakesOnlyWhatWasNotFlushed(t *testing.T) {
	const tear = 512
	var all cutCounts
	for seed := range int64(300) {
		d, image := newDisk(t, 16*tear, tear)
		for _, step := range []error{
			d.write(block('a', 8*tear), 0, false), d.flush(), d.write(block('b', 4*tear), 2*tear, false), d.write(block('c', tear), 12*tear, true),
		} {
			if step != nil {
				t.Fatal(step)
			}
		}
		got := make([]byte, 8*tear)
		if err := d.read(got, 0); err != nil || !bytes.Equal(got, append(append(block('a', 2*tear), block('b', 4*tear)...), block('a', 2*tear)...)) {
			t.Fatalf("a read does not see what was written last: %v", err)
		}
		c, err := d.cut(rand.New(rand.NewSource(seed)))
		if err != nil {
			t.Fatal(err)
		}
		all.kept, all.dropped, all.torn = all.kept+c.kept, all.dropped+c.dropped, all.torn+c.torn
		b := image()
		for u := range 16 {
			unit, old := b[u*tear:(u+1)*tear], byte(0)
			if u < 8 {
				old = 'a'
			}
			ok := bytes.Equal(unit, block(old, tear))
			switch {
			case u == 12:
				ok = bytes.Equal(unit, block('c', tear))
			case u >= 2 && u < 6:
				ok = ok || bytes.Equal(unit, block('b', tear))
			}
			if !ok {
				t.Fatalf("seed %d: unit %d is %q", seed, u, unit[:4])
			}
		}
		if d.write(block('d', tear), 0, false) == nil || d.flush() == nil {
			t.Fatal("a disk without power takes writes")
		}
	}
	if all.kept < 300+50 || all.dropped < 50 || all.torn < 20 { // the forced write counts as kept
		t.Errorf("over all seeds: %+v", all)
	}
}

// TestForgottenFlush is a disk that lies about flushes: what it said was flushed is gone.
func TestForgottenFlush(t *testing.T) {
	lost := false
	for seed := range int64(20) {
		d, image := newDisk(t, 4096, 512)
		d.forgets = true
		if d.write(block('a', 4096), 0, false) != nil || d.flush() != nil {
			t.Fatal("a write or a flush failed")
		}
		if _, err := d.cut(rand.New(rand.NewSource(seed))); err != nil {
			t.Fatal(err)
		}
		lost = lost || !bytes.Equal(image(), block('a', 4096))
	}
	if !lost {
		t.Error("nothing was lost")
	}
}

// TestNBD speaks the protocol as QEMU does: the handshake with an option that is not known and NBD_OPT_GO, then a write, a
// read, a flush, a request outside of the disk.
func TestNBD(t *testing.T) {
	d, image := newDisk(t, 8192, 512)
	client, server := net.Pipe()
	served := make(chan error, 1)
	go func() { served <- d.serve(server) }()
	take := func(n int) []byte {
		b := make([]byte, n)
		if _, err := io.ReadFull(client, b); err != nil {
			t.Fatal(err)
		}
		return b
	}
	say := func(b ...[]byte) {
		if _, err := client.Write(bytes.Join(b, nil)); err != nil {
			t.Fatal(err)
		}
	}
	u16, u32, u64 := binary.BigEndian.AppendUint16, binary.BigEndian.AppendUint32, binary.BigEndian.AppendUint64
	option := func(kind uint32, data []byte) []byte {
		return append(u32(u32(u64(nil, nbdOptionMagic), kind), uint32(len(data))), data...)
	}
	reply := func() (kind uint32, data []byte) {
		head := take(20)
		return binary.BigEndian.Uint32(head[12:]), take(int(binary.BigEndian.Uint32(head[16:])))
	}
	if hello := take(18); binary.BigEndian.Uint64(hello) != nbdMagic {
		t.Fatalf("% x", hello)
	}
	say(u32(nil, nbdFixedNewstyle|nbdNoZeroes))
	say(option(8, nil)) // structured replies
	if kind, _ := reply(); kind != nbdRepUnsupported {
		t.Fatalf("an option that is not known: %x", kind)
	}
	say(option(nbdOptGo, u16(u32(nil, 0), 0)))
	kind, export := reply()
	if kind != nbdRepInfo || binary.BigEndian.Uint64(export[2:]) != 8192 {
		t.Fatalf("%x % x", kind, export)
	}
	for kind != nbdRepAck {
		kind, _ = reply()
	}
	request := func(kind uint16, at uint64, n uint32, data []byte) uint32 {
		say(u32(u64(u64(u16(u16(u32(nil, nbdRequestMagic), 0), kind), 77), at), n), data)
		head := take(16)
		if binary.BigEndian.Uint32(head) != nbdAnswerMagic || binary.BigEndian.Uint64(head[8:]) != 77 {
			t.Fatalf("% x", head)
		}
		return binary.BigEndian.Uint32(head[4:])
	}
	if e := request(nbdWrite, 1024, 512, block('x', 512)); e != 0 {
		t.Fatal(e)
	}
	if e := request(nbdRead, 1024, 512, nil); e != 0 || !bytes.Equal(take(512), block('x', 512)) {
		t.Fatal(e)
	}
	if bytes.Contains(image(), []byte("x")) {
		t.Error("the write is in the image without a flush")
	}
	if e := request(nbdFlush, 0, 0, nil); e != 0 || !bytes.Equal(image()[1024:1536], block('x', 512)) {
		t.Error("the flush did nothing", e)
	}
	if e := request(nbdWrite, 8192, 512, block('y', 512)); e != nbdEIO {
		t.Errorf("a write behind the end: %d", e)
	}
	say(u32(u64(u64(u16(u16(u32(nil, nbdRequestMagic), 0), nbdDisconnect), 78), 0), 0))
	if err := <-served; err != nil {
		t.Error(err)
	}
}
