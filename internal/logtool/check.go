package logtool

import (
	"errors"
	"fmt"
	"io/fs"
	"math"
	"path/filepath"
	"sort"
	"strings"
	"syscall"

	"slipstream/internal/metadata"
	"slipstream/protocol"
	"slipstream/ring"
	"slipstream/storage"
)

// check is a partition being verified: its batches are read once, in order, and everything else is held against
// them as they pass, so that memory does not grow with the log.
type check struct {
	k    ring.Files
	a    *around
	dir  *partitionDir
	err  error // the directory cannot be listed
	gaps int64 // below this offset compaction may have left gaps

	recovery int64
	next     int64 // the offset that is due; -1: not known, what is before it is damaged
	epochs   []storage.EpochEntry
	epoch    int32 // of the last batch
	epochBad bool  // told already

	producers producers
	snapshots []int64 // still to come
	scratch   protocol.Scratch

	bytes, batches, records int64
	problems                []Problem
	layout                  []*segmentMap
	leftOut                 int
	told                    map[[2]string]bool // kinds and files of problems
}

func newCheck(k ring.Files, a *around, path string) *check {
	c := &check{k: k, a: a, next: -1, epoch: -1}
	if c.dir, c.err = listPartition(k, path); c.err != nil {
		c.dir = &partitionDir{path: path, name: filepath.Base(path)}
		return c
	}
	c.gaps = a.gapsAllowed(c.dir)
	c.recovery = a.offsets[recoveryFile][c.dir.name]
	c.snapshots = c.dir.snapshots
	c.producers.init()
	return c
}

// sizeUp adds up the logs' sizes.
func (c *check) sizeUp() int64 {
	for _, base := range c.dir.bases {
		if info, err := c.k.Stat(c.path(base, ".log")); err == nil {
			c.bytes += info.Size
		}
	}
	return c.bytes
}

func (c *check) path(base int64, suffix string) string { return c.dir.pathOf(base, suffix) }

// add tells a problem; of a file that has too many, only the first of each kind.
func (c *check) add(p Problem) {
	about := [2]string{string(p.Kind), p.File}
	if len(c.problems) >= maxProblems && c.told[about] {
		c.leftOut++
		return
	}
	if c.told == nil {
		c.told = map[[2]string]bool{}
	}
	c.told[about] = true
	c.problems = append(c.problems, p)
}

func (c *check) wrong(kind Kind, file string, position int64, format string, args ...any) {
	c.add(Problem{Kind: kind, File: file, Position: position, Why: fmt.Sprintf(format, args...)})
}

// cannot tells of a file that should be read: the kernel does not give it, or what it holds is wrong.
func (c *check) cannot(kind Kind, file string, err error, note bool) {
	if isIO(err) {
		kind, note = KindUnreadable, false
	}
	c.add(Problem{kind, file, -1, err.Error(), note})
}

// isIO says that an error is the kernel's and not about what was read.
func isIO(err error) bool {
	var errno syscall.Errno
	return errors.As(err, &errno) || errors.Is(err, ring.ErrNotRegular)
}

// run verifies the partition.
func (c *check) run(progress func(int64)) {
	if c.err != nil {
		c.wrong(KindUnreadable, c.dir.path, -1, "%v", c.err)
		return
	}
	c.names()
	c.readSmallFiles()
	if len(c.dir.bases) == 0 {
		// A start gives one to a log of which nothing was durable: its topic was being made, or deleted.
		c.add(Problem{Kind: KindOffsets, File: c.dir.path, Position: -1, Why: "it has no segment", Note: !c.a.clean && c.recovery == 0})
		return
	}
	for i := range c.dir.bases {
		c.segment(i, progress)
	}
	c.atEnd()
	for _, name := range c.dir.extra {
		c.metadataSnapshot(filepath.Join(c.dir.path, name))
	}
}

// names tells of names that a broker passes over, or puts right when it starts.
func (c *check) names() {
	deleted := 0
	for _, l := range c.dir.leftovers {
		if strings.HasSuffix(l.name, ".deleted") {
			deleted++
			continue
		}
		c.add(Problem{KindLeftover, filepath.Join(c.dir.path, l.name), -1, l.why, true})
	}
	if deleted > 0 {
		c.add(Problem{KindLeftover, c.dir.path, -1, fmt.Sprintf("%d of its files were deleted and are not removed yet", deleted), true})
	}
	for _, name := range c.dir.foreign {
		c.wrong(KindForeign, filepath.Join(c.dir.path, name), -1, "a directory has the name of a file of the log")
	}
}

