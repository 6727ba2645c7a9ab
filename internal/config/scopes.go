package config

// scope is a kind of thing that has settings.
type scope struct {
	all       []*Setting // in Kafka's order, internal ones included
	described []*Setting
	byName    map[string]*Setting
}

func newScope() *scope { return &scope{byName: map[string]*Setting{}} }

func (c *scope) add(s *Setting) {
	c.byName[s.Name] = s
	c.all = append(c.all, s)
	if !s.Internal {
		c.described = append(c.described, s)
	}
}

var topics, brokers, groups, clientMetrics = newScope(), newScope(), newScope(), newScope()

// scopes are by the first column of the table.
var scopes = map[string]*scope{"topic": topics, "broker": brokers, "group": groups, "client-metrics": clientMetrics}

// Topics lists the settings that a topic can have, in Kafka's order, without
// internal ones; the list is not the caller's.
func Topics() []*Setting { return topics.described }

// Brokers lists the settings that a broker can have: Kafka's in its order, then
// ours, without internal ones; the list is not the caller's.
func Brokers() []*Setting { return brokers.described }

// Groups lists the settings that a group can have, in Kafka's order; the list is
// not the caller's.
func Groups() []*Setting { return groups.described }

// ClientMetrics lists the settings of a subscription to clients' metrics, in
// Kafka's order; the list is not the caller's.
func ClientMetrics() []*Setting { return clientMetrics.described }

// Topic finds a topic setting, or nil.
func Topic(name string) *Setting { return topics.byName[name] }

// Broker finds a broker setting, or nil.
func Broker(name string) *Setting { return brokers.byName[name] }

// Group finds a group setting, or nil.
func Group(name string) *Setting { return groups.byName[name] }
