package clients

import (
	"context"
	"fmt"
	"maps"
	"math/rand"
	"os"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"slipstream/internal/clients/harness"
	"slipstream/internal/guarantees"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// soak is a load with consumer groups of every protocol over it, whose members come and go as they like.
type soak struct {
	t      *testing.T
	addr   string
	prefix string // of all its topics
	groups []*soakGroup
	calm   chan struct{}  // closed when no member may come or go any more
	over   chan struct{}  // closed at the very end
	quiet  chan struct{}  // closed when producers may stop
	ends   sync.WaitGroup // of clients that are closed on the side
	churn  sync.WaitGroup
	load   sync.WaitGroup
	admin  *kadm.Client

	mu     sync.Mutex
	topics []string
	acked  map[guarantees.Partition]int64 // how many records
	failed []error

	cutShort bool // a promise was broken before the time was over

}

// TestSoak lets members of four groups join, leave, crash, stand still and pause at random under a load with growing
// topics, for SOAK_MINUTES (make soak: 10; otherwise 20 s), with SOAK_CHAOS=1 and the broker killed now and then. What
// must hold is internal/guarantees': every record is processed, none by two members of one generation, committed offsets
// do not go back, and there is a reason for every rebalance.
func TestSoak(t *testing.T) {
	if testing.Short() {
		t.Skip("takes half a minute; not with -short")
	}
	harness.OwnBroker(t)
	t.Parallel()
	length := 20 * time.Second
	if minutes, err := strconv.ParseFloat(os.Getenv("SOAK_MINUTES"), 64); err == nil {
		length = time.Duration(minutes * float64(time.Minute))
	}
	b := harness.StartT(t, harness.Options{Set: []string{"group.initial.rebalance.delay.ms=0", "group.min.session.timeout.ms=1000",
		"group.consumer.min.heartbeat.interval.ms=200", "group.consumer.heartbeat.interval.ms=400",
		"group.consumer.min.session.timeout.ms=1000", "group.consumer.session.timeout.ms=3000"}})
	s := newSoak(t, b)
	s.grow(true)
	s.grow(true)
	for range 2 {
		s.start(&s.load, s.produce)
	}
	for _, g := range s.groups {
		for range 4 {
			s.start(&s.churn, func(rng *rand.Rand) { s.live(g, rng) })
		}
		s.start(&s.load, func(*rand.Rand) { s.watch(g) })
	}
	s.disturb(b, time.Now().Add(length))
	s.settle()
	s.report()
}

func newSoak(t *testing.T, b *harness.Broker) *soak {
	cl, err := kgo.NewClient(kgo.SeedBrokers(b.Addr), kgo.RetryTimeout(time.Minute), kgo.AlwaysRetryEOF())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cl.Close)
	s := &soak{t: t, addr: b.Addr, prefix: topicName(t, "soak") + "-", calm: make(chan struct{}), over: make(chan struct{}), quiet: make(chan struct{}),
		acked: map[guarantees.Partition]int64{}, admin: kadm.NewClient(cl)}
	eager := []kgo.Opt{kgo.Balancers(kgo.RangeBalancer())}
	cooperative := []kgo.Opt{kgo.Balancers(kgo.CooperativeStickyBalancer())}
	uniform := []kgo.Opt{kgo.ServerSideBalancer(), kgo.Balancers(kgo.StickyBalancer())}
	byRange := []kgo.Opt{kgo.ServerSideBalancer(), kgo.Balancers(kgo.RangeBalancer())}
	for name, protocols := range map[string][][]kgo.Opt{
		"range": {eager}, "cooperative": {cooperative}, "kip848-uniform": {uniform}, "kip848-by-range": {byRange},
		"both-protocols": {cooperative, uniform}, // upgraded and downgraded as its members come and go
	} {
		s.groups = append(s.groups, &soakGroup{s: s, name: name, protocols: protocols, seen: guarantees.NewGroup(name), odd: map[string]int{}, tally: map[string]int{}})
	}
	return s
}

func (s *soak) start(in *sync.WaitGroup, f func(rng *rand.Rand)) {
	in.Add(1)
	rng := rand.New(rand.NewSource(time.Now().UnixNano() + soakIDs.Add(1)))
	go func() { defer in.Done(); f(rng) }()
}

func (s *soak) fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.failed = append(s.failed, err)
}

// wait is true when the channel was closed within d.
func wait(done chan struct{}, d time.Duration) bool {
	select {
	case <-done:
		return true
	case <-time.After(d):
		return false
	}
}

