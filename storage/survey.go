package storage

import (
	"slices"

	"slipstream/reactor"
	"slipstream/ring"
)

// Examinations, and the survey: after a start a helper looks at the closed segments that no reader has come to yet, so that what
// is said and decided of the whole log (its size, retention, compaction) need not wait for long. One piece is under way a core;
// what waits for a log has it surveyed at once.

// surveyPiece is how many segments one trip to a helper examines.
const surveyPiece = 64

// surveyLooks is how many partitions a core looks at in one turn for some that are to be surveyed.
const surveyLooks = 4096

// examination is a look at some closed segments of a log, on a helper. It ends with the first whose indexes had to be made anew, so that
// whoever waits for another does not wait for that too.
type examination struct {
	p        *Partition
	config   Config
	segments []*segment
	places   []int      // of these in log
	log      []*segment // the log up to the one behind the last of them; only base offsets are looked at
	found    []facts    // of the first of them
	rebuilt  error      // why the last one's indexes were made anew
	notes    []string   // what came of that
	err      error      // what went wrong with the next one
	waiting  []awaited  // who waits for which of them
	survey   bool       // the log's survey goes on when it is over
}

// awaited is a segment that somebody waits for.
type awaited struct {
	segment *segment
	by      examinee
}

// examinee is told, on the partition's core, that the segment that it waits for was examined, or why it could not be.
type examinee interface{ examined(err error) }

// examineFor has a segment examined for somebody who cannot go on without.
func (p *Partition) examineFor(s *segment, by examinee) {
	x := s.examination
	if x == nil {
		x = p.examine([]*segment{s})
	}
	x.waiting = append(x.waiting, awaited{s, by})
}

// examine has segments examined, none of which is under examination, in the order of the log.
func (p *Partition) examine(segments []*segment) *examination {
	x := &examination{p: p, config: p.config, segments: segments}
	last := 0
	for _, s := range segments {
		last = p.segmentFor(s.base)
		s.examination = x
		x.places = append(x.places, last)
	}
	x.log = p.segments[: last+2 : last+2] // the active segment is none of them
	p.examining++
	p.store.core.Offload(x)
	return x
}

// Work implements reactor.Job.
func (x *examination) Work(k kernel) reactor.Message {
	for i, s := range x.segments {
		at := x.places[i]
		f := segmentFiles{k: k, dir: x.p.dir, base: s.base, end: x.log[at+1].base}
		var found facts
		if found, x.rebuilt, x.notes, x.err = f.examineOrRebuild(k, &x.config, x.log[:at+1]); x.err != nil {
			return x
		}
		x.found = append(x.found, found)
		if x.rebuilt != nil {
			return x
		}
	}
	return x
}

// Deliver implements reactor.Message.
func (x *examination) Deliver(*reactor.Core) {
	p := x.p
	p.examining--
	for i, s := range x.segments {
		s.examination = nil
		if i < len(x.found) && s.live() {
			p.know(s, &x.found[i])
			p.store.Stats.Examined++
		}
	}
	x.tell()
	for _, w := range x.waiting {
		switch s := w.segment; {
		case s.known.Load() || !s.live() || p.state == gone:
			w.by.examined(nil)
		case x.err != nil && s == x.segments[len(x.found)]:
			w.by.examined(x.err)
		default:
			p.examineFor(s, w.by) // it was not its turn
		}
	}
	if x.survey {
		p.surveying = false
		p.surveyOn()
	}
	p.dropBelow()
	p.quieted()
}

// tell says what an operator should know.
func (x *examination) tell() {
	p, n := x.p, len(x.found)
	if x.rebuilt != nil && x.err == nil { // with an error they could not be made
		p.store.Stats.IndexesRebuilt++
		p.store.note("the indexes of segment %d of %s were made anew: %v", x.segments[n-1].base, &p.id, x.rebuilt)
		for _, note := range x.notes {
			p.store.note("%s: %s", &p.id, note)
		}
	}
	if x.err == nil {
		return
	}
	if s := x.segments[n]; s.live() && p.state != gone {
		s.unreadable = true
		p.store.note("segment %d of %s cannot be examined: %v", s.base, &p.id, x.err)
	}
}

