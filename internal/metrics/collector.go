package metrics

import (
	"sync"
	"time"

	"slipstream/internal/broker"
	"slipstream/reactor"

	dto "github.com/prometheus/client_model/go"
)

// collector turns what the cores tell into metrics, one scrape at a time.
type collector struct {
	options Options
	broker  *broker.Broker
	begun   time.Time
	build   buildInfo

	mu     sync.Mutex
	cores  *cores
	view   view
	window window
	cache  cacheLimits
}

func newCollector(o Options, b *broker.Broker) *collector {
	c := &collector{options: o, broker: b, begun: time.Now(), cores: newCores(b), build: readBuild(o, b)}
	c.cache = newCacheLimits(o.CacheSeries)
	return c
}

// Gather implements prometheus.Gatherer.
func (c *collector) Gather() ([]*dto.MetricFamily, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	begun := time.Now()
	c.cores.gather(answerLimit)
	v := &c.view
	v.merge(c.cores)
	c.window.move(v, time.Now())
	out := newOutput()
	c.putBuild(out)
	c.putCores(out)
	c.putTimes(out)
	c.putStore(out)
	c.putKafkaTopics(out)
	c.putKafkaRequests(out)
	c.putTelemetry(out)
	c.putKafkaLogs(out)
	c.putKafkaServer(out)
	c.putQuotas(out)
	c.putKafkaController(out)
	c.putGroups(out)
	c.putTransactions(out)
	c.putShares(out)
	c.putMemory(out)
	c.putAttribution(out)
	out.put(scrapeSeconds, time.Since(begun).Seconds())
	return out.gathered(), nil
}

// view is the cores' figures together. Its memory is used again.
type view struct {
	cores []*broker.CoreSnapshot // by core; nil: has never answered
	times [reactor.RequestKinds]*reactor.RequestTimes
	idle  []uint64 // nanoseconds of each core that it had nothing to do

	topics     map[string]*broker.TopicFigures
	partitions []*broker.PartitionFigures
	all        broker.TopicCounters
	requests   [reactor.RequestKinds]broker.RequestCounts
	errors     [2]broker.ErrorCounts // of Produce and Fetch
}

func (v *view) merge(c *cores) {
	v.cores, v.partitions, v.topics = v.cores[:0], v.partitions[:0], make(map[string]*broker.TopicFigures)
	v.idle = v.idle[:0]
	v.all, v.errors = broker.TopicCounters{}, [2]broker.ErrorCounts{}
	clear(v.requests[:])
	for _, t := range v.times {
		if t != nil {
			*t = reactor.RequestTimes{}
		}
	}
	for i := range c.states {
		s := c.states[i].last
		v.cores = append(v.cores, s)
		if s == nil {
			v.idle = append(v.idle, 0)
			continue
		}
		v.idle = append(v.idle, s.Counters.ParkedNanos+s.Counters.SpunNanos)
		v.mergeRequests(s)
		v.mergeTopics(s)
		v.mergePartitions(s)
	}
}

func (v *view) mergeRequests(s *broker.CoreSnapshot) {
	for kind, from := range s.Times {
		if from == nil {
			continue
		}
		to := v.times[kind]
		if to == nil {
			to = new(reactor.RequestTimes)
			v.times[kind] = to
		}
		addTimes(to, from)
	}
	for key, counts := range s.Requests {
		if counts == nil {
			continue
		}
		for version, n := range counts {
			v.requests[key][version] += n
		}
	}
	for i, counts := range [...]*broker.ErrorCounts{&s.Produce, &s.Fetch} {
		for code, n := range counts {
			v.errors[i][code] += n
		}
	}
}

func addTimes(to, from *reactor.RequestTimes) {
	for s := range to.Stages {
		to.Stages[s].Add(&from.Stages[s])
	}
	to.Received.Add(&from.Received)
	to.Total.Add(&from.Total)
}

// mergeTopics adds up what came to each core. A topic that changed places while it
// was copied is there twice: the later one counts.
func (v *view) mergeTopics(s *broker.CoreSnapshot) {
	addCounters(&v.all, &s.All)
	seen := make(map[[16]byte]int, len(s.Topics))
	for i := range s.Topics {
		seen[s.Topics[i].ID] = i
	}
	for i := range s.Topics {
		t := &s.Topics[i]
		if seen[t.ID] != i {
			continue
		}
		sum := v.topics[t.Name]
		if sum == nil {
			sum = &broker.TopicFigures{Name: t.Name, Partitions: t.Partitions, MinInsyncReplicas: t.MinInsyncReplicas}
			v.topics[t.Name] = sum
		}
		addCounters(&sum.Counters, &t.Counters)
	}
}

func addCounters(to, from *broker.TopicCounters) {
	to.MessagesIn += from.MessagesIn
	to.BytesIn += from.BytesIn
	to.BytesOut += from.BytesOut
	to.BytesRejected += from.BytesRejected
	to.ProduceRequests += from.ProduceRequests
	to.FetchRequests += from.FetchRequests
	to.FailedProduce += from.FailedProduce
	to.FailedFetch += from.FailedFetch
	to.ShareFetchRequests += from.ShareFetchRequests
	to.FailedShareFetch += from.FailedShareFetch
	to.ShareAcknowledgeRequests += from.ShareAcknowledgeRequests
	to.FailedShareAcknowledge += from.FailedShareAcknowledge
	for rung, bytes := range from.Sent {
		to.Sent[rung] += bytes
	}
}

// mergePartitions lists partitions, each once: one of a topic that was deleted and
// made anew may be there with both its logs.
func (v *view) mergePartitions(s *broker.CoreSnapshot) {
	type name struct {
		topic     string
		partition int32
	}
	seen := make(map[name]int, len(s.Partitions))
	for i := range s.Partitions {
		seen[name{s.Partitions[i].ID.Topic, s.Partitions[i].ID.Partition}] = i
	}
	for i := range s.Partitions {
		p := &s.Partitions[i]
		if seen[name{p.ID.Topic, p.ID.Partition}] == i {
			v.partitions = append(v.partitions, p)
		}
	}
}

// windowLength is how long one sample of the window counts: the window, between
// the older sample and now, is one to two of them long.
const windowLength = time.Minute

// window is the recent past, for those of Kafka's figures that are of it: its
// percentiles forget what is minutes ago, where our histograms count from the start.
type window struct {
	older, newer *sample // nil: the start
}

type sample struct {
	at    time.Time
	times [reactor.RequestKinds]*reactor.RequestTimes
	idle  []uint64
}

// move takes a sample when the last one is old enough.
func (w *window) move(v *view, now time.Time) {
	if w.newer != nil && now.Sub(w.newer.at) < windowLength {
		return
	}
	taken := w.older // its memory is used again
	if taken == nil {
		taken = new(sample)
	}
	w.older, w.newer = w.newer, taken
	taken.at, taken.idle = now, append(taken.idle[:0], v.idle...)
	for kind, t := range v.times {
		switch {
		case t == nil:
			taken.times[kind] = nil
		case taken.times[kind] == nil:
			taken.times[kind] = new(reactor.RequestTimes)
			fallthrough
		default:
			*taken.times[kind] = *t
		}
	}
}

// recent is what a histogram counted in the window.
func (w *window) recent(kind int, all *reactor.Histogram, of func(t *reactor.RequestTimes) *reactor.Histogram) reactor.Histogram {
	h := *all
	if w.older != nil && w.older.times[kind] != nil {
		subtract(&h, of(w.older.times[kind]))
	}
	return h
}