// grow adds a topic, or two partitions to one that is there.
func (s *soak) grow(topic bool) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	s.mu.Lock()
	name := fmt.Sprint(s.prefix, len(s.topics))
	if !topic {
		name = s.topics[rand.Intn(len(s.topics))]
	}
	s.mu.Unlock()
	for _, g := range s.groups {
		g.happened("topics grew", 2)
	}
	if !topic {
		if _, err := s.admin.CreatePartitions(ctx, 2, name); err != nil {
			s.fail(fmt.Errorf("adding partitions: %w", err))
		}
		return
	}
	if err := harness.CreateTopic(s.addr, name, 3); err != nil {
		s.fail(err)
		return
	}
	s.mu.Lock()
	s.topics = append(s.topics, name)
	s.mu.Unlock()
}

// produce writes about a thousand records a second, in bursts, to all topics.
func (s *soak) produce(rng *rand.Rand) {
	cl, err := kgo.NewClient(kgo.SeedBrokers(s.addr), kgo.RecordPartitioner(kgo.RoundRobinPartitioner()), kgo.ProducerLinger(2*time.Millisecond),
		kgo.MetadataMinAge(100*time.Millisecond), kgo.MetadataMaxAge(500*time.Millisecond), kgo.AlwaysRetryEOF(), kgo.RecordRetries(1<<30),
		kgo.RetryTimeout(2*time.Minute), kgo.MaxBufferedRecords(20_000))
	if err != nil {
		s.fail(err)
		return
	}
	defer cl.Close()
	pad := make([]byte, 400)
	for !wait(s.quiet, time.Duration(5+rng.Intn(30))*time.Millisecond) {
		s.mu.Lock()
		topic := s.topics[rng.Intn(len(s.topics))]
		s.mu.Unlock()
		for range 1 + rng.Intn(40) {
			cl.Produce(context.Background(), &kgo.Record{Topic: topic, Key: []byte(topic), Value: pad[:rng.Intn(len(pad))]}, func(r *kgo.Record, err error) {
				if err != nil {
					s.fail(fmt.Errorf("producing: %w", err))
					return
				}
				s.mu.Lock()
				defer s.mu.Unlock()
				s.acked[guarantees.Partition{Topic: r.Topic, Number: r.Partition}]++
			})
		}
	}
	if err := cl.Flush(context.Background()); err != nil {
		s.fail(err)
	}
}

// live is one place in a group: members take it one after the other until it is calm; the last stays to the end.
func (s *soak) live(g *soakGroup, rng *rand.Rand) {
	for {
		m, err := g.join()
		if err != nil {
			s.fail(err)
			return
		}
		g.happened("joined", 1)
		end := time.Now().Add(time.Duration(1+rng.Intn(12_000)) * time.Millisecond)
		for time.Now().Before(end) || wait(s.calm, 0) {
			m.work(rng)
			if wait(s.over, 0) {
				m.leave()
				return
			}
			if !wait(s.calm, 0) {
				m.stumble(rng)
			}
		}
		if rng.Intn(3) == 0 {
			m.crash()
		} else {
			m.leave()
		}
		wait(s.calm, time.Duration(rng.Intn(2000))*time.Millisecond)
	}
}

// stumble pauses now and then: mostly for a moment, in which the member keeps its session; seldom cut off for longer than
// that, so that it comes back as one that the group has given up.
func (m *soakMember) stumble(rng *rand.Rand) {
	switch n := rng.Intn(600); {
	case n < 5:
		m.g.happened("paused", 0)
		time.Sleep(time.Duration(rng.Intn(1500)) * time.Millisecond)
	case n < 6:
		m.g.happened("frozen", 3)
		length := soakSession + time.Duration(rng.Intn(2000))*time.Millisecond
		time.AfterFunc(length, m.net.freeze())
		for end := time.Now().Add(length); time.Now().Before(end); {
			m.work(rng) // what was fetched before, as a member does that does not know
		}
	}
}

// watch fetches a group's committed offsets as its owner would, again and again.
func (s *soak) watch(g *soakGroup) {
	for !wait(s.over, 200*time.Millisecond) {
		if _, err := s.committed(g); err != nil {
			g.oddity("fetching offsets", err)
		}
	}
}

