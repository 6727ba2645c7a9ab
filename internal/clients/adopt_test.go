package clients

import (
	"encoding/json"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"slipstream/internal/broker"
	"slipstream/internal/clients/harness"
)

// tree is what can be seen of a directory from outside, but for when it was read.
func tree(t *testing.T, dir string) map[string]string {
	t.Helper()
	all := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err == nil {
			all[path] = info.Mode().String() + " " + info.ModTime().String()
		}
		if err == nil && info.Mode().IsRegular() {
			var b []byte
			b, err = os.ReadFile(path)
			all[path] += string(b)
		}
		return err
	})
	harness.Need(t, err)
	return all
}

// adoptCheck runs adopt --check, which must end with the status that it tells.
func adoptCheck(t *testing.T, dir string, more ...string) *broker.Adoption {
	t.Helper()
	bin, err := harness.Binary()
	harness.Need(t, err)
	table, tableErr := exec.Command(bin, append([]string{"adopt", "--check", dir}, more...)...).Output()
	out, err := exec.Command(bin, append([]string{"adopt", "--check", "--json", dir}, more...)...).Output()
	var a broker.Adoption
	if e := json.Unmarshal(out, &a); e != nil || (err != nil) != (len(a.Stops) > 0) || (tableErr != nil) != (err != nil) {
		t.Fatalf("%v, %v, %v: %s", e, err, tableErr, out)
	}
	t.Logf("\n%s", table)
	return &a
}

// adoptChecked is adoptCheck of a directory that nobody uses, and it must change nothing in it.
func adoptChecked(t *testing.T, dir string, more ...string) *broker.Adoption {
	t.Helper()
	before := tree(t, dir)
	a := adoptCheck(t, dir, more...)
	after := tree(t, dir)
	for path, was := range before {
		if after[path] != was {
			t.Errorf("adopt --check has changed %s", path)
		}
	}
	if len(after) != len(before) {
		t.Errorf("adopt --check has made %d files of %d", len(after), len(before))
	}
	return a
}
