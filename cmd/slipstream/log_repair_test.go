package main

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"slipstream/internal/logtool"
	"slipstream/ring"

	"github.com/twmb/franz-go/pkg/kgo"
)

// unrepairable are damages that no repair can undo: the checksum says that the batch is as somebody wanted it.
var unrepairable = map[string]bool{"a count": true, "a sequence": true}

// cutAt is how many of the 600 records of orders-0 are left where the log has to end at a damage; skipped how many with --skip-batch.
var cutAt = map[string]struct{ left, skipped int64 }{
	"a bit in a record": {30, 590}, "a length": {-1, -1}, "an offset": {50, 590}, "zeros inside": {40, 590},
	"a batch taken out of the end of a segment": {590, 590}, "a torn closed segment": {-1, -1}, "a bit in a record of the last segment": {-1, -1},
}

// copyTree copies a directory.
func copyTree(t *testing.T, from string) string {
	t.Helper()
	to := filepath.Join(t.TempDir(), "data")
	if err := os.CopyFS(to, os.DirFS(from)); err != nil {
		t.Fatal(err)
	}
	return to
}

// TestLogRepair plants one damage after the other. Without Yes nothing changes; with it, verify finds nothing afterwards, a
// second repair has nothing to do, and what was changed or removed is among the copies as it was.
func TestLogRepair(t *testing.T) {
	sound := writtenDir(t)
	logs, err := filepath.Glob(filepath.Join(sound, "orders-0", "*.log"))
	if err != nil || len(logs) < 3 {
		t.Fatal(logs, err)
	}
	for _, d := range damages {
		for _, skip := range []bool{false, true} {
			name := d.name
			if _, matters := cutAt[d.name]; skip && !matters {
				continue
			} else if skip {
				name += ", --skip-batch"
			}
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				repairDamage(t, sound, logs, d, skip)
			})
		}
	}
}

func repairDamage(t *testing.T, sound string, logs []string, d damage, skip bool) {
	dir := copyTree(t, sound)
	path := strings.Replace(placeOf(sound, logs, d.file), sound, dir, 1)
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var batches []int
	if strings.HasSuffix(path, ".log") {
		batches = batchesOf(t, b)
	}
	write(t, path, d.plant(bytes.Clone(b), batches))
	if d.kill {
		write(t, filepath.Join(dir, ".kafka_cleanshutdown"), nil)
	}
	damaged := contents(t, dir)
	o := logtool.RepairOptions{SkipBatches: skip, NowNanos: 1e18}
	plan, err := logtool.Repair(ring.NewLinux(), []string{dir}, o)
	if err != nil || contents(t, dir) != damaged || plan.Done || plan.Backup != "" {
		t.Fatalf("without Yes: %v, done %v, changed %v", err, plan.Done, contents(t, dir) != damaged)
	}
	o.Yes = true
	r, err := logtool.Repair(ring.NewLinux(), []string{dir}, o)
	if err != nil {
		t.Fatal(err)
	}
	if unrepairable[d.name] {
		if len(r.Actions) != 0 || len(r.Left) != 1 || r.Done {
			t.Errorf("%v, left %v", r.Actions, r.Left)
		}
		return
	}
	if len(r.Actions) != len(plan.Actions) || len(r.Actions) == 0 || len(r.Left) != 0 || r.Rounds != 2 {
		t.Errorf("planned:\n%v\ndone in %d rounds:\n%v\nleft:\n%v", plan.Actions, r.Rounds, r.Actions, r.Left)
	}
	v, err := logtool.Verify(ring.NewLinux(), dir, logtool.VerifyOptions{})
	if err != nil || len(v.Problems) > 0 {
		t.Errorf("afterwards: %v %v", err, v.Problems)
	}
	if again, err := logtool.Repair(ring.NewLinux(), []string{dir}, o); err != nil || len(again.Actions) > 0 || again.Done {
		t.Errorf("a second time: %v: %v", err, again.Actions)
	}
	keptCopies(t, dir, r, path, d.plant(bytes.Clone(b), batches))
	want := cutAt[d.name].left
	if skip {
		want = cutAt[d.name].skipped
	}
	if left := v.Records; want > 0 && left-recordsOf(t, sound)+600 != want {
		t.Errorf("%d records of orders-0 are left, want %d: %v", left-recordsOf(t, sound)+600, want, r.Actions)
	}
}

