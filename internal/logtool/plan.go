package logtool

import (
	"fmt"
	"maps"
	"math"
	"path/filepath"
	"slices"
	"strings"

	"slipstream/internal/metadata"
	"slipstream/storage"
)

// What a repair does is decided here, from what verify has found, without a file being touched. A partition's log
// is to become a list of segments, each made of pieces; what is derived from it (indexes, snapshots of producers, leader epochs) is made
// anew where the log changes or where it was wrong.

// piece is a part of a repaired .log: bytes of a file, or an empty batch that stands for offsets that are gone.
type piece struct {
	path        string // "": an empty batch
	from, to    int64
	first, last int64
	epoch       int32
}

// segmentPlan is a segment as it is to be.
type segmentPlan struct {
	base   int64
	path   string // where it is now; "": nowhere
	size   int64  // that it has now
	pieces []piece
}

// change is what becomes of a segment's .log.
type change uint8

const (
	keepLog change = iota
	cutLog
	rewriteLog
	makeLog
)

func (s *segmentPlan) change() change {
	switch n := len(s.pieces); {
	case s.path == "":
		return makeLog
	case n == 0 && s.size == 0:
		return keepLog
	case n == 0:
		return cutLog
	case n > 1 || s.pieces[0].path != s.path || s.pieces[0].from != 0:
		return rewriteLog
	case s.pieces[0].to < s.size:
		return cutLog
	}
	return keepLog
}

// bytes is how large the segment's .log is to be, all but its empty batches.
func (s *segmentPlan) bytes() (n int64) {
	for _, p := range s.pieces {
		n += p.to - p.from
	}
	return n
}

// take puts a stretch of the segment's own file at its end.
func (s *segmentPlan) take(st stretch) {
	if n := len(s.pieces); n > 0 && s.pieces[n-1].path == s.path && s.pieces[n-1].to == st.from {
		s.pieces[n-1].to = st.to
		return
	}
	s.pieces = append(s.pieces, piece{path: s.path, from: st.from, to: st.to})
}

// partitionPlan is what is to be done to a partition.
type partitionPlan struct {
	dir      *partitionDir
	segments []segmentPlan
	gone     []*segmentMap   // segments that leave the log, rising
	rebuild  map[string]bool // files to make anew, by the names that they are to have
	remove   map[string]bool // files to take away
	end      int64
	topicID  [16]byte
	epoch    int32 // of the last batch that stays
	// keptEpochs is a leader-epoch-checkpoint that has only to be cut; nil: it is made of the batches.
	keptEpochs []storage.EpochEntry
	actions    []Action
	left       []Problem // that nothing is done about

	due     int64
	damaged bool // since the last batch that stays, bytes were passed over
	stopped bool // the log ends here
	anew    bool // the log begins empty where it is said to begin: nothing of it reaches there
	lost    string
}

// Action is one thing that Repair does, or would do.
type Action struct {
	Do   string `json:"do"` // remove, rename, cut, rewrite, rebuild, make
	File string `json:"file"`
	Why  string `json:"why"`
}

// Minor says that it only follows from what is done to a log.
func (a Action) Minor() bool { return a.Why == goesAlong }

// String is one line.
func (a Action) String() string { return fmt.Sprintf("%s %s: %s", a.Do, a.File, a.Why) }

func (p *partitionPlan) act(do, path, format string, args ...any) {
	p.actions = append(p.actions, Action{do, path, fmt.Sprintf(format, args...)})
}

// planPartition decides what to do with a partition that was checked.
func planPartition(c *check, skipBatches bool) *partitionPlan {
	p := &partitionPlan{dir: c.dir, rebuild: map[string]bool{}, remove: map[string]bool{}, epoch: -1}
	if c.err != nil || slices.ContainsFunc(c.layout, func(m *segmentMap) bool { return m.unreadable }) {
		p.left = c.problems // it may be readable tomorrow, or on another machine
		return p
	}
	p.planLog(c, skipBatches)
	p.planStart(c)
	p.tellLog(c)
	p.planDerived(c)
	for _, l := range c.dir.leftovers {
		if l.to != "" {
			p.act("rename", filepath.Join(c.dir.path, l.name), "%s", l.why)
		} else {
			p.act("remove", filepath.Join(c.dir.path, l.name), "%s", l.why)
		}
	}
	return p
}

