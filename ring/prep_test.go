package ring

import (
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// dirtySQE is an entry whose every byte but UserData is what some earlier
// operation left.
func dirtySQE(userData uint64) SQE {
	var s SQE
	b := (*[64]byte)(unsafe.Pointer(&s))
	for i := range b {
		b[i] = 0xee
	}
	s.UserData = userData
	return s
}

// TestPrepBytes holds the layout to the kernel's header without giouring: one
// entry of each shape, its 64 bytes spelled out as 8 words.
func TestPrepBytes(t *testing.T) {
	mem := mmapMemory(t, 4096)
	p, q := unsafe.Pointer(&mem[64]), unsafe.Pointer(&mem[128])
	for _, c := range []struct {
		name string
		prep func(s *SQE)
		want [8]uint64
	}{
		{"nop", func(s *SQE) { s.PrepNop() }, [8]uint64{0xffffffff_0000_00_00, 0, 0, 0}},
		{"accept", func(s *SQE) { s.PrepAccept(3, p, q, unix.SOCK_CLOEXEC) }, [8]uint64{0x3_0000_00_0d, address(q), address(p), unix.SOCK_CLOEXEC << 32}},
		{"multishot accept", func(s *SQE) { s.PrepMultishotAccept(3, nil, nil, 0) }, [8]uint64{0x3_0001_00_0d}},
		{"recv multishot", func(s *SQE) { s.PrepRecvMultishot(5, 0, 7) }, [8]uint64{0x5_0002_20_1b, 0, 0, 0, 0, 7}},
		{"send", func(s *SQE) { s.PrepSend(5, p, 9, unix.MSG_WAITALL) }, [8]uint64{0x5_0000_00_1a, 0, address(p), unix.MSG_WAITALL<<32 | 9}},
		{"read2", func(s *SQE) { s.PrepRead2(6, p, 9, 4096, unix.RWF_DONTCACHE) }, [8]uint64{0x6_0000_00_16, 4096, address(p), unix.RWF_DONTCACHE<<32 | 9}},
		{"writev2", func(s *SQE) { s.PrepWritev2(6, (*unix.Iovec)(p), 2, 4096, 0x10) }, [8]uint64{0x6_0000_00_02, 4096, address(p), 0x10<<32 | 2}},
		{"fallocate", func(s *SQE) { s.PrepFallocate(6, 1, 100, 200) }, [8]uint64{0x6_0000_00_11, 100, 200, 1}},
		{"splice", func(s *SQE) { s.PrepSplice(8, 77, 9, CurrentPosition, 10, 3) }, [8]uint64{0x9_0000_00_1e, ^uint64(0), 77, 3<<32 | 10, 0, 8 << 32}},
		{"timeout", func(s *SQE) { s.PrepTimeout((*Timespec)(p), 4, TimeoutAbs) }, [8]uint64{0xffffffff_0000_00_0b, 4, address(p), 1<<32 | 1}},
		{"timeout update", func(s *SQE) { s.PrepTimeoutUpdate((*Timespec)(p), 99, 0) }, [8]uint64{0xffffffff_0000_00_0c, address(p), 99, uint64(TimeoutUpdate) << 32}},
		{"cancel fd", func(s *SQE) { s.PrepCancelFD(4, AsyncCancelAll) }, [8]uint64{0x4_0000_00_0e, 0, 0, 3 << 32}},
		{"msg ring", func(s *SQE) { s.PrepMsgRing(12, 5, 0xabcdef, 0) }, [8]uint64{0xc_0000_00_28, 0xabcdef, 0, 5}},
		{"send zc", func(s *SQE) { s.PrepSendZC(5, p, 9, 0, SendZCReportUsage) }, [8]uint64{0x5_0008_00_2f, 0, address(p), 9}},
		{"ftruncate", func(s *SQE) { s.PrepFtruncate(5, 9) }, [8]uint64{0x5_0000_00_37, 9}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := dirtySQE(0x1122334455667788)
			c.prep(&s)
			c.want[4] = 0x1122334455667788
			if got := *(*[8]uint64)(unsafe.Pointer(&s)); got != c.want {
				t.Errorf("\n got %#x\nwant %#x", got, c.want)
			}
		})
	}
}

// TestOpcodeNumbers pins opcodes at the ends of each kernel's additions: one
// missing line in the list would shift all that follow.
func TestOpcodeNumbers(t *testing.T) {
	for _, c := range []struct {
		op   uint8
		want uint8
	}{
		{OpRecv, 27}, {OpSplice, 30}, {OpLinkat, 39}, {OpMsgRing, 40}, {OpSocket, 45}, {OpSendZC, 47},
		{OpReadMultishot, 49}, {OpFixedFDInstall, 54}, {OpFtruncate, 55}, {OpListen, 57}, {OpRecvZC, 58}, {OpPipe, 62}, {OpLast, 63},
	} {
		if c.op != c.want {
			t.Errorf("opcode %d, want %d", c.op, c.want)
		}
	}
}
