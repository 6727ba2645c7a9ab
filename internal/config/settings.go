// Package config is Kafka's settings by Kafka's names: what exists, of which
// type, with which default, and what is valid; how a server.properties file,
// --set flags and defaults come together; and our own settings, which begin with
// "slipstream.".
//
// It imports nothing of ours and does no I/O but reading the file it is told to.
package config

import (
	_ "embed"
	"fmt"
	"math"
	"strconv"
	"strings"
)

// Kind is the type of a setting, numbered as DescribeConfigs numbers it
// (ConfigDef.Type in Kafka).
type Kind int8

// Kafka's types of settings.
const (
	Unknown Kind = iota
	Boolean
	String
	Int
	Short
	Long
	Double
	List
	Class
	Password
)

var kindNames = [...]string{"UNKNOWN", "BOOLEAN", "STRING", "INT", "SHORT", "LONG", "DOUBLE", "LIST", "CLASS", "PASSWORD"}

// String is Kafka's name of the type.
func (k Kind) String() string { return kindNames[k] }

// Use says what slipstream does with a setting.
type Use int8

const (
	// Ignored settings are known and accepted, and change nothing here: setting
	// one draws a warning that names it.
	Ignored Use = iota
	// Served settings do what they do in Kafka, or what their text says.
	Served
)

// Setting is one setting that a broker or a topic can have.
type Setting struct {
	Name      string
	Kind      Kind
	Default   string
	None      bool   // there is no default: the setting is null unless set
	ReadOnly  bool   // cannot be changed while the broker runs
	Sensitive bool   // its value is never shown
	Synonym   string // of a topic setting: the broker's setting that is its default
	Use       Use
	Doc       string // one sentence; of served settings

	min, max int64    // both 0: no bounds
	oneOf    []string // nil: anything
}

//go:embed kafka-4.3.tsv
var kafkaTable string

var (
	topicSettings, brokerSettings []*Setting
	topicByName                   = map[string]*Setting{}
	brokerByName                  = map[string]*Setting{}
)

func init() {
	for _, line := range strings.Split(strings.TrimSpace(kafkaTable), "\n") {
		f := strings.Split(line, "\t")
		if len(f) != 6 || strings.HasPrefix(line, "#") {
			continue
		}
		s := &Setting{Name: f[1], Kind: kindOf(f[2]), Default: f[3], None: f[3] == "-",
			ReadOnly: f[4][0] == 'r', Sensitive: f[4][1] == 's'}
		if s.None || s.Default == `""` {
			s.Default = ""
		}
		if f[5] != "-" {
			s.Synonym = f[5]
		}
		add(f[0] == "topic", s)
	}
	for _, s := range ours {
		add(false, s)
	}
	for _, t := range served {
		for _, s := range []*Setting{topicByName[t.name], brokerByName[t.name]} {
			if s != nil {
				s.Use, s.Doc = Served, t.doc
			}
		}
	}
	for _, s := range topicSettings {
		s.bound(s.Name)
		if b := brokerByName[s.Synonym]; b != nil {
			b.bound(s.Name)
			if s.Use == Served {
				b.Use = Served
				if b.Doc == "" {
					b.Doc = "The default of topics' " + s.Name + ". " + s.Doc
				}
			}
		}
	}
}

func add(topic bool, s *Setting) {
	if topic {
		topicSettings = append(topicSettings, s)
		topicByName[s.Name] = s
		return
	}
	brokerSettings = append(brokerSettings, s)
	brokerByName[s.Name] = s
}

func kindOf(name string) Kind {
	for k, n := range kindNames {
		if strings.EqualFold(n, name) {
			return Kind(k)
		}
	}
	return Unknown
}

// Topics lists the settings that a topic can have, by name; the list is not the
// caller's.
func Topics() []*Setting { return topicSettings }

// Brokers lists the settings that a broker can have: Kafka's by name, then ours.
func Brokers() []*Setting { return brokerSettings }

// Topic finds a topic setting, or nil.
func Topic(name string) *Setting { return topicByName[name] }

// Broker finds a broker setting, or nil.
func Broker(name string) *Setting { return brokerByName[name] }

