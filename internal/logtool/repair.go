package logtool

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"syscall"
	"time"

	"slipstream/ring"
	"slipstream/storage"
)

// RepairOptions say how Repair goes about it.
type RepairOptions struct {
	VerifyOptions
	// Yes has it done; without it nothing is changed.
	Yes bool
	// SkipBatches takes what is damaged out of a log and keeps what follows; an empty batch stands for the offsets that are gone.
	// Otherwise a log ends where it is damaged, as Kafka's recovery has it.
	SkipBatches bool
	// Backup is the directory, made if need be, that gets a copy of each file before it is changed or removed.
	// It must not be in the data directory. "" is a new one beside that, named by NowNanos.
	Backup   string
	NowNanos int64
	// Own, if not nil, gives a new file the owner that another has.
	Own func(path, like string) error
}

// RepairReport is what Repair did, or would do.
type RepairReport struct {
	Found   *Report   `json:"found"`
	Actions []Action  `json:"actions"`
	Done    bool      `json:"done"`             // the actions were carried out
	Backup  string    `json:"backup,omitempty"` // where the copies are
	Left    []Problem `json:"left"`             // nothing could be done about these
	Rounds  int       `json:"rounds"`           // how often was looked until there was nothing to do
}

// maxRounds: what is wrong may hide behind what else is wrong, but not for long.
const maxRounds = 5

// Repair puts right what Verify finds in a data directory, or in some of its partitions' directories, which no broker may
// be using. It is safe to be killed, and does nothing where nothing is wrong. An error means that it could not begin, or that the
// kernel refused something on the way; whoever runs it again then goes on.
func Repair(k ring.Files, paths []string, o RepairOptions) (*RepairReport, error) {
	dir, err := findDirs(k, paths)
	if err != nil {
		return nil, err
	}
	unlock, err := lockDir(k, dir.path, o.Yes)
	if err != nil {
		return nil, err
	}
	defer unlock()
	out := &RepairReport{Actions: []Action{}, Left: []Problem{}}
	var keep *keeper
	var settled []Problem // of partitions that are not looked at again
	for out.Rounds < maxRounds {
		out.Rounds++
		w := survey(k, dir, o)
		if out.Found == nil {
			out.Found = w.report
		}
		out.Left = slices.Concat([]Problem{}, settled, w.leftIn, w.left)
		if len(w.actions) == 0 {
			break
		}
		out.Actions = append(out.Actions, w.actions...)
		if !o.Yes {
			break
		}
		if keep == nil {
			if keep, err = newKeeper(k, dir.path, o, w); err != nil {
				return nil, err
			}
			out.Backup, out.Done = keep.root, true
		}
		if err := w.carryOut(k, keep, cmp.Or(o.Workers, runtime.GOMAXPROCS(0))); err != nil {
			return out, err
		}
		settled = append(settled, w.leftIn...)
		dir = w.touched(dir)
	}
	return out, nil
}

// findDirs is findDir for several paths in one data directory.
func findDirs(k ring.Files, paths []string) (*dataDir, error) {
	var all *dataDir
	for _, path := range paths {
		d, err := findDir(k, path)
		switch {
		case err != nil:
			return nil, err
		case all == nil:
			all = d
		case all.path != d.path:
			return nil, fmt.Errorf("%s is not in %s: one data directory at a time", path, all.path)
		case d.whole:
			all = d
		case !all.whole:
			all.partitions = append(all.partitions, d.partitions...)
		}
	}
	if all == nil {
		return nil, errors.New("no directory was named")
	}
	slices.Sort(all.partitions)
	all.partitions = slices.Compact(all.partitions)
	return all, nil
}

// lockDir keeps brokers out. Where nothing is to be changed no lock file is made.
func lockDir(k ring.Files, dir string, create bool) (unlock func(), err error) {
	path := filepath.Join(dir, lockFile)
	flags := syscall.O_RDWR
	if create {
		flags |= syscall.O_CREAT
	}
	fd, err := k.Open(path, flags, 0o644)
	if errors.Is(err, fs.ErrNotExist) {
		return func() {}, nil
	}
	if err != nil {
		return nil, err
	}
	if err := k.TryLock(fd); err != nil {
		_ = k.Close(fd)
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, fmt.Errorf("data directory %s is in use: stop the broker first", dir)
		}
		return nil, err
	}
	return func() { _ = k.Close(fd) }, nil
}

// work is what one look at the directory has found to do.
type work struct {
	path        string
	report      *Report
	plans       []*partitionPlan // those with something to do
	checkpoints map[string][]storage.OffsetEntry
	actions     []Action
	left        []Problem // of the data directory, and of partitions that are looked at again
	leftIn      []Problem // of the other partitions
}

// survey looks and plans; it changes nothing.
func survey(k ring.Files, dir *dataDir, o RepairOptions) *work {
	r, checks, a := inspect(k, dir, o.VerifyOptions)
	w := &work{path: dir.path, report: r}
	ends := map[string]int64{}
	for _, c := range checks {
		p := planPartition(c, o.SkipBatches)
		if len(p.segments) > 0 {
			ends[c.dir.name] = p.end
		}
		if len(p.actions) == 0 {
			w.leftIn = append(w.leftIn, p.left...)
			continue
		}
		w.left = append(w.left, p.left...)
		w.plans = append(w.plans, p)
		w.actions = append(w.actions, p.actions...)
	}
	files, actions, left := planCheckpoints(r, a, ends)
	w.checkpoints = files
	w.actions = append(w.actions, actions...)
	w.left = append(w.left, left...)
	return w
}

