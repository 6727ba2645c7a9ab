package config

import (
	"errors"
	"fmt"
	"sort"
	"strconv"
	"strings"
)

// CheckTopic says whether a topic may have these settings together. The error's
// text is Kafka's, for INVALID_CONFIG.
func CheckTopic(set map[string]string) error {
	for _, name := range sorted(set) {
		if topics.byName[name] == nil {
			return fmt.Errorf("Unknown topic config name: %s", name)
		}
	}
	for _, s := range topics.all {
		if value, ok := set[s.Name]; ok {
			if err := s.Check(value); err != nil {
				return err
			}
		}
	}
	least, most := lag(set, "min.compaction.lag.ms"), lag(set, "max.compaction.lag.ms")
	if least > most {
		return fmt.Errorf("conflict topic config setting min.compaction.lag.ms (%d) > max.compaction.lag.ms (%d)", least, most)
	}
	if isTrue(set["remote.storage.enable"]) {
		return errors.New("Tiered Storage functionality is disabled in the broker. Topic cannot be configured with remote log storage.")
	}
	return nil
}

// lag is a checked topic setting or its default.
func lag(set map[string]string, name string) int64 {
	value, ok := set[name]
	if !ok {
		value = topics.byName[name].Default
	}
	n, _ := strconv.ParseInt(strings.TrimSpace(value), 10, 64)
	return n
}

// CheckBroker says whether a broker, or with cluster all brokers, may be given
// these settings while they run. The error's text is Kafka's, for
// INVALID_REQUEST. Names that Kafka does not know it keeps, and so do we.
func CheckBroker(set map[string]string, cluster bool) error {
	var fixed, unprefixed, single []string
	for _, name := range sorted(set) {
		base, prefixed := cutListener(name)
		s := brokers.byName[base]
		switch {
		case s == nil:
		case s.Reach == AtStart:
			fixed = append(fixed, name)
		case s.Reach == PerBroker && isSecurity(base) && !prefixed:
			unprefixed = append(unprefixed, name)
		case s.Reach == PerBroker || prefixed:
			single = append(single, name)
		}
	}
	switch {
	case fixed != nil:
		return fmt.Errorf("Cannot update these configs dynamically: [%s]", strings.Join(fixed, ", "))
	case unprefixed != nil:
		return fmt.Errorf("These security configs can be dynamically updated only per-listener using the listener prefix: [%s]", strings.Join(unprefixed, ", "))
	}
	for _, s := range brokers.all {
		if value, ok := set[s.Name]; ok {
			if err := s.Check(value); err != nil {
				return err
			}
			if err := s.require(value); err != nil {
				return err
			}
		}
	}
	if _, ok := set["listeners"]; ok && !cluster { // Kafka can; here sockets are opened at start
		return errors.New("Cannot update these configs dynamically: [listeners]")
	}
	if single != nil && cluster {
		return fmt.Errorf("Cannot update these configs at default cluster level, broker id must be specified: [%s]", strings.Join(single, ", "))
	}
	return nil
}

// require checks what Kafka checks once all settings are read, and refuses what is
// not served.
func (s *Setting) require(value string) error {
	n, _ := strconv.ParseInt(strings.TrimSpace(value), 10, 64)
	switch s.Name {
	case "log.roll.ms":
		if n < 1 {
			return errors.New("requirement failed: log.roll.ms must be greater than or equal to 1")
		}
	case "log.roll.jitter.ms":
		if n < 0 {
			return errors.New("requirement failed: log.roll.jitter.ms must be greater than or equal to 0")
		}
	case "log.retention.ms", "log.retention.minutes", "log.retention.hours":
		if n == 0 {
			return errors.New("requirement failed: log.retention.ms must be unlimited (-1) or, greater than or equal to 1")
		}
	case "max.connections", "max.connection.creation.rate":
		if n == 0 {
			return fmt.Errorf("Invalid value org.apache.kafka.common.config.ConfigException: Invalid %s 0 for configuration Invalid dynamic configuration", s.Name)
		}
	case "max.connections.per.ip.overrides":
		for _, entry := range SplitList(value) {
			if err := checkPerAddress(entry); err != nil {
				return fmt.Errorf("Error parsing configuration property '%s': %w", s.Name, err)
			}
		}
	}
	if s.refused != nil && s.refused(value) {
		return s.unserved(value)
	}
	return nil
}

// checkPerAddress checks host:count. The texts are those of Java's exceptions.
func checkPerAddress(entry string) error {
	at := strings.LastIndexByte(entry, ':')
	if at < 0 {
		return fmt.Errorf("begin 0, end -1, length %d", len(entry))
	}
	if _, err := strconv.ParseInt(entry[at+1:], 10, 32); err != nil {
		return fmt.Errorf("For input string: %q", entry[at+1:])
	}
	return nil
}

// unserved refuses a value that is good, and would do what is not served.
func (s *Setting) unserved(value string) error {
	return fmt.Errorf("%s=%s is refused: %s", s.Name, value, s.Doc)
}

// isSecurity reports a setting that Kafka changes per listener only.
func isSecurity(name string) bool {
	return strings.HasPrefix(name, "ssl.")
}

// cutListener cuts "listener.name.NAME." off a setting of one listener.
func cutListener(name string) (base string, prefixed bool) {
	rest, ok := strings.CutPrefix(name, "listener.name.")
	if !ok {
		return name, false
	}
	_, base, ok = strings.Cut(rest, ".")
	return base, ok
}

// sorted are the names of a set in an order that does not change.
func sorted(set map[string]string) []string {
	names := make([]string, 0, len(set))
	for name := range set {
		names = append(names, name)
	}
	sort.Strings(names)
	return names
}
