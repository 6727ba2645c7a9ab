package logtool

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"slipstream/internal/metadata"
	"slipstream/protocol"
	"slipstream/ring"
	"slipstream/storage"
)

// Kind is what a problem is about, and so what Repair can do about it.
type Kind string

// The kinds of problems.
const (
	KindUnreadable Kind = "unreadable" // the disk, or a name's permissions, do not give it
	KindForeign    Kind = "foreign"    // no file, or none that a broker writes
	KindTail       Kind = "tail"       // bytes behind the last whole batch
	KindDamage     Kind = "damage"     // bytes that are no batch, with whole ones behind them
	KindOffsets    Kind = "offsets"    // missing, twice, or in the wrong segment
	KindRecords    Kind = "records"    // batches whose checksum is right, and which make no sense
	KindIndex      Kind = "index"
	KindTimeIndex  Kind = "timeindex"
	KindTxnIndex   Kind = "txnindex"
	KindSnapshot   Kind = "snapshot" // of producers
	KindEpochs     Kind = "epochs"
	KindTopicID    Kind = "topicid"
	KindCheckpoint Kind = "checkpoint" // an offset checkpoint of the data directory
	KindMetadata   Kind = "metadata"   // a snapshot of the metadata log, quorum-state
	KindProperties Kind = "properties" // meta.properties
	KindLeftover   Kind = "leftover"   // of a cleaning, a deletion, a replacement that was cut short
)

// Problem is one thing that is wrong in a directory.
type Problem struct {
	Kind     Kind   `json:"kind"`
	File     string `json:"file"`
	Position int64  `json:"position"` // in the file, in bytes; -1: the file as such
	Why      string `json:"why"`
	// Note: no damage to what was acknowledged as durable. It lies behind the recovery point of a broker that was
	// not stopped cleanly, or is still running, and the next start puts it right.
	Note bool `json:"note"`
}

// String is one line.
func (p Problem) String() string {
	if p.Position < 0 {
		return fmt.Sprintf("%s: %s", p.File, p.Why)
	}
	return fmt.Sprintf("%s at %d: %s", p.File, p.Position, p.Why)
}

// Report is what Verify has found.
type Report struct {
	Partitions int       `json:"partitions"`
	Segments   int       `json:"segments"`
	Batches    int64     `json:"batches"`
	Records    int64     `json:"records"`
	Bytes      int64     `json:"bytes"`
	Clean      bool      `json:"cleanShutdown"` // the broker had stopped cleanly
	Problems   []Problem `json:"problems"`      // by file and position
	LeftOut    int       `json:"problemsLeftOut"`
}

// Damaged counts the problems that are no notes.
func (r *Report) Damaged() (n int) {
	for _, p := range r.Problems {
		if !p.Note {
			n++
		}
	}
	return n
}

// VerifyOptions say how Verify goes about it.
type VerifyOptions struct {
	Workers int // partitions at once; 0: as many as there are processors
	// Progress, if not nil, is called from any goroutine as bytes of the logs have been read.
	Progress func(done, total int64)
	// Compacted are topics whose offsets may have gaps although neither cleaner-offset-checkpoint nor the metadata log says
	// that they were compacted: log.cleanup.policy of a properties file is in neither.
	Compacted []string
}

// maxProblems of a partition are told; a log of garbage has no end of them.
const maxProblems = 100

// around is what the data directory says of its partitions.
type around struct {
	path      string
	clean     bool
	offsets   map[string]map[string]int64      // by checkpoint file and partition directory
	lists     map[string][]storage.OffsetEntry // the files themselves, where they can be read
	compacted map[string]bool                  // topics that are or were compacted
	all       bool                             // every topic may be
	topics    map[string]protocol.UUID         // that the metadata log knows, by name
}

// Verify checks a data directory, or one partition's directory in it. Its error says only that path is neither, or
// cannot be read.
func Verify(k ring.Files, path string, o VerifyOptions) (*Report, error) {
	dir, err := findDir(k, path)
	if err != nil {
		return nil, err
	}
	r, _, _ := inspect(k, dir, o)
	return r, nil
}