// carryOut does it, several partitions at once, the checkpoints last.
func (w *work) carryOut(k ring.Files, keep *keeper, workers int) error {
	var mu sync.Mutex
	var errs []error
	inParallel(w.plans, workers, func(p *partitionPlan) {
		if err := (&operation{k, keep, p}).run(); err != nil {
			mu.Lock()
			defer mu.Unlock()
			errs = append(errs, fmt.Errorf("repair %s: %w", p.dir.path, err))
		}
	})
	for _, name := range offsetFiles {
		list, ok := w.checkpoints[name]
		if !ok {
			continue
		}
		b := storage.AppendOffsets(nil, list)
		if err := keep.replace(filepath.Join(w.path, name), func(fd int) error { return writeAll(k, fd, b) }); err != nil {
			errs = append(errs, fmt.Errorf("repair %s: %w", name, err))
		}
	}
	return errors.Join(errs...)
}

// touched is what is to be looked at again.
func (w *work) touched(dir *dataDir) *dataDir {
	again := &dataDir{path: dir.path, whole: dir.whole}
	for _, p := range w.plans {
		again.partitions = append(again.partitions, p.dir.path)
	}
	return again
}

// newKeeper makes sure that there is room for the copies, and makes their directory.
func newKeeper(k ring.Files, dataDir string, o RepairOptions, w *work) (*keeper, error) {
	root, err := filepath.Abs(cmp.Or(o.Backup, unusedName(k, dataDir+".repair-"+time.Unix(0, o.NowNanos).UTC().Format("20060102T150405Z"))))
	if err != nil {
		return nil, err
	}
	if rel, err := filepath.Rel(dataDir, root); err == nil && filepath.IsLocal(rel) {
		return nil, fmt.Errorf("the copies cannot be kept in %s: that is in the data directory, where Kafka takes every directory for a partition's", root)
	}
	if entries, err := k.ReadDir(root); err == nil && len(entries) > 0 {
		return nil, fmt.Errorf("%s is not empty: name a directory for the copies that is", root)
	}
	if err := w.roomFor(k, dataDir, root); err != nil {
		return nil, err
	}
	keep := &keeper{k: k, root: root, from: dataDir, own: o.Own, made: map[string]bool{}}
	if err := keep.makeDir(root); err != nil {
		return nil, fmt.Errorf("no copies can be kept: %w", err)
	}
	return keep, nil
}

// unusedName is a name, or that with a number behind it.
func unusedName(k ring.Files, name string) string {
	for n, try := 2, name; ; n++ {
		if _, err := k.Stat(try); err != nil || n > 1000 {
			return try
		}
		try = fmt.Sprint(name, "-", n)
	}
}

// spareBytes is left on a disk that copies go to.
const spareBytes = 16 << 20

// roomFor refuses where a disk is too full for the copies, or for what is written anew.
func (w *work) roomFor(k ring.Files, dataDir, root string) error {
	there := root
	for {
		if _, err := k.Stat(there); err == nil || there == filepath.Dir(there) {
			break
		}
		there = filepath.Dir(there)
	}
	dataTotal, dataFree, err := k.Space(dataDir)
	if err != nil {
		return err
	}
	total, free, err := k.Space(there)
	if err != nil {
		return err
	}
	same := total == dataTotal
	copies, anew := w.needs(k, same)
	if same {
		copies, anew = copies+anew, 0
	}
	for _, n := range []struct {
		path       string
		want, have int64
	}{{there, copies, free}, {dataDir, anew, dataFree}} {
		if n.want > 0 && n.want+spareBytes > n.have {
			return fmt.Errorf("there is no room: copies and new files take %d bytes under %s, and %d are free; make room, or name another place for the copies", n.want+spareBytes, n.path, n.have)
		}
	}
	return nil
}

// needs is how many bytes copies and new files take. What is taken away whole is only renamed on one file system.
func (w *work) needs(k ring.Files, same bool) (copies, anew int64) {
	size := func(path string) int64 {
		info, err := k.Stat(path)
		if err != nil {
			return 0
		}
		return info.Size
	}
	for name := range w.checkpoints {
		copies += size(filepath.Join(w.path, name))
	}
	for _, p := range w.plans {
		for i := range p.segments {
			s := &p.segments[i]
			switch s.change() {
			case cutLog:
				copies += s.size
			case rewriteLog:
				copies, anew = copies+s.size, anew+s.bytes()
			}
		}
		for name := range p.rebuild {
			n := size(filepath.Join(p.dir.path, name))
			copies, anew = copies+n, anew+n
		}
		if same {
			continue
		}
		for _, m := range p.gone {
			copies += m.size
		}
		for name := range p.remove {
			copies += size(filepath.Join(p.dir.path, name))
		}
		for _, l := range p.dir.leftovers {
			copies += size(filepath.Join(p.dir.path, l.name))
		}
	}
	return copies, anew
}
