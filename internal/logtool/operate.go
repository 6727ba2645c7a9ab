package logtool

import (
	"errors"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"slipstream/internal/metadata"
	"slipstream/protocol"
	"slipstream/ring"
	"slipstream/storage"
)

// A plan is carried out so that a kill at any moment leaves each file as it was or as it is to be, and that who runs the repair
// again, or starts a broker instead, comes to the same log: what lies behind the log's end goes first, the last segment of it first;
// indexes go before the log that they are of changes, because a start makes missing ones anew.

// operation is a plan being carried out.
type operation struct {
	k    ring.Files
	keep *keeper
	plan *partitionPlan
}

func (op *operation) run() error {
	for _, step := range []func() error{op.settle, op.removeSegments, op.changeSegments, op.removeFiles, op.rebuild} {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

// settle ends what was under way. From here on files are called what they should be.
func (op *operation) settle() error {
	d := op.plan.dir
	for _, l := range d.leftovers {
		if l.to == "" {
			if err := op.keep.move(filepath.Join(d.path, l.name)); err != nil {
				return err
			}
		}
	}
	renamed := false
	for _, l := range d.leftovers {
		if l.to == "" {
			continue
		}
		renamed = true
		if _, err := op.k.Stat(filepath.Join(d.path, l.to)); err == nil {
			if err := op.keep.move(filepath.Join(d.path, l.to)); err != nil {
				return err
			}
		}
		if err := op.k.Rename(filepath.Join(d.path, l.name), filepath.Join(d.path, l.to)); err != nil {
			return err
		}
	}
	clear(d.actual)
	for i := range op.plan.segments {
		s := &op.plan.segments[i]
		s.path = strings.TrimSuffix(s.path, ".swap")
		for j := range s.pieces {
			s.pieces[j].path = strings.TrimSuffix(s.pieces[j].path, ".swap")
		}
	}
	if renamed {
		return op.k.SyncDir(d.path)
	}
	return nil
}

// removeSegments takes away the segments that are not to be in the log, from the end on.
func (op *operation) removeSegments() error {
	for _, m := range slices.Backward(op.plan.gone) {
		if err := op.keep.move(op.plan.dir.pathOf(m.base, ".log")); err != nil {
			return err
		}
	}
	return nil
}

// changeSegments puts the logs right.
func (op *operation) changeSegments() error {
	for i := range op.plan.segments {
		s := &op.plan.segments[i]
		how := s.change()
		if how == keepLog {
			continue
		}
		for _, suffix := range segmentSuffixes[1:] {
			if name := op.plan.dir.file(s.base, suffix); op.plan.dir.has[name] {
				if err := op.keep.move(filepath.Join(op.plan.dir.path, name)); err != nil {
					return err
				}
			}
		}
		var err error
		if how == cutLog {
			err = op.cut(s)
		} else {
			err = op.keep.replace(op.plan.dir.pathOf(s.base, ".log"), func(fd int) error { return op.compose(s, fd) })
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (op *operation) cut(s *segmentPlan) error {
	if err := op.keep.copy(s.path); err != nil {
		return err
	}
	fd, err := op.k.Open(s.path, syscall.O_RDWR, 0)
	if err != nil {
		return err
	}
	if err = op.k.Truncate(fd, s.bytes()); err == nil {
		err = op.k.Sync(fd)
	}
	return errors.Join(err, op.k.Close(fd))
}

// compose writes a segment's pieces.
func (op *operation) compose(s *segmentPlan, out int) error {
	at := int64(0)
	in := -1
	defer func() {
		if in >= 0 {
			_ = op.k.Close(in)
		}
	}()
	for _, x := range s.pieces {
		if x.path == "" {
			b, _ := protocol.AppendEmptyBatch(nil, x.first, x.last, x.epoch)
			if _, err := op.k.WriteAt(out, b, at); err != nil {
				return err
			}
			at += int64(len(b))
			continue
		}
		if in < 0 {
			var err error
			if in, err = op.k.Open(x.path, syscall.O_RDONLY, 0); err != nil {
				return err
			}
		}
		if err := copyRange(op.k, in, x.from, x.to, out, at); err != nil {
			return err
		}
		at += x.to - x.from
	}
	return nil
}

func (op *operation) removeFiles() error {
	for _, name := range sortedKeys(op.plan.remove) {
		if err := op.keep.move(filepath.Join(op.plan.dir.path, name)); err != nil {
			return err
		}
	}
	return nil
}

// rebuild makes the files anew that are derived from the log.
func (op *operation) rebuild() error {
	p := op.plan
	if len(p.rebuild) == 0 {
		return nil
	}
	made := map[string][]byte{}
	r := storage.NewRebuilder(indexInterval)
	for i := range p.segments {
		if err := op.readSegment(r, p.segments[i].base, made); err != nil {
			return err
		}
	}
	if at := p.dir.file(p.end, ".snapshot"); p.rebuild[at] && made[at] == nil {
		made[at] = r.Snapshot()
	}
	if p.rebuild[epochFile] {
		made[epochFile] = op.epochs(r)
	}
	if p.rebuild[topicIDFile] {
		made[topicIDFile] = storage.EncodePartitionMetadata(p.topicID)
	}
	if p.rebuild[quorumFile] {
		made[quorumFile] = metadata.QuorumState{LeaderID: -1, LeaderEpoch: p.epoch, VotedID: -1}.Append(nil)
	}
	for _, name := range sortedKeys(p.rebuild) {
		path := filepath.Join(p.dir.path, name)
		b, ok := made[name]
		var err error
		if ok {
			err = op.keep.replace(path, func(fd int) error { return writeAll(op.k, fd, b) })
		} else { // a .txnindex without entries
			err = op.keep.move(path)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// indexInterval is Kafka's default of index.interval.bytes: what a topic has of its own is not known here, and any will do.
const indexInterval = 4096

func writeAll(k ring.Files, fd int, b []byte) error {
	if len(b) == 0 {
		return nil
	}
	_, err := k.WriteAt(fd, b, 0)
	return err
}

// readSegment shows a segment's batches to r, and takes from it what is to be made anew.
func (op *operation) readSegment(r *storage.Rebuilder, base int64, made map[string][]byte) error {
	p := op.plan
	if name := p.dir.file(base, ".snapshot"); p.rebuild[name] {
		made[name] = r.Snapshot()
	} else if p.dir.has[name] && !p.remove[name] {
		if b, err := readWhole(op.k, filepath.Join(p.dir.path, name)); err == nil {
			_ = r.Load(b) // one that is damaged was told, and is in p.rebuild
		}
	}
	f, err := storage.OpenLogFile(op.k, p.dir.pathOf(base, ".log"))
	if err != nil {
		return err
	}
	defer f.Close()
	r.Begin(base)
	for position := int64(0); position < f.Size(); {
		b, err := f.Header(position)
		if err == nil && b.IsControl() {
			b, err = f.Batch(position)
		}
		if err != nil {
			return err // it has just been put right
		}
		position += storage.BatchBytes(b)
		r.Add(b)
	}
	for suffix, make := range map[string]func() []byte{".index": r.Index, ".timeindex": r.TimeIndex, ".txnindex": r.Aborted} {
		name := p.dir.file(base, suffix)
		if !p.rebuild[name] {
			continue
		}
		if b := make(); b != nil {
			made[name] = b
		}
	}
	return nil
}

// epochs is what the old checkpoint has below the log's end, or what the batches say if it cannot be read.
func (op *operation) epochs(r *storage.Rebuilder) []byte {
	p := op.plan
	if p.keptEpochs == nil {
		return r.Epochs()
	}
	list := slices.DeleteFunc(slices.Clone(p.keptEpochs), func(e storage.EpochEntry) bool { return e.StartOffset >= p.end && e.StartOffset > 0 })
	return storage.EncodeEpochs(list)
}
