package storage

import (
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"slipstream/protocol"
)

// testdata/kafka-clean is what Apache Kafka 4.3.1 made of compacted logs: before-N/state-0 is a partition as its cleaner found it (written by this test:
// all codecs, transactions of which some were aborted, tombstones), after-N/state-0 what it left, and cleaner-offset-checkpoint what it said
// about that. before-2 is after-1 with more behind it, so that tombstones and markers are at their horizon. Recorded anew with
//
//	go test -run TestKafkaCleansTheSame -record-clean 1
//	a fresh broker with log.cleaner.backoff.ms=200; topic state with cleanup.policy=compact, min.cleanable.dirty.ratio=0.0001,
//	delete.retention.ms=1000; stop it, put before-1's files in the place of state-0's (but not partition.metadata), start it; when
//	cleaner-offset-checkpoint names state: stop it, copy state-0 to after-1, and the checkpoint
//
// and the same with 2.
var recordClean = flag.Int("record-clean", 0, "write testdata/kafka-clean/before-N anew")

func cleanDir(what string, round int) string {
	return fmt.Sprintf("testdata/kafka-clean/%s-%d/state-0", what, round)
}

// cleanedBefore is the offset in a round's cleaner-offset-checkpoint; 0 before the first.
func cleanedBefore(t *testing.T, round int) int64 {
	if round == 0 {
		return 0
	}
	entries, err := DecodeOffsets(mustRead(t, filepath.Dir(cleanDir("after", round)), cleanerCheckpointName))
	if err != nil || len(entries) != 1 {
		t.Fatal(entries, err)
	}
	return entries[0].Offset
}

// TestKafkaCleansTheSame: of the same log, with the same settings, Kafka's cleaner and ours keep the same records, in the same batches, and the same
// aborted transactions.
func TestKafkaCleansTheSame(t *testing.T) {
	if *recordClean > 0 {
		recordBefore(t, *recordClean)
		return
	}
	for round := 1; round <= 2; round++ {
		x := newCleanRig(t, 1)
		x.dir = filepath.Join(t.TempDir(), "state-0")
		copyDir(t, cleanDir("before", round), x.dir)
		cfg := x.cfg
		cfg.SegmentBytes, cfg.DeleteRetentionMillis = 1<<20, 1000
		x.kernel.set(func(f *faults) { f.wall += 12 * 3600e9 }) // later than the recorded horizons
		x.p, _ = x.rig.open(x.dir, cfg, OpenOptions{Clean: true, CleanedTo: cleanedBefore(t, round-1)})
		x.survey(x.p)
		result, ok := x.clean(noLimits)
		if want := cleanedBefore(t, round); !ok || result.To != want {
			t.Fatalf("round %d: %+v, Kafka cleaned to %d", round, result, want)
		}
		end := x.p.activeSegment().base
		got, want := describeBatches(t, x.dir, end), describeBatches(t, cleanDir("after", round), end)
		for _, key := range slices.Sorted(maps.Keys(want)) {
			if got[key] != want[key] {
				t.Errorf("round %d: Kafka keeps %s: %s\nhere it is %s", round, key, want[key], got[key])
			}
		}
		for key := range got {
			if _, known := want[key]; !known {
				t.Errorf("round %d: Kafka does not keep %s: %s", round, key, got[key])
			}
		}
		if len(want) < 20 {
			t.Errorf("round %d: only %d batches and transactions", round, len(want))
		}
	}
}

// describeBatches tells what is in a partition below an offset. Batches that are only there so that a log has no gap are left out: Kafka
// leaves one at the end of a cleaning, here there is one at the end of each segment.
func describeBatches(t *testing.T, dir string, below int64) map[string]string {
	t.Helper()
	all := map[string]string{}
	var scratch protocol.Scratch
	for _, name := range names(listDir(t, dir)) {
		base, suffix, ok := parseFileName(name)
		if !ok || base >= below {
			continue
		}
		if suffix == txnIndexSuffix {
			list, err := decodeAborted(mustRead(t, dir, name), base, below)
			if err != nil {
				t.Fatal(err)
			}
			for _, e := range list {
				all[fmt.Sprintf("aborted %06d", e.first)] = fmt.Sprintf("%+v", e)
			}
		}
		if suffix != logSuffix {
			continue
		}
		log := batchesOf(t, mustRead(t, dir, name))
		for i, b := range log {
			if b.Count() == 0 && i == len(log)-1 {
				continue
			}
			text := fmt.Sprintf("to %d, attributes %#x, producer %d/%d/%d, max %d:", b.LastOffset(), b.Attributes(), b.ProducerID(), b.ProducerEpoch(),
				b.BaseSequence(), b.MaxTimestamp())
			var it protocol.Records
			var r protocol.Record
			it.Open(b, &scratch)
			for it.Next(&r) {
				text += fmt.Sprintf(" %d=%q,%v", r.Offset, r.Key, r.Value != nil)
			}
			it.Close()
			err := it.Err()
			if err != nil {
				t.Fatal(err)
			}
			all[fmt.Sprintf("batch %06d", b.BaseOffset())] = text
		}
	}
	return all
}

// recordBefore writes what Kafka's cleaner is given.
func recordBefore(t *testing.T, round int) {
	x := newCleanRig(t, 1)
	for id := range int64(5) {
		x.seq[id] = 0
	}
	if round == 2 {
		x.close()
		r := newCleanRig(t, 1)
		r.dir = filepath.Join(t.TempDir(), "state-0")
		copyDir(t, cleanDir("after", 1), r.dir)
		r.kernel.set(func(f *faults) { f.wall += 3600e9 })
		r.p, _ = r.rig.open(r.dir, r.cfg, OpenOptions{Clean: true})
		r.turns(1)
		for id, q := range r.p.producers.byID {
			if r.seq[id] = q.lastSeq() + 1; q.txnFirstOffset >= 0 {
				r.open[id] = nil
			}
		}
		x = r
	}
	for range 150 {
		x.write()
	}
	if errs := x.close(); errs != nil {
		t.Fatal(errs)
	}
	dir := cleanDir("before", round)
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	copyDir(t, x.dir, dir)
}
