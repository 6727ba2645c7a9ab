package simtest

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"slipstream/internal/sim"
	"slipstream/ring"
)

// leftBy lives through a seed's story and stops the machine, in one of the ways that there are, without a start after it: what lies
// on the disk then is copied to dir.
func leftBy(t *testing.T, seed uint64, dir string) (how string) {
	t.Helper()
	var r *run
	if seed%2 == 0 {
		r = newSociety(t, drawn(seed))
	} else {
		r = newRun(t, drawn(seed))
	}
	r.node.several = false // what is copied is one directory
	how, err := r.leave()
	if err != nil {
		t.Fatalf("seed %d: %v", seed, err)
	}
	r.node.bury()
	k := r.node.world.Restart()
	if err := export(k, "/data", dir); err != nil {
		t.Fatal(err)
	}
	return how
}

func (r *run) leave() (how string, err error) {
	if err := r.node.start(); err != nil {
		return "", err
	}
	for range r.rand.IntN(3) {
		if r.society != nil {
			err = r.societyRound()
		} else {
			err = r.round()
		}
		if err != nil {
			return "", err
		}
	}
	if err := r.live(100e6 + r.rand.Int64N(300e6)); err != nil {
		return "", err
	}
	w := r.node.world
	switch r.rand.IntN(6) {
	case 0:
		return "stop", r.stop(false)
	case 1:
		w.Kill()
		return "kill", nil
	case 2:
		w.PowerCut(sim.CutDrop)
		return "power cut that drops", nil
	case 3:
		w.PowerCut(sim.CutTear)
		return "power cut that tears", nil
	}
	kill := r.rand.IntN(3) == 0
	w.CrashAfter(1+r.rand.IntN(3000), kill, sim.CutDrawn)
	if err := r.live(10e9); !isCrash(err) {
		return "", fmt.Errorf("no crash in a call: %w", err)
	}
	return fmt.Sprint("in a call, kill ", kill), nil
}

// export copies a directory of the simulated disk to a real one.
func export(k ring.Files, from, to string) error {
	entries, err := k.ReadDir(from)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(to, 0o755); err != nil {
		return err
	}
	for _, e := range entries {
		path, copied := from+"/"+e.Name, filepath.Join(to, e.Name)
		if e.Dir {
			if err := export(k, path, copied); err != nil {
				return err
			}
			continue
		}
		fd, err := k.Open(path, syscall.O_RDONLY, 0)
		if err != nil {
			return err
		}
		size, err := k.Size(fd)
		if err != nil {
			return err
		}
		b := make([]byte, size)
		if n, err := k.ReadAt(fd, b, 0); int64(n) < size {
			return err
		}
		if err := os.WriteFile(copied, b, 0o644); err != nil {
			return err
		}
		if err := k.Close(fd); err != nil {
			return err
		}
	}
	return nil
}

// plant damages one file of a directory, and says how.
func plant(t *testing.T, r *rand.Rand, dir string) string {
	t.Helper()
	var files []string
	for _, suffix := range []string{"log", "log", "log", "index", "timeindex", "txnindex", "snapshot"} {
		found, err := filepath.Glob(filepath.Join(dir, "*-*", "*."+suffix))
		if err != nil {
			t.Fatal(err)
		}
		found = slices.DeleteFunc(found, func(path string) bool {
			info, err := os.Stat(path)
			return err != nil || info.Size() == 0 || strings.Contains(path, "-delete/")
		})
		if len(found) > 0 {
			files = append(files, found[r.IntN(len(found))])
		}
	}
	path := files[r.IntN(len(files))]
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	at := r.IntN(len(b))
	what := ""
	switch r.IntN(4) {
	case 0, 1:
		b[at] ^= 1 << r.IntN(8)
		what = "a bit flipped"
	case 2:
		b, what = b[:at], "cut"
	case 3:
		clear(b[at:min(len(b), at+1+r.IntN(3000))])
		what = "zeros"
	}
	if err := os.WriteFile(path, b, 0o644); err != nil {
		t.Fatal(err)
	}
	rel, _ := filepath.Rel(dir, path)
	return fmt.Sprintf("%s at %d of %s", what, at, rel)
}
