package config

import (
	"slices"
	"strconv"
	"strings"
)

// Source is where a value comes from, numbered as DescribeConfigs numbers it
// (DescribeConfigsResponse.ConfigSource in Kafka).
type Source int8

// Sources of values, for a topic or a broker the strongest first.
const (
	DynamicTopic  Source = 1
	DynamicBroker Source = 2
	DynamicAll    Source = 3 // dynamic, for all brokers
	Static        Source = 4 // server.properties, --set, flags
	Default       Source = 5

	DynamicLogger        Source = 6
	DynamicClientMetrics Source = 7
	DynamicGroup         Source = 8
)

// Lookup finds a dynamic setting by name.
type Lookup func(name string) (value string, ok bool)

// Dynamic is what the metadata log sets on top of a Config. Each may be nil.
type Dynamic struct {
	Topic  Lookup // of the topic in question
	Group  Lookup // of the group in question
	Broker Lookup // of this broker
	All    Lookup // of all brokers
}

func (l Lookup) find(name string) (string, bool) {
	if l == nil {
		return "", false
	}
	return l(name)
}

// Parsed is a checked value as Kafka writes it once it has read it: whoever compares
// or describes values meets one spelling of each, however it was set. What does not
// read as the setting's type is left as it is.
func (s *Setting) Parsed(text string) string {
	trimmed := strings.TrimSpace(text)
	switch s.Kind {
	case Boolean:
		return strings.ToLower(trimmed)
	case Int, Short, Long:
		if n, err := strconv.ParseInt(trimmed, 10, 64); err == nil {
			return strconv.FormatInt(n, 10)
		}
	case Double:
		if f, ok := parseJavaDouble(trimmed); ok {
			return javaDouble(f)
		}
	case List:
		var parts []string
		for _, part := range SplitList(trimmed) {
			if !slices.Contains(parts, part) {
				parts = append(parts, part)
			}
		}
		return strings.Join(parts, ",")
	case Password, Unknown:
		return text
	}
	return trimmed
}

// Level is one place that gives a setting, or a synonym of it, a value.
type Level struct {
	Name   string // the synonym's
	Value  string
	Source Source
}

// Value is a setting's value in force.
type Value struct {
	Text   string
	Null   bool // Text is not a value
	Source Source
}

// TopicLevels lists every level at which a topic setting has a value, the
// strongest first, as Kafka describes them: nothing before the first level of
// the first synonym.
func (c *Config) TopicLevels(s *Setting, d Dynamic) (levels []Level) {
	if v, ok := d.Topic.find(s.Name); ok {
		levels = append(levels, Level{s.Name, s.Parsed(v), DynamicTopic})
	}
	if s.Synonym != "" {
		levels = append(levels, c.brokerLevels(s.Synonym, d)...)
	}
	return levels
}

// TopicValue is a topic setting's value in force: the topic's own, or that of the
// first synonym that has one, in this setting's unit, or the default.
func (c *Config) TopicValue(s *Setting, d Dynamic) Value {
	if v, ok := d.Topic.find(s.Name); ok {
		return Value{Text: s.Parsed(v), Source: DynamicTopic}
	}
	v := Value{Text: s.Default, Null: s.None, Source: Default}
	if levels := c.TopicLevels(s, d); len(levels) > 0 {
		v.Source = levels[0].Source
	}
	for _, y := range s.Synonyms {
		if b := c.BrokerValue(brokers.byName[y.Name], d); !b.Null {
			v.Text, v.Null = scale(b.Text, y.Factor), false
			break
		}
	}
	return v
}

// GroupLevels is TopicLevels for a group's setting. One without a synonym has its
// default as a level, as in Kafka.
func (c *Config) GroupLevels(s *Setting, d Dynamic) (levels []Level) {
	if v, ok := d.Group.find(s.Name); ok {
		levels = append(levels, Level{s.Name, s.Parsed(v), DynamicGroup})
	}
	if s.Synonym == "" {
		return append(levels, Level{s.Name, s.Default, Default})
	}
	return append(levels, c.brokerLevels(s.Synonym, d)...)
}

// GroupValue is a group setting's value in force.
func (c *Config) GroupValue(s *Setting, d Dynamic) Value {
	if v, ok := d.Group.find(s.Name); ok {
		return Value{Text: s.Parsed(v), Source: DynamicGroup}
	}
	if s.Synonym == "" {
		return Value{Text: s.Default, Source: Default}
	}
	return c.BrokerValue(brokers.byName[s.Synonym], d)
}

// scale changes the unit of a time; negative ones are "without limit".
func scale(text string, factor int64) string {
	if factor == 1 {
		return text
	}
	n, _ := strconv.ParseInt(strings.TrimSpace(text), 10, 64) // checked when it was set
	if n > 0 {
		n *= factor
	}
	return strconv.FormatInt(n, 10)
}

// BrokerLevels is TopicLevels for a broker setting.
func (c *Config) BrokerLevels(s *Setting, d Dynamic) []Level { return c.brokerLevels(s.Name, d) }

// BrokerValue is a broker setting's value in force. A dynamic value of one synonym
// hides the static values of the others, as in Kafka.
func (c *Config) BrokerValue(s *Setting, d Dynamic) Value {
	if v, ok := d.Broker.find(s.Name); ok {
		return Value{Text: s.Parsed(v), Source: DynamicBroker}
	}
	if v, ok := d.All.find(s.Name); ok {
		return Value{Text: s.Parsed(v), Source: DynamicAll}
	}
	v := Value{Text: s.Default, Null: s.None, Source: Default}
	if levels := c.brokerLevels(s.Name, d); len(levels) > 0 {
		v.Source = levels[0].Source
	}
	for _, y := range s.Synonyms {
		_, own := d.Broker.find(y.Name)
		_, all := d.All.find(y.Name)
		if own || all {
			return v
		}
	}
	if text, ok := c.values[s.Name]; ok {
		v.Text, v.Null = s.Parsed(text), false
	}
	return v
}

// brokerLevels goes through the places a broker setting can have a value, and at
// each through its synonyms.
func (c *Config) brokerLevels(name string, d Dynamic) (levels []Level) {
	synonyms := []Synonym{{Name: name}}
	if s := brokers.byName[name]; s != nil && s.Synonyms != nil {
		synonyms = s.Synonyms
	}
	for _, place := range []struct {
		source Source
		find   Lookup
	}{{DynamicBroker, d.Broker}, {DynamicAll, d.All}, {Static, c.Static}, {Default, defaultOf}} {
		for _, y := range synonyms {
			if v, ok := place.find.find(y.Name); ok {
				levels = append(levels, Level{y.Name, v, place.source})
			}
		}
	}
	for len(levels) > 0 && levels[0].Name != name {
		levels = levels[1:]
	}
	return levels
}

func defaultOf(name string) (string, bool) {
	s := brokers.byName[name]
	if s == nil || s.None {
		return "", false
	}
	return s.Default, true
}
