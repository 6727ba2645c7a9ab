package logtool

import (
	"bytes"
	"testing"

	"slipstream/internal/sim"
)

// FuzzRepair takes any bytes for the files of a partition: a repair comes to an end, what it leaves it has said, and a second one has
// nothing to do.
func FuzzRepair(f *testing.F) {
	log := seedLog()
	f.Add(log, []byte{0, 0, 0, 3, 0, 0, 0, 90}, []byte{}, []byte{}, []byte{0, 1}, []byte("0\n1\n0 0\n"), uint8(0))
	f.Add(log[:len(log)-5], []byte{1}, []byte{2}, make([]byte, 34), make([]byte, 56), []byte("0\n"), uint8(1))
	f.Add(append(bytes.Clone(log), log...), make([]byte, 16), make([]byte, 24), []byte{}, []byte{}, []byte{}, uint8(130))
	f.Add(append(append(bytes.Clone(log[:100]), 0, 1, 2), log...), []byte{}, []byte{}, []byte{}, []byte{}, []byte{}, uint8(3))
	f.Fuzz(func(t *testing.T, log, index, times, aborted, snapshot, epochs []byte, which uint8) {
		const dir = "orders-0/"
		files := tree{
			dir + "00000000000000000000.log": log, dir + "00000000000000000000.index": index, dir + "00000000000000000000.timeindex": times,
			dir + "00000000000000000000.txnindex": aborted, dir + "00000000000000000005.snapshot": snapshot, dir + epochFile: epochs,
			dir + "00000000000000000004.log": log[len(log)/2:],
		}
		if which&2 != 0 {
			files[cleanShutdown] = nil
		}
		if which&4 != 0 {
			delete(files, dir+"00000000000000000004.log")
		}
		k := sim.New(1, sim.Options{DiskBytes: 1 << 28}).Kernel()
		files.put(t, k)
		o := RepairOptions{Yes: true, SkipBatches: which&1 != 0, NowNanos: 1}
		o.Workers = 1
		r, err := Repair(k, []string{"/data"}, o)
		if err != nil {
			t.Fatal(err)
		}
		v, err := Verify(k, "/data", VerifyOptions{Workers: 1})
		if err != nil || len(v.Problems) != len(r.Left) {
			t.Fatalf("%v; afterwards %v\nleft: %v\ndone: %v", err, v.Problems, r.Left, r.Actions)
		}
		again, err := Repair(k, []string{"/data"}, o)
		if err != nil || len(again.Actions) > 0 {
			t.Fatalf("a second time: %v: %v", err, again.Actions)
		}
	})
}
