package quota

import "math"

// Kind is what a quota bounds.
type Kind uint8

// The kinds, each with a bound a second of its own.
const (
	ProduceBytes Kind = iota
	FetchBytes
	RequestTime         // percent of one core: 100 is all of it
	ControllerMutations // partitions created and deleted
	ConnectionRate      // connections from an address
	Kinds
)

var keys = [Kinds]string{"producer_byte_rate", "consumer_byte_rate", "request_percentage", "controller_mutation_rate", "connection_creation_rate"}

// String is the kind's name in quota requests and records.
func (k Kind) String() string { return keys[k] }

// KindOf finds a kind by its name.
func KindOf(key string) (k Kind, ok bool) {
	for i := range keys {
		if keys[i] == key {
			return Kind(i), true
		}
	}
	return 0, false
}

// Part is what an entity, or a scope, says of users or of client ids.
type Part uint8

const (
	Absent  Part = iota // nothing: all of them together
	Default             // any that has no quota of its own; not in a Scope
	Named               // one
)

// Entity is what a quota is set for.
type Entity struct {
	User, Client         Part
	UserName, ClientName string // empty but for Named
}

// Scope is who shares a bound: everybody of a user, of a client id, or of both. It is what rates are measured for.
type Scope struct {
	User, Client         Part // Absent or Named
	UserName, ClientName string
}

// Limits are the bounds of one kind.
type Limits struct {
	bounds map[Entity]float64
	levels [9]int // how many there are of each combination of parts
}

func level(user, client Part) int { return int(user)*3 + int(client) }

// Set sets the bound of an entity.
func (l *Limits) Set(e Entity, bound float64) {
	if l.bounds == nil {
		l.bounds = make(map[Entity]float64)
	}
	if _, ok := l.bounds[e]; !ok {
		l.levels[level(e.User, e.Client)]++
	}
	l.bounds[e] = bound
}

// Remove removes it.
func (l *Limits) Remove(e Entity) {
	if _, ok := l.bounds[e]; ok {
		delete(l.bounds, e)
		l.levels[level(e.User, e.Client)]--
	}
}

// Len is how many there are.
func (l *Limits) Len() int { return len(l.bounds) }

// precedence is the order in which Kafka looks for the quota of a client: the first that is set is in force.
var precedence = [...]struct{ user, client Part }{
	{Named, Named}, {Named, Default}, {Named, Absent},
	{Default, Named}, {Default, Default}, {Default, Absent},
	{Absent, Named}, {Absent, Default},
}

// Find is the bound in force for a client of a user, and who shares it. A bound for "any" user or client id is one for
// each of them. ok is false if none is in force. It keeps neither string, but the scope has them.
func (l *Limits) Find(user, clientID string) (bound float64, scope Scope, ok bool) {
	for _, p := range precedence {
		if l.levels[level(p.user, p.client)] == 0 {
			continue
		}
		e := Entity{User: p.user, Client: p.client}
		if p.user == Named {
			e.UserName = user
		}
		if p.client == Named {
			e.ClientName = clientID
		}
		bound, found := l.bounds[e]
		if !found {
			continue
		}
		if math.IsNaN(bound) {
			return 0, Scope{}, false
		}
		if p.user != Absent {
			scope.User, scope.UserName = Named, user
		}
		if p.client != Absent {
			scope.Client, scope.ClientName = Named, clientID
		}
		return bound, scope, true
	}
	return 0, Scope{}, false
}
