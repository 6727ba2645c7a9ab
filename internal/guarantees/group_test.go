package guarantees

import (
	"strings"
	"testing"
)

var (
	a0 = Partition{"a", 0}
	a1 = Partition{"a", 1}
)

const second = int64(1e9)

// history is one told step by step; the first error ends it.
type history []func(g *Group) error

func nothing(f func(g *Group)) func(g *Group) error {
	return func(g *Group) error { f(g); return nil }
}

func given(at int64, member string, epoch int32, p ...Partition) func(*Group) error {
	return func(g *Group) error { return g.Given(at, member, epoch, p) }
}

func alive(member string, until int64) func(*Group) error {
	return nothing(func(g *Group) { g.Alive(member, until) })
}

func processed(member string, epoch int32, from, to int64) func(*Group) error {
	return func(g *Group) error { return g.Processed(member, epoch, a0, from, to) }
}

func commits(offset, floor int64) func(*Group) error {
	return func(g *Group) error { return g.Committed(a0, offset, floor) }
}

func fetches(offset, floor int64) func(*Group) error {
	return func(g *Group) error { return g.Fetched(a0, offset, floor) }
}

// Every promise is broken once, and found; and the same history without the breach
// is not complained about.
func TestGroupPromises(t *testing.T) {
	for _, c := range []struct {
		name string
		told history
		want string // "": nothing is wrong
	}{
		{"two members of one generation have a partition",
			history{given(0, "m1", 3, a0), given(0, "m2", 3, a1, a0)}, "in epoch 3 a-0 was given to m1 and to m2"},
		{"it moves with the generation",
			history{given(0, "m1", 3, a0), given(0, "m2", 4, a0)}, ""},
		{"a static member goes on under its instance id",
			history{given(0, "i1", 3, a0), nothing(func(g *Group) { g.Gone("i1") }), given(0, "i1", 3, a0)}, ""},
		{"given away before it was revoked",
			history{alive("m1", 10*second), given(0, "m1", 3, a0), alive("m2", 11*second), given(second, "m2", 4, a0)}, "was given to m2 in epoch 4 while m1 has it"},
		{"given away after it was revoked",
			history{alive("m1", 10*second), given(0, "m1", 3, a0), nothing(func(g *Group) { g.GaveUp("m1", []Partition{a0}) }),
				alive("m2", 11*second), given(second, "m2", 4, a0)}, ""},
		{"given away after the session",
			history{alive("m1", 10*second), given(0, "m1", 3, a0), alive("m2", 21*second), given(11*second, "m2", 4, a0)}, ""},
		{"a paused member reads an old answer",
			history{alive("m2", 2*second), alive("m1", 10*second), given(0, "m1", 4, a0), given(5*second, "m2", 3, a0)}, ""},
		{"one epoch is processed by two",
			history{given(0, "m1", 3, a0), processed("m1", 3, 0, 5), given(0, "m1", 4), given(0, "m2", 4, a0), processed("m2", 3, 5, 6)}, "processed by m1 and by m2"},
		{"processed without having it",
			history{given(0, "m1", 3, a1), processed("m1", 3, 0, 5)}, `which was given to ""`},
		{"made anew with the other protocol",
			history{nothing((*Group).MayRestart), alive("m1", 10*second), given(0, "m1", 3, a0), nothing(func(g *Group) { g.Gone("m1") }),
				alive("m2", 20*second), given(11*second, "m2", 1, a0), alive("m3", 20*second), given(12*second, "m3", 1, a0)}, "in epoch 1 a-0 was given to m2 and to m3"},
		{"made anew for two",
			history{nothing((*Group).MayRestart), alive("m1", 10*second), given(0, "m1", 2, a0), nothing(func(g *Group) { g.Gone("m1") }),
				alive("m2", 20*second), alive("m3", 20*second), given(second, "m2", 1, a0), given(second, "m3", 1, a1), given(2*second, "m3", 2, a0)}, "while m2 has it"},
		{"not made anew while somebody is there",
			history{nothing((*Group).MayRestart), alive("m1", 10*second), given(0, "m1", 3, a0), given(second, "m2", 3, a0)}, "in epoch 3 a-0 was given to m1 and to m2"},
		{"an epoch goes back",
			history{given(0, "m1", 3, a0), func(g *Group) error { return g.Epoch("m1", 2, 0) }}, "told epoch 2 after 3"},
		{"a group goes back",
			history{given(0, "m1", 3, a0), func(g *Group) error { return g.Joined("m2", 1, 3) }}, "joins at epoch 1, the group was at 3"},
		{"a zombie's commit", history{commits(10, -1), commits(7, 10)}, "offset 7 of a-0 was committed, 10 was before"},
		{"a zombie's commit of what is still its own",
			history{given(0, "m1", 3, a0), given(0, "m2", 4, a1), func(g *Group) error { return g.Accepted("m1", 3, g.Latest()) }}, "m1 committed in generation 3, the group was at 4"},
		{"a commit in the group's generation",
			history{given(0, "m1", 3, a0), func(g *Group) error { return g.Accepted("m1", 3, g.Latest()) }}, ""},
		{"two commits cross", history{commits(10, -1), commits(7, -1)}, ""},
		{"a commit is lost", history{commits(10, -1), fetches(-1, 10)}, "is told as -1, it was 10"},
		{"a commit is fetched", history{commits(10, -1), fetches(10, 10)}, ""},
		{"what was once fetched is gone", history{fetches(12, -1), fetches(10, 12)}, "is told as 10, it was 12"},
		{"the offset was removed",
			history{commits(10, -1), nothing(func(g *Group) { g.Removing(a0) }), fetches(-1, -1), nothing(func(g *Group) { g.Removed(a0) }), fetches(-1, -1), commits(3, -1)}, ""},
		{"a gap in the middle",
			history{given(0, "m1", 3, a0), processed("m1", 3, 0, 5), processed("m1", 3, 7, 9), func(g *Group) error { return g.Complete(a0, 0, 9) }}, "offsets 5 to 6 of a-0 were passed over"},
		{"nobody reads the end",
			history{given(0, "m1", 3, a0), processed("m1", 3, 0, 5), func(g *Group) error { return g.Complete(a0, 0, 6) }}, "offsets 5 to 5"},
		{"consumed by two, one after the other",
			history{given(0, "m1", 3, a0), processed("m1", 3, 2, 5), given(0, "m2", 4, a0), processed("m2", 4, 4, 9), func(g *Group) error { return g.Complete(a0, 2, 9) }}, ""},
		{"a storm",
			history{nothing((*Group).Cause), given(0, "m1", 5, a0), (*Group).Calm}, "epoch 5 after 1 reasons"},
		{"no storm",
			history{nothing((*Group).Cause), given(0, "m1", 4, a0), (*Group).Calm}, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			g := NewGroup("g")
			var err error
			for i, step := range c.told {
				if err = step(g); err != nil && i < len(c.told)-1 {
					t.Fatalf("step %d already fails: %v", i, err)
				}
			}
			expect(t, err, c.want)
		})
	}
}

