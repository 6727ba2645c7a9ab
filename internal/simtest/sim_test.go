package simtest

import (
	"fmt"
	"maps"
	"os"
	"os/signal"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

func TestMain(m *testing.M) {
	debug.SetGCPercent(400) // a story's memory is short-lived: a fifth of the time goes otherwise
	os.Exit(m.Run())
}

// stories are the kinds of stories, in the order in which seeds take turns at them.
var stories = [...]func(*testing.T, uint64) (*run, error){oneSeed, oneSociety, oneFaulty}

// storyNamed are the stories as STORY names them: by the test of the first seeds of each.
var storyNamed = map[string]func(*testing.T, uint64) (*run, error){"TestSeeds": oneSeed, "TestSocietySeeds": oneSociety, "TestFaultSeeds": oneFaulty}

// outlined are the stories of which a part can be told.
var outlined = map[string]func(*testing.T, outline) (*run, error){"TestSeeds": playLogs, "TestSocietySeeds": playSociety, "TestFaultSeeds": playFaulty}

// TestSim is make sim: seeds from FIRST on, SEEDS of them, on all processors. It says
// what it is doing, goes on after a violation, and on an interrupt says where to go on.
func TestSim(t *testing.T) {
	if os.Getenv("SIM") == "" {
		t.Skip("SIM is not set")
	}
	_, n := seedsWanted(1000)
	first, _ := strconv.ParseUint(os.Getenv("FIRST"), 10, 64)
	s := &simulating{t: t, next: first, end: first + n, begun: time.Now(), said: time.Now()}
	if s.story = storyNamed[os.Getenv("STORY")]; s.story == nil && os.Getenv("STORY") != "" {
		t.Fatalf("STORY is one of %v", slices.Sorted(maps.Keys(storyNamed)))
	}
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, os.Interrupt, syscall.SIGTERM)
	defer signal.Stop(stop)
	go func() {
		<-stop
		s.mu.Lock()
		defer s.mu.Unlock()
		s.end = min(s.end, s.next)
	}()
	var workers sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		workers.Go(s.work)
	}
	workers.Wait()
	t.Logf("seeds %d to %d\n%s", first, s.end, &s.total)
	if s.end < first+n {
		t.Logf("interrupted; go on with: make sim FIRST=%d SEEDS=%d", s.end, first+n-s.end)
	}
	if len(s.failed) > 0 {
		slices.Sort(s.failed)
		t.Errorf("%d seeds found a violation: %v", len(s.failed), s.failed)
	}
}

// simulating is a run of many seeds.
type simulating struct {
	t     *testing.T
	begun time.Time
	story func(*testing.T, uint64) (*run, error) // nil: by turns

	mu        sync.Mutex
	next, end uint64
	said      time.Time
	failed    []uint64
	total     tally
}

func (s *simulating) work() {
	for {
		s.mu.Lock()
		seed := s.next
		if seed >= s.end {
			s.mu.Unlock()
			return
		}
		s.next++
		s.mu.Unlock()
		r, err := s.play(seed)
		s.finished(seed, r, err)
	}
}

// play runs the story of a seed. A panic of the broker is a violation.
func (s *simulating) play(seed uint64) (r *run, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("seed %d: panic: %v\n%s", seed, p, debug.Stack())
		}
	}()
	if s.story != nil {
		return s.story(s.t, seed)
	}
	return stories[seed%uint64(len(stories))](s.t, seed)
}

const sayEvery = 15 * time.Second

func (s *simulating) finished(seed uint64, r *run, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil {
		s.failed = append(s.failed, seed)
		s.t.Log(err)
	}
	s.total.seeds++
	s.total.wall = time.Since(s.begun)
	if r != nil {
		s.total.add(r)
	}
	if time.Since(s.said) > sayEvery {
		s.said = time.Now()
		left := time.Duration(float64(s.total.wall) / float64(s.total.seeds) * float64(s.end-s.next)).Round(time.Second)
		fmt.Printf("%d of %d seeds, %d violations, %v left\n", s.total.seeds, s.total.seeds+s.end-s.next, len(s.failed), left)
	}
}

