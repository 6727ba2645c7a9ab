package config

import (
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// groupBounds are the broker settings that bound a group's, in the order in which
// Kafka checks them; an empty name is no bound.
var groupBounds = []struct{ name, least, most string }{
	{"consumer.heartbeat.interval.ms", "group.consumer.min.heartbeat.interval.ms", "group.consumer.max.heartbeat.interval.ms"},
	{"consumer.session.timeout.ms", "group.consumer.min.session.timeout.ms", "group.consumer.max.session.timeout.ms"},
	{"consumer.assignment.interval.ms", "group.consumer.min.assignment.interval.ms", "group.consumer.max.assignment.interval.ms"},
	{"share.heartbeat.interval.ms", "group.share.min.heartbeat.interval.ms", "group.share.max.heartbeat.interval.ms"},
	{"share.session.timeout.ms", "group.share.min.session.timeout.ms", "group.share.max.session.timeout.ms"},
	{"share.record.lock.duration.ms", "group.share.min.record.lock.duration.ms", "group.share.max.record.lock.duration.ms"},
	{"share.delivery.count.limit", "group.share.min.delivery.count.limit", "group.share.max.delivery.count.limit"},
	{"share.partition.max.record.locks", "group.share.min.partition.max.record.locks", "group.share.max.partition.max.record.locks"},
	{"share.assignment.interval.ms", "group.share.min.assignment.interval.ms", "group.share.max.assignment.interval.ms"},
	{"streams.heartbeat.interval.ms", "group.streams.min.heartbeat.interval.ms", "group.streams.max.heartbeat.interval.ms"},
	{"streams.session.timeout.ms", "group.streams.min.session.timeout.ms", "group.streams.max.session.timeout.ms"},
	{"streams.num.standby.replicas", "", "group.streams.max.standby.replicas"},
	{"streams.assignment.interval.ms", "group.streams.min.assignment.interval.ms", "group.streams.max.assignment.interval.ms"},
}

// CheckGroup says whether a group may have these settings together, on a broker
// with d. The error's text is Kafka's, for INVALID_CONFIG.
func (c *Config) CheckGroup(set map[string]string, d Dynamic) error {
	for _, name := range sorted(set) {
		if groups.byName[name] == nil {
			return fmt.Errorf("Unknown group config name: %s", name)
		}
	}
	for _, s := range groups.all {
		if value, ok := set[s.Name]; ok {
			if err := s.Check(value); err != nil {
				return err
			}
		}
	}
	d.Group = func(name string) (string, bool) { v, ok := set[name]; return v, ok }
	inForce := func(v Value) int64 {
		n, _ := strconv.ParseInt(strings.TrimSpace(v.Text), 10, 64) // checked when it was set
		return n
	}
	for _, b := range groupBounds {
		value, ok := set[b.name]
		if !ok {
			continue
		}
		n := inForce(Value{Text: value})
		if b.least != "" && n < inForce(c.BrokerValue(brokers.byName[b.least], d)) {
			return fmt.Errorf("%s must be greater than or equal to %s", b.name, b.least)
		}
		if n > inForce(c.BrokerValue(brokers.byName[b.most], d)) {
			return fmt.Errorf("%s must be less than or equal to %s", b.name, b.most)
		}
	}
	for _, kind := range []string{"consumer", "share", "streams"} {
		session, heartbeat := kind+".session.timeout.ms", kind+".heartbeat.interval.ms"
		if inForce(c.GroupValue(groups.byName[session], d)) <= inForce(c.GroupValue(groups.byName[heartbeat], d)) {
			return fmt.Errorf("%s must be greater than %s", session, heartbeat)
		}
	}
	return nil
}

// OffsetReset is where a share group begins that has no offset yet: a value of
// share.auto.offset.reset.
type OffsetReset struct {
	Earliest bool
	Age      time.Duration // by_duration: this long ago; 0: Earliest says which end
}

// ParseOffsetReset reads earliest, latest or by_duration:DURATION, where DURATION
// is ISO 8601's PnDTnHnMn.nS and not negative.
func ParseOffsetReset(text string) (r OffsetReset, ok bool) {
	switch text {
	case "earliest":
		return OffsetReset{Earliest: true}, true
	case "latest":
		return OffsetReset{}, true
	}
	age, ok := strings.CutPrefix(text, "by_duration:")
	if !ok {
		return r, false
	}
	r.Age, ok = parseJavaDuration(age)
	return r, ok && r.Age >= 0
}

var javaDuration = regexp.MustCompile(`(?i)^([-+]?)P(?:([-+]?\d+)D)?(T(?:([-+]?\d+)H)?(?:([-+]?\d+)M)?(?:([-+]?\d+)(?:[.,](\d{0,9}))?S)?)?$`)

// parseJavaDuration reads what Duration.parse reads, up to what an int64 of
// nanoseconds holds.
func parseJavaDuration(text string) (d time.Duration, ok bool) {
	m := javaDuration.FindStringSubmatch(text)
	if m == nil || m[2] == "" && len(m[3]) < 2 || strings.EqualFold(m[3], "T") {
		return 0, false
	}
	sum := 0.0
	for _, part := range []struct {
		digits string
		unit   time.Duration
	}{{m[2], 24 * time.Hour}, {m[4], time.Hour}, {m[5], time.Minute}, {m[6], time.Second}} {
		if part.digits == "" {
			continue
		}
		n, err := strconv.ParseInt(part.digits, 10, 64)
		if err != nil {
			return 0, false
		}
		sum += float64(n) * float64(part.unit)
		d += time.Duration(n) * part.unit
	}
	if sum > 1<<62 || sum < -1<<62 {
		return 0, false
	}
	if m[7] != "" {
		n, _ := strconv.ParseInt((m[7] + "000000000")[:9], 10, 64)
		if strings.HasPrefix(m[6], "-") {
			n = -n
		}
		d += time.Duration(n)
	}
	if m[1] == "-" {
		d = -d
	}
	return d, true
}

// ErrMalformed is wrapped by what Kafka answers with INVALID_REQUEST where other
// errors of the same check are INVALID_CONFIG.
type ErrMalformed struct{ Text string }

func (e *ErrMalformed) Error() string { return e.Text }

// Bounds of interval.ms.
const (
	minPushIntervalMillis = 100
	maxPushIntervalMillis = 3600_000
)

// CheckClientMetrics says whether a subscription to clients' metrics may have these
// settings. The error's text is Kafka's, for INVALID_CONFIG or, of an
// [ErrMalformed], INVALID_REQUEST.
func CheckClientMetrics(set map[string]string) error {
	for _, name := range sorted(set) {
		if clientMetrics.byName[name] == nil {
			return &ErrMalformed{"Unknown client metrics configuration: " + name}
		}
	}
	for _, s := range clientMetrics.all {
		if value, ok := set[s.Name]; ok {
			if err := s.Check(value); err != nil {
				return err
			}
		}
	}
	if value, ok := set["interval.ms"]; ok {
		n, _ := strconv.ParseInt(strings.TrimSpace(value), 10, 64)
		if n < minPushIntervalMillis || n > maxPushIntervalMillis {
			return &ErrMalformed{fmt.Sprintf("Invalid value %d for interval.ms, interval must be between %d and %d (1 hour)", n, minPushIntervalMillis, maxPushIntervalMillis)}
		}
	}
	_, err := ParseClientMatch(set["match"])
	return err
}

// ClientMatch is what a client must be for a subscription to be its own: each
// pattern, by the name of what it is held against, matches in whole.
type ClientMatch map[string]*regexp.Regexp

// What a client can be matched by.
const (
	MatchInstanceID      = "client_instance_id"
	MatchClientID        = "client_id"
	MatchSoftwareName    = "client_software_name"
	MatchSoftwareVersion = "client_software_version"
	MatchSourceAddress   = "client_source_address"
	MatchSourcePort      = "client_source_port"
)

// maxPatternBytes bounds a pattern: a compiled one is larger by a factor that its
// author chooses.
const maxPatternBytes = 256

// maxPatterns bounds how many of them a subscription has: there are six things to match.
const maxPatterns = 12

// ParseClientMatch reads name=pattern, .... Patterns are RE2's, which lack Java's
// look-around and back-references and take linear time.
func ParseClientMatch(text string) (ClientMatch, error) {
	m := ClientMatch{}
	parts := elements(strings.TrimSpace(text))
	if len(parts) > maxPatterns {
		return nil, fmt.Errorf("Illegal client matching pattern: more than %d of them", maxPatterns)
	}
	for _, part := range parts {
		illegal := errors.New("Illegal client matching pattern: " + part)
		name, pattern, ok := strings.Cut(part, "=")
		name, pattern = strings.TrimSpace(name), strings.TrimSpace(pattern)
		if !ok || strings.Contains(pattern, "=") || len(pattern) > maxPatternBytes {
			return nil, illegal
		}
		switch name {
		case MatchInstanceID, MatchClientID, MatchSoftwareName, MatchSoftwareVersion, MatchSourceAddress, MatchSourcePort:
		default:
			return nil, illegal
		}
		re, err := regexp.Compile("^(?:" + pattern + ")$")
		if err != nil {
			return nil, illegal
		}
		m[name] = re
	}
	return m, nil
}

// Matches says whether a client is what m asks for; value gives what the client
// says of itself by name.
func (m ClientMatch) Matches(value func(name string) string) bool {
	for name, re := range m {
		if !re.MatchString(value(name)) {
			return false
		}
	}
	return true
}
