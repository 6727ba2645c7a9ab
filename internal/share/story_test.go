package share

import (
	"flag"
	"fmt"
	"strconv"
	"strings"
	"testing"

	"slipstream/internal/script"
	"slipstream/protocol"
)

var rewrite = flag.Bool("rewrite", false, "put what happens into the stories of testdata")

// The stories of testdata/partition are told of one share-partition whose log has
// records from 0 on:
//
//	begin OFFSET                        it has no state yet
//	load START [FIRST-LAST/STATE/COUNT]...  it has
//	MEMBER fetch TO [max=N] [exact=1]   acquire what there is up to the log's end TO
//	MEMBER ack FIRST-LAST=TYPE[,TYPE..] ...
//	MEMBER leaves
//	wait MILLIS                         time passes
//	log starts OFFSET
//	aborted FIRST-LAST                  the next fetch reads committed
//	write | written [CODE]
//	limits locks=N deliveries=N lock=MILLIS [norenewals=1]
//	show
func TestPartitionStories(t *testing.T) {
	script.Play(t, "partition", *rewrite, func(t *testing.T) func([]string) string {
		a := &act{t: t, limits: Limits{MaxRecordLocks: 2000, DeliveryCountLimit: 5, LockMillis: 30_000}}
		return a.play
	})
}

// act is a story of a share-partition that is being told.
type act struct {
	t       *testing.T
	p       *Partition
	limits  Limits
	now     int64
	token   uint64
	names   map[uint64]string
	write   Write
	aborted []Range
}

func (a *act) play(lines []string) string {
	var out []string
	for _, line := range lines {
		words := strings.Fields(line)
		if text := a.do(words); text != "" {
			out = append(out, text)
		}
		if a.p != nil {
			for _, answer := range a.p.Answers() {
				out = append(out, fmt.Sprintf("%s: %s", a.names[answer.Token], answer.Code))
			}
			a.check()
		}
	}
	return strings.Join(out, "\n")
}

// check holds the window against what it must be at all times.
func (a *act) check() {
	at := a.p.start
	for _, r := range a.p.runs {
		if r.first != at || r.last < r.first {
			a.t.Fatalf("a hole or an overlap at %d: %s", at, a.show())
		}
		if r.moving && r.state != Acquired || r.state == Acquired && r.member == "" || r.available() && r.first < a.p.free {
			a.t.Fatalf("%d-%d cannot be: %s", r.first, r.last, a.show())
		}
		if r.state == Acquired && !r.moving && a.p.fenced == 0 && (a.p.locks == 0 || r.deadline < a.p.locks) {
			a.t.Fatalf("nobody watches the lock of %d-%d: %s", r.first, r.last, a.show())
		}
		at = r.last + 1
	}
	if at != a.p.end {
		a.t.Fatalf("the window ends at %d and its runs at %d", a.p.end, at)
	}
}

func (a *act) do(words []string) string {
	switch words[0] {
	case "begin":
		a.p = NewPartition(a.now, a.limits, State{StartOffset: -1, StateEpoch: 1}, number(words[1]))
	case "load":
		s := State{StartOffset: number(words[1]), StateEpoch: 1}
		for _, w := range words[2:] {
			s.Batches = append(s.Batches, stateBatch(w))
		}
		a.p = NewPartition(a.now, a.limits, s, 0)
	case "wait":
		a.now += number(words[1])
		a.p.Tick(a.now)
	case "log":
		a.p.LogStart(number(words[2]))
	case "aborted":
		a.aborted = append(a.aborted, offsets(words[1]))
	case "limits":
		l := options(words[1:])
		a.limits = Limits{int32(l["locks"]), int16(l["deliveries"]), int32(l["lock"]), l["norenewals"] != 0}
		if a.p != nil {
			a.p.SetLimits(a.limits)
		}
	case "write":
		w, ok := a.p.NextWrite()
		if !ok {
			return "nothing to write"
		}
		a.write = w
		return fmt.Sprintf("write %d: start %d, %d complete, %s", w.Seq, w.StartOffset, w.DeliveryCompleteCount, batchesText(w.Batches))
	case "written":
		code := protocol.NONE
		if len(words) > 1 {
			code = codeOf(words[1])
		}
		a.p.Written(a.now, a.write.Seq, code)
	case "show":
		return a.show()
	default:
		return a.member(words[0], words[1], words[2:])
	}
	return ""
}

