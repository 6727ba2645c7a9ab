package logtool

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"slipstream/internal/sim"
	"slipstream/protocol"
	"slipstream/ring"
	"slipstream/storage"
)

// tree is a data directory in memory: files by path below /data.
type tree map[string][]byte

// soundTree is a data directory with two partitions of some segments, as a clean stop leaves it: producers with sequences and
// transactions in one, plain batches in the other.
func soundTree(r *rand.Rand) tree {
	t := tree{"meta.properties": []byte("version=1\nnode.id=1\ncluster.id=c\n"), ".kafka_cleanshutdown": []byte(`{"version":0,"brokerEpoch":1}`)}
	var ends []storage.OffsetEntry
	for i, name := range []string{"orders", "plain"} {
		end := t.addPartition(r, name, i == 0)
		ends = append(ends, storage.OffsetEntry{Topic: name, Partition: 0, Offset: end})
	}
	t[recoveryFile] = storage.AppendOffsets(nil, ends)
	t[highFile] = storage.AppendOffsets(nil, ends)
	t[startFile], t[cleanerFile] = []byte("0\n0\n"), nil
	return t
}

func (t tree) addPartition(r *rand.Rand, topic string, transactions bool) (next int64) {
	dir := topic + "-0/"
	b := storage.NewRebuilder(200)
	next = int64(r.IntN(2) * 500) // retention has taken the front
	sequences, open := [3]int32{}, [3]bool{}
	for segment := range 2 + r.IntN(3) {
		base := next
		if segment > 0 {
			t[fmt.Sprintf("%s%020d.snapshot", dir, base)] = b.Snapshot()
		}
		b.Begin(base)
		var log []byte
		for range 3 + r.IntN(8) {
			p := r.IntN(3)
			var batch protocol.Batch
			if transactions && open[p] && r.IntN(3) == 0 {
				_, batch = protocol.AppendMarkerBatch(nil, &protocol.Marker{ProducerID: int64(p), Commit: r.IntN(2) == 0}, 1000+next)
				batch.SetBaseOffset(next)
				batch.SetLeaderEpoch(int32(segment / 2))
				open[p] = false
			} else {
				batch = dataBatch(r, next, int32(segment/2), p, sequences[:], transactions)
				open[p] = transactions
			}
			b.Add(batch)
			log = append(log, batch...)
			next = batch.NextOffset()
		}
		name := fmt.Sprintf("%s%020d", dir, base)
		t[name+".log"], t[name+".index"], t[name+".timeindex"] = log, b.Index(), b.TimeIndex()
		if aborted := b.Aborted(); aborted != nil {
			t[name+".txnindex"] = aborted
		}
	}
	t[fmt.Sprintf("%s%020d.snapshot", dir, next)] = b.Snapshot()
	t[dir+epochFile] = b.Epochs()
	t[dir+topicIDFile] = storage.EncodePartitionMetadata(protocol.UUID{1, 2, byte(len(topic))})
	return next
}

func dataBatch(r *rand.Rand, next int64, epoch int32, producer int, sequences []int32, transactional bool) protocol.Batch {
	info := protocol.NewBatchInfo(next, epoch)
	n := 1 + r.IntN(4)
	if transactional {
		info.ProducerID, info.ProducerEpoch, info.BaseSequence = int64(producer), 0, sequences[producer]
		info.Attributes = protocol.AttrTransactional
		sequences[producer] += int32(n)
	}
	var bl protocol.Builder
	bl.Begin(nil, info)
	for i := range n {
		bl.Append(&protocol.Record{Timestamp: 1000 + next + int64(i), Key: []byte("k"), Value: make([]byte, 20+r.IntN(200))})
	}
	_, b := bl.Finish()
	return b
}

func (t tree) names(pattern string) (names []string) {
	for _, name := range slices.Sorted(maps.Keys(t)) {
		if ok, _ := path.Match(pattern, name); ok {
			names = append(names, name)
		}
	}
	return names
}

