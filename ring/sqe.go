package ring

import (
	"unsafe"
)

// SQE is one submission queue entry, struct io_uring_sqe of
// include/uapi/linux/io_uring.h (64 bytes):
//
//	 0        1       2      4            8                    16
//	+--------+-------+------+------------+--------------------+
//	| opcode | flags | prio | fd         | off | addr2        |
//	+--------+-------+------+------------+--------------------+
//	16                   24           28                      32
//	+--------------------+------------+-----------------------+
//	| addr | splice_off  | len        | op flags              |
//	+--------------------+------------+-----------------------+
//	32                   40          42           44          48
//	+--------------------+-----------+------------+-----------+
//	| user_data          | buf index | personality| splice fd |
//	+--------------------+-----------+------------+-----------+
//	48                                56                      64
//	+--------------------------------+------------------------+
//	| addr3                          | (zero)                 |
//	+--------------------------------+------------------------+
type SQE struct {
	Opcode      uint8
	Flags       uint8
	IOPrio      uint16
	FD          int32
	Off         uint64 // or addr2
	Addr        uint64 // or splice_off_in
	Len         uint32
	OpFlags     uint32 // rw_flags, fsync_flags, msg_flags, accept_flags, ...
	UserData    uint64
	BufIndex    uint16 // or buf_group
	Personality uint16
	SpliceFD    int32 // or file_index
	Addr3       uint64
	_           uint64
}

// CQE is one completion queue entry, struct io_uring_cqe (16 bytes).
type CQE struct {
	UserData uint64
	Res      int32 // result, or minus an errno
	Flags    uint32
}

// A 64-byte SQE and a 16-byte CQE, checked by the compiler.
var (
	_ [64]byte = [unsafe.Sizeof(SQE{})]byte{}
	_ [16]byte = [unsafe.Sizeof(CQE{})]byte{}
)

// SQOffsets and CQOffsets are struct io_sqring_offsets and io_cqring_offsets.
type SQOffsets struct {
	Head, Tail, RingMask, RingEntries, Flags, Dropped, Array, Resv1 uint32
	UserAddr                                                        uint64
}

// CQOffsets is struct io_cqring_offsets.
type CQOffsets struct {
	Head, Tail, RingMask, RingEntries, Overflow, CQEs, Flags, Resv1 uint32
	UserAddr                                                        uint64
}

// Params is struct io_uring_params (120 bytes).
type Params struct {
	SQEntries, CQEntries, Flags, SQThreadCPU, SQThreadIdle, Features, WQFD uint32
	Resv                                                                   [3]uint32
	SQOff                                                                  SQOffsets
	CQOff                                                                  CQOffsets
}

var _ [120]byte = [unsafe.Sizeof(Params{})]byte{}

// GetEventsArg is struct io_uring_getevents_arg; TS points at a timespec.
type GetEventsArg struct {
	SigMask     uint64
	SigMaskSize uint32
	MinWaitUsec uint32
	TS          uint64
}

// Mapping is a ring's shared memory. The pointers stay valid until Teardown.
// Head and tail words are shared with the kernel and must be read and written
// atomically.
type Mapping struct {
	FD       int
	SQHead   *uint32
	SQTail   *uint32
	SQFlags  *uint32
	SQMask   uint32
	SQArray  []uint32 // nil with IORING_SETUP_NO_SQARRAY
	SQEs     []SQE
	CQHead   *uint32
	CQTail   *uint32
	CQFlags  *uint32
	CQMask   uint32
	CQDrops  *uint32 // overflow counter
	CQEs     []CQE
	Features uint32

	Owner any // the kernel's own bookkeeping
}
