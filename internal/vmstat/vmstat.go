// Package vmstat reads what the kernel says of dirty pages: how many there are,
// at how many it begins to write them back, and at how many it makes writers
// wait. For a scrape, not for a core: each call reads two dozen small files of
// /proc and /sys.
package vmstat

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// Dirty is the machine's dirty pages and the limits in force. Sizes are in bytes.
type Dirty struct {
	DirtyBytes     int64 // nr_dirty: written to, not yet on the way to the disk
	WritebackBytes int64 // nr_writeback: on the way

	// BackgroundBytes is nr_dirty_background_threshold: beyond it the kernel's own
	// threads write back. LimitBytes is nr_dirty_threshold: writers are held so
	// that it is not passed. Both follow the memory that is free or page cache.
	BackgroundBytes int64
	LimitBytes      int64

	Settings Settings

	// Cgroup is what the version 2 memory cgroup of this process says, which has
	// limits of its own; nil where there is none.
	Cgroup *Cgroup
}

// Settings are /proc/sys/vm/dirty_*. Of a ratio (percent) and a size (bytes), the
// one that is not 0 counts.
type Settings struct {
	BackgroundRatio, BackgroundBytes int64
	Ratio, Bytes                     int64
	ExpireMillis                     int64 // a page dirty for longer is written back in any case
	PeriodMillis                     int64 // how often the kernel looks
}

// Cgroup is a memory cgroup's share. The kernel does not say its thresholds; they
// are the machine's ratios of what the group may still use.
type Cgroup struct {
	DirtyBytes     int64 // memory.stat file_dirty
	WritebackBytes int64 // memory.stat file_writeback
	UsedBytes      int64 // memory.current
	LimitBytes     int64 // the lowest memory.high or memory.max on the way up; 0: none
}

// ThrottleBytes is from where on the kernel holds those who write: half way
// between the two thresholds.
func (d *Dirty) ThrottleBytes() int64 { return (d.BackgroundBytes + d.LimitBytes) / 2 }

// Closeness is how near dirty and written-back pages together are to the point at
// which writers are held: 0 is far, 1 is there.
func (d *Dirty) Closeness() float64 {
	if at := d.ThrottleBytes(); at > 0 {
		return float64(d.DirtyBytes+d.WritebackBytes) / float64(at)
	}
	return 0
}

// Read reads the figures of this machine.
func Read() (Dirty, error) { return read("/") }

// read reads them below another root, for tests.
func read(root string) (Dirty, error) {
	var d Dirty
	stat, err := fields(filepath.Join(root, "proc/vmstat"))
	if err != nil {
		return d, err
	}
	page := int64(os.Getpagesize())
	for _, f := range []struct {
		name string
		to   *int64
	}{
		{"nr_dirty", &d.DirtyBytes}, {"nr_writeback", &d.WritebackBytes},
		{"nr_dirty_background_threshold", &d.BackgroundBytes}, {"nr_dirty_threshold", &d.LimitBytes},
	} {
		v, ok := stat[f.name]
		if !ok {
			return d, fmt.Errorf("/proc/vmstat has no %s", f.name)
		}
		*f.to = v * page
	}
	s := &d.Settings
	for _, f := range []struct {
		name string
		to   *int64
		unit int64
	}{
		{"dirty_background_ratio", &s.BackgroundRatio, 1}, {"dirty_background_bytes", &s.BackgroundBytes, 1},
		{"dirty_ratio", &s.Ratio, 1}, {"dirty_bytes", &s.Bytes, 1},
		{"dirty_expire_centisecs", &s.ExpireMillis, 10}, {"dirty_writeback_centisecs", &s.PeriodMillis, 10},
	} {
		v, err := number(filepath.Join(root, "proc/sys/vm", f.name))
		if err != nil {
			return d, err
		}
		*f.to = v * f.unit
	}
	d.Cgroup = readCgroup(root)
	return d, nil
}

// readCgroup finds the memory cgroup of this process in the unified hierarchy.
func readCgroup(root string) *Cgroup {
	b, err := os.ReadFile(filepath.Join(root, "proc/self/cgroup"))
	if err != nil {
		return nil
	}
	for line := range strings.Lines(string(b)) {
		path, ok := strings.CutPrefix(strings.TrimSpace(line), "0::")
		if !ok {
			continue
		}
		top := filepath.Join(root, "sys/fs/cgroup")
		dir := filepath.Join(top, path)
		stat, err := fields(filepath.Join(dir, "memory.stat"))
		if err != nil {
			return nil // version 1, or not delegated: the machine's figures are all there is
		}
		c := &Cgroup{DirtyBytes: stat["file_dirty"], WritebackBytes: stat["file_writeback"]}
		c.UsedBytes, _ = number(filepath.Join(dir, "memory.current"))
		for ; len(dir) > len(top); dir = filepath.Dir(dir) {
			for _, name := range []string{"memory.high", "memory.max"} {
				if v, err := number(filepath.Join(dir, name)); err == nil && (c.LimitBytes == 0 || v < c.LimitBytes) {
					c.LimitBytes = v
				}
			}
		}
		return c
	}
	return nil
}

// fields reads a file of lines "name number".
func fields(path string) (map[string]int64, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	m := make(map[string]int64, 256)
	for line := range strings.Lines(string(b)) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), " ")
		if v, err := strconv.ParseInt(value, 10, 64); err == nil {
			m[name] = v
		}
	}
	return m, nil
}

var errNoNumber = errors.New("no number")

// number reads a file that holds one.
func number(path string) (int64, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return 0, err
	}
	v, err := strconv.ParseInt(strings.TrimSpace(string(b)), 10, 64)
	if err != nil {
		return 0, fmt.Errorf("%s: %w: %q", path, errNoNumber, b) // memory.max may be "max"
	}
	return v, nil
}
