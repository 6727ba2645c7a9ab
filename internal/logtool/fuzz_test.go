package logtool

import (
	"bytes"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"slipstream/protocol"
	"slipstream/ring"
)

// seedLog is a log of three batches: a producer's, a marker, and a compressed-looking one that is not.
func seedLog() []byte {
	var all []byte
	for i := range int64(2) {
		var bl protocol.Builder
		info := protocol.NewBatchInfo(2*i, 0)
		info.ProducerID, info.ProducerEpoch, info.BaseSequence = 7, 0, int32(2*i)
		bl.Begin(nil, info)
		for range 2 {
			bl.Append(&protocol.Record{Timestamp: 1000 + i, Key: []byte("key"), Value: []byte("value")})
		}
		_, b := bl.Finish()
		all = append(all, b...)
	}
	_, m := protocol.AppendMarkerBatch(nil, &protocol.Marker{ProducerID: 7}, 1002)
	m.SetBaseOffset(4)
	m.SetLeaderEpoch(0)
	return append(all, m...)
}

// memoryFiles are files in memory, by path: only what this package asks of a kernel.
type memoryFiles struct {
	ring.Files
	byPath map[string][]byte
	open   [][]byte
}

func (m *memoryFiles) Open(path string, _ int, _ uint32) (int, error) {
	b, ok := m.byPath[path]
	if !ok {
		return -1, fs.ErrNotExist
	}
	m.open = append(m.open, b)
	return len(m.open) - 1, nil
}

func (m *memoryFiles) Close(int) error { return nil }

func (m *memoryFiles) Size(fd int) (int64, error) { return int64(len(m.open[fd])), nil }

func (m *memoryFiles) ReadAt(fd int, p []byte, off int64) (int, error) {
	return bytes.NewReader(m.open[fd]).ReadAt(p, off)
}

func (m *memoryFiles) Stat(path string) (ring.FileInfo, error) {
	if b, ok := m.byPath[path]; ok {
		return ring.FileInfo{Size: int64(len(b))}, nil
	}
	if list, _ := m.ReadDir(path); len(list) > 0 {
		return ring.FileInfo{Dir: true}, nil
	}
	return ring.FileInfo{}, fs.ErrNotExist
}

func (m *memoryFiles) ReadDir(path string) (list []ring.DirEntry, _ error) {
	names := map[string]bool{}
	for p := range m.byPath {
		if below, ok := strings.CutPrefix(p, path+"/"); ok {
			name, _, dir := strings.Cut(below, "/")
			names[name] = dir
		}
	}
	for _, name := range slices.Sorted(maps.Keys(names)) {
		list = append(list, ring.DirEntry{Name: name, Dir: names[name]})
	}
	return list, nil
}

func (m *memoryFiles) Resident(_ int, _ int64, n int) int { return n / 2 }

func (m *memoryFiles) Absent(_ int, _ int64, n int) int { return n }

func (m *memoryFiles) Dirty(int, int64, int64) (int64, syscall.Errno) { return 0, 0 }

// FuzzFiles takes any bytes for the files of a partition: dump, verify and stat come to an end, without a panic, and
// in what verify calls sound dump finds no problem.
func FuzzFiles(f *testing.F) {
	log := seedLog()
	index := []byte{0, 0, 0, 3, 0, 0, 0, 90}
	f.Add(log, index, []byte{0, 0, 0, 0, 0, 0, 3, 0xea, 0, 0, 0, 4}, []byte{}, []byte{0, 1}, []byte("0\n1\n0 0\n"), uint8(0))
	f.Add(log[:len(log)-5], index[:7], []byte{}, make([]byte, 34), make([]byte, 56), []byte("0\n"), uint8(1))
	f.Add(append(bytes.Clone(log), make([]byte, 100)...), make([]byte, 16), make([]byte, 24), []byte{}, []byte{}, []byte{}, uint8(2))
	f.Add(append(append(bytes.Clone(log[:100]), 0, 1, 2), log...), []byte{}, []byte{}, []byte{}, []byte{}, []byte{}, uint8(130))
	names := []string{"orders-0", "__cluster_metadata-0", "__consumer_offsets-0", "__transaction_state-0", "__share_group_state-0"}
	f.Fuzz(func(t *testing.T, log, index, times, aborted, snapshot, epochs []byte, which uint8) {
		dir := "/data/" + names[int(which)%len(names)] + "/"
		k := &memoryFiles{byPath: map[string][]byte{
			dir + "00000000000000000000.log": log, dir + "00000000000000000000.index": index, dir + "00000000000000000000.timeindex": times,
			dir + "00000000000000000000.txnindex": aborted, dir + "00000000000000000005.snapshot": snapshot, dir + "leader-epoch-checkpoint": epochs,
		}}
		if which >= 128 {
			k.byPath["/data/"+cleanShutdown] = nil
			delete(k.byPath, dir+"00000000000000000000.txnindex")
		}
		r, err := Verify(k, "/data", VerifyOptions{Workers: 1})
		if err != nil {
			t.Fatal(err)
		}
		problems := 0
		if err := Dump(k, "/data", DumpOptions{Records: true}, func(it Item) error {
			if it.Kind == "problem" {
				problems++
			}
			_ = it.String()
			_, err := it.MarshalJSON()
			return err
		}); err != nil {
			t.Fatal(err)
		}
		if len(r.Problems) == 0 && which >= 128 && problems > 0 {
			t.Fatalf("verify finds nothing wrong, and dump %d problems", problems)
		}
		if _, err := Stat(k, "/data"); err != nil {
			t.Fatal(err)
		}
	})
}

// TestSound: the seed of the fuzz target is a sound log, so that the target begins with something.
func TestSound(t *testing.T) {
	data := t.TempDir()
	dir := filepath.Join(data, "orders-0")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for name, b := range map[string][]byte{"00000000000000000000.log": seedLog(), "00000000000000000000.index": nil, "00000000000000000000.timeindex": nil} {
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	r, err := Verify(ring.NewLinux(), data, VerifyOptions{})
	if err != nil || len(r.Problems) != 0 || r.Batches != 3 || r.Records != 5 {
		t.Fatalf("%v: %+v", err, r)
	}
}
