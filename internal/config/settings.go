// Package config is Kafka's settings by Kafka's names: what exists, of which
// type, with which default, and what is valid; how a server.properties file,
// --set flags and defaults come together; where a value in force comes from; and
// our own settings, which begin with "slipstream.".
//
// It imports nothing of ours and does no I/O but reading the file it is told to.
package config

import (
	_ "embed"
	"fmt"
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
	// Refused settings are accepted only with values that ask for nothing: what
	// they would do is not served, and to go on without it could do harm.
	Refused
)

// Reach says how a broker setting can change while brokers run.
type Reach int8

const (
	// AtStart settings are read at start only; Kafka calls them read-only.
	AtStart Reach = iota
	// PerBroker settings can be changed on one broker.
	PerBroker
	// ClusterWide settings can be changed on one broker or on all.
	ClusterWide
)

// Synonym is a broker setting that gives a topic setting its default.
type Synonym struct {
	Name   string
	Factor int64 // from the broker setting's unit to the topic setting's
}

// Setting is one setting that a broker, a topic, a group or client metrics can have.
type Setting struct {
	Name      string
	Kind      Kind
	Default   string
	None      bool   // there is no default: the setting is null unless set
	ReadOnly  bool   // of a broker setting: Reach is AtStart
	Sensitive bool   // its value is never shown
	Internal  bool   // accepted, but not described
	Reach     Reach  // of a broker setting
	Synonym   string // of a topic's or group's setting: the broker's setting that is its default; Synonyms[0]
	Use       Use
	Doc       string // one or two sentences; of every topic setting and of the broker settings that are served or refused

	// Synonyms of a topic's or group's setting are broker settings, the first that is set
	// wins. Of a broker setting they are the names of one value in several
	// units, itself among them; none if it has only one.
	Synonyms []Synonym

	rule    rule
	refused func(value string) bool // of Refused settings: whether this value is
}

//go:embed kafka-4.3.tsv
var kafkaTable string

func init() {
	for _, line := range strings.Split(strings.TrimSpace(kafkaTable), "\n") {
		if strings.HasPrefix(line, "#") {
			continue
		}
		s, scope, err := parseSetting(line)
		if err != nil {
			panic("kafka-4.3.tsv: " + err.Error()) // embedded: a test would have found it
		}
		scopes[scope].add(s)
	}
	for _, s := range dynamicOnly {
		brokers.add(s)
	}
	for _, s := range ours {
		brokers.add(s)
	}
	markUses()
}

// parseSetting reads a row of the table.
func parseSetting(line string) (s *Setting, scope string, err error) {
	f := strings.Split(line, "\t")
	if len(f) != 7 || len(f[4]) != 3 {
		return nil, "", fmt.Errorf("%q is not a row of 7 columns", line)
	}
	s = &Setting{Name: f[1], Kind: kindOf(f[2]), Default: f[3], None: f[3] == "-", Sensitive: f[4][1] == 's', Internal: f[4][2] == 'i'}
	if s.None || s.Default == `""` {
		s.Default = ""
	}
	switch f[4][0] {
	case 'r':
		s.ReadOnly = true
	case 'b':
		s.Reach = PerBroker
	case 'c':
		s.Reach = ClusterWide
	}
	if f[5] != "-" {
		for _, text := range strings.Split(f[5], ",") {
			name, factor, scaled := strings.Cut(text, ":")
			y := Synonym{Name: name, Factor: 1}
			if scaled {
				if y.Factor, err = strconv.ParseInt(factor, 10, 64); err != nil {
					return nil, "", err
				}
			}
			s.Synonyms = append(s.Synonyms, y)
		}
		if f[0] != "broker" {
			s.Synonym = s.Synonyms[0].Name
		}
	}
	s.rule, err = parseRule(f[6])
	return s, f[0], err
}

func kindOf(name string) Kind {
	for k, n := range kindNames {
		if strings.EqualFold(n, name) {
			return Kind(k)
		}
	}
	return Unknown
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