// inspect checks the partitions of a data directory. The checks are in the order of dir.partitions.
func inspect(k ring.Files, dir *dataDir, o VerifyOptions) (*Report, []*check, *around) {
	r := &Report{Problems: []Problem{}}
	a := look(k, dir, r)
	r.Clean = a.clean
	for _, topic := range o.Compacted {
		a.compacted[topic] = true
	}
	checks := make([]*check, 0, len(dir.partitions))
	var total int64
	for _, p := range dir.partitions {
		c := newCheck(k, a, p)
		total += c.sizeUp()
		checks = append(checks, c)
	}
	// The largest first: none of them is begun last and waited for.
	order := slices.Clone(checks)
	slices.SortStableFunc(order, func(x, y *check) int { return cmp.Compare(y.bytes, x.bytes) })
	var done atomic.Int64
	progress := func(n int64) {
		if at := done.Add(n); o.Progress != nil {
			o.Progress(at, max(total, at))
		}
	}
	inParallel(order, cmp.Or(o.Workers, runtime.GOMAXPROCS(0)), func(c *check) { c.run(progress) })
	for _, c := range checks {
		r.Partitions++
		r.Segments += len(c.dir.bases)
		r.Batches, r.Records, r.Bytes = r.Batches+c.batches, r.Records+c.records, r.Bytes+c.bytes
		r.Problems = append(r.Problems, c.problems...)
		r.LeftOut += c.leftOut
	}
	slices.SortStableFunc(r.Problems, func(x, y Problem) int {
		return cmp.Or(strings.Compare(x.File, y.File), cmp.Compare(x.Position, y.Position))
	})
	return r, checks, a
}

// inParallel calls do with each of a list, with some of them at once.
func inParallel[T any](list []T, workers int, do func(T)) {
	if workers == 1 || len(list) == 1 { // in order, as the simulator needs it
		for _, x := range list {
			do(x)
		}
		return
	}
	var wait sync.WaitGroup
	var next atomic.Int64
	for range max(min(workers, len(list)), 1) {
		wait.Go(func() {
			for {
				i := int(next.Add(1)) - 1
				if i >= len(list) {
					return
				}
				do(list[i])
			}
		})
	}
	wait.Wait()
}

// look reads what is beside the partitions.
func look(k ring.Files, dir *dataDir, r *Report) *around {
	a := &around{path: dir.path, offsets: map[string]map[string]int64{}, compacted: map[string]bool{}, topics: map[string]protocol.UUID{}, lists: map[string][]storage.OffsetEntry{}}
	_, err := k.Stat(filepath.Join(dir.path, cleanShutdown))
	a.clean = err == nil
	wrong := func(kind Kind, name string, err error) {
		if isIO(err) {
			kind = KindUnreadable
		}
		if dir.whole {
			r.Problems = append(r.Problems, Problem{Kind: kind, File: filepath.Join(dir.path, name), Position: -1, Why: err.Error()})
		}
	}
	if _, err := storage.ReadMetaProperties(k, dir.path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		wrong(KindProperties, propertyFile, err)
	}
	for _, name := range offsetFiles {
		b, err := readWhole(k, filepath.Join(dir.path, name))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		var list []storage.OffsetEntry
		if err == nil {
			list, err = storage.DecodeOffsets(b)
		}
		if err != nil {
			wrong(KindCheckpoint, name, err)
			continue
		}
		a.lists[name] = append([]storage.OffsetEntry{}, list...)
		of := map[string]int64{}
		for _, e := range list {
			of[storage.DirName(e.Topic, e.Partition)] = e.Offset
		}
		a.offsets[name] = of
	}
	a.readMetadata(k)
	return a
}

// readMetadata reads from the metadata log which topics there are, and which have ever been compacted: their offsets may
// have gaps. What is wrong in that log is found when its turn comes.
func (a *around) readMetadata(k ring.Files) {
	log, err := listPartition(k, filepath.Join(a.path, metadata.MetadataTopic+"-0"))
	if err != nil {
		return
	}
	names := log.extra
	for _, base := range log.bases {
		names = append(names, log.file(base, ".log"))
	}
	for _, name := range names {
		f, err := storage.OpenLogFile(k, filepath.Join(log.path, name))
		if err != nil {
			continue
		}
		for position := int64(0); position < f.Size(); {
			b, err := f.Batch(position)
			if err != nil {
				break
			}
			position += int64(len(b))
			_ = metadata.EachEntry(b, func(e metadata.Entry) error { // its errors are told by the check of that log
				switch r := e.Record.(type) {
				case *metadata.ConfigRecord:
					a.configured(r)
				case *metadata.TopicRecord:
					a.topics[r.Name] = protocol.UUID(r.TopicID)
				case *metadata.RemoveTopicRecord:
					maps.DeleteFunc(a.topics, func(_ string, id protocol.UUID) bool { return id == protocol.UUID(r.TopicID) })
				}
				return nil
			})
		}
		f.Close()
	}
}

func (a *around) configured(c *metadata.ConfigRecord) {
	if c.Value == nil || !strings.Contains(*c.Value, "compact") {
		return
	}
	switch c.Name {
	case "cleanup.policy":
		a.compacted[c.ResourceName] = true
	case "log.cleanup.policy":
		a.all = true
	}
}

// gapsAllowed says up to which offset a partition's may have gaps, by compaction.
func (a *around) gapsAllowed(d *partitionDir) int64 {
	if a.all || a.compacted[d.topic] || compactedInside[d.topic] {
		return 1<<63 - 1
	}
	return a.offsets[cleanerFile][d.name]
}