func recordsOf(t *testing.T, dir string) int64 {
	t.Helper()
	v, err := logtool.Verify(ring.NewLinux(), dir, logtool.VerifyOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return v.Records
}

// keptCopies: the damaged file is there as it was, or has not been touched.
func keptCopies(t *testing.T, dir string, r *logtool.RepairReport, path string, was []byte) {
	t.Helper()
	rel, _ := filepath.Rel(dir, path)
	kept, err := os.ReadFile(filepath.Join(r.Backup, rel))
	if err != nil {
		if kept, err = os.ReadFile(path); os.IsNotExist(err) && was == nil {
			return
		}
	}
	if was != nil && (err != nil || !bytes.Equal(kept, was)) {
		t.Errorf("%s was changed, and its copy in %s is not what it was: %v", rel, r.Backup, err)
	}
}

// TestLogRepairCommand goes by the command: its words and exit status; a broker that uses the directory is not disturbed, and one started
// afterwards serves what is left, around a gap that is none to its readers.
func TestLogRepairCommand(t *testing.T) {
	dir := writtenDir(t)
	log := filepath.Join(dir, "orders-0", "00000000000000000000.log")
	b, err := os.ReadFile(log)
	if err != nil {
		t.Fatal(err)
	}
	b[batchesOf(t, b)[3]+2000] ^= 4
	write(t, log, b)
	before := contents(t, dir)
	if r := slipstream(t, "log", "repair", dir, "--skip-batch"); r.status != 1 || !strings.Contains(r.out, "would rewrite "+log) || !strings.Contains(r.out, "the records at offsets 30 to 39 are gone") || !strings.Contains(r.errors, "--yes does them") {
		t.Errorf("status %d\n%s%s", r.status, r.out, r.errors)
	}
	if r := slipstream(t, "log", "repair", dir, "--yes", "--backup", filepath.Join(dir, "copies")); r.status != 1 || !strings.Contains(r.errors, "that is in the data directory") {
		t.Errorf("status %d\n%s%s", r.status, r.out, r.errors)
	}
	if contents(t, dir) != before {
		t.Fatal("the directory was changed")
	}
	copies := filepath.Join(t.TempDir(), "a", "copies")
	if r := slipstream(t, "log", "repair", filepath.Join(dir, "orders-0"), "--skip-batch", "--yes", "--backup", copies); r.status != 0 || !strings.Contains(r.out, "the files as they were are in "+copies) {
		t.Errorf("status %d\n%s%s", r.status, r.out, r.errors)
	}
	if kept, err := os.ReadFile(filepath.Join(copies, "orders-0", filepath.Base(log))); err != nil || !bytes.Equal(kept, b) {
		t.Errorf("the copy is not the damaged log: %v", err)
	}
	if r := slipstream(t, "log", "repair", dir, "--yes"); r.status != 0 || !strings.Contains(r.out, "nothing to repair") {
		t.Errorf("status %d\n%s%s", r.status, r.out, r.errors)
	}
	broker := start(t, "--data-dir", dir)
	if r := slipstream(t, "log", "repair", dir, "--yes"); r.status != 1 || !strings.Contains(r.errors, "is in use: stop the broker first") {
		t.Errorf("beside a broker: status %d\n%s%s", r.status, r.out, r.errors)
	}
	client, err := kgo.NewClient(kgo.SeedBrokers(broker.address), kgo.ConsumeTopics("orders"), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	var offsets []int64
	for len(offsets) < 590 && ctx.Err() == nil {
		client.PollFetches(ctx).EachRecord(func(r *kgo.Record) { offsets = append(offsets, r.Offset) })
	}
	for i, at := range offsets {
		if want := int64(i); at != want && (i < 30 || at != want+10) {
			t.Fatalf("record %d has offset %d", i, at)
		}
	}
	if len(offsets) != 590 {
		t.Errorf("%d records can be read", len(offsets))
	}
	broker.signal(t, syscall.SIGTERM)
	broker.wait(t, 20*time.Second)
	if r := slipstream(t, "log", "verify", dir); r.status != 0 {
		t.Errorf("status %d\n%s%s", r.status, r.out, r.errors)
	}
}

// TestLogRepairBehindTheStart: a damage before the first record that there still is leaves nothing of the log, and no segment is said to be
// there twice.
func TestLogRepairBehindTheStart(t *testing.T) {
	dir := writtenDir(t)
	log := filepath.Join(dir, "orders-0", "00000000000000000000.log")
	b, err := os.ReadFile(log)
	if err != nil {
		t.Fatal(err)
	}
	b[100] ^= 4
	write(t, log, b)
	write(t, filepath.Join(dir, "log-start-offset-checkpoint"), []byte("0\n1\norders 0 5\n"))
	r := slipstream(t, "log", "repair", dir)
	if want := "would remove " + log + ": nothing that can be kept of it reaches offset 5,"; r.status != 1 || !strings.Contains(r.out, want) || strings.Contains(r.out, "in another segment") {
		t.Errorf("status %d, want %q\n%s%s", r.status, want, r.out, r.errors)
	}
}

// TestLogSaysWhatItCannotWrite: a report that reached nobody is no success.
func TestLogSaysWhatItCannotWrite(t *testing.T) {
	dir := writtenDir(t)
	for _, of := range []string{"verify", "repair", "stat", "dump"} {
		full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
		if err != nil {
			t.Skip(err)
		}
		cmd := command(t, "log", of, dir)
		cmd.Stdout = full
		if err := cmd.Run(); err == nil || cmd.ProcessState.ExitCode() != 1 {
			t.Errorf("log %s: %v", of, err)
		}
		full.Close()
	}
}

// TestLogRepairLeavesOthersAlone: a directory that only looks like a broker's, because what is in it is named like partitions, is none to the
// log commands, and nothing is made in it.
func TestLogRepairLeavesOthersAlone(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"polkit-1/polkit.conf", "libnl-3/classid", "libnl-3/notes.log"} {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o755); err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(dir, name), []byte("somebody else's\n"))
	}
	before := contents(t, dir)
	for _, args := range [][]string{{"repair", dir, "--yes"}, {"repair", filepath.Join(dir, "libnl-3"), "--yes"}, {"verify", dir}, {"stat", dir}} {
		if r := slipstream(t, append([]string{"log"}, args...)...); r.status != 1 || !strings.Contains(r.errors, "is neither a data directory nor a partition's") {
			t.Errorf("log %v: status %d\n%s%s", args, r.status, r.out, r.errors)
		}
	}
	if contents(t, dir) != before {
		t.Error("the directory was changed")
	}
}
