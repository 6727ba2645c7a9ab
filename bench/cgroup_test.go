package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// fakeCgroups lays out what a kernel shows of its memory controller.
func fakeCgroups(t *testing.T, files map[string]string) string {
	t.Helper()
	root := t.TempDir()
	for name, text := range files {
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

func TestMemoryCgroupFiles(t *testing.T) {
	for _, c := range []struct {
		name, limitFile, noLimit, usageFile, stat string
		root                                      map[string]string
	}{
		{"v1", "memory/group/memory.limit_in_bytes", "-1", "memory/group/memory.usage_in_bytes", "rss 10\ncache 4096\nmapped_file 7\n",
			map[string]string{"memory/memory.limit_in_bytes": "9223372036854771712"}},
		{"v2", "group/memory.max", "max", "group/memory.current", "anon 10\nfile 4096\nfile_mapped 7\n",
			map[string]string{"cgroup.controllers": "cpu io memory pids\n", "cgroup.subtree_control": ""}},
	} {
		t.Run(c.name, func(t *testing.T) {
			root := fakeCgroups(t, c.root)
			g, err := newMemoryCgroup(root, "group")
			if err != nil {
				t.Fatal(err)
			}
			read := func(name string) string {
				b, err := os.ReadFile(filepath.Join(root, name))
				if err != nil {
					t.Fatal(err)
				}
				return string(b)
			}
			for bytes, want := range map[int64]string{600 << 20: "629145600", 0: c.noLimit} {
				if err := g.limit(bytes); err != nil || read(c.limitFile) != want {
					t.Errorf("limit %d: %v, the file says %q, want %q", bytes, err, read(c.limitFile), want)
				}
			}
			os.WriteFile(filepath.Join(root, c.usageFile), []byte("123456\n"), 0o644)
			os.WriteFile(filepath.Join(filepath.Dir(filepath.Join(root, c.usageFile)), "memory.stat"), []byte(c.stat), 0o644)
			if all, cache, err := g.usage(); err != nil || all != 123456 || cache != 4096 {
				t.Errorf("usage: %d, %d, %v", all, cache, err)
			}
			if err := g.add(42); err != nil || !strings.HasSuffix(read(filepath.Join(filepath.Dir(c.limitFile), "cgroup.procs")), "42") {
				t.Errorf("add: %v", err)
			}
		})
	}
	if _, err := newMemoryCgroup(t.TempDir(), "group"); err == nil {
		t.Error("a cgroup was made where none are mounted")
	}
	var none *memoryCgroup
	if err := fmt.Errorf("%v%v%v", none.add(1), none.limit(1), none.remove()); err.Error() != "<nil><nil><nil>" {
		t.Error("the nil group bounds something:", err)
	}
}

// TestMemoryCgroupBounds: what a process in a group brings into the page cache stays
// within its limit.
func TestMemoryCgroupBounds(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("cgroups need root")
	}
	g, err := newMemoryCgroup(cgroupRoot, fmt.Sprintf("slipstream-bench-test-%d", os.Getpid()))
	if err != nil {
		t.Skip(err)
	}
	defer func() {
		if err := g.remove(); err != nil {
			t.Error(err)
		}
	}()
	const limit, file = 32 << 20, 96 << 20
	if err := g.limit(limit); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "file")
	cmd := exec.Command("sh", "-c", fmt.Sprintf("read go; head -c %d /dev/zero > %s && sync %s && cat %s > /dev/null", file, path, path, path))
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if err := g.add(cmd.Process.Pid); err != nil {
		t.Fatal(err)
	}
	stdin.Write([]byte("go\n"))
	if err := cmd.Wait(); err != nil {
		t.Fatal(err)
	}
	all, cache, err := g.usage()
	if err != nil || all > limit || cache < limit/4 {
		t.Errorf("after reading %d bytes: %d in use, %d of them page cache, limit %d: %v", file, all, cache, limit, err)
	}
}
