package reactor

import (
	"slices"
	"testing"
)

// observedFile is a file that the observer knows.
type observedFile struct{ *testFile }

func (observedFile) Observed() uint32 { return 7 }

// announcements is a CacheObserver that writes down what it is told.
type announcements struct {
	Unobserved
	t     *testing.T
	open  [ObservedReads]announced
	ended []announced
}

type announced struct {
	slot     int
	off      int64
	n, took  int
	underWay bool
}

func (a *announcements) Begin(slot int, file, reader uint32, off int64, n int) {
	if slot < 0 || slot >= ObservedReads || a.open[slot].underWay || file != 7 || reader != 9 || n <= 0 {
		a.t.Errorf("Begin(%d, %d, %d, %d, %d) with slot %+v", slot, file, reader, off, n, a.open)
		return
	}
	a.open[slot] = announced{slot: slot, off: off, n: n, underWay: true}
}

func (a *announcements) End(slot, n int) {
	o := &a.open[slot]
	if !o.underWay || n < 0 || n > o.n {
		a.t.Errorf("End(%d, %d) of %+v", slot, n, *o)
	}
	o.underWay, o.took = false, n
	a.ended = append(a.ended, *o)
}

// TestReadsAreAnnounced: each byte of a file that is sent or read is announced to
// the observer, in a slot that nothing else uses meanwhile, and taken back.
func TestReadsAreAnnounced(t *testing.T) {
	f := newTestFile(t, 4<<20)
	for rung := RungHot; rung < RungCount; rung++ {
		t.Run(rung.String(), func(t *testing.T) {
			if rung == RungCold {
				f.drop(t)
			} else {
				f.warm(t)
			}
			a := &announcements{t: t}
			svc := &service{}
			svc.request = func(r *Request) Disposition {
				b := r.Conn.Core.Arena.Alloc(5)
				copy(b.Bytes(), []byte{0, 0x30, 0, 2, 'm'}) // 3 MiB and two bytes
				b.Retain()
				r.AddBlock(b, 0, 5)
				f.refs.Add(1)
				r.AddFile(observedFile{f}, 1000, 3<<20, Purpose{Reader: 9})
				r.AddBlock(b, 4, 5)
				r.Finish()
				return Next
			}
			s := serve(t, Config{Rung: rung, Observer: a}, svc)
			c := s.dial()
			if _, err := c.Write([]byte{0, 0, 0, 0}); err != nil {
				t.Fatal(err)
			}
			got, err := readFrame(c, make([]byte, 4))
			if err != nil || string(got[5:5+3<<20]) != string(f.data[1000:1000+3<<20]) {
				t.Fatalf("other bytes: %v", err)
			}
			s.stop()
			a.check(rung)
		})
	}
}

func (a *announcements) check(rung Rung) {
	for _, o := range a.open {
		if o.underWay {
			a.t.Errorf("%+v is announced still", o)
		}
	}
	slices.SortStableFunc(a.ended, func(x, y announced) int { return int(x.off - y.off) })
	at := int64(1000)
	for _, o := range a.ended {
		if (o.slot == 0) != (rung == RungHot) {
			a.t.Errorf("%+v by the rung %s", o, rung)
		}
		if o.off > at || rung != RungCold && o.off != at {
			a.t.Errorf("%+v, where %d was next", o, at)
		}
		at = max(at, o.off+int64(o.took))
	}
	if at < 1000+3<<20 || rung != RungCold && at != 1000+3<<20 {
		a.t.Errorf("announced up to %d", at)
	}
}
