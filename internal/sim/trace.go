package sim

import (
	"encoding/binary"
	"fmt"
	"math/bits"
	"strings"
)

// trace is a running hash of everything that passed the door, and, if wanted, the
// latest of it in readable form. Two runs of one seed that differ anywhere differ
// in the hash from there on. Addresses are not in it: they differ between runs.
type trace struct {
	hash   uint64
	events uint64
	lines  []string // a ring
	next   int
}

// What an event is about.
const (
	traceSQE = iota + 1
	traceCQE
	traceCall
	traceNet
	traceWorld
	traceDriver
)

var traceNames = [...]string{traceSQE: "sqe", traceCQE: "cqe", traceCall: "call", traceNet: "net", traceWorld: "world", traceDriver: "driver"}

func newTrace(lines int) trace {
	return trace{hash: 0xcbf29ce484222325, lines: make([]string, lines)}
}

// mix folds one word into a hash: multiply by an odd constant, rotate, as the
// better multiplicative hashes do. It need not resist an adversary.
func mix(h, v uint64) uint64 {
	h ^= v
	hi, lo := bits.Mul64(h, 0x9e3779b97f4a7c15)
	return bits.RotateLeft64(lo^hi, 29)
}

// contentHash is the hash of bytes.
func contentHash(p []byte) uint64 {
	h := uint64(len(p)) + 0x51
	for len(p) >= 8 {
		h = mix(h, binary.LittleEndian.Uint64(p))
		p = p[8:]
	}
	var tail uint64
	for i, b := range p {
		tail |= uint64(b) << (8 * i)
	}
	return mix(h, tail)
}

// note folds an event into the trace.
func (w *World) note(kind int, what string, values ...int64) {
	t := &w.trace
	t.events++
	h := mix(t.hash, uint64(kind))
	h = mix(h, contentHash([]byte(what)))
	for _, v := range values {
		h = mix(h, uint64(v))
	}
	t.hash = h
	if len(t.lines) == 0 {
		return
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%d %12d %-6s %s", t.events, w.clock.now-bootNanos, traceNames[kind], what)
	for _, v := range values {
		fmt.Fprintf(&b, " %d", v)
	}
	t.lines[t.next] = b.String()
	t.next = (t.next + 1) % len(t.lines)
}

// Note folds an event of the test itself into the trace.
func (w *World) Note(what string, values ...int64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.note(traceDriver, what, values...)
}

// TraceHash is the hash of everything so far.
func (w *World) TraceHash() uint64 { return w.trace.hash }

// TraceEvents is the number of events so far.
func (w *World) TraceEvents() uint64 { return w.trace.events }

// Trace is the latest events in readable form, oldest first: number, nanoseconds
// since the start, kind, and what.
func (w *World) Trace() []string {
	t := &w.trace
	var out []string
	for i := range t.lines {
		if line := t.lines[(t.next+i)%len(t.lines)]; line != "" {
			out = append(out, line)
		}
	}
	return out
}
