package ring

import (
	"strings"
	"syscall"
	"testing"
	"unsafe"
)

func TestParseLevel(t *testing.T) {
	for name, want := range map[string]Level{"auto": LevelAuto, "5.15": Level515, "6.1": Level61, "native": LevelNative} {
		got, err := ParseLevel(name)
		if err != nil || got != want || got.String() != name {
			t.Errorf("%q: %v, %v", name, got, err)
		}
	}
	for _, name := range []string{"", "5.16", "Native", "6"} {
		if _, err := ParseLevel(name); err == nil {
			t.Errorf("%q was accepted", name)
		}
	}
	if got := Level(9).String(); got != "Level(9)" {
		t.Errorf("unknown level prints %q", got)
	}
}

func TestProbeThisKernel(t *testing.T) {
	f, err := Probe(testKernel(t), LevelAuto)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%+v", f)
	if f.Level != f.Highest {
		t.Errorf("auto picked %s, the highest is %s", f.Level, f.Highest)
	}
	for _, op := range []uint8{OpRecv, OpSplice, OpLinkat} {
		if !f.Supports(op) {
			t.Errorf("opcode %d is missing, which 5.15 has", op)
		}
	}
	if f.Supports(noSuchOp) {
		t.Error("an opcode that does not exist is supported")
	}
}

// TestProbeOldKernels probes through a door as old as each level.
func TestProbeOldKernels(t *testing.T) {
	k := testKernel(t)
	f, err := Probe(NewOld(k, Level515), LevelAuto)
	if err != nil {
		t.Fatal(err)
	}
	if f.Level != Level515 || f.Highest != Level515 || f.SetupFlags != 0 || f.BufferRings || f.MultishotRecv || f.MsgRing || f.CQESkip || f.Supports(OpMsgRing) {
		t.Errorf("5.15: %+v", f)
	}
	_, err = Probe(NewOld(k, Level515), Level61)
	if err == nil || !strings.Contains(err.Error(), "6.1 was asked for") || !strings.Contains(err.Error(), "DEFER_TASKRUN") {
		t.Errorf("forcing 6.1 on 5.15: %v", err)
	}
	if _, err := New(NewOld(k, Level515), Options{Level: LevelNative}); err == nil {
		t.Error("forcing native on 5.15 made a ring")
	}

	if native, err := Probe(k, LevelAuto); err != nil || native.Highest < Level61 {
		t.Skip("needs a kernel of level 6.1 for the rest")
	}
	f, err = Probe(NewOld(k, Level61), Level61)
	if err != nil {
		t.Fatal(err)
	}
	if f.SetupFlags != deferFlags || !f.BufferRings || !f.MultishotAccept || !f.MultishotRecv || !f.MsgRing || !f.CQESkip || f.NoIOWait || f.Supports(OpFtruncate) {
		t.Errorf("6.1: %+v", f)
	}
}

func TestLower(t *testing.T) {
	all := Features{Highest: LevelNative, SetupFlags: deferFlags | SetupNoSQArray, Ring: ^uint32(0),
		BufferRings: true, MultishotAccept: true, MultishotRecv: true, MsgRing: true, CQESkip: true, SendZC: true, NoIOWait: true}
	for op := range OpLast {
		all.addOp(op)
	}
	same, err := all.Lower(LevelAuto)
	if err != nil || same.Level != LevelNative || !same.Supports(OpPipe) || same.SetupFlags != all.SetupFlags {
		t.Errorf("auto: %+v, %v", same, err)
	}
	six, err := all.Lower(Level61)
	if err != nil || six.SetupFlags != deferFlags || six.NoIOWait || six.Supports(OpReadMultishot) || !six.Supports(OpSendmsgZC) || !six.BufferRings || !six.Deferred() {
		t.Errorf("6.1: %+v, %v", six, err)
	}
	five, err := six.Lower(Level515)
	if err != nil || five.SetupFlags != 0 || five.BufferRings || five.MsgRing || five.SendZC || five.Supports(OpMsgRing) || !five.Supports(OpLinkat) || five.Deferred() {
		t.Errorf("5.15: %+v, %v", five, err)
	}
	five.Highest = Level515
	if _, err := five.Lower(Level61); err == nil {
		t.Error("lowering upwards was accepted")
	}
	if _, err := all.Lower(Level(9)); err == nil {
		t.Error("an unknown level was accepted")
	}
}

// refusing is a kernel that fails one step of a probe.
type refusing struct {
	Kernel
	setup, register syscall.Errno
	features        uint32 // taken away
}

func (k refusing) Setup(entries uint32, p *Params) (*Mapping, error) {
	if k.setup != 0 {
		return nil, k.setup
	}
	m, err := k.Kernel.Setup(entries, p)
	p.Features &^= k.features
	return m, err
}

func (k refusing) Register(fd int, opcode uint32, arg unsafe.Pointer, n uint32) (int, syscall.Errno) {
	if k.register != 0 {
		return 0, k.register
	}
	return k.Kernel.Register(fd, opcode, arg, n)
}

func TestProbeFailures(t *testing.T) {
	k := testKernel(t)
	_, err := Probe(refusing{Kernel: k, setup: syscall.EPERM}, LevelAuto)
	mustBe(t, err, syscall.EPERM)
	if refusal, ok := err.(*RefusedError); !ok || refusal.Environment.Release == "" {
		t.Errorf("error %T %v, want one that explains itself", err, err)
	}
	_, err = New(refusing{Kernel: k, setup: syscall.ENOMEM}, Options{})
	mustBe(t, err, syscall.ENOMEM)
	_, err = Probe(refusing{Kernel: k, register: syscall.EINVAL}, LevelAuto)
	mustBe(t, err, syscall.EINVAL)
	if _, err := Probe(refusing{Kernel: k, features: FeatExtArg}, LevelAuto); err == nil || !strings.Contains(err.Error(), "5.15 or later") {
		t.Errorf("without EXT_ARG: %v", err)
	}
}

func TestOpen(t *testing.T) {
	for _, name := range []string{"", "linux"} {
		if k, err := Open(name); err != nil || k != (Linux{}) {
			t.Errorf("%q: %v, %v", name, k, err)
		}
	}
	if _, err := Open("epoll"); err == nil || !strings.Contains(err.Error(), "giouring") {
		t.Errorf("an unknown binding: %v", err)
	}
	_, err := Open("giouring")
	if built := testKernelName == "giouring"; built != (err == nil) {
		t.Errorf("giouring: %v", err)
	}
	if err != nil && !strings.Contains(err.Error(), "-tags giouring") {
		t.Errorf("error %q does not say how to build", err)
	}
}