// planLog makes the list of segments.
func (p *partitionPlan) planLog(c *check, skip bool) {
	if len(c.layout) == 0 {
		p.due = -1
		return
	}
	p.due = c.layout[0].base
	for i, m := range c.layout {
		if !p.stopped && m.base < p.due { // what it has was in the segment before
			p.gone = append(p.gone, m)
			continue
		}
		if !p.stopped {
			p.joint(c, m.base, i > 0, skip)
		}
		if p.stopped {
			p.gone = append(p.gone, m)
			continue
		}
		p.segments = append(p.segments, segmentPlan{base: m.base, path: m.path, size: m.size})
		p.planSegment(c, m, skip)
		if !p.stopped {
			p.beyond(c, i)
		}
	}
	p.end = p.due
}

// joint is where the log goes on at an offset: at the next segment, or at the next stretch of one. If something is missing there, the log ends,
// or an empty batch stands for it.
func (p *partitionPlan) joint(c *check, first int64, newSegment, skip bool) {
	gap := first > p.due
	damaged := p.damaged
	p.damaged = false
	if !gap || !damaged && p.due < c.gaps {
		return // all there, or taken out by compaction
	}
	unsure := newSegment && !c.a.clean && first > c.recovery // a power cut took the end of a segment; a start ends the log there
	fits := len(p.segments) > 0 && first-1-p.segments[len(p.segments)-1].base <= math.MaxInt32
	if (damaged || unsure) && !skip || c.dir.topic == metadata.MetadataTopic || !fits {
		p.stopped = true
		p.lost = fmt.Sprintf("offsets %d to %d cannot be read, and the log ends before them", p.due, first-1)
		return
	}
	s := &p.segments[len(p.segments)-1]
	s.pieces = append(s.pieces, piece{first: p.due, last: first - 1, epoch: max(p.epoch, 0)})
	p.due = first
}

// planSegment takes what is whole in the last of the plan's segments.
func (p *partitionPlan) planSegment(c *check, m *segmentMap, skip bool) {
	position := int64(0)
	for _, st := range m.stretches {
		p.damaged = p.damaged || st.from > position
		position = st.to
		switch {
		case st.next <= p.due: // it was there already
		case st.where == beyond:
		case st.where == astray, st.first < p.due:
			p.damaged = true
		default:
			if p.joint(c, st.first, false, skip); p.stopped {
				return
			}
			p.segments[len(p.segments)-1].take(st)
			p.due, p.epoch = st.next, st.epoch
		}
	}
	p.damaged = p.damaged || position < m.size
}

// beyond looks at batches of a segment that belong to the next ones by those's names: if they hold more, those are what is there
// twice.
func (p *partitionPlan) beyond(c *check, i int) {
	m := c.layout[i]
	j := slices.IndexFunc(m.stretches, func(st stretch) bool { return st.where == beyond && st.first == p.due })
	if j < 0 {
		p.damaged = p.damaged || slices.ContainsFunc(m.stretches, func(st stretch) bool { return st.where == beyond && st.next > p.due }) && p.due < c.layout[i+1].base
		return
	}
	st := m.stretches[j]
	covered := st.first
	for _, later := range c.layout[i+1:] {
		if later.base >= st.next {
			break
		}
		for _, s := range later.stretches {
			if s.where == inPlace {
				covered = max(covered, s.next)
			}
		}
	}
	if st.next > covered {
		p.segments[len(p.segments)-1].take(st)
		p.due, p.epoch, p.damaged = st.next, st.epoch, st.to < m.size
		return
	}
	p.damaged = p.damaged || p.due < c.layout[i+1].base
}

