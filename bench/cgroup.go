package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// memoryCgroup bounds the memory of the processes in it, page cache included. It
// is one of version 1 where the memory controller is mounted as such, otherwise of
// version 2. The nil group bounds nothing.
type memoryCgroup struct {
	dir string
	v2  bool
}

const cgroupRoot = "/sys/fs/cgroup"

// newMemoryCgroup makes a group below root, which is where cgroups are mounted.
// It needs root's rights, or a delegated tree.
func newMemoryCgroup(root, name string) (*memoryCgroup, error) {
	if _, err := os.Stat(filepath.Join(root, "memory", "memory.limit_in_bytes")); err == nil {
		g := &memoryCgroup{dir: filepath.Join(root, "memory", name)}
		return g, os.MkdirAll(g.dir, 0o755)
	}
	controllers, err := os.ReadFile(filepath.Join(root, "cgroup.controllers"))
	if err != nil {
		return nil, fmt.Errorf("no memory controller is mounted below %s", root)
	}
	if !strings.Contains(" "+strings.TrimSpace(string(controllers))+" ", " memory ") {
		return nil, fmt.Errorf("the memory controller is not available in %s/cgroup.controllers", root)
	}
	enable := filepath.Join(root, "cgroup.subtree_control")
	if err := os.WriteFile(enable, []byte("+memory"), 0o644); err != nil {
		return nil, fmt.Errorf("enabling the memory controller: %w", err)
	}
	g := &memoryCgroup{dir: filepath.Join(root, name), v2: true}
	return g, os.MkdirAll(g.dir, 0o755)
}

func (g *memoryCgroup) file(v1, v2 string) string {
	if g.v2 {
		return filepath.Join(g.dir, v2)
	}
	return filepath.Join(g.dir, v1)
}

// limit bounds the group to bytes; 0 lifts the bound. A bound below what is in use
// makes the kernel reclaim first, which may take some tries.
func (g *memoryCgroup) limit(bytes int64) error {
	if g == nil {
		return nil
	}
	text := strconv.FormatInt(bytes, 10)
	if bytes == 0 {
		text = "-1"
		if g.v2 {
			text = "max"
		}
	}
	var err error
	for range 50 {
		if err = os.WriteFile(g.file("memory.limit_in_bytes", "memory.max"), []byte(text), 0o644); err == nil {
			return nil
		}
		time.Sleep(20 * time.Millisecond)
	}
	return fmt.Errorf("memory limit of %d bytes: %w", bytes, err)
}

// add moves a process and its threads into the group.
func (g *memoryCgroup) add(pid int) error {
	if g == nil {
		return nil
	}
	return os.WriteFile(filepath.Join(g.dir, "cgroup.procs"), []byte(strconv.Itoa(pid)), 0o644)
}

// usage is what the group has: all of it, and the page cache in it.
func (g *memoryCgroup) usage() (all, cache int64, err error) {
	if g == nil {
		return 0, 0, errors.New("no cgroup")
	}
	b, err := os.ReadFile(g.file("memory.usage_in_bytes", "memory.current"))
	if err != nil {
		return 0, 0, err
	}
	if all, err = strconv.ParseInt(strings.TrimSpace(string(b)), 10, 64); err != nil {
		return 0, 0, err
	}
	if b, err = os.ReadFile(filepath.Join(g.dir, "memory.stat")); err != nil {
		return 0, 0, err
	}
	name := "cache"
	if g.v2 {
		name = "file"
	}
	for line := range strings.Lines(string(b)) {
		if f := strings.Fields(line); len(f) == 2 && f[0] == name {
			cache, err = strconv.ParseInt(f[1], 10, 64)
			return all, cache, err
		}
	}
	return all, 0, fmt.Errorf("memory.stat of %s has no line %q", g.dir, name)
}

// remove deletes the group, whose processes must have ended.
func (g *memoryCgroup) remove() error {
	if g == nil {
		return nil
	}
	var err error
	for range 50 {
		if err = os.Remove(g.dir); err == nil || os.IsNotExist(err) {
			return nil
		}
		time.Sleep(20 * time.Millisecond)
	}
	return err
}
