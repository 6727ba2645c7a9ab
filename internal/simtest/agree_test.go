package simtest

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"slipstream/internal/clients/harness"
	"slipstream/internal/logtool"
	"slipstream/protocol"
	"slipstream/ring"
)

// TestVerifyAgreesWithKafkaSeeds has Kafka's DumpLogSegments and our verify judge directories that the simulator has left: killed, cut
// from power, stopped, some with damage planted on top. SLIPSTREAM_DIRECTORIES says how many.
func TestVerifyAgreesWithKafkaSeeds(t *testing.T) {
	n := uint64(12)
	if s, err := strconv.ParseUint(os.Getenv("SLIPSTREAM_DIRECTORIES"), 10, 64); err == nil {
		n = s
	}
	first := uint64(0)
	if s, err := strconv.ParseUint(os.Getenv("SEED"), 10, 64); err == nil {
		first, n = s, 1
	}
	_, err := harness.Tool(nil, harness.DumpLogSegments, "--help")
	harness.Need(t, err)
	j := &jury{T: t, differences: map[string]int{}, ways: map[string]int{}}
	for seed := first; seed < first+n; seed++ {
		j.judge(seed)
	}
	t.Logf("%d directories (%v), %d files: both find nothing in %d and something in %d", n, j.ways, j.files, j.sound, j.bad)
	for _, d := range byDesign {
		t.Logf("%5d: %s", j.differences[d.name], d.name)
	}
	if n >= 12 && (j.sound == 0 || j.bad == 0) {
		t.Error("they were never asked about something sound, or never about something damaged")
	}
}

type jury struct {
	*testing.T
	files, sound, bad int
	differences       map[string]int
	ways              map[string]int
}

func (j *jury) judge(seed uint64) {
	j.Helper()
	dir := filepath.Join(j.TempDir(), fmt.Sprint(seed))
	how := leftBy(j.T, seed, dir)
	j.ways[how]++
	if seed%3 == 2 {
		r := rand.New(rand.NewPCG(seed, 3))
		for range 1 + r.IntN(3) {
			how += "; " + plant(j.T, r, dir)
		}
	}
	v, err := logtool.Verify(ring.NewLinux(), dir, logtool.VerifyOptions{})
	if err != nil {
		j.Fatal(err)
	}
	ours := map[string][]string{}
	for _, p := range v.Problems {
		ours[p.File] = append(ours[p.File], string(p.Kind)+": "+p.Why)
	}
	theirs := kafkasWord(j.T, dir)
	for file, said := range theirs {
		j.files++
		j.compare(fmt.Sprintf("seed %d (%s)", seed, how), file, ours, said)
	}
	if err := os.RemoveAll(dir); err != nil {
		j.Fatal(err)
	}
}

// kafkasWord is what DumpLogSegments says of each file that it can be shown.
func kafkasWord(t *testing.T, dir string) map[string][]string {
	t.Helper()
	all := map[string][]string{}
	show := func(flag string, patterns ...string) {
		var files []string
		for _, p := range patterns {
			found, err := filepath.Glob(filepath.Join(dir, p))
			if err != nil {
				t.Fatal(err)
			}
			for _, f := range found {
				if _, suffix, ok := strings.Cut(filepath.Base(filepath.Dir(f)), "."); ok && strings.HasSuffix(suffix, "-delete") {
					continue
				}
				files = append(files, f)
			}
		}
		word, err := harness.Judge(files, flag)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range files {
			all[f] = append(all[f], word[f]...)
		}
	}
	show("--deep-iteration", "*-*/*.log", "*-*/*.txnindex", "*-*/*.snapshot", "__cluster_metadata-0/*.checkpoint")
	show("--index-sanity-check", "*-*/*.index", "*-*/*.timeindex") // first: as it closes an index it cuts off what is no whole entry
	show("--verify-index-only", "*-*/*.index", "*-*/*.timeindex")
	return all
}

func (j *jury) compare(where, file string, ours map[string][]string, theirs []string) {
	gaps := slices.ContainsFunc(theirs, func(s string) bool { return strings.HasPrefix(s, "gap: ") })
	plain := slices.DeleteFunc(slices.Clone(theirs), func(s string) bool { return strings.HasPrefix(s, "gap: ") })
	mine := ours[file]
	switch {
	case len(plain) == 0 && len(mine) == 0:
		j.sound++
		if gaps {
			j.differences[byDesign[0].name]++
		}
		return
	case len(plain) > 0 && len(mine) > 0, gaps && len(mine) > 0:
		j.bad++
		return
	}
	for _, d := range byDesign[1:] {
		if d.applies(file, ours, plain) {
			j.differences[d.name]++
			return
		}
	}
	j.Errorf("%s: %s: we say %q, Kafka %q", where, file, mine, theirs)
}

