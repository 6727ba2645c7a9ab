package broker

import (
	"crypto/sha256"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"slipstream/ring"

	"golang.org/x/sys/unix"
)

// tree is all that is in a directory: names, modes, sizes, times of change and contents.
func tree(t *testing.T, root string) string {
	t.Helper()
	var s strings.Builder
	must(t, filepath.WalkDir(root, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		fmt.Fprintf(&s, "%s %s %d %s", path, info.Mode(), info.Size(), info.ModTime())
		switch {
		case info.Mode().IsRegular():
			b, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			fmt.Fprintf(&s, " %x", sha256.Sum256(b))
		case info.Mode()&fs.ModeSymlink != 0:
			to, _ := os.Readlink(path)
			s.WriteString(" -> " + to)
		}
		s.WriteByte('\n')
		return nil
	}))
	return s.String()
}

// refusedStart requires that a start is refused in one sentence that has all of these words, and that nothing below root has
// changed.
func refusedStart(t *testing.T, root, dirs string, sets []string, words ...string) {
	t.Helper()
	before := tree(t, root)
	b, err := tryTestBroker(t, dirs, func(k ring.Kernel) ring.Kernel { return k }, sets...)
	if err == nil {
		b.stop()
		t.Fatalf("log.dirs=%s: the broker started", dirs)
	}
	text, _, _ := strings.Cut(strings.TrimPrefix(err.Error(), "the broker did not start: "), "\ntime=")
	text = strings.TrimSuffix(text, "\n")
	if strings.Contains(text, "\n") {
		t.Errorf("more than one sentence: %q", text)
	}
	for _, word := range words {
		if !strings.Contains(text, word) {
			t.Errorf("%q does not say %q", text, word)
		}
	}
	if after := tree(t, root); after != before {
		t.Errorf("the refused start has changed something:\n%s\nwas\n%s", after, before)
	}
	t.Log(text)
}

// TestBadDirectories: every directory, or list of them, that cannot be right is refused before anything is written to any.
func TestBadDirectories(t *testing.T) {
	original := t.TempDir()
	a, b := filepath.Join(original, "a"), filepath.Join(original, "b")
	broker := startTestBroker(t, a+","+b)
	w := broker.dial()
	w.createTopic("t", 4)
	for p := range int32(4) {
		w.produceTo("t", p)
	}
	must(t, broker.stop())
	meta := func(dir string) string { return filepath.Join(dir, "meta.properties") }
	replace := func(t *testing.T, path, old, new string) {
		text, err := os.ReadFile(path)
		must(t, err)
		if !strings.Contains(string(text), old) {
			t.Fatalf("%s has no %q", path, old)
		}
		must(t, os.WriteFile(path, []byte(strings.Replace(string(text), old, new, 1)), 0o644))
	}
	line := func(t *testing.T, path, prefix string) string {
		text, err := os.ReadFile(path)
		must(t, err)
		for _, l := range strings.Split(string(text), "\n") {
			if strings.HasPrefix(l, prefix) {
				return l
			}
		}
		t.Fatalf("%s has no %s", path, prefix)
		return ""
	}
	overwrite := func(text string) func(t *testing.T, a, b string) (string, []string) {
		return func(t *testing.T, a, b string) (string, []string) {
			must(t, os.WriteFile(meta(b), []byte(text), 0o644))
			return a + "," + b, []string{b, "meta.properties"}
		}
	}
	for _, c := range []struct {
		name string
		make func(t *testing.T, a, b string) (dirs string, words []string)
		sets []string
	}{
		{name: "a file in its place", make: func(t *testing.T, a, b string) (string, []string) {
			file := filepath.Join(filepath.Dir(a), "file")
			must(t, os.WriteFile(file, nil, 0o644))
			return a + "," + file, []string{file, "is a file"}
		}},
		{name: "below a file", make: func(t *testing.T, a, b string) (string, []string) {
			return a + "," + meta(b) + "/c", []string{meta(b) + "/c", "not a directory"}
		}},
		{name: "named twice", make: func(_ *testing.T, a, b string) (string, []string) {
			return a + "," + b + "," + a + "/../a/", []string{a, "named twice"}
		}},
		{name: "one by two paths", make: func(t *testing.T, a, b string) (string, []string) {
			link := filepath.Join(filepath.Dir(a), "link")
			must(t, os.Symlink(b, link))
			return a + "," + b + "," + link, []string{b, link, "one and the same"}
		}},
		{name: "nested", make: func(_ *testing.T, a, b string) (string, []string) {
			return a + "," + b + "/more," + b, []string{b + "/more", "lies inside", b}
		}},
		{name: "another cluster's", make: func(t *testing.T, a, b string) (string, []string) {
			replace(t, meta(b), line(t, meta(b), "cluster.id="), "cluster.id=Somebody-elses-0123456")
			return a + "," + b, []string{b, "Somebody-elses-0123456"}
		}},
		{name: "another node's", make: func(t *testing.T, a, b string) (string, []string) {
			replace(t, meta(b), "node.id=1", "node.id=7")
			return a + "," + b, []string{b, "node 7"}
		}},
		{name: "this is another node", make: func(_ *testing.T, a, b string) (string, []string) {
			return a + "," + b, []string{a, "node 1", "node.id is 5"}
		}, sets: []string{"node.id=5"}},
		{name: "a copy", make: func(t *testing.T, a, b string) (string, []string) {
			copied := filepath.Join(filepath.Dir(a), "copied")
			must(t, os.CopyFS(copied, os.DirFS(b)))
			return a + "," + b + "," + copied, []string{b, copied, "the same directory.id"}
		}},
		{name: "a partition in both", make: func(t *testing.T, a, b string) (string, []string) {
			must(t, os.CopyFS(filepath.Join(b, "t-0"), os.DirFS(filepath.Join(a, "t-0"))))
			return a + "," + b, []string{"t-0", a, b}
		}},
		{name: "the metadata log elsewhere", make: func(_ *testing.T, a, b string) (string, []string) {
			return b + "," + a, []string{a, "__cluster_metadata-0", b}
		}},
		{name: "the metadata log not here", make: func(_ *testing.T, a, b string) (string, []string) {
			fresh := filepath.Join(filepath.Dir(a), "fresh")
			return fresh + "," + b, []string{fresh, b, "__cluster_metadata-0"}
		}},
		{name: "logs and no meta.properties", make: func(t *testing.T, a, b string) (string, []string) {
			must(t, os.Remove(meta(b)))
			return a + "," + b, []string{b, "no meta.properties"}
		}},
		{name: "a new one beside a bad one", make: func(t *testing.T, a, b string) (string, []string) {
			must(t, os.Remove(meta(b)))
			return a + "," + filepath.Join(filepath.Dir(a), "fresh") + "," + b, []string{b, "no meta.properties"}
		}},
		{name: "meta.properties empty", make: overwrite("")},
		{name: "meta.properties zeros", make: overwrite(strings.Repeat("\x00", 90))},
		{name: "meta.properties foreign", make: overwrite("\x7fELF\x02\x01\x01")},
		{name: "meta.properties cut", make: overwrite("#\n#Sat Nov 21 12:51:40 UTC 2026\nnode.id=1\ndirect")},
		{name: "meta.properties of the future", make: overwrite("version=2\nnode.id=1\ncluster.id=x\ndirectory.id=96lirCpdSCytUsLCJQDeeQ\n")},
		{name: "meta.properties with a bad id", make: overwrite("version=1\nnode.id=1\ncluster.id=x\ndirectory.id=short\n")},
		{name: "meta.properties a directory", make: func(t *testing.T, a, b string) (string, []string) {
			must(t, os.Remove(meta(b)))
			must(t, os.Mkdir(meta(b), 0o755))
			return a + "," + b, []string{b, "meta.properties"}
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			root := t.TempDir()
			must(t, os.CopyFS(root, os.DirFS(original)))
			dirs, words := c.make(t, filepath.Join(root, "a"), filepath.Join(root, "b"))
			refusedStart(t, root, dirs, c.sets, words...)
		})
	}
}