// mutilate does something to a file or two, and says what.
func (t tree) mutilate(r *rand.Rand) string {
	all := t.names("*-0/*")
	if r.IntN(2) == 0 {
		all = t.names("*-0/*.log")
	}
	if r.IntN(8) == 0 {
		all = t.names("*-checkpoint")
	}
	name := all[r.IntN(len(all))]
	b := slices.Clone(t[name])
	switch what := r.IntN(12); {
	case what < 3 && len(b) > 0:
		at := r.IntN(len(b))
		b[at] ^= 1 << r.IntN(8)
		t[name] = b
		return fmt.Sprintf("a bit of %s at %d", name, at)
	case what == 3:
		n := r.IntN(len(b) + 1)
		t[name] = b[:n]
		return fmt.Sprintf("%s cut to %d", name, n)
	case what == 4 && len(b) > 0:
		from := r.IntN(len(b))
		to := from + r.IntN(len(b)-from)
		clear(b[from:to])
		t[name] = b
		return fmt.Sprintf("%s zero from %d to %d", name, from, to)
	case what == 5:
		delete(t, name)
		return name + " removed"
	case what == 6:
		t[name] = append(b, make([]byte, r.IntN(5000))...)
		return name + " with zeros behind it"
	case what == 7:
		other := all[r.IntN(len(all))]
		t[name], t[other] = t[other], t[name]
		return name + " and " + other + " exchanged"
	case what == 8 && len(b) > 0:
		from := r.IntN(len(b))
		t[name] = append(b, b[from:]...)
		return fmt.Sprintf("%s from %d twice", name, from)
	case what == 9 && len(b) > 0:
		from := r.IntN(len(b))
		t[name] = slices.Delete(b, from, from+r.IntN(len(b)-from))
		return fmt.Sprintf("%s without a piece at %d", name, from)
	case what == 10:
		suffix := []string{".deleted", ".cleaned", ".swap", ".tmp"}[r.IntN(4)]
		t[name+suffix] = b
		if r.IntN(2) == 0 {
			delete(t, name)
		}
		return name + " and " + suffix
	}
	delete(t, ".kafka_cleanshutdown")
	return "killed"
}

// intact is how many records of a partition lie before the first byte of its log that is not as it was; the
// offset behind them.
func intact(was, is tree, partition string) (upTo int64, records [][]byte) {
	for _, name := range was.names(partition + "/*.log") {
		base, _ := strconv.ParseInt(path.Base(name)[:20], 10, 64)
		upTo = max(upTo, base)
		for rest := was[name]; len(rest) > 0; {
			b, after, _ := protocol.NextBatch(rest)
			at := len(was[name]) - len(rest)
			now := is[name]
			if len(now) < at+len(b) || string(now[at:at+len(b)]) != string(b) {
				return upTo, records
			}
			records = append(records, b)
			upTo, rest = b.NextOffset(), after
		}
		if len(is[name]) > len(was[name]) {
			return upTo, records
		}
	}
	return upTo, records
}

// put writes the tree to a kernel's /data; get reads it.
func (t tree) put(tb testing.TB, k ring.Files) {
	tb.Helper()
	must := func(err error) {
		if err != nil && !errors.Is(err, fs.ErrExist) {
			tb.Fatal(err)
		}
	}
	must(k.Mkdir("/data", 0o755))
	for _, name := range slices.Sorted(maps.Keys(t)) {
		if dir := path.Dir(name); dir != "." {
			must(k.Mkdir("/data/"+dir, 0o755))
		}
		fd, err := k.Open("/data/"+name, syscall.O_RDWR|syscall.O_CREAT|syscall.O_TRUNC, 0o644)
		must(err)
		must(writeAll(k, fd, t[name]))
		must(k.Sync(fd))
		must(k.Close(fd))
	}
	for _, dir := range []string{"/data/orders-0", "/data/plain-0", "/data", "/"} {
		if _, err := k.Stat(dir); err == nil {
			must(k.SyncDir(dir))
		}
	}
}

func get(tb testing.TB, k ring.Files, dir string) tree {
	tb.Helper()
	t := tree{}
	entries, err := k.ReadDir(dir)
	if err != nil {
		tb.Fatal(err)
	}
	for _, e := range entries {
		if e.Dir {
			for name, b := range get(tb, k, dir+"/"+e.Name) {
				t[e.Name+"/"+name] = b
			}
			continue
		}
		if t[e.Name], err = readWhole(k, dir+"/"+e.Name); err != nil {
			tb.Fatal(err)
		}
	}
	return t
}

// repairOnce repairs; crashed says that the machine went down in the middle of it.
func repairOnce(k ring.Files, o RepairOptions) (r *RepairReport, crashed bool, err error) {
	defer func() {
		if p := recover(); p != nil {
			if _, ok := p.(sim.Crash); !ok {
				panic(p)
			}
			crashed = true
		}
	}()
	o.Workers = 1
	r, err = Repair(k, []string{"/data"}, o)
	return r, false, err
}

