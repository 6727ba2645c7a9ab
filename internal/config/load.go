package config

import (
	"fmt"
	"os"
	"runtime"
	"sort"
	"strconv"
	"strings"
)

// Config is the broker's static settings: what flags and files said, over
// defaults. It does not change once loaded.
type Config struct {
	values map[string]string
}

// Load reads file (empty: none) and then sets, each "name=value", which win. An
// unknown name or a bad value is an error that says what would be right.
func Load(file string, sets []string) (*Config, error) {
	c := &Config{values: map[string]string{}}
	if file != "" {
		b, err := os.ReadFile(file)
		if err != nil {
			return nil, fmt.Errorf("config file: %w", err)
		}
		properties, err := ParseProperties(string(b))
		if err != nil {
			return nil, fmt.Errorf("config file %s: %w", file, err)
		}
		for _, p := range properties {
			if err := c.set(p.Name, p.Value); err != nil {
				return nil, fmt.Errorf("config file %s, line %d: %w", file, p.Line, err)
			}
		}
	}
	for _, s := range sets {
		name, value, ok := strings.Cut(s, "=")
		if !ok {
			return nil, fmt.Errorf("--set %q: want name=value", s)
		}
		if err := c.set(strings.TrimSpace(name), value); err != nil {
			return nil, fmt.Errorf("--set %s: %w", s, err)
		}
	}
	return c, nil
}

// Set overrides one setting.
func (c *Config) Set(name, value string) error { return c.set(name, value) }

func (c *Config) set(name, value string) error {
	s := Broker(name)
	if s == nil {
		return fmt.Errorf("there is no setting %s; the nearest is %s", name, nearest(name))
	}
	if err := s.Check(value); err != nil {
		return err
	}
	c.values[name] = strings.TrimSpace(value)
	return nil
}

// nearest is the known name with the smallest edit distance.
func nearest(name string) string {
	best, least := "", 1<<30
	for _, s := range brokerSettings {
		if d := distance(name, s.Name); d < least {
			best, least = s.Name, d
		}
	}
	return best
}

// distance is Levenshtein's, in two rows.
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
func (c *Config) Bool(name string) bool { return strings.EqualFold(c.Get(name), "true") }

// Warnings names the settings that were set and change nothing here.
func (c *Config) Warnings() (names []string) {
	for name := range c.values {
		if Broker(name).Use == Ignored {
			names = append(names, name)
		}
	}
	sort.Strings(names)
	return names
}

// Cores is slipstream.cores, resolved.
func (c *Config) Cores() int {
	if n := int(c.Int("slipstream.cores")); n > 0 {
		return n
	}
	return max(1, runtime.NumCPU()-1)
}