// tally is what seeds have seen.
type tally struct {
	seeds      uint64
	wall       time.Duration
	simulated  int64 // nanoseconds
	acked      int   // records of plain and idempotent producers
	read       int   // records, by consumers, members and auditors
	outcomes   [3]int
	rebalances int
	compacted  int
	recalled   int
	ends       map[string]int // of the broker's lives
	done       map[string]int // what clients and administrators did
	fired      map[string]int // faults of plans, by kind
}

func (a *tally) add(r *run) {
	a.simulated += r.node.world.Elapsed()
	a.acked += r.acked
	a.read += r.read
	a.compacted += r.node.log.compacted
	if a.ends == nil {
		a.ends, a.done, a.fired = map[string]int{}, map[string]int{}, map[string]int{}
	}
	addCounts(a.ends, r.crashes)
	if r.faults != nil {
		addCounts(a.fired, r.faults.fired)
	}
	if r.society == nil {
		return
	}
	a.read += r.worked + r.audited
	a.recalled += r.recalled
	committed, aborted, unknown := r.truth.txns.Counts()
	for i, n := range []int{committed, aborted, unknown} {
		a.outcomes[i] += n
	}
	for _, c := range r.crews {
		a.rebalances += int(c.group.Latest())
		addCounts(a.done, c.events)
	}
	for _, d := range r.desks {
		addCounts(a.done, d.events)
	}
	addCounts(a.done, r.noise.done)
}

func addCounts(to, from map[string]int) {
	for what, n := range from {
		to[what] += n
	}
}

func (a *tally) String() string {
	var b strings.Builder
	cuts, kills := 0, 0
	for how, n := range a.ends {
		if strings.Contains(how, "power cut") && !strings.HasSuffix(how, "power cut false") || strings.HasSuffix(how, "kill false") {
			cuts += n
		} else if !strings.HasPrefix(how, "stop") {
			kills += n
		}
	}
	fmt.Fprintf(&b, "%d seeds in %v, %.1f simulated hours; %d records acknowledged, %d read\n", a.seeds, a.wall.Round(time.Second), float64(a.simulated)/3600e9, a.acked, a.read)
	fmt.Fprintf(&b, "%d power cuts, %d kills: %s\n", cuts, kills, counts(a.ends))
	fmt.Fprintf(&b, "transactions: %d committed, %d aborted, %d unknown; %d rebalances; %d compactions; %d states compared across a kill\n",
		a.outcomes[0], a.outcomes[1], a.outcomes[2], a.rebalances, a.compacted, a.recalled)
	faults := 0
	for _, n := range a.fired {
		faults += n
	}
	fmt.Fprintf(&b, "%d faults: %s\n", faults, counts(a.fired))
	fmt.Fprintf(&b, "clients: %s", counts(a.done))
	return b.String()
}

func counts(m map[string]int) string {
	var list []string
	for _, what := range slices.Sorted(maps.Keys(m)) {
		list = append(list, fmt.Sprintf("%s %d", what, m[what]))
	}
	return strings.Join(list, ", ")
}

// A run of many seeds takes all of them, counts what they saw, and is the same whoever
// runs which seed.
func TestSimRunsEverySeed(t *testing.T) {
	s := &simulating{t: t, next: 3, end: 13, begun: time.Now(), said: time.Now()}
	var workers sync.WaitGroup
	for range 2 {
		workers.Go(s.work)
	}
	workers.Wait()
	if s.total.seeds != 10 || s.next != 13 || len(s.failed) > 0 || s.total.acked == 0 || s.total.simulated == 0 || s.total.outcomes[0] == 0 {
		t.Errorf("after 10 seeds: next %d, failed %v\n%s", s.next, s.failed, &s.total)
	}
}