// planStart puts the log where log-start-offset-checkpoint says that it begins, if nothing of it reaches there.
func (p *partitionPlan) planStart(c *check) {
	start := c.a.offsets[startFile][c.dir.name]
	if len(c.layout) > 0 && p.end >= start {
		return
	}
	if len(c.layout) == 0 { // offsets that were given out are not given out again
		start = max(start, c.recovery, c.a.offsets[highFile][c.dir.name])
	}
	p.gone, p.segments, p.end, p.anew = c.layout, []segmentPlan{{base: start}}, start, true
}

// tellLog says what becomes of the .log files.
func (p *partitionPlan) tellLog(c *check) {
	for i := range p.segments {
		s := &p.segments[i]
		switch s.change() {
		case makeLog:
			p.act("make", filepath.Join(p.dir.path, p.dir.file(s.base, ".log")), "the log begins empty at offset %d: nothing that is there reaches it", s.base)
		case cutLog:
			why := "what follows the last whole batch goes"
			if i == len(p.segments)-1 && p.lost != "" {
				why = p.lost
			}
			p.act("cut", s.path, "from %d to %d bytes: %s", s.size, s.bytes(), why)
		case rewriteLog:
			p.act("rewrite", s.path, "from %d to %d bytes%s", s.size, s.bytes(), gapsOf(s))
		}
	}
	for _, m := range p.gone {
		why := "it lies behind where the log ends"
		if p.anew {
			why = fmt.Sprintf("nothing that can be kept of it reaches offset %d, where log-start-offset-checkpoint has the log begin", p.end)
		} else if m.base < p.end {
			why = "what it has is in another segment too"
		} else if p.lost != "" && len(p.gone) > 0 && m == p.gone[0] {
			why = p.lost
		}
		p.act("remove", m.path, "%s", why)
	}
}

// gapsOf names the offsets that empty batches stand for.
func gapsOf(s *segmentPlan) string {
	var b strings.Builder
	for _, x := range s.pieces {
		if x.path == "" {
			fmt.Fprintf(&b, "; the records at offsets %d to %d are gone, and an empty batch stands for them", x.first, x.last)
		}
	}
	if b.Len() == 0 {
		return ": what is there twice, or is no batch, goes"
	}
	return b.String()
}

// planDerived lists what is to be made of the log anew.
func (p *partitionPlan) planDerived(c *check) {
	changed := len(p.gone) > 0
	stays := map[string]bool{}
	for i := range p.segments {
		s := &p.segments[i]
		how := s.change()
		for _, suffix := range segmentSuffixes[1:] {
			name := p.dir.file(s.base, suffix)
			stays[name] = true
			if how != keepLog {
				p.rebuild[name] = true
			}
		}
		stays[p.dir.file(s.base, ".snapshot")] = true
		changed = changed || how != keepLog
	}
	atEnd := p.dir.file(p.end, ".snapshot")
	stays[atEnd] = true
	for _, m := range p.gone {
		for _, suffix := range segmentSuffixes[1:] {
			if name := p.dir.file(m.base, suffix); p.dir.has[name] && !stays[name] {
				p.remove[name] = true
			}
		}
	}
	for _, at := range p.dir.snapshots {
		if at > p.end {
			p.remove[p.dir.file(at, ".snapshot")] = true
		}
	}
	p.planWrong(c, stays)
	if changed {
		p.rebuild[atEnd] = true
	}
	if n := len(c.epochs); n > 0 && c.epochs[n-1].StartOffset > p.end || changed && p.lost != "" && p.dir.has[epochFile] {
		if !p.rebuild[epochFile] {
			p.keptEpochs = c.epochs
		}
		p.rebuild[epochFile] = true
	}
	p.tellDerived(c)
}

