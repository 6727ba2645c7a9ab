package ring

// The kernel's numbers, from include/uapi/linux/io_uring.h of Linux 6.18, by the
// kernel's names without IORING_. The version beside one is the kernel that
// brought it; nothing beside it: 5.15 or before.

// Opcodes (SQE.Opcode).
const (
	OpNop uint8 = iota
	OpReadv
	OpWritev
	OpFsync
	OpReadFixed
	OpWriteFixed
	OpPollAdd
	OpPollRemove
	OpSyncFileRange
	OpSendmsg
	OpRecvmsg
	OpTimeout
	OpTimeoutRemove
	OpAccept
	OpAsyncCancel
	OpLinkTimeout
	OpConnect
	OpFallocate
	OpOpenat
	OpClose
	OpFilesUpdate
	OpStatx
	OpRead
	OpWrite
	OpFadvise
	OpMadvise
	OpSend
	OpRecv
	OpOpenat2
	OpEpollCtl
	OpSplice
	OpProvideBuffers
	OpRemoveBuffers
	OpTee
	OpShutdown
	OpRenameat
	OpUnlinkat
	OpMkdirat
	OpSymlinkat
	OpLinkat
	OpMsgRing   // 5.18
	OpFsetxattr // 5.19
	OpSetxattr
	OpFgetxattr
	OpGetxattr
	OpSocket
	OpUringCmd
	OpSendZC        // 6.0
	OpSendmsgZC     // 6.1
	OpReadMultishot // 6.7
	OpWaitid
	OpFutexWait
	OpFutexWake
	OpFutexWaitv
	OpFixedFDInstall // 6.8
	OpFtruncate      // 6.9
	OpBind           // 6.11
	OpListen
	OpRecvZC // 6.15
	OpEpollWait
	OpReadvFixed
	OpWritevFixed
	OpPipe // 6.16
	OpLast
)

// SQE.Flags.
const (
	SQEFixedFile      uint8 = 1 << iota
	SQEIODrain              // issue after everything in flight
	SQEIOLink               // the next entry waits for this one; a failure or short result cancels it
	SQEIOHardlink           // the same, whatever the result
	SQEAsync                // straight to a worker
	SQEBufferSelect         // take a buffer from group BufIndex
	SQECQESkipSuccess       // 5.17: no completion when it succeeds
)

// Setup flags (Params.Flags).
const (
	SetupIOPoll uint32 = 1 << iota
	SetupSQPoll
	SetupSQAff
	SetupCQSize
	SetupClamp
	SetupAttachWQ
	SetupRDisabled
	SetupSubmitAll   // 5.18: one bad entry does not stop the rest of a batch
	SetupCoopTaskrun // 5.19
	SetupTaskrunFlag // 5.19: SQTaskrun tells that an enter would bring completions
	SetupSQE128
	SetupCQE32
	SetupSingleIssuer     // 6.0
	SetupDeferTaskrun     // 6.1
	SetupNoMmap           // 6.5
	SetupRegisteredFDOnly // 6.5
	SetupNoSQArray        // 6.6
)

// Features a ring reports (Params.Features, Mapping.Features).
const (
	FeatSingleMmap uint32 = 1 << iota
	FeatNoDrop
	FeatSubmitStable
	FeatRWCurPos
	FeatCurPersonality
	FeatFastPoll
	FeatPoll32Bits
	FeatSQPollNonfixed
	FeatExtArg
	FeatNativeWorkers
	FeatRsrcTags
	FeatCQESkip        // 5.17
	FeatLinkedFile     // 5.17
	FeatRegRegRing     // 6.3
	FeatRecvSendBundle // 6.10
	FeatMinTimeout     // 6.12
	FeatRWAttr         // 6.14
	FeatNoIOWait       // 6.15
)

// Mapping.SQFlags.
const (
	SQNeedWakeup uint32 = 1 << iota
	SQCQOverflow        // completions wait in the kernel for room in the queue
	SQTaskrun           // an enter with EnterGetEvents would bring completions
)

