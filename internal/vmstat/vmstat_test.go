package vmstat

import (
	"os"
	"path/filepath"
	"testing"
)

// machine is a /proc and /sys of a test.
func machine(t *testing.T, files map[string]string) string {
	t.Helper()
	root := t.TempDir()
	for name, contents := range files {
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(contents), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

func plain() map[string]string {
	return map[string]string{
		"proc/vmstat":                           "nr_free_pages 5\nnr_dirty 30\nnr_writeback 10\nnr_dirty_threshold 120\nnr_dirty_background_threshold 40\n",
		"proc/sys/vm/dirty_ratio":               "20\n",
		"proc/sys/vm/dirty_bytes":               "0\n",
		"proc/sys/vm/dirty_background_ratio":    "10\n",
		"proc/sys/vm/dirty_background_bytes":    "0\n",
		"proc/sys/vm/dirty_expire_centisecs":    "3000\n",
		"proc/sys/vm/dirty_writeback_centisecs": "500\n",
	}
}

func TestRead(t *testing.T) {
	page := int64(os.Getpagesize())
	d, err := read(machine(t, plain()))
	if err != nil {
		t.Fatal(err)
	}
	want := Dirty{
		DirtyBytes: 30 * page, WritebackBytes: 10 * page, BackgroundBytes: 40 * page, LimitBytes: 120 * page,
		Settings: Settings{BackgroundRatio: 10, Ratio: 20, ExpireMillis: 30_000, PeriodMillis: 5000},
	}
	if d != want {
		t.Errorf("%+v, want %+v", d, want)
	}
	if d.ThrottleBytes() != 80*page || d.Closeness() != 0.5 {
		t.Errorf("held from %d bytes, closeness %g", d.ThrottleBytes(), d.Closeness())
	}
}

// TestReadIncomplete fails, naming what is missing, rather than showing zeros.
func TestReadIncomplete(t *testing.T) {
	for _, name := range []string{"proc/vmstat", "proc/sys/vm/dirty_bytes"} {
		files := plain()
		delete(files, name)
		if _, err := read(machine(t, files)); err == nil {
			t.Errorf("without %s there is no error", name)
		}
	}
	files := plain()
	files["proc/vmstat"] = "nr_dirty 1\n"
	if _, err := read(machine(t, files)); err == nil {
		t.Error("a vmstat without thresholds is no error")
	}
}

// TestCgroup takes the lowest limit on the way up, and none from version 1.
func TestCgroup(t *testing.T) {
	files := plain()
	files["proc/self/cgroup"] = "4:memory:/old\n0::/a/b\n"
	d, err := read(machine(t, files))
	if err != nil || d.Cgroup != nil {
		t.Fatalf("version 1: %+v, %v", d.Cgroup, err)
	}
	files["sys/fs/cgroup/a/b/memory.stat"] = "anon 7\nfile_dirty 4096\nfile_writeback 8192\n"
	files["sys/fs/cgroup/a/b/memory.current"] = "1000000\n"
	files["sys/fs/cgroup/a/b/memory.max"] = "max\n"
	files["sys/fs/cgroup/a/b/memory.high"] = "3000000\n"
	files["sys/fs/cgroup/a/memory.max"] = "2500000\n"
	if d, err = read(machine(t, files)); err != nil || d.Cgroup == nil {
		t.Fatalf("version 2: %+v, %v", d.Cgroup, err)
	}
	if want := (Cgroup{4096, 8192, 1000000, 2500000}); *d.Cgroup != want {
		t.Errorf("%+v, want %+v", *d.Cgroup, want)
	}
}

// TestThisMachine reads the real files.
func TestThisMachine(t *testing.T) {
	d, err := Read()
	if err != nil {
		t.Fatal(err)
	}
	if d.BackgroundBytes <= 0 || d.LimitBytes < d.BackgroundBytes || d.Settings.ExpireMillis <= 0 {
		t.Errorf("%+v", d)
	}
}