// committed asks for a group's offsets, and holds them against what is known of them.
func (s *soak) committed(g *soakGroup) (kadm.OffsetResponses, error) {
	floors := map[guarantees.Partition]int64{}
	s.mu.Lock()
	g.mu.Lock()
	for p := range s.acked {
		floors[p] = g.seen.Committable(p)
	}
	g.mu.Unlock()
	s.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	offsets, err := s.admin.FetchOffsets(ctx, g.name)
	if err != nil {
		return nil, err
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	for p, floor := range floors {
		at := int64(-1)
		if o, ok := offsets.Lookup(p.Topic, p.Number); ok {
			if o.Err != nil {
				return nil, o.Err
			}
			at = o.At
		}
		g.hold(g.seen.Fetched(p, at, floor))
	}
	return offsets, nil
}

// disturb lets topics grow and, with SOAK_CHAOS=1, kills the broker, until the time is over.
func (s *soak) disturb(b *harness.Broker, until time.Time) {
	growth := time.NewTicker(max(time.Until(until)/8, time.Second))
	defer growth.Stop()
	kills := make(<-chan time.Time)
	if os.Getenv("SOAK_CHAOS") == "1" {
		ticker := time.NewTicker(max(min(time.Until(until)/4, 17*time.Second), time.Second))
		defer ticker.Stop()
		kills = ticker.C
	}
	over := time.After(time.Until(until))
	for grown := 0; ; {
		select {
		case <-growth.C:
			grown++
			s.grow(grown%3 == 0)
		case <-kills:
			b.Kill()
			for _, g := range s.groups {
				g.happened("broker killed", 4)
			}
			b = harness.RestartT(s.t, b)
		case <-over:
			return
		}
		if s.anyBroken() {
			s.cutShort = true
			return
		}
	}
}

func (s *soak) anyBroken() bool {
	s.mu.Lock()
	n := len(s.failed)
	s.mu.Unlock()
	for _, g := range s.groups {
		g.mu.Lock()
		n += len(g.broken)
		g.mu.Unlock()
	}
	return n > 0
}

// settle ends the coming and going, then the load, and waits until every group has committed everything.
func (s *soak) settle() {
	close(s.calm)
	close(s.quiet)
	deadline := time.Now().Add(90 * time.Second)
	for _, g := range s.groups {
		for {
			behind := s.behind(g)
			if behind == "" || s.anyBroken() {
				s.cutShort = s.cutShort || behind != ""
				break
			}
			if time.Now().After(deadline) {
				s.fail(fmt.Errorf("group %s is still behind: %s", g.name, behind))
				break
			}
			time.Sleep(100 * time.Millisecond)
		}
	}
	close(s.over)
	s.churn.Wait()
	s.load.Wait()
	s.ends.Wait()
}

// behind says what a group has not committed of what was acknowledged.
func (s *soak) behind(g *soakGroup) string {
	offsets, err := s.committed(g)
	if err != nil {
		return err.Error()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for p, n := range s.acked {
		if o, ok := offsets.Lookup(p.Topic, p.Number); !ok || o.At < n {
			return fmt.Sprintf("%s-%d is at %d of %d", p.Topic, p.Number, o.At, n)
		}
	}
	return ""
}

func (s *soak) report() {
	s.mu.Lock()
	defer s.mu.Unlock()
	total := int64(0)
	for _, n := range s.acked {
		total += n
	}
	s.t.Logf("%d records to %d partitions of %d topics", total, len(s.acked), len(s.topics))
	if total == 0 {
		s.t.Error("nothing was produced")
	}
	ends, err := s.admin.ListEndOffsets(context.Background(), s.topics...)
	if err != nil {
		s.t.Error(err)
	}
	for p, n := range s.acked {
		if end, ok := ends.Lookup(p.Topic, p.Number); !ok || end.Offset != n {
			s.t.Errorf("%s-%d ends at %d, %d records were acknowledged (%v)", p.Topic, p.Number, end.Offset, n, end.Err)
		}
	}
	for _, err := range s.failed[:min(len(s.failed), 10)] {
		s.t.Error(err)
	}
	for _, g := range s.groups {
		g.mu.Lock()
		if len(s.failed)+len(g.broken) == 0 && !s.cutShort {
			for p, n := range s.acked {
				g.hold(g.seen.Complete(p, 0, n))
			}
		}
		g.hold(g.seen.Calm())
		for _, err := range g.broken[:min(len(g.broken), 10)] {
			s.t.Error(err)
		}
		s.t.Logf("group %s: epoch %d; %s", g.name, g.seen.Latest(), counted(g.tally))
		if len(g.odd) > 0 {
			s.t.Logf("group %s met: %s", g.name, counted(g.odd))
		}
		g.mu.Unlock()
	}
}

func counted(m map[string]int) (text string) {
	for _, k := range slices.Sorted(maps.Keys(m)) {
		text += fmt.Sprintf("%s: %d; ", k, m[k])
	}
	return text
}