// difference is one between the two that is meant.
type difference struct {
	name    string
	applies func(file string, ours map[string][]string, theirs []string) bool
}

func logOf(file string) string {
	return strings.TrimSuffix(file, filepath.Ext(file)) + ".log"
}

func says(list []string, what ...string) bool {
	return len(list) > 0 && !slices.ContainsFunc(list, func(s string) bool {
		return !slices.ContainsFunc(what, func(w string) bool { return strings.Contains(s, w) })
	})
}

// isLast says whether a file belongs to a partition's last segment.
func isLast(file string) bool {
	logs, _ := filepath.Glob(filepath.Join(filepath.Dir(file), "*.log"))
	return len(logs) > 0 && logs[len(logs)-1] == logOf(file)
}

func endsInZeros(file string) bool {
	b, err := os.ReadFile(file)
	return err == nil && len(b) >= 8 && string(b[len(b)-8:]) == "\x00\x00\x00\x00\x00\x00\x00\x00"
}

func hasEmptyBatch(log string) bool {
	rest, err := os.ReadFile(log)
	for err == nil && len(rest) > 0 {
		var b protocol.Batch
		if b, rest, err = protocol.NextBatch(rest); err == nil && b.Count() == 0 {
			return true
		}
	}
	return false
}

// byDesign are the differences between the two verdicts that are meant.
var byDesign = []difference{
	{"Kafka calls offsets that compaction took out non-consecutive", nil},
	{"an index whose log is damaged: it is made anew with the log, and we say nothing of it", func(file string, ours map[string][]string, theirs []string) bool {
		return strings.HasSuffix(file, "index") && len(theirs) > 0 && len(ours[logOf(file)]) > 0
	}},
	{"Kafka cannot show an index of a log without a batch", func(file string, ours map[string][]string, theirs []string) bool {
		info, err := os.Stat(logOf(file))
		return strings.HasSuffix(file, "index") && err == nil && info.Size() == 0 && says(theirs, "NoSuchElement", "Exception")
	}},
	{"Kafka shows a .timeindex by its .index: where that is missing or wrong, which we say of the .index, it fails", func(file string, ours map[string][]string, theirs []string) bool {
		index := strings.TrimSuffix(file, ".timeindex") + ".index"
		return strings.HasSuffix(file, ".timeindex") && len(theirs) > 0 && len(ours[index]) > 0
	}},
	{"zeros at the end of an index of the segment that was being appended to: room that Kafka makes ahead, which a start cuts off", func(file string, ours map[string][]string, theirs []string) bool {
		return strings.HasSuffix(file, "index") && len(theirs) > 0 && len(ours[file]) == 0 && isLast(file) && endsInZeros(file)
	}},
	{"an index of less than one entry: Kafka calls it empty", func(file string, ours map[string][]string, theirs []string) bool {
		info, err := os.Stat(file)
		return err == nil && info.Size() < 8 && len(theirs) == 0 && says(ours[file], "are not a number of whole entries")
	}},
	{"zeros at the end of the index of a closed segment: Kafka stops at them", func(file string, ours map[string][]string, theirs []string) bool {
		return len(theirs) == 0 && says(ours[file], "bytes of zeros")
	}},
	{"entries of a .txnindex: Kafka shows them, and holds them against nothing", func(file string, ours map[string][]string, theirs []string) bool {
		return strings.HasSuffix(file, ".txnindex") && len(theirs) == 0
	}},
	{"what a snapshot says of producers that the log does not: Kafka looks at the file alone", func(file string, ours map[string][]string, theirs []string) bool {
		return len(theirs) == 0 && says(ours[file], "snapshot: producer ", "snapshot: it lies behind the log's end")
	}},
	{"the time of a batch of which compaction has left no record: Kafka's cleaner keeps it too, and the tool looks for it in the records", func(file string, ours map[string][]string, theirs []string) bool {
		return strings.HasSuffix(file, ".timeindex") && says(theirs, "Found timestamp mismatch") && hasEmptyBatch(logOf(file))
	}},
	{"what is missing: the last time of a segment, an index, an aborted transaction, the segment before. Kafka holds an entry against the log, and not the log against its entries", func(file string, ours map[string][]string, theirs []string) bool {
		return len(theirs) == 0 && says(ours[file], "a search by time would miss it", "it is missing", "is missing: its records would be read", "are missing before the segment", "it has no segment")
	}},
}
