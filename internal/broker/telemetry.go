package broker

import (
	"hash/crc32"
	"slices"
	"strconv"
	"strings"

	"slipstream/internal/config"
	"slipstream/internal/metadata"
	"slipstream/protocol"
)

// Clients' metrics (KIP-714): which subscriptions are a client's, and how often it
// may ask and push. Each core knows the clients that speak to it; one that comes to
// another core is new there and gets the same subscription, whose number follows
// from it. What is pushed is counted and dropped: nobody here receives it.

// Bounds of what clients' metrics can make a core hold.
const (
	maxTelemetryClients  = 4096 // of a core; the one that was silent longest goes first
	maxTelemetryBytes    = 1 << 20
	defaultPushMillis    = 300_000
	allMetrics           = "*"
	maxClientSoftware    = 128 // bytes of a client's software name or version that are kept
	maxMetricsSubscribed = 1024
	maxSubscriptions     = 64 // that clients are matched against, the first by name
)

// TelemetryCounters count what clients push.
type TelemetryCounters struct {
	Pushes  uint64 // that were taken
	Bytes   uint64 // of metrics in them, as they came
	Refused uint64 // pushes and questions that were answered with an error
	Clients int    // that are remembered
}

// subscription is the settings of a CLIENT_METRICS resource.
type subscription struct {
	metrics        []string
	intervalMillis int32
	pattern        string // that match was made of
	match          config.ClientMatch
}

// telemetryClient is a client instance.
type telemetryClient struct {
	id             protocol.UUID
	generation     int // of the subscriptions that it was matched against
	metrics        []string
	intervalMillis int32
	subscription   int32

	lastGetMillis, lastPushMillis int64 // 0: never
	ending                        bool  // it has pushed for the last time
	lastError                     protocol.ErrorCode

	newer, older *telemetryClient
}

// telemetry is a core's half of it.
type telemetry struct {
	subscriptions  []subscription
	generation     int
	clients        map[protocol.UUID]*telemetryClient
	newest, oldest *telemetryClient
	counters       TelemetryCounters
}

// subscribe reads the subscriptions anew. Only patterns that have changed are compiled.
func (t *telemetry) subscribe(im *metadata.Image) {
	compiled := map[string]config.ClientMatch{}
	for i := range t.subscriptions {
		compiled[t.subscriptions[i].pattern] = t.subscriptions[i].match
	}
	t.generation++
	t.subscriptions = t.subscriptions[:0]
	names := im.ConfiguredNames(metadata.ResourceClientMetrics)
	for _, name := range names[:min(len(names), maxSubscriptions)] {
		sub := subscription{intervalMillis: defaultPushMillis}
		for _, e := range im.Configs(metadata.Resource{Type: metadata.ResourceClientMetrics, Name: name}) {
			switch e.Name { // checked when they were set
			case "metrics":
				sub.metrics = config.SplitList(e.Value)
			case "interval.ms":
				n, _ := strconv.ParseInt(strings.TrimSpace(e.Value), 10, 32)
				sub.intervalMillis = int32(n)
			case "match":
				sub.pattern = e.Value
				if sub.match = compiled[e.Value]; sub.match == nil {
					sub.match, _ = config.ParseClientMatch(e.Value)
				}
			}
		}
		t.subscriptions = append(t.subscriptions, sub)
	}
}

// client finds a client instance, or makes one, with the subscription that is its
// own now; describe says what it says of itself.
func (t *telemetry) client(id protocol.UUID, describe func(name string) string) *telemetryClient {
	c := t.clients[id]
	if c == nil {
		c = &telemetryClient{id: id}
		if t.clients == nil {
			t.clients = map[protocol.UUID]*telemetryClient{}
		}
		if len(t.clients) >= maxTelemetryClients {
			delete(t.clients, t.oldest.id)
			t.unlink(t.oldest)
		}
		t.clients[id] = c
	} else {
		t.unlink(c)
	}
	c.older = t.newest
	if t.newest != nil {
		t.newest.newer = c
	} else {
		t.oldest = c
	}
	t.newest = c
	if c.generation != t.generation || c.subscription == 0 {
		t.match(c, describe)
	}
	t.counters.Clients = len(t.clients)
	return c
}

func (t *telemetry) unlink(c *telemetryClient) {
	if c.newer != nil {
		c.newer.older = c.older
	} else {
		t.newest = c.older
	}
	if c.older != nil {
		c.older.newer = c.newer
	} else {
		t.oldest = c.newer
	}
	c.newer, c.older = nil, nil
}

// match gives a client the union of the subscriptions that match it, at the
// shortest of their intervals.
func (t *telemetry) match(c *telemetryClient, describe func(name string) string) {
	c.generation, c.metrics, c.intervalMillis = t.generation, nil, defaultPushMillis
	for i := range t.subscriptions {
		sub := &t.subscriptions[i]
		if !sub.match.Matches(describe) {
			continue
		}
		c.intervalMillis = min(c.intervalMillis, sub.intervalMillis)
		for _, m := range sub.metrics {
			if len(c.metrics) < maxMetricsSubscribed && !slices.Contains(c.metrics, m) {
				c.metrics = append(c.metrics, m)
			}
		}
	}
	if slices.Contains(c.metrics, allMetrics) {
		c.metrics = []string{allMetrics}
	}
	sum := crc32.MakeTable(crc32.Castagnoli)
	crc := crc32.Checksum([]byte(strings.Join(c.metrics, ",")+" "+strconv.Itoa(int(c.intervalMillis))), sum)
	c.subscription = int32(crc ^ crc32.Checksum(c.id[:], sum))
	if c.subscription == 0 {
		c.subscription = 1
	}
}

// mayGet says whether a client may ask for its subscription now: once an interval,
// and at once after a push that was refused because it does not know it.
func (c *telemetryClient) mayGet(nowMillis int64) bool {
	last := max(c.lastGetMillis, c.lastPushMillis)
	if last != 0 && nowMillis-last < int64(c.intervalMillis) &&
		c.lastError != protocol.UNKNOWN_SUBSCRIPTION_ID && c.lastError != protocol.UNSUPPORTED_COMPRESSION_TYPE {
		return false
	}
	c.lastGetMillis, c.lastError = nowMillis, protocol.NONE
	return true
}

// mayPush says whether a client may push now: once an interval, and at once after it
// has asked, because it begins at a random part of the interval.
func (c *telemetryClient) mayPush(nowMillis int64) bool {
	if c.lastGetMillis <= c.lastPushMillis && c.lastPushMillis != 0 && nowMillis-c.lastPushMillis < int64(c.intervalMillis) {
		return false
	}
	c.lastPushMillis = nowMillis
	return true
}

// pushed judges a push in Kafka's order.
func (c *telemetryClient) pushed(nowMillis int64, subscription int32, ending bool, codec int8, bytes int) protocol.ErrorCode {
	mayPush := c.mayPush(nowMillis)
	switch {
	case c.ending && !ending:
		return protocol.INVALID_REQUEST
	case !mayPush && !ending:
		return protocol.THROTTLING_QUOTA_EXCEEDED
	case subscription != c.subscription:
		return protocol.UNKNOWN_SUBSCRIPTION_ID
	case codec < 0 || codec > int8(protocol.Zstd):
		return protocol.UNSUPPORTED_COMPRESSION_TYPE
	case bytes > maxTelemetryBytes:
		return protocol.TELEMETRY_TOO_LARGE
	}
	return protocol.NONE
}