func (a *act) member(name, verb string, words []string) string {
	switch verb {
	case "fetch":
		return name + ": " + a.fetch(name, number(words[0]), options(words[1:]))
	case "ack":
		if a.names == nil {
			a.names = map[uint64]string{}
		}
		a.token++
		a.names[a.token] = name
		var batches []AcknowledgementBatch
		for _, w := range words {
			span, types, _ := strings.Cut(w, "=")
			r := offsets(span)
			b := AcknowledgementBatch{First: r.First, Last: r.Last}
			for _, t := range strings.Split(types, ",") {
				b.Types = append(b.Types, int8(strings.Index("gap    accept release reject renew", t)/7))
			}
			batches = append(batches, b)
		}
		if !Valid(batches, true) {
			return name + ": not valid"
		}
		if code, answered := a.p.Acknowledge(a.now, a.token, name, batches); answered {
			if a.p.RenewalRefused() {
				return fmt.Sprintf("%s: %s, no renewals", name, code)
			}
			return fmt.Sprintf("%s: %s", name, code)
		}
	case "leaves":
		a.p.Release(a.now, name)
	}
	return ""
}

// fetch does what the core does: find the place, see how far, acquire.
func (a *act) fetch(name string, logEnd int64, o map[string]int64) string {
	if o["max"] == 0 {
		o["max"] = 500
	}
	from, ok := a.p.NextFetchOffset()
	if !ok {
		return "may not fetch"
	}
	last := a.p.LastOf(from, logEnd, o["max"])
	if batch := o["batch"]; batch > 0 && last >= from { // up to the end of the log's batch
		last = min(last/batch*batch+batch-1, logEnd-1)
	}
	got := a.p.Acquire(a.now, name, from, last+1, a.aborted)
	a.aborted = nil
	if len(got) == 0 {
		return "nothing"
	}
	var text []string
	for _, r := range got {
		text = append(text, fmt.Sprintf("%d-%d/%d", r.First, r.Last, r.DeliveryCount))
	}
	return strings.Join(text, " ")
}

func (a *act) show() string {
	p := a.p
	out := []string{fmt.Sprintf("[%d, %d)", p.start, p.end)}
	if p.fenced != 0 {
		out[0] += " fenced " + p.fenced.String()
	}
	for i := range p.runs {
		r := &p.runs[i]
		text := fmt.Sprintf("  %d-%d %s %d", r.first, r.last, strings.ToLower(r.state.String()), r.count)
		if r.member != "" {
			text += fmt.Sprintf(" %s until %d", r.member, r.deadline)
		}
		if r.moving {
			text += " -> " + strings.ToLower(r.next.String())
		}
		if r.unsaved {
			text += " unsaved"
		}
		out = append(out, text)
	}
	return strings.Join(out, "\n")
}

func batchesText(batches []StateBatch) string {
	var out []string
	for _, b := range batches {
		out = append(out, fmt.Sprintf("%d-%d/%s/%d", b.First, b.Last, strings.ToLower(b.State.String()), b.DeliveryCount))
	}
	return "{" + strings.Join(out, " ") + "}"
}

func stateBatch(w string) StateBatch {
	parts := strings.Split(w, "/")
	r := offsets(parts[0])
	b := StateBatch{First: r.First, Last: r.Last, DeliveryCount: int16(number(parts[2]))}
	for _, s := range []RecordState{Available, Acquired, Acknowledged, Archived} {
		if strings.EqualFold(s.String(), parts[1]) {
			b.State = s
		}
	}
	return b
}

func number(s string) int64 {
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		panic(err)
	}
	return n
}

func offsets(s string) Range {
	first, last, ok := strings.Cut(s, "-")
	if !ok {
		last = first
	}
	return Range{number(first), number(last)}
}

func options(words []string) map[string]int64 {
	o := map[string]int64{}
	for _, w := range words {
		name, value, _ := strings.Cut(w, "=")
		o[name] = number(value)
	}
	return o
}

func codeOf(name string) protocol.ErrorCode {
	for c := protocol.ErrorCode(-1); c < 150; c++ {
		if c.String() == name {
			return c
		}
	}
	panic("no error " + name)
}
