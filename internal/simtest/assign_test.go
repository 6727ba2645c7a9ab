package simtest

import (
	"slices"
	"testing"

	"slipstream/internal/guarantees"
)

// assignee is a member as the leader of a classic group sees it.
type assignee struct {
	id         string
	owned      []guarantees.Partition
	generation int32 // in which it owned them
	gets       []guarantees.Partition
}

// divide hands all partitions out: by ranges, or so that each member keeps what it
// has as far as that is fair. Cooperatively nobody gets what another one still has.
func divide(members []assignee, counts map[string]int32, protocol string, cooperative bool) {
	var all []guarantees.Partition
	for name, n := range counts {
		for i := range n {
			all = append(all, guarantees.Partition{Topic: name, Number: i})
		}
	}
	slices.SortFunc(all, comparePartitions)
	if protocol == "range" {
		for i, p := range all {
			at := i * len(members) / len(all)
			members[at].gets = append(members[at].gets, p)
		}
		return
	}
	owner := owners(members)
	fair := (len(all) + len(members) - 1) / len(members)
	var left []guarantees.Partition
	for _, p := range all {
		if at, ok := owner[p]; ok && len(members[at].gets) < fair {
			members[at].gets = append(members[at].gets, p)
		} else {
			left = append(left, p)
		}
	}
	for _, p := range left {
		least := 0
		for i := range members {
			if len(members[i].gets) < len(members[least].gets) {
				least = i
			}
		}
		if at, ok := owner[p]; cooperative && ok && at != least {
			continue // in the next generation, when it has been given up
		}
		members[least].gets = append(members[least].gets, p)
	}
}

// owners is who has what: of two who say so, the one with the newer generation.
func owners(members []assignee) map[guarantees.Partition]int {
	owner := map[guarantees.Partition]int{}
	for i, m := range members {
		for _, p := range m.owned {
			if before, ok := owner[p]; !ok || members[before].generation < m.generation {
				owner[p] = i
			}
		}
	}
	return owner
}

func TestDivide(t *testing.T) {
	a := func(n int32) guarantees.Partition { return guarantees.Partition{Topic: "a", Number: n} }
	for _, c := range []struct {
		protocol    string
		cooperative bool
		want        [2][]guarantees.Partition
	}{
		{"range", false, [2][]guarantees.Partition{{a(0), a(1)}, {a(2)}}},
		{"sticky", false, [2][]guarantees.Partition{{a(0), a(1)}, {a(2)}}},
		{"cooperative-sticky", true, [2][]guarantees.Partition{{a(0), a(1)}, nil}},
	} {
		members := []assignee{{id: "x", owned: []guarantees.Partition{a(0), a(1), a(2)}, generation: 4}, {id: "y", owned: []guarantees.Partition{a(1)}, generation: 3}}
		divide(members, map[string]int32{"a": 3}, c.protocol, c.cooperative)
		for i := range members {
			if !slices.Equal(members[i].gets, c.want[i]) {
				t.Errorf("%s: %s gets %v, not %v", c.protocol, members[i].id, members[i].gets, c.want[i])
			}
		}
	}
}