// planWrong goes through the problems of files beside the log.
func (p *partitionPlan) planWrong(c *check, stays map[string]bool) {
	for _, x := range c.problems {
		name := strings.TrimSuffix(filepath.Base(x.File), ".swap")
		derived := stays[name] || strings.HasSuffix(name, ".snapshot")
		switch {
		case x.Kind == KindIndex, x.Kind == KindTimeIndex, x.Kind == KindTxnIndex, x.Kind == KindSnapshot, x.Kind == KindUnreadable && derived:
			if stays[name] {
				p.rebuild[name] = true
			} else if p.dir.has[name] {
				p.remove[name] = true
			}
		case x.Kind == KindEpochs, x.Kind == KindUnreadable && name == epochFile:
			p.rebuild[epochFile] = true
		case x.Kind == KindTopicID, x.Kind == KindUnreadable && name == topicIDFile:
			id, ok := c.a.topics[c.dir.topic]
			if !ok {
				p.left = append(p.left, x)
				continue
			}
			p.topicID, p.rebuild[topicIDFile] = id, true
		case x.Kind == KindMetadata && name == quorumFile:
			p.rebuild[quorumFile] = true
		case x.Kind == KindMetadata && p.spare(c, name):
			p.remove[name] = true
		case x.Kind == KindRecords, x.Kind == KindMetadata, x.Kind == KindForeign, x.Kind == KindUnreadable:
			p.left = append(p.left, x)
		}
	}
}

// spare says whether a snapshot of the metadata log is not needed: another one is whole, or the log begins before it.
func (p *partitionPlan) spare(c *check, name string) bool {
	if strings.HasPrefix(name, "00000000000000000000-0000000000.") {
		return false // the voters
	}
	bad := func(name string) bool {
		return slices.ContainsFunc(c.problems, func(x Problem) bool { return filepath.Base(x.File) == name })
	}
	from := p.segments[0].base
	return from == 0 || slices.ContainsFunc(p.dir.extra, func(other string) bool {
		var at int64
		_, err := fmt.Sscanf(other, "%d-", &at)
		return err == nil && at >= from && at <= p.end && other != name && !bad(other)
	})
}

// goesAlong is why a file changes that is only derived from a log that does.
const goesAlong = "it goes with the log"

func sortedKeys(m map[string]bool) []string { return slices.Sorted(maps.Keys(m)) }

func (p *partitionPlan) tellDerived(c *check) {
	why := func(name string) string {
		for _, x := range c.problems {
			if strings.TrimSuffix(filepath.Base(x.File), ".swap") == name {
				return x.Why
			}
		}
		return goesAlong
	}
	for _, name := range sortedKeys(p.remove) {
		p.act("remove", filepath.Join(p.dir.path, name), "%s", why(name))
	}
	for _, name := range sortedKeys(p.rebuild) {
		if strings.HasSuffix(name, ".txnindex") && !p.dir.has[name] && why(name) == goesAlong {
			continue // most segments have none
		}
		p.act("rebuild", filepath.Join(p.dir.path, name), "%s", why(name))
	}
}

// planCheckpoints decides about the offset checkpoints of the data directory: one that cannot be read becomes an empty one, as which
// a start takes it; an offset behind a log's end becomes the end. ends are those of the partitions that were looked at.
func planCheckpoints(r *Report, a *around, ends map[string]int64) (files map[string][]storage.OffsetEntry, actions []Action, left []Problem) {
	files = map[string][]storage.OffsetEntry{}
	for _, x := range r.Problems {
		name := filepath.Base(x.File)
		switch {
		case x.Kind == KindCheckpoint && a.lists[name] == nil || x.Kind == KindUnreadable && slices.Contains(offsetFiles, name):
			files[name] = []storage.OffsetEntry{}
			actions = append(actions, Action{"rebuild", x.File, "empty, as which a start takes it: " + x.Why})
		case filepath.Dir(x.File) == a.path && x.Kind != KindCheckpoint:
			left = append(left, x)
		}
	}
	for _, name := range []string{recoveryFile, startFile, highFile, cleanerFile} {
		if files[name] != nil {
			continue
		}
		changed := 0
		list := slices.Clone(a.lists[name])
		for i := range list {
			end, ok := ends[storage.DirName(list[i].Topic, list[i].Partition)]
			if ok && list[i].Offset > end {
				list[i].Offset = end
				changed++
			}
		}
		if changed > 0 {
			files[name] = list
			actions = append(actions, Action{"rebuild", filepath.Join(a.path, name), fmt.Sprintf("%d of its offsets lie behind the ends of their logs", changed)})
		}
	}
	return files, actions, left
}
