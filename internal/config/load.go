package config

import (
	"errors"
	"fmt"
	"os"
	"sort"
	"strconv"
	"strings"
)

// Config is the broker's static settings: what flags and files said, over
// defaults. It does not change once loaded.
type Config struct {
	values map[string]string
}

// Load reads file (empty: none) and then sets, each "name=value", which win; a
// later one wins over an earlier. An unknown name or a bad value is an error that
// says what would be right.
func Load(file string, sets []string) (*Config, error) {
	c := &Config{values: map[string]string{}}
	if file != "" {
		if err := c.readFile(file); err != nil {
			return nil, err
		}
	}
	for _, s := range sets {
		name, value, ok := strings.Cut(s, "=")
		if !ok {
			return nil, fmt.Errorf("--set %q: want name=value", s)
		}
		if err := c.Set(strings.TrimSpace(name), value); err != nil {
			return nil, fmt.Errorf("--set %s: %w", s, err)
		}
	}
	return c, c.checkTogether()
}

func (c *Config) readFile(file string) error {
	b, err := os.ReadFile(file)
	if err != nil {
		return fmt.Errorf("config file %s cannot be read: %w", file, errors.Unwrap(err))
	}
	properties, err := ParseProperties(string(b))
	if err != nil {
		return fmt.Errorf("config file %s: %w", file, err)
	}
	ids := map[string]string{}
	for _, p := range properties {
		if err := c.Set(p.Name, p.Value); err != nil {
			return fmt.Errorf("config file %s, line %d: %w", file, p.Line, err)
		}
		ids[p.Name] = p.Value
	}
	node, ok := ids["node.id"]
	if old, both := ids["broker.id"]; ok && both && old != node {
		return fmt.Errorf("config file %s: node.id=%s and broker.id=%s are two names of one setting", file, node, old)
	}
	return nil
}

// Set overrides one setting.
func (c *Config) Set(name, value string) error {
	base, _ := cutListener(name)
	s := Broker(base)
	switch {
	case s == nil && removed[name] != "":
		return fmt.Errorf("the setting %s was removed from Kafka: %s", name, removed[name])
	case s == nil && topics.byName[name] != nil && topics.byName[name].Synonym != "":
		return fmt.Errorf("%s is a setting of topics; its default for all topics is the broker's %s", name, topics.byName[name].Synonym)
	case s == nil:
		return fmt.Errorf("there is no setting %s; the nearest is %s", name, nearest(name))
	}
	if err := s.Check(value); err != nil {
		return err
	}
	if err := s.require(value); err != nil {
		return err
	}
	value = strings.TrimSpace(value)
	c.values[name] = value
	switch name { // two names of one thing
	case "node.id":
		c.values["broker.id"] = value
	case "broker.id":
		c.values["node.id"] = value
	}
	return nil
}

// checkTogether finds settings that are good, but not with each other.
func (c *Config) checkTogether() error {
	if least, most := c.Int("log.cleaner.min.compaction.lag.ms"), c.Int("log.cleaner.max.compaction.lag.ms"); least > most {
		return fmt.Errorf("log.cleaner.min.compaction.lag.ms=%d is more than log.cleaner.max.compaction.lag.ms=%d", least, most)
	}
	_, err := c.Listeners()
	return err
}

// nearest is the known name with the smallest edit distance.
func nearest(name string) string {
	best, least := "", 1<<30
	for _, s := range brokers.all {
		if d := distance(name, s.Name); d < least {
			best, least = s.Name, d
		}
	}
	return best
}

// distance is Levenshtein's, in one row.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := 1; i <= len(a); i++ {
		diagonal := row[0]
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			diagonal, row[j] = row[j], min(row[j]+1, row[j-1]+1, diagonal+cost)
		}
	}
	return row[len(b)]
}

// Static is the value that was set for a broker setting, if any.
func (c *Config) Static(name string) (value string, ok bool) {
	value, ok = c.values[name]
	return value, ok
}

// Get is the value in force: what was set, or the default; empty for null.
func (c *Config) Get(name string) string {
	if v, ok := c.values[name]; ok {
		return v
	}
	if s := Broker(name); s != nil {
		return s.Default
	}
	return ""
}

// Int is Get as a number; settings were checked when they were set.
func (c *Config) Int(name string) int64 {
	n, _ := strconv.ParseInt(c.Get(name), 10, 64)
	return n
}

// Bool is Get as a truth value.
func (c *Config) Bool(name string) bool { return isTrue(c.Get(name)) }

// Warnings names the settings that were set and change nothing here, by name.
func (c *Config) Warnings() (names []string) {
	for name := range c.values {
		if base, _ := cutListener(name); Broker(base).Use == Ignored {
			names = append(names, name)
		}
	}
	sort.Strings(names)
	return names
}