// TestDirectoriesInUse starts a second broker on directories of a running one, by their own path and by another.
func TestDirectoriesInUse(t *testing.T) {
	dirs, list := threeDirs(t)
	b := startTestBroker(t, list)
	b.dial().createTopic("t", 3)
	link := filepath.Join(t.TempDir(), "link")
	must(t, os.Symlink(dirs[0], link))
	fresh := t.TempDir()
	for _, second := range []string{list, dirs[0], link} {
		refusedStart(t, filepath.Dir(dirs[0]), second+","+fresh+"/new", nil, "in use by another process")
	}
	if left := tree(t, fresh); strings.Count(left, "\n") != 1 {
		t.Errorf("the refused starts have made %s", left)
	}
}

// TestReadOnlyFileSystem: refused where there is nothing else, and left out where it is a disk beside others.
func TestReadOnlyFileSystem(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("mounting a file system needs root")
	}
	root := t.TempDir()
	disk, other := filepath.Join(root, "disk"), filepath.Join(root, "other")
	for _, at := range []string{disk, other} {
		must(t, os.Mkdir(at, 0o755))
		if err := unix.Mount("tmpfs", at, "tmpfs", 0, "size=64m"); err != nil {
			t.Skipf("mounting a file system is not allowed here: %v", err)
		}
		t.Cleanup(func() { must(t, unix.Unmount(at, 0)) })
	}
	other = filepath.Join(other, "data")
	dir := filepath.Join(disk, "data")
	b := startTestBroker(t, other+","+dir)
	w := b.dial()
	w.createTopic("t", 2)
	must(t, b.stop())
	must(t, unix.Mount("", disk, "", unix.MS_REMOUNT|unix.MS_RDONLY, ""))
	refusedStart(t, root, dir, nil, dir, "read-only")
	refusedStart(t, root, dir+","+other, nil, dir, "read-only")
	refusedStart(t, root, filepath.Join(disk, "new"), nil, "read-only")
	b = startTestBroker(t, other+","+dir)
	w = b.dial()
	served := 0
	for _, p := range w.partitionsOf("t") {
		if p.Leader == 1 {
			served++
		}
	}
	if got := w.logDirs()[dir]; served != 1 || len(got) != 1 || got[0] != "KAFKA_STORAGE_ERROR" {
		t.Errorf("%d partitions are served, and the directory that is read-only is described as %v", served, got)
	}
}
