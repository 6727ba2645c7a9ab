package metrics

import (
	"cmp"
	"maps"
	"slices"
	"strconv"

	"slipstream/internal/broker"
	"slipstream/internal/quota"
)

// Quotas, under Kafka's names: a sensor for each scope of a bound. Only clients with a
// bound have one here.

const quotaShown = "while clients have quotas; of the first 1,000 scopes of each core"

func quotaFamily(kind, attribute, help string) *family {
	return declare(family{
		name: "kafka_server_" + kind + "_" + attribute, kind: gauge, help: help, labels: []string{"user", "client_id"},
		kafka: "kafka.server:type=" + kind + ",user=*,client-id=*, " + attribute, when: quotaShown,
	})
}

var quotaFamilies = map[quota.Kind]struct{ rate, throttle *family }{
	quota.ProduceBytes: {
		quotaFamily("produce", "byte_rate", "Bytes a second produced, over the windows of quotas."),
		quotaFamily("produce", "throttle_time", "The delay that producers were told of late, on average, in ms."),
	},
	quota.FetchBytes: {
		quotaFamily("fetch", "byte_rate", "Bytes a second fetched, over the windows of quotas."),
		quotaFamily("fetch", "throttle_time", "The delay that consumers were told of late, on average, in ms."),
	},
	quota.RequestTime: {
		quotaFamily("request", "request_time", "Time that cores spend for the client, in percent of one core."),
		quotaFamily("request", "throttle_time", "The delay that clients were told of late for it, on average, in ms."),
	},
}

var (
	throttledTotal   = own(counter, "slipstream_quota_throttled_total", "Responses that told a client to wait.", "core", "kind")
	throttledSeconds = own(counter, "slipstream_quota_throttled_seconds_total", "How long they did, together.", "core", "kind")
	doorWaiting      = own(gauge, "slipstream_connections_waiting", "Accepted connections that wait to be let in, for max.connections or max.connection.creation.rate.")
	doorWaited       = own(counter, "slipstream_connections_waited_total", "Connections that had to wait so.")
	doorThrottle     = own(counter, "slipstream_connections_throttle_seconds_total", "How long connections had to wait for max.connection.creation.rate, together.")
	doorRefused      = own(counter, "slipstream_connections_rejected_total", "Connections closed for a limit of their address.", "limit")
)

// quotaScope is what the cores tell of one scope.
type quotaScope struct{ rate, recent, recentMillis float64 }

type quotaKey struct {
	kind         quota.Kind
	user, client string
}

func (c *collector) putQuotas(out *output) {
	scopes := map[quotaKey]*quotaScope{}
	for i, s := range c.view.cores {
		if s == nil {
			continue
		}
		if i == 0 {
			putDoor(out, &s.Door)
		}
		core := strconv.Itoa(i)
		for kind, n := range s.Throttled {
			if quota.Kind(kind) != quota.ConnectionRate {
				out.count(throttledTotal, n.Count, core, quota.Kind(kind).String())
				out.put(throttledSeconds, float64(n.Millis)/1000, core, quota.Kind(kind).String())
			}
		}
		for j := range s.Quotas {
			addScope(scopes, &s.Quotas[j])
		}
	}
	keys := slices.SortedFunc(maps.Keys(scopes), func(a, b quotaKey) int {
		return cmp.Or(cmp.Compare(a.kind, b.kind), cmp.Compare(a.user, b.user), cmp.Compare(a.client, b.client))
	})
	for _, k := range keys {
		f, s := quotaFamilies[k.kind], scopes[k]
		if f.rate == nil {
			continue
		}
		out.put(f.rate, s.rate, k.user, k.client)
		average := 0.0
		if s.recent > 0 {
			average = s.recentMillis / s.recent
		}
		out.put(f.throttle, average, k.user, k.client)
	}
}

func addScope(scopes map[quotaKey]*quotaScope, f *broker.QuotaFigures) {
	k := quotaKey{f.Kind, f.User, f.Client}
	s := scopes[k]
	if s == nil {
		s = new(quotaScope)
		scopes[k] = s
	}
	s.rate += f.Rate
	s.recent += f.Recent
	s.recentMillis += f.RecentMillis
}

func putDoor(out *output, d *broker.DoorFigures) {
	out.put(doorWaiting, float64(d.Waiting))
	out.count(doorWaited, d.Waited)
	out.put(doorThrottle, float64(d.WaitedMillis)/1000)
	out.count(doorRefused, d.TooMany, "max.connections.per.ip")
	out.count(doorRefused, d.TooFast, "connection_creation_rate")
}