func (c *check) readSmallFiles() {
	path := filepath.Join(c.dir.path, epochFile)
	b, err := readWhole(c.k, path)
	if err == nil {
		c.epochs, err = storage.DecodeEpochs(b)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		c.cannot(KindEpochs, path, err, false)
	}
	c.topicID()
	if c.dir.topic != metadata.MetadataTopic {
		return
	}
	path = filepath.Join(c.dir.path, quorumFile)
	if b, err = readWhole(c.k, path); err == nil {
		_, err = metadata.ParseQuorumState(b)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		c.cannot(KindMetadata, path, err, false)
	}
}

// topicID holds partition.metadata against the metadata log.
func (c *check) topicID() {
	path := filepath.Join(c.dir.path, topicIDFile)
	b, err := readWhole(c.k, path)
	var id protocol.UUID
	if err == nil {
		id, err = storage.DecodePartitionMetadata(b)
	}
	if errors.Is(err, fs.ErrNotExist) {
		return
	}
	if err != nil {
		c.cannot(KindTopicID, path, err, false)
		return
	}
	want, ok := c.a.topics[c.dir.topic]
	if !ok || want == id {
		return
	}
	whose := "no topic that the metadata log knows"
	for name, other := range c.a.topics {
		if other == id {
			whose = "topic " + name
		}
	}
	c.wrong(KindRecords, path, -1, "its id %s is that of %s, and the metadata log says that %s has %s: a start sets the directory aside", id, whose, c.dir.topic, want)
}

// segmentCheck is a segment being read.
type segmentCheck struct {
	path      string
	base, end int64 // end: where the next segment begins, or -1
	last      bool
	loose     bool // behind the recovery point of an unclean stop: a start reads it whole and makes its indexes anew
	damaged   bool // some of it could not be read
	parts     *segmentMap
	offset    indexCheck
	time      timeCheck
	aborted   abortedCheck
}

func (c *check) segment(i int, progress func(int64)) {
	s := &segmentCheck{path: c.path(c.dir.bases[i], ".log"), base: c.dir.bases[i], end: -1, last: i+1 == len(c.dir.bases)}
	if !s.last {
		s.end = c.dir.bases[i+1]
	}
	s.loose = !c.a.clean && (s.last || s.end > c.recovery)
	s.parts = &segmentMap{base: s.base, path: s.path}
	c.layout = append(c.layout, s.parts)
	c.begins(s)
	f, err := storage.OpenLogFile(c.k, s.path)
	if err != nil {
		s.parts.unreadable = true
		c.cannot(KindDamage, s.path, err, false)
		c.hole()
		return
	}
	defer f.Close()
	s.parts.size = f.FileBytes()
	c.openIndexes(s)
	for position := int64(0); position < f.Size(); {
		b, err := f.Batch(position)
		if err == nil {
			next := c.takeBatch(s, f, b, position)
			progress(next - position)
			position = next
			continue
		}
		at, ok := c.damage(s, f, position, err)
		progress(at - position)
		if !ok {
			break
		}
		position = at
	}
	c.closeIndexes(s, f.Size())
}

// begins holds a segment's name against where the one before has ended.
func (c *check) begins(s *segmentCheck) {
	switch {
	case c.next < 0:
	case s.base < c.next:
		c.wrong(KindOffsets, s.path, -1, "the segment begins at offset %d, and the one before has offsets up to %d", s.base, c.next-1)
	case s.base > c.next && c.next >= c.gaps:
		c.wrong(KindOffsets, s.path, -1, "offsets %d to %d are missing before the segment", c.next, s.base-1)
		c.hole()
	}
	c.next = s.base
}

// hole: what follows is not the continuation of what was seen.
func (c *check) hole() {
	c.next = -1
	c.producers.forget()
}

// damage says what is wrong where no batch is, and where the log goes on; ok is false if it does not.
func (c *check) damage(s *segmentCheck, f *storage.LogFile, position int64, err error) (at int64, ok bool) {
	if !errors.Is(err, storage.ErrNoBatch) && !errors.Is(err, storage.ErrBatchCRC) {
		s.damaged, s.parts.unreadable = true, true
		c.wrong(KindUnreadable, s.path, position, "%v", err)
		c.hole()
		return f.Size(), false
	}
	due := max(c.next, s.base)
	most := int64(math.MaxInt64)
	if s.end >= 0 {
		most = s.end - 1
	} else if due < math.MaxInt64-math.MaxInt32 {
		most = due + math.MaxInt32
	}
	at, ok = f.FindBatch(position+1, due, most)
	if !ok {
		c.tail(s, f, position, due, err)
		s.damaged = true
		c.hole()
		return f.Size(), false
	}
	s.damaged = true
	c.wrong(KindDamage, s.path, position, "%v: %d bytes are damaged, with the records from offset %d on", err, at-position, due)
	c.hole()
	return at, true
}