// know takes in what was found of a closed segment.
func (p *Partition) know(s *segment, f *facts) {
	s.learn(f)
	s.unreadable = false
	p.unknown--
	t := &p.txns
	if i, listed := t.abortingAt(s.base); listed != (s.aborts.count > 0) {
		t.aborting = slices.Clone(t.aborting) // a lookup may be going through it
		if listed {
			t.aborting = slices.Delete(t.aborting, i, i+1)
		} else {
			t.aborting = slices.Insert(t.aborting, i, s)
		}
	}
}

// examineNow examines a segment before the partition has a core, blocking.
func (p *Partition) examineNow(k ring.Kernel, s *segment) (rebuilt error, notes []string, err error) {
	i := p.segmentFor(s.base)
	f := segmentFiles{k: k, dir: p.dir, base: s.base, end: p.endOf(i)}
	found, rebuilt, notes, err := f.examineOrRebuild(k, &p.config, p.segments[:i+1])
	if err == nil {
		p.know(s, &found)
	}
	return rebuilt, notes, err
}

// Surveyed reports whether all that can be known of the closed segments is: until then Bytes is too low. After a start it takes a
// while.
func (p *Partition) Surveyed() bool { return p.nextUnknown() < 0 }

// Survey has done called once the log is surveyed, or will not be because it is going away. It may be called at once.
func (p *Partition) Survey(done func()) {
	p.surveyed = append(p.surveyed, done)
	if !p.surveying {
		p.surveyOn()
	}
}

// nextUnknown is the place of the first closed segment that a survey has yet to come to, -1: there is none. Segments that could not be
// examined are left to those who want to read them.
func (p *Partition) nextUnknown() int {
	if p.unknown == 0 {
		return -1
	}
	for i, s := range p.segments {
		if !s.known.Load() && !s.unreadable {
			return i
		}
	}
	return -1
}

// surveyOn has the next piece of a survey examined. Once all are, it tells those who wait.
func (p *Partition) surveyOn() {
	from := -1
	if !p.closed && p.state != gone {
		from = p.nextUnknown()
	}
	if from < 0 {
		waiting := p.surveyed
		p.surveyed = nil
		for _, done := range waiting {
			done()
		}
		p.store.survey.next()
		return
	}
	p.surveying = true
	var piece []*segment
	for _, s := range p.segments[from:] {
		if len(piece) == surveyPiece {
			break
		}
		if s.known.Load() || s.unreadable {
			continue
		}
		if x := s.examination; x != nil {
			if len(piece) == 0 {
				x.survey = true // a reader's: its end goes on here
				return
			}
			break
		}
		piece = append(piece, s)
	}
	p.examine(piece).survey = true
}

// survey is a store's way through its partitions.
type survey struct {
	store *Store
	at    int // the partition that is next
	of    *Partition
	timer reactor.Timer
}

// next goes on with the next partition that has segments nobody knows.
func (v *survey) next() {
	if v.store.closed == nil && v.at < len(v.store.partitions) && !v.timer.Armed() {
		v.store.core.After(0, &v.timer, v)
	}
}

// Fire implements reactor.TimerHandler: a piece of the way.
func (v *survey) Fire(*reactor.Timer) {
	if v.of != nil && v.of.surveying {
		return // its end goes on
	}
	v.of = nil
	for looks := 0; v.at < len(v.store.partitions); v.at++ {
		if looks++; looks > surveyLooks {
			v.next() // the next turn goes on
			return
		}
		if p := v.store.partitions[v.at]; p.unknown > 0 && !p.surveying && !p.closed && p.nextUnknown() >= 0 {
			v.of = p
			p.surveyOn()
			return
		}
	}
}