// Check says whether value is valid. The error's text is Kafka's.
func (s *Setting) Check(value string) error {
	trimmed := strings.TrimSpace(value)
	refuse := func(format string, args ...any) error {
		return fmt.Errorf("Invalid value %s for configuration %s: %s", value, s.Name, fmt.Sprintf(format, args...))
	}
	switch s.Kind {
	case Boolean:
		if !strings.EqualFold(trimmed, "true") && !strings.EqualFold(trimmed, "false") {
			return refuse("Expected value to be either true or false")
		}
	case Int, Short, Long:
		bits := map[Kind]int{Int: 32, Short: 16, Long: 64}[s.Kind]
		n, err := strconv.ParseInt(trimmed, 10, bits)
		if err != nil {
			return refuse("Not a number of type %s", s.Kind)
		}
		return s.checkBounds(n, refuse)
	case Double:
		f, err := strconv.ParseFloat(trimmed, 64)
		if err != nil {
			return refuse("Not a number of type %s", s.Kind)
		}
		if s.max != 0 && (f < float64(s.min) || f > float64(s.max)) {
			return refuse("Value must be between %d and %d", s.min, s.max)
		}
	case List:
		return s.checkList(value)
	default:
		if s.oneOf != nil && !contains(s.oneOf, trimmed) {
			return refuse("String must be one of: %s", strings.Join(s.oneOf, ", "))
		}
	}
	return nil
}

func (s *Setting) checkBounds(n int64, refuse func(string, ...any) error) error {
	if s.min == 0 && s.max == 0 {
		return nil
	}
	if n < s.min {
		return refuse("Value must be at least %d", s.min)
	}
	if s.max != 0 && n > s.max {
		return refuse("Value must be no more than %d", s.max)
	}
	return nil
}

func (s *Setting) checkList(value string) error {
	for _, part := range SplitList(value) {
		if s.oneOf != nil && !contains(s.oneOf, part) {
			return fmt.Errorf("Invalid value %s for configuration %s: String must be one of: %s", part, s.Name, strings.Join(s.oneOf, ", "))
		}
	}
	return nil
}

// SplitList is the elements of a list setting's value.
func SplitList(value string) (parts []string) {
	for _, p := range strings.Split(value, ",") {
		if p = strings.TrimSpace(p); p != "" {
			parts = append(parts, p)
		}
	}
	return parts
}

func contains(list []string, s string) bool {
	for _, e := range list {
		if e == s {
			return true
		}
	}
	return false
}

// bounds are the limits that Kafka's definitions set, by topic setting
// (LogConfig in Kafka 4.3).
var bounds = map[string]Setting{
	"segment.bytes":                   {min: 1 << 20},
	"segment.ms":                      {min: 1},
	"segment.jitter.ms":               {min: 0, max: math.MaxInt64},
	"segment.index.bytes":             {min: 4, max: math.MaxInt32},
	"index.interval.bytes":            {min: 0, max: math.MaxInt32},
	"max.message.bytes":               {min: 0, max: math.MaxInt32},
	"retention.ms":                    {min: -1},
	"delete.retention.ms":             {min: 0, max: math.MaxInt64},
	"min.compaction.lag.ms":           {min: 0, max: math.MaxInt64},
	"max.compaction.lag.ms":           {min: 1},
	"file.delete.delay.ms":            {min: 0, max: math.MaxInt64},
	"flush.messages":                  {min: 1},
	"flush.ms":                        {min: 0, max: math.MaxInt64},
	"min.cleanable.dirty.ratio":       {min: 0, max: 1},
	"min.insync.replicas":             {min: 1},
	"message.timestamp.before.max.ms": {min: 0, max: math.MaxInt64},
	"message.timestamp.after.max.ms":  {min: 0, max: math.MaxInt64},
	"local.retention.ms":              {min: -2},
	"local.retention.bytes":           {min: -2},
	"cleanup.policy":                  {oneOf: []string{"compact", "delete"}},
	"compression.type":                {oneOf: []string{"uncompressed", "zstd", "lz4", "snappy", "gzip", "producer"}},
	"message.timestamp.type":          {oneOf: []string{"CreateTime", "LogAppendTime"}},
}

func (s *Setting) bound(topicName string) {
	b, ok := bounds[topicName]
	if ok {
		s.min, s.max, s.oneOf = b.min, b.max, b.oneOf
	}
}
