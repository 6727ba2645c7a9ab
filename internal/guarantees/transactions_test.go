package guarantees

import "testing"

// world is a cluster's transactions and the one that a case is about.
type world struct {
	*Transactions
	t *Transaction
}

type told []func(w *world) error

func does(f func(w *world)) func(w *world) error {
	return func(w *world) error { f(w); return nil }
}

func writes(id string, p Partition, offset int64) func(*world) error {
	return func(w *world) error {
		w.Writes(w.t, p, id)
		if offset < 0 {
			return nil
		}
		return w.Wrote(w.t, id, offset)
	}
}

func ends(commit, answered bool) func(*world) error {
	return func(w *world) error {
		w.t.Ending(commit)
		if answered {
			return w.t.Ended(commit)
		}
		return nil
	}
}

func visible(id string, offset int64) func(*world) error {
	return func(w *world) error { return w.Visible(a0, offset, id) }
}

func stableAt(now, lso, hw, floor int64) func(*world) error {
	return func(w *world) error { return w.Stable(a0, now, lso, hw, floor, 5*second) }
}

func complete(in0, in1 []string) func(*world) error {
	return func(w *world) error { return w.Complete(map[Partition][]string{a0: in0, a1: in1}) }
}

func TestTransactionPromises(t *testing.T) {
	both := told{writes("x", a0, 4), writes("y", a1, 7)}
	with := func(steps ...func(*world) error) told { return append(both[:len(both):len(both)], steps...) }
	for _, c := range []struct {
		name string
		told told
		want string
	}{
		{"read before its end", with(visible("x", 4)), "its transaction t is open"},
		{"read after an abort", with(ends(false, true), visible("x", 4)), "its transaction t is aborted"},
		{"read after an abort without an answer", with(ends(false, false), visible("x", 4)), "its transaction t is aborted"},
		{"read of one that timed out", with(does(func(w *world) { w.t.GivenUp() }), visible("x", 4)), "its transaction t is open"},
		{"committed before another took over", with(does(func(w *world) { w.t.GivenUp() }), ends(true, true), visible("x", 4)), ""},
		{"read after a commit", with(ends(true, true), visible("x", 4)), ""},
		{"read after a commit without an answer", with(ends(true, false), visible("x", 4)), ""},
		{"somewhere else", with(ends(true, true), visible("x", 5)), "acknowledged at 4"},
		{"nobody's", with(visible("z", 9)), "which nobody wrote"},
		{"the offset passes an open transaction", with(stableAt(second, 5, 9, 0)), "has passed record x at 4 of the open transaction t"},
		{"it stops at an open transaction", with(stableAt(second, 4, 9, 0)), ""},
		{"it passes one that may have timed out", with(stableAt(11*second, 5, 9, 0)), ""},
		{"it passes one that is ending", with(ends(true, false), stableAt(second, 5, 9, 0)), ""},
		{"it goes back", told{stableAt(0, 5, 9, 0), stableAt(1, 4, 9, 5)}, "told as 4, it was 5"},
		{"it is above the high watermark", told{stableAt(0, 10, 9, 0)}, "above the high watermark"},
		{"a transaction hangs", told{stableAt(0, 5, 9, 0), stableAt(4*second, 5, 9, 5), stableAt(6*second, 5, 10, 5)}, "outlives its timeout"},
		{"one follows another", told{stableAt(0, 5, 9, 0), stableAt(4*second, 6, 9, 5), stableAt(6*second, 6, 10, 5)}, ""},
		{"the broker was down", told{stableAt(0, 5, 9, 0), does(func(w *world) { w.Stopped() }), stableAt(6*second, 5, 10, 5)}, ""},
		{"a torn transaction", with(ends(true, false), complete([]string{"x"}, nil)), "torn"},
		{"all of it", with(ends(true, false), complete([]string{"x"}, []string{"y"})), ""},
		{"nothing of it", with(ends(true, false), complete(nil, nil)), ""},
		{"a committed record is missing", with(ends(true, true), complete([]string{"x"}, nil)), "is committed and 1 of its records cannot be read: y"},
		{"an aborted record is there", with(ends(false, true), complete([]string{"x"}, nil)), "aborted and 1 of its records can be read"},
		{"twice", with(ends(true, true), complete([]string{"x", "x"}, []string{"y"})), "can be read twice"},
		{"out of order", told{writes("x", a0, -1), writes("y", a0, -1), ends(true, true), complete([]string{"y", "x"}, nil)}, "comes after y, which was written later"},
		{"in the wrong place", with(ends(true, true), complete([]string{"x", "y"}, nil)), "was not written there"},
		{"committed after all", with(ends(false, true), func(w *world) error { return w.t.Ended(true) }), "was accepted"},
		{"refused the first time", with(ends(true, false), does(func(w *world) { w.t.Refused() }), visible("x", 4)), "is aborted"},
		{"refused the second time", with(ends(true, false), ends(true, false), does(func(w *world) { w.t.Refused() }), visible("x", 4)), ""},
		{"two offsets", with(func(w *world) error { return w.Wrote(w.t, "x", 5) }), "acknowledged at offset 4 and at 5"},
	} {
		t.Run(c.name, func(t *testing.T) {
			ts := NewTransactions()
			w := &world{ts, ts.Begin("t", 0, 10*second)}
			var err error
			for i, step := range c.told {
				if err = step(w); err != nil && i < len(c.told)-1 {
					t.Fatalf("step %d already fails: %v", i, err)
				}
			}
			expect(t, err, c.want)
		})
	}
}

func TestPipelinePromises(t *testing.T) {
	inputs := []Input{{a0, 0}, {a0, 2}, {a1, 0}}
	for _, c := range []struct {
		name    string
		offsets map[Partition]int64
		outputs map[Input]int
		want    string
	}{
		{"exactly once", map[Partition]int64{a0: 2}, map[Input]int{{a0, 0}: 1}, ""},
		{"the output without the offset", map[Partition]int64{a0: 1}, map[Input]int{{a0, 0}: 1, {a0, 2}: 1}, "of offset 2 of a-0 1 outputs"},
		{"the offset without the output", map[Partition]int64{a0: 3, a1: 1}, map[Input]int{{a0, 0}: 1, {a0, 2}: 1}, "of offset 0 of a-1 0 outputs"},
		{"twice", map[Partition]int64{a0: 1}, map[Input]int{{a0, 0}: 2}, "2 outputs"},
		{"of nothing", map[Partition]int64{}, map[Input]int{{a0, 1}: 1}, "made of offset 1 of a-0, where nothing can be read"},
	} {
		t.Run(c.name, func(t *testing.T) { expect(t, Pipeline(inputs, c.offsets, c.outputs), c.want) })
	}
}
