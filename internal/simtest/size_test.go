package simtest

import "math/rand/v2"

// size is how long a seed's story is, and is drawn from the seed as well. Most of
// what can go wrong needs a few requests and a crash: short stories show it soonest.
// Some of it needs logs of many segments, many lives and everybody at once.
type size struct {
	name      string
	rounds    int   // lives of the broker, before the last
	lifeNanos int64 // at most, where only logs are looked at
	clients   int   // of 100, those that take part; one of a kind always does
	segment   int   // bytes, at least
	groups    int   // crews, the pipeline included
	busyNanos int64 // the longest life where coordinators are looked at
}

var sizes = [...]size{
	{name: "short", rounds: 1, lifeNanos: 6e6, clients: 40, segment: 6_000, groups: 1, busyNanos: 250e6},
	{name: "middle", rounds: 2, lifeNanos: 15e6, clients: 70, segment: 15_000, groups: 2, busyNanos: 500e6},
	{name: "long", rounds: 3, lifeNanos: 60e6, clients: 100, segment: 30_000, groups: int(crewKinds) + 1, busyNanos: 1400e6},
}

func drawSize(seed uint64) size {
	r := rand.New(rand.NewPCG(seed, 55))
	s := sizes[0]
	switch n := r.IntN(20); {
	case n == 0:
		s = sizes[2]
	case n < 5:
		s = sizes[1]
	}
	s.rounds = 1 + r.IntN(2*s.rounds)
	return s
}

// takesPart: of so many clients of a kind, those that are in the story.
func (s *size) takesPart(r *rand.Rand) bool { return r.IntN(100) < s.clients }

// storyNanos is about how long a story of logs is.
func (s *size) storyNanos() int64 { return s.lifeNanos * int64(s.rounds+1) }
