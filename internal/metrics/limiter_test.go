package metrics

import (
	"fmt"
	"math/rand/v2"
	"testing"
)

// TestLimiterStories: who gets a name, and what becomes of the others.
func TestLimiterStories(t *testing.T) {
	l := newLimiter(2, 1)
	step := func(want string, rest uint64, items ...any) {
		t.Helper()
		var list []item
		for i := 0; i < len(items); i += 2 {
			list = append(list, item{items[i].(string), []uint64{uint64(items[i+1].(int))}, i})
		}
		named, others := l.update(list, []uint64{rest})
		got := ""
		for _, it := range named {
			got += fmt.Sprint(it.key, "=", it.counts[0], " ")
		}
		if got += fmt.Sprint("others=", others[0]); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
	step("a=5 others=1", 1, "a", 5)
	step("a=6 c=9 others=4", 1, "a", 6, "b", 3, "c", 9)          // the busier one
	step("a=6 c=9 others=100", 1, "a", 6, "b", 99, "c", 9)       // names are kept
	step("c=10 b=120 others=100", 7, "b", 120, "c", 10)          // a is gone: its 6 are in rest now, and were told
	step("b=125 c=10 others=100", 7, "b", 125, "c", 10)          // what b has from now on is its own
	step("b=125 c=10 others=150", 7, "b", 125, "c", 10, "a", 50) // a is somebody new
	step("b=125 a=55 others=150", 7+10, "b", 125, "a", 55)       // c is gone, its 10 were told
	step("b=125 a=55 others=160", 7+10+10, "b", 125, "a", 55)    // the rest itself
}

// TestLimiterNeverGoesBack: no counter goes down, and all together are never more
// than there was.
func TestLimiterNeverGoesBack(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	l := newLimiter(5, 1)
	current, rest, total := map[string]uint64{}, uint64(0), uint64(0)
	told, others, moved := map[string]uint64{}, uint64(0), uint64(0)
	for range 3000 {
		key := fmt.Sprint("k", r.IntN(20))
		switch r.IntN(10) {
		case 0: // it goes, and what it counted is given to the rest
			rest += current[key]
			delete(current, key)
		default:
			n := r.Uint64N(100)
			current[key] += n
			total += n
		}
		var items []item
		for i := range 20 {
			if n, ok := current[fmt.Sprint("k", i)]; ok {
				items = append(items, item{fmt.Sprint("k", i), []uint64{n}, i})
			}
		}
		named, left := l.update(items, []uint64{rest})
		if len(named) > 5 {
			t.Fatalf("%d have names", len(named))
		}
		now := map[string]uint64{}
		for _, it := range named {
			if _, ok := told[it.key]; !ok {
				moved += it.counts[0]
			} else if it.counts[0] < told[it.key] {
				t.Fatalf("%s went from %d to %d", it.key, told[it.key], it.counts[0])
			}
			now[it.key] = it.counts[0]
		}
		if left[0] < others {
			t.Fatalf("the others went from %d to %d", others, left[0])
		}
		if left[0] > total {
			t.Fatalf("the others are %d, all together %d", left[0], total)
		}
		told, others = now, left[0]
	}
	if moved == 0 || others == 0 {
		t.Error("nothing moved")
	}
}