// tail tells what a stop without warning leaves behind the last batch from damage.
func (c *check) tail(s *segmentCheck, f *storage.LogFile, position, due int64, err error) {
	left := f.FileBytes() - position
	zeros := f.ZeroFrom(position)
	// Between a roll and the cutting of the closed segment to its length, the room ahead of its last batch is still there.
	rolled := !s.last && zeros && due == s.end
	p := Problem{Kind: KindTail, File: s.path, Position: position, Note: s.loose && (s.last && due >= c.recovery || rolled)}
	switch {
	case p.Note && zeros:
		p.Why = fmt.Sprintf("%d bytes of zeros follow the last batch: room that was made ahead, or never written", left)
	case p.Note:
		p.Why = fmt.Sprintf("torn tail: the last %d bytes, from offset %d on, are no whole batch (%v)", left, due, err)
	case zeros:
		p.Why = fmt.Sprintf("%d bytes of zeros where offset %d is due", left, due)
	default:
		p.Why = fmt.Sprintf("%v: nothing of the %d bytes from offset %d on can be read", err, left, due)
	}
	c.add(p)
}

// takeBatch checks a whole batch and returns the position behind it.
func (c *check) takeBatch(s *segmentCheck, f *storage.LogFile, b protocol.Batch, position int64) int64 {
	c.batches++
	after := position + int64(len(b))
	why, where := c.misplaced(s, b)
	if where == missingBefore {
		next := b.NextOffset()
		if h, err := f.Header(after); err == nil && h.BaseOffset() < next && h.BaseOffset() > c.next {
			where = astray // its offset is wrong, and the others go on without it
		} else if s.end >= 0 && next > s.end {
			where = beyond
		}
		var err error
		if b, err = f.Batch(position); err != nil { // the view that it had is gone
			return f.Size()
		}
	}
	if where != inPlace {
		if !s.parts.continues(where, position) || where == missingBefore {
			c.wrong(KindOffsets, s.path, position, "%s", why)
		}
		s.damaged = true
		c.hole()
	}
	s.parts.add(where, position, after, b, c.gaps)
	if where != inPlace && where != missingBefore {
		// One line for it: that nothing else fits any more follows from it.
		return after
	}
	for len(c.snapshots) > 0 && c.snapshots[0] <= b.BaseOffset() {
		c.snapshot(s.loose)
	}
	c.leaderEpoch(s, b, position)
	c.readRecords(s, b, position)
	c.offsetEntry(s, b, position)
	c.timeEntry(s, b)
	if isEmpty(b) {
		c.producers.forget() // what was there may have been anybody's
	} else {
		c.sequence(s, b, position)
	}
	c.next = b.NextOffset()
	return after
}

// isEmpty says whether a batch stands for offsets of which no record is left: compaction and Repair make such.
func isEmpty(b protocol.Batch) bool { return b.Count() == 0 && len(b) == protocol.HeaderBytes }

// misplaced holds a batch's offsets against what is due.
func (c *check) misplaced(s *segmentCheck, b protocol.Batch) (why string, where placing) {
	base, last := b.BaseOffset(), b.LastOffset()
	switch {
	case c.next >= 0 && base < c.next:
		return fmt.Sprintf("a batch of offsets %d to %d where offset %d is due", base, last, c.next), astray
	case base < s.base:
		return fmt.Sprintf("offset %d does not belong to the segment", base), astray
	case last-s.base > math.MaxInt32:
		return fmt.Sprintf("offset %d is too far from the segment's", last), astray
	case c.next >= 0 && base > c.next && c.next >= c.gaps:
		return fmt.Sprintf("offsets %d to %d are missing before the batch", c.next, base-1), missingBefore
	case s.end >= 0 && last >= s.end:
		return fmt.Sprintf("offset %d belongs to the next segment", last), beyond
	}
	return "", inPlace
}