// Enter flags.
const (
	EnterGetEvents uint32 = 1 << iota
	EnterSQWakeup
	EnterSQWait
	EnterExtArg         // the last argument is a GetEventsArg
	EnterRegisteredRing // 5.18: the descriptor is an index into the thread's registered rings
	EnterAbsTimer       // 6.12
	EnterExtArgReg      // 6.13
	EnterNoIOWait       // 6.15: waiting is idleness, not I/O wait
)

// Register opcodes.
const (
	RegisterProbe          uint32 = 8
	RegisterIOWQMaxWorkers uint32 = 19
	RegisterRingFDs        uint32 = 20 // 5.18
	UnregisterRingFDs      uint32 = 21
	RegisterPbufRing       uint32 = 22 // 5.19
	UnregisterPbufRing     uint32 = 23
	RegisterSyncCancel     uint32 = 24 // 6.0
)

// CQE.Flags. With CQEFBuffer the buffer's number is Flags >> CQEBufferShift.
const (
	CQEFBuffer         uint32 = 1 << iota // a provided buffer was used
	CQEFMore                              // the same entry will complete again
	CQEFSockNonempty                      // 5.19: more bytes wait in the socket
	CQEFNotif                             // 6.0: a zero-copy send's memory is free again
	CQEFBufMore                           // 6.12: the buffer was used in part
	CQEBufferShift            = 16
	NotifUsageZCCopied uint32 = 1 << 31 // CQE.Res of a notification: the bytes were copied after all
)

// Modifiers in SQE.IOPrio of accept, send and receive.
const (
	AcceptMultishot   uint16 = 1 << 0 // 5.19
	AcceptDontwait    uint16 = 1 << 1 // 6.10
	AcceptPollFirst   uint16 = 1 << 2 // 6.10
	RecvSendPollFirst uint16 = 1 << 0 // 5.19: do not try first, wait for readiness
	RecvMultishot     uint16 = 1 << 1 // 6.0
	RecvSendFixedBuf  uint16 = 1 << 2 // 6.0
	SendZCReportUsage uint16 = 1 << 3 // 6.2
	RecvSendBundle    uint16 = 1 << 4 // 6.10
)

// SQE.OpFlags of single opcodes, and SQE.Len of POLL_ADD.
const (
	FsyncDatasync uint32 = 1 << 0

	TimeoutAbs          uint32 = 1 << 0
	TimeoutUpdate       uint32 = 1 << 1
	TimeoutBoottime     uint32 = 1 << 2
	TimeoutRealtime     uint32 = 1 << 3
	LinkTimeoutUpdate   uint32 = 1 << 4
	TimeoutETimeSuccess uint32 = 1 << 5 // 5.16: -ETIME does not break a link
	TimeoutMultishot    uint32 = 1 << 6 // 6.4

	PollAddMulti        uint32 = 1 << 0
	PollUpdateEvents    uint32 = 1 << 1
	PollUpdateUserData  uint32 = 1 << 2
	PollAddLevel        uint32 = 1 << 3 // 5.18
	AsyncCancelAll      uint32 = 1 << 0 // 5.19, as the other cancel flags
	AsyncCancelFD       uint32 = 1 << 1
	AsyncCancelAny      uint32 = 1 << 2
	AsyncCancelFDFixed  uint32 = 1 << 3
	AsyncCancelUserData uint32 = 1 << 4 // 6.6
	AsyncCancelOp       uint32 = 1 << 5 // 6.6
	MsgRingCQESkip      uint32 = 1 << 0
	MsgRingFlagsPass    uint32 = 1 << 1 // 6.3
	SpliceFDInFixed     uint32 = 1 << 31
	msgRingData         uint64 = 0 // IORING_MSG_DATA, in SQE.Addr
	probeOpSupported    uint16 = 1 << 0
)

// mmap offsets of a ring's descriptor.
const (
	offSQRing int64 = 0
	offCQRing int64 = 0x8000000
	offSQEs   int64 = 0x10000000
)