func expect(t *testing.T, err error, want string) {
	t.Helper()
	switch {
	case want == "" && err != nil:
		t.Errorf("nothing is wrong, and it says: %v", err)
	case want != "" && (err == nil || !strings.Contains(err.Error(), want)):
		t.Errorf("it says %v, not %q", err, want)
	}
}

func TestRanges(t *testing.T) {
	var r Ranges
	in := map[int64]bool{}
	add := func(from, to int64) {
		r.Add(from, to)
		for i := from; i < to; i++ {
			in[i] = true
		}
		for i := range int64(40) {
			if _, _, gap := r.Gap(i, i+1); gap == in[i] {
				t.Fatalf("after [%d, %d): offset %d is in it: %v, and a gap: %v (%v)", from, to, i, in[i], gap, r.list)
			}
		}
	}
	for _, s := range [][2]int64{{5, 8}, {20, 22}, {8, 10}, {3, 5}, {15, 15}, {12, 13}, {9, 21}, {30, 31}, {0, 40}} {
		add(s[0], s[1])
	}
	if len(r.list) != 1 {
		t.Errorf("ranges that touch are not one: %v", r.list)
	}
	var few Ranges
	few.Add(2, 4)
	few.Add(6, 9)
	if from, to, ok := few.Gap(2, 9); !ok || from != 4 || to != 6 {
		t.Errorf("the gap is told as %d, %d, %v", from, to, ok)
	}
}
