package logtool

import (
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"slipstream/ring"
	"slipstream/storage"
)

// partitionDir is a partition's directory and what is in it, as a start would see it: where a cleaning has been finished
// but for its files' names, its results are the segments, and what they replace is left over.
type partitionDir struct {
	path      string
	name      string // of the directory
	topic     string
	partition int32
	bases     []int64 // of the segments, rising
	snapshots []int64 // offsets of the .snapshot files, rising
	has       map[string]bool
	actual    map[string]string // names of files that are not called what they should be, by what they should
	extra     []string          // *.checkpoint (metadata snapshots)
	leftovers []leftover        // by name
	foreign   []string          // directories with the names of files
}

// leftover is a file of something that was not finished; a start removes it or, if to is set, gives it that name.
type leftover struct{ name, to, why string }

func (d *partitionDir) file(base int64, suffix string) string {
	return fmt.Sprintf("%020d%s", base, suffix)
}

// pathOf is where the file of a segment is.
func (d *partitionDir) pathOf(base int64, suffix string) string {
	name := d.file(base, suffix)
	if actual, ok := d.actual[name]; ok {
		name = actual
	}
	return filepath.Join(d.path, name)
}

// listPartition lists a partition's directory.
func listPartition(k ring.Files, path string) (*partitionDir, error) {
	d := &partitionDir{path: path, name: filepath.Base(path), has: map[string]bool{}, actual: map[string]string{}}
	d.topic, d.partition, _ = storage.ParseDirName(d.name)
	entries, err := k.ReadDir(path)
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		_, suffix, numbered := storage.ParseFileName(e.Name)
		switch {
		case !e.Dir:
			d.has[e.Name] = true
		case numbered && slices.Contains(segmentSuffixes, suffix), numbered && suffix == ".snapshot", e.Name == epochFile, e.Name == topicIDFile:
			d.foreign = append(d.foreign, e.Name)
		}
	}
	if err := d.settle(k); err != nil {
		return nil, err
	}
	for _, name := range slices.Sorted(maps.Keys(d.has)) {
		base, suffix, ok := storage.ParseFileName(name)
		switch {
		case ok && suffix == ".log":
			d.bases = append(d.bases, base)
		case ok && suffix == ".snapshot":
			d.snapshots = append(d.snapshots, base)
		case strings.HasSuffix(name, ".checkpoint"):
			d.extra = append(d.extra, name)
		}
	}
	slices.Sort(d.bases)
	slices.Sort(d.snapshots)
	d.orphans()
	slices.SortFunc(d.leftovers, func(a, b leftover) int { return strings.Compare(a.name, b.name) })
	return d, nil
}

var segmentSuffixes = []string{".log", ".index", ".timeindex", ".txnindex"}

// settle takes out of what the directory has all that was under way, as a start does (storage/listing.go): a cleaning renames its results
// to .swap from the highest on once all are written, so a .swap at or above the lowest .cleaned is part of an unfinished one.
func (d *partitionDir) settle(k ring.Files) error {
	names := slices.Sorted(maps.Keys(d.has))
	lowestCleaned := int64(-1)
	for _, name := range names {
		if base, suffix, ok := storage.ParseFileName(name); ok && suffix == ".log.cleaned" && lowestCleaned < 0 {
			lowestCleaned = base
		}
	}
	var swaps []string
	for _, name := range names {
		base, suffix, ok := storage.ParseFileName(name)
		switch {
		case ok && strings.HasSuffix(suffix, ".swap") && (lowestCleaned < 0 || base < lowestCleaned):
			swaps = append(swaps, name)
		case strings.HasSuffix(name, ".swap"), strings.HasSuffix(name, ".cleaned"):
			d.leave(name, "a cleaning that was not finished has left it")
		case strings.HasSuffix(name, ".deleted"):
			d.leave(name, "it was deleted and not removed yet")
		case strings.HasSuffix(name, ".tmp"):
			d.leave(name, "a file was to be replaced by it, and was not")
		}
	}
	for _, name := range swaps {
		if base, suffix, _ := storage.ParseFileName(name); suffix == ".log.swap" {
			if err := d.replaced(k, base, name); err != nil {
				return err
			}
		}
	}
	for _, name := range swaps {
		final := strings.TrimSuffix(name, ".swap")
		delete(d.has, name)
		d.has[final], d.actual[final] = true, name
		d.leftovers = append(d.leftovers, leftover{name, final, "a finished cleaning has left it; it takes the place of " + final})
	}
	return nil
}

func (d *partitionDir) leave(name, why string) {
	delete(d.has, name)
	d.leftovers = append(d.leftovers, leftover{name: name, why: why})
}

// replaced leaves out the segments whose offsets a .log.swap covers.
func (d *partitionDir) replaced(k ring.Files, base int64, name string) error {
	f, err := storage.OpenLogFile(k, filepath.Join(d.path, name))
	if err != nil {
		return err
	}
	defer f.Close()
	end := base
	for position := int64(0); position < f.Size(); {
		h, err := f.Header(position)
		if errors.Is(err, storage.ErrNoBatch) {
			break
		}
		if err != nil {
			return err
		}
		end = h.NextOffset()
		position += storage.BatchBytes(h)
	}
	for _, old := range slices.Sorted(maps.Keys(d.has)) {
		at, suffix, ok := storage.ParseFileName(old)
		if ok && slices.Contains(segmentSuffixes, suffix) && (at == base || at > base && at < end) {
			d.leave(old, "a finished cleaning has taken its place")
		}
	}
	return nil
}

// orphans leaves out indexes without a log.
func (d *partitionDir) orphans() {
	for _, name := range slices.Sorted(maps.Keys(d.has)) {
		base, suffix, ok := storage.ParseFileName(name)
		if ok && slices.Contains(segmentSuffixes[1:], suffix) && !d.has[d.file(base, ".log")] {
			delete(d.has, name)
			if actual, ok := d.actual[name]; ok { // of a .swap without its log: nothing is to take its place
				name = actual
				d.leftovers = slices.DeleteFunc(d.leftovers, func(l leftover) bool { return l.name == actual })
			}
			d.leftovers = append(d.leftovers, leftover{name: name, why: "it has no log"})
		}
	}
}
