package broker

import (
	"math"
	"net/netip"
	"strconv"
	"strings"

	"slipstream/internal/config"
	"slipstream/internal/metadata"
	"slipstream/internal/quota"
	"slipstream/reactor"
)

// Connection limits are the broker's, not a core's: max.connections,
// max.connections.per.ip, their overrides, max.connection.creation.rate and the
// connection_creation_rate of addresses. One core, the doorkeeper's, counts for all
// of them:
//
//	accept --knock--> doorkeeper: a slot? the rate? the address's rate and number?
//	   admit, or close now or later <--verdict--'
//	close --departure--> doorkeeper
//
// While nothing is limited nobody is asked or told; when a limit is set, cores first
// tell of the connections that they have. There is no atomic in it: an accept can
// well wait for two messages.
//
// What happens at a limit is Kafka's: over max.connections, and faster than
// max.connection.creation.rate, a connection waits to be let in, all others behind it;
// over an address's number it is closed at once; faster than an address's rate it is
// closed at the end of the time that it should have waited.
//
// Departures from Kafka: overrides name addresses, names of hosts are not looked up;
// there is one listener, and no limits of its own.

// doorCore is the core that counts.
const doorCore = 0

// ConnectionLimits are the settings. Math.MaxInt32 is none.
type ConnectionLimits struct {
	Max, PerAddress int
	Overrides       map[netip.Addr]int
	CreationRate    float64
}

// Connections implements TopicSettings.
func (k kafkaSettings) Connections(broker BrokerConfigs) ConnectionLimits {
	d := dynamic(nil, broker)
	l := ConnectionLimits{
		Max: int(k.number(d, "max.connections")), PerAddress: int(k.number(d, "max.connections.per.ip")),
		CreationRate: float64(k.number(d, "max.connection.creation.rate")),
	}
	for _, entry := range config.SplitList(k.static.BrokerValue(config.Broker("max.connections.per.ip.overrides"), d).Text) {
		at := strings.LastIndexByte(entry, ':')
		if at < 0 {
			continue
		}
		a, ok := metadata.ParseQuotaAddress(strings.Trim(strings.TrimSpace(entry[:at]), "[]"))
		n, err := strconv.Atoi(strings.TrimSpace(entry[at+1:]))
		if !ok || err != nil {
			continue
		}
		if l.Overrides == nil {
			l.Overrides = make(map[netip.Addr]int)
		}
		l.Overrides[a] = n
	}
	return l
}

func (l *ConnectionLimits) none() bool {
	return l.Max == math.MaxInt32 && l.PerAddress == math.MaxInt32 && len(l.Overrides) == 0 && l.CreationRate == math.MaxInt32
}

// addressRates are the connection_creation_rate of addresses.
type addressRates struct {
	of       map[netip.Addr]float64
	fallback float64 // of those without one; math.Inf: none
}

func addressRatesOf(im *metadata.Image) (r addressRates) {
	r.fallback = math.Inf(1)
	im.ClientQuotas(func(q *metadata.ClientQuotaRecord, _ bool) {
		if q.QuotaKey != quota.ConnectionRate.String() || len(q.Entity) != 1 {
			return
		}
		if q.Entity[0].EntityName == nil {
			r.fallback = q.Value
			return
		}
		if a, ok := metadata.ParseQuotaAddress(*q.Entity[0].EntityName); ok {
			if r.of == nil {
				r.of = make(map[netip.Addr]float64)
			}
			r.of[a] = q.Value
		}
	})
	return r
}

func (r *addressRates) none() bool { return len(r.of) == 0 && math.IsInf(r.fallback, 1) }

// door is a core's side of it.
type door struct {
	shard   *Shard
	limited bool // the doorkeeper is asked
}

// configure takes in changed settings and quotas.
func (d *door) configure() {
	s := d.shard
	limits, rates := s.broker.settings.Topics.Connections(s.brokerConfigs()), addressRatesOf(s.image)
	if s.core.ID == doorCore {
		k := &s.doorkeeper
		k.shape = s.broker.settings.Topics.Quotas().Clients
		k.limits, k.rates = limits, rates
		k.serve()
	}
	was := d.limited
	d.limited = !limits.none() || !rates.none()
	if d.limited && !was {
		(&headcount{shard: s, at: s.core.Connections()}).Deliver(s.core)
	}
}

// Arrived implements reactor.Doorkeeper.
func (s *Shard) Arrived(*reactor.Core, netip.AddrPort) reactor.Verdict {
	if s.door.limited {
		return reactor.Undecided
	}
	return reactor.Admitted
}

// Decide implements reactor.Doorkeeper.
func (s *Shard) Decide(a *reactor.Arrival) {
	s.tell(&knock{shard: s, arrival: a, from: a.Peer.Addr().Unmap()})
}

// tell takes a message to the doorkeeper.
func (s *Shard) tell(m reactor.Message) {
	if s.core.ID == doorCore {
		m.Deliver(s.core)
		return
	}
	s.core.Send(s.broker.shards[doorCore].core, m)
}

// left tells the doorkeeper of a connection that it has counted.
func (s *Shard) left(conn *reactor.Conn) {
	if state, ok := conn.User.(*connState); ok && state.counted {
		s.tell(&departure{s.broker.shards[doorCore], conn.Peer.Addr().Unmap()})
	}
}

// departure is a connection that has ended.
type departure struct {
	keeper *Shard
	from   netip.Addr
}

// Deliver implements reactor.Message.
func (d *departure) Deliver(*reactor.Core) { d.keeper.doorkeeper.leave(d.from) }

// headcount tells the doorkeeper of the connections that a core has already, some in
// each turn.
type headcount struct {
	shard *Shard
	at    int
}

// countedAtOnce is how many connections a turn counts.
const countedAtOnce = 512

// Deliver implements reactor.Message.
func (h *headcount) Deliver(c *reactor.Core) {
	found := &arrivals{keeper: h.shard.broker.shards[doorCore]}
	h.at = min(h.at, c.Connections())
	for n := 0; h.at > 0 && n < countedAtOnce; n++ {
		h.at--
		conn := c.ConnAt(h.at)
		if state := stateOf(conn); !state.counted {
			state.counted = true
			found.from = append(found.from, conn.Peer.Addr().Unmap())
		}
	}
	if len(found.from) > 0 {
		h.shard.tell(found)
	}
	if h.at > 0 {
		c.Send(c, h)
	}
}

// arrivals are connections that are there already.
type arrivals struct {
	keeper *Shard
	from   []netip.Addr
}

// Deliver implements reactor.Message.
func (a *arrivals) Deliver(*reactor.Core) {
	for _, from := range a.from {
		a.keeper.doorkeeper.enter(from)
	}
}
