package storage

import (
	"fmt"
	"path/filepath"
	"reflect"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"slipstream/ring"
)

// TestSegmentsAreValidatedTogether: on many threads it comes to what it comes to on one, whatever is torn, and progress adds up.
func TestSegmentsAreValidatedTogether(t *testing.T) {
	cfg := smallConfig()
	cfg.SegmentBytes = 2600
	made := crashLog(t, cfg, 110)
	bases := slices.Collect(logsOf(t, made.dir))
	if len(bases) < 2*aheadSegments {
		t.Fatalf("%d segments", len(bases))
	}
	for torn := -1; torn < len(bases); torn += 9 {
		var dirs [2]string
		var reports [2]RecoveryReport
		var ends [2]Offsets
		for i := range dirs {
			dirs[i] = filepath.Join(t.TempDir(), "events-0")
			copyDir(t, made.dir, dirs[i])
			if torn >= 0 {
				name := bases[torn]
				b := mustRead(t, dirs[i], name)
				b[len(b)/2] ^= 0xff
				mustWrite(t, filepath.Join(dirs[i], name), b)
			}
			var told atomic.Int64
			o := OpenOptions{Told: func(n int64) { told.Add(n) }}
			if i == 1 {
				o.Parallel = func(n int, do func(int)) {
					var wait sync.WaitGroup
					for j := range n {
						wait.Go(func() { do(j) })
					}
					wait.Wait()
				}
			}
			total := BytesToValidate(ring.NewLinux(), dirs[i], 0)
			p, report, err := Open(ring.NewLinux(), dirs[i], cfg, o)
			if err != nil {
				t.Fatal(err)
			}
			if got := told.Load(); got > total || torn < 0 && got != total || got < report.BytesScanned {
				t.Errorf("told of %d of %d bytes, %d were scanned", got, total, report.BytesScanned)
			}
			reports[i], ends[i] = report, p.Offsets()
		}
		if !reflect.DeepEqual(reports[0], reports[1]) || ends[0] != ends[1] || fmt.Sprint(listDir(t, dirs[0])) != fmt.Sprint(listDir(t, dirs[1])) {
			t.Errorf("segment %d is torn: %+v %+v alone, %+v %+v together", torn, reports[0], ends[0], reports[1], ends[1])
		}
		if torn >= 0 && reports[0].BytesCut == 0 {
			t.Errorf("segment %d is torn, and nothing was cut", torn)
		}
	}
}