// Random directories, mutilated at random: whether the repair is killed in the middle, or the power is cut, running it again ends with a directory
// in which verify finds nothing but what repair has said that it cannot put right; everything before the first
// damage of a log is there; and a second repair has nothing to do.
func TestRepairSeeds(t *testing.T) {
	n := uint64(150)
	if s := os.Getenv("SEEDS"); s != "" {
		n, _ = strconv.ParseUint(s, 10, 64)
	}
	first := uint64(0)
	if s := os.Getenv("SEED"); s != "" {
		first, _ = strconv.ParseUint(s, 10, 64)
		n = 1
	}
	crashes, done, kept := 0, 0, 0
	for seed := first; seed < first+n; seed++ {
		s := &repairSeed{TB: t, rand: rand.New(rand.NewPCG(seed, 1))}
		s.run(seed)
		if t.Failed() {
			t.Fatalf("seed %d: %s", seed, strings.Join(s.did, "; "))
		}
		crashes, done, kept = crashes+s.crashes, done+s.done, kept+s.kept
	}
	t.Logf("%d directories: %d things repaired, %d batches before the first damage kept, %d crashes on the way", n, done, kept, crashes)
	if n > 100 && (crashes == 0 || done == 0 || kept == 0) {
		t.Error("something was not tried")
	}
}

type repairSeed struct {
	testing.TB
	rand                *rand.Rand
	did                 []string
	crashes, done, kept int
}

func (s *repairSeed) run(seed uint64) {
	was := soundTree(s.rand)
	is := maps.Clone(was)
	for range 1 + s.rand.IntN(3) {
		s.did = append(s.did, is.mutilate(s.rand))
	}
	w := sim.New(seed, sim.Options{DiskBytes: 1 << 30})
	is.put(s, w.Kernel())
	o := RepairOptions{Yes: true, SkipBatches: s.rand.IntN(2) == 0, NowNanos: 1}
	k := w.Kernel()
	if s.rand.IntN(3) > 0 {
		w.CrashAfter(1+s.rand.IntN(600), s.rand.IntN(2) == 0, sim.CutDrawn)
	}
	r, crashed, err := repairOnce(k, o)
	if crashed || w.Down() {
		s.crashes++
		s.did = append(s.did, "crash")
		k = w.Restart()
		r, _, err = repairOnce(k, o)
	}
	w.CrashAfter(0, false, 0)
	if err != nil {
		s.Errorf("%v", err)
		return
	}
	s.done += len(r.Actions)
	s.after(k, r, was, is)
	again, _, err := repairOnce(k, o)
	if err != nil || len(again.Actions) > 0 {
		s.Errorf("a second time: %v: %v", err, again.Actions)
	}
}

// copies: of each file that is not what it was there is a copy, somewhere.
func (s *repairSeed) copies(k ring.Files, is, now tree) {
	entries, err := k.ReadDir("/")
	if err != nil {
		s.Fatal(err)
	}
	var kept []tree
	for _, e := range entries {
		if strings.HasPrefix(e.Name, "data.repair-") {
			kept = append(kept, get(s, k, "/"+e.Name))
		}
	}
	for _, name := range slices.Sorted(maps.Keys(is)) {
		named := func(name string) func(tree) bool { // or with a number behind it
			return func(t tree) bool {
				for n, b := range t {
					if rest, ok := strings.CutPrefix(n, name); ok && (rest == "" || rest[0] == '-') && string(b) == string(is[name]) {
						return true
					}
				}
				return false
			}
		}
		final, swapped := strings.CutSuffix(name, ".swap")
		if b, ok := now[name]; ok && string(b) == string(is[name]) || slices.ContainsFunc(kept, named(name)) {
			continue
		}
		if swapped && (string(now[final]) == string(is[name]) || slices.ContainsFunc(kept, func(t tree) bool {
			return slices.ContainsFunc([]string{final, final + "-2"}, func(n string) bool { return string(t[n]) == string(is[name]) })
		})) {
			continue // it had got its name, and may have been changed after that
		}
		s.Errorf("%s is not what it was, and there is no copy", name)
	}
}

func (s *repairSeed) after(k ring.Files, r *RepairReport, was, is tree) {
	v, err := Verify(k, "/data", VerifyOptions{Workers: 1})
	if err != nil || len(v.Problems) != len(r.Left) {
		s.Errorf("%v; afterwards %v\nleft: %v\ndone in %d rounds: %v", err, v.Problems, r.Left, r.Rounds, r.Actions)
		return
	}
	for _, p := range r.Left {
		if p.Kind != KindRecords && p.Kind != KindTopicID {
			s.Errorf("left: %v", p)
		}
	}
	now := get(s, k, "/data")
	s.copies(k, is, now)
	for _, partition := range []string{"orders-0", "plain-0"} {
		if len(is.names(partition+"/*.swap"))+len(is.names(partition+"/*.cleaned")) > 0 {
			continue // by its names another log is in force
		}
		if string(is[startFile]) != string(was[startFile]) {
			continue // its records may be deleted ones now
		}
		upTo, batches := intact(was, is, partition)
		s.kept += len(batches)
		_, all := intact(now, now, partition)
		for i, b := range batches {
			if i >= len(all) || string(all[i]) != string(b) {
				s.Errorf("%s: batch %d of the %d before the damage at offset %d is not what it was: %v", partition, i, len(batches), upTo, r.Actions)
				return
			}
		}
	}
}
