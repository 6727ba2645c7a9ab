package broker

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// TestFutureDirectories: a copy that Kafka was moving into the directory that the metadata names is the partition where the log that it was
// copied from is gone, as Kafka 4.3.1 has it, and no empty log takes its place. Where that log is there, or the metadata
// names another directory, the copy is left alone. `adopt --check` tells beforehand which of them it is.
func TestFutureDirectories(t *testing.T) {
	dirs, list := threeDirs(t)
	b := startTestBroker(t, list)
	w := b.dial()
	w.createTopic("t-1", 3)
	for p := range int32(3) {
		w.produceTo("t-1", p)
	}
	was := w.logDirs()
	must(t, b.stop())
	const future = ".0123456789abcdef0123456789abcdef-future"
	names := make([]string, len(dirs))
	for i, d := range dirs {
		names[i] = was[d][slices.IndexFunc(was[d], func(s string) bool { return strings.HasPrefix(s, "t-1-") })]
	}
	must(t, os.Rename(filepath.Join(dirs[0], names[0]), filepath.Join(dirs[0], names[0]+future)))                               // is the partition
	must(t, os.CopyFS(filepath.Join(dirs[1], names[1]+future), os.DirFS(filepath.Join(dirs[1], names[1]))))                     // the log is there
	must(t, os.CopyFS(filepath.Join(dirs[1], names[2]+future), os.DirFS(filepath.Join(dirs[2], names[2]))))                     // of another directory's
	must(t, os.Rename(filepath.Join(dirs[2], names[2]), filepath.Join(filepath.Dir(dirs[2]), "taken away")))                    // whose log is gone
	must(t, os.Rename(filepath.Join(dirs[1], names[2]+future), filepath.Join(dirs[1], names[2]+".not-an-id-future")))           // and a name that Kafka does not give
	must(t, os.CopyFS(filepath.Join(dirs[1], names[2]+future), os.DirFS(filepath.Join(dirs[1], names[2]+".not-an-id-future")))) // and one that it does

	notes := strings.Join(adoptDirs(t, list).Notes, "\n")
	for _, want := range []string{
		names[0] + future + " was being moved here and is the partition by now",
		names[1] + future + " is left alone", names[2] + future + " is left alone", names[2] + ".not-an-id-future is left alone",
		"1 partitions of the metadata have no directory (" + names[2] + "): a start makes them, empty",
	} {
		if !strings.Contains(notes, want) {
			t.Errorf("not said: %s\nsaid:\n%s", want, notes)
		}
	}
	notes = strings.Join(adoptDirs(t, dirs[0]+","+dirs[1]).Notes, "\n")
	if want := "1 partitions are in a data directory that was not named or has failed (" + names[2] + "): a start leaves them out of service"; !strings.Contains(notes, want) {
		t.Errorf("not said: %s\nsaid:\n%s", want, notes)
	}

	b = startTestBroker(t, list)
	w = b.dial()
	for i, records := range []int{1, 1, 0} {
		fetched := w.ask(11, fetchRequest("t-1", int32(names[i][len(names[i])-1]-'0'), 0, 0)).(*kmsg.FetchResponse).Topics[0].Partitions[0]
		if n := countRecords(t, fetched.RecordBatches); n != records {
			t.Errorf("%s has %d records, want %d", names[i], n, records)
		}
	}
	for path, is := range map[string]bool{
		filepath.Join(dirs[0], names[0]): true, filepath.Join(dirs[0], names[0]+future): false,
		filepath.Join(dirs[1], names[1]+future): true, filepath.Join(dirs[1], names[2]+future): true, filepath.Join(dirs[1], names[2]): false,
	} {
		if _, err := os.Stat(path); (err == nil) != is {
			t.Errorf("%s is there: %v, want %v", path, err == nil, is)
		}
	}
}