// leaderEpoch holds a batch's epoch against the checkpoint; one disagreement is told, for the others follow from it.
func (c *check) leaderEpoch(s *segmentCheck, b protocol.Batch, position int64) {
	e := b.LeaderEpoch()
	if c.epochBad || e < 0 {
		return
	}
	if e < c.epoch {
		c.wrong(KindRecords, s.path, position, "leader epoch %d follows epoch %d", e, c.epoch)
		c.epochBad = true
		return
	}
	c.epoch = e
	want := int32(-1)
	if i := sort.Search(len(c.epochs), func(i int) bool { return c.epochs[i].StartOffset > b.BaseOffset() }); i > 0 {
		want = c.epochs[i-1].Epoch
	}
	if want >= 0 && want != e {
		c.epochBad = true
		c.add(Problem{KindEpochs, filepath.Join(c.dir.path, epochFile), -1, fmt.Sprintf("offset %d belongs to epoch %d, and its batch is of epoch %d", b.BaseOffset(), want, e), s.loose})
	}
}

// readRecords reads each record: offsets rise, and what is the broker's own can be decoded.
func (c *check) readRecords(s *segmentCheck, b protocol.Batch, position int64) {
	var it protocol.Records
	var r protocol.Record
	it.Open(b, &c.scratch)
	defer it.Close()
	whole := b.BaseOffset() >= c.gaps && !isEmpty(b) // nothing was compacted away
	if span := int64(b.LastOffsetDelta()) + 1; b.Count() < 0 || int64(b.Count()) > span || whole && int64(b.Count()) != span {
		c.wrong(KindRecords, s.path, position, "a batch of %d records has offsets %d to %d", b.Count(), b.BaseOffset(), b.LastOffset())
		return
	}
	before, n := b.BaseOffset()-1, int32(0)
	for it.Next(&r) {
		n++
		if r.Offset <= before || r.Offset > b.LastOffset() || whole && r.Offset != before+1 {
			c.wrong(KindRecords, s.path, position, "a record at offset %d follows offset %d in a batch of offsets %d to %d", r.Offset, before, b.BaseOffset(), b.LastOffset())
			break
		}
		before = r.Offset
		var err error
		if b.IsControl() {
			_, err = control(&r)
		} else {
			_, err = decode(c.dir.topic, &r)
		}
		if err != nil {
			c.wrong(KindRecords, s.path, position, "the record at offset %d cannot be decoded: %v", r.Offset, err)
		}
	}
	c.records += int64(n)
	if err := it.Err(); err != nil {
		c.wrong(KindRecords, s.path, position, "the records of the batch at offset %d cannot be read: %v", b.BaseOffset(), err)
	}
}

// atEnd holds the checkpoints against the log's end.
func (c *check) atEnd() {
	loose := !c.a.clean
	for len(c.snapshots) > 0 {
		c.snapshot(loose)
	}
	if c.next < 0 {
		return
	}
	for _, name := range []string{recoveryFile, startFile, highFile, cleanerFile} {
		if at, ok := c.a.offsets[name][c.dir.name]; ok && at > c.next {
			// A power cut may take what was not synced, and leave a checkpoint that was.
			note := loose && (name == highFile || name == startFile)
			c.add(Problem{KindCheckpoint, filepath.Join(c.a.path, name), -1, fmt.Sprintf("%s: offset %d lies behind the log's end, %d", c.dir.name, at, c.next), note})
		}
	}
}

// metadataSnapshot checks a snapshot of the metadata log: whole batches that can be decoded, the last with a footer.
func (c *check) metadataSnapshot(path string) {
	f, err := storage.OpenLogFile(c.k, path)
	if err != nil {
		c.cannot(KindMetadata, path, err, false)
		return
	}
	defer f.Close()
	footer := false
	for position := int64(0); position < f.Size(); {
		b, err := f.Batch(position)
		if err != nil {
			c.wrong(KindMetadata, path, position, "%v", err)
			return
		}
		footer = false
		err = metadata.EachEntry(b, func(e metadata.Entry) error {
			_, footer = e.Control.(*metadata.SnapshotFooter)
			return nil
		})
		var unknown *metadata.UnknownRecordError // a newer Kafka's
		if err != nil && !errors.As(err, &unknown) {
			c.wrong(KindMetadata, path, position, "%v", err)
		}
		position += int64(len(b))
	}
	if !footer {
		c.wrong(KindMetadata, path, f.Size(), "the snapshot does not end with its footer")
	}
}
