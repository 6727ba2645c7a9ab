package config_test

import (
	"encoding/json"
	"os"
	"testing"

	"slipstream/internal/config"
)

// TestDescribed holds what we say of every setting (value, source, synonyms, type,
// flags) against what Kafka said under the same overrides.
func TestDescribed(t *testing.T) {
	for name := range stages {
		t.Run(name, func(t *testing.T) {
			text, err := os.ReadFile("testdata/described-" + name + ".json")
			if err != nil {
				t.Fatal(err)
			}
			var s scenario
			if err := json.Unmarshal(text, &s); err != nil {
				t.Fatal(err)
			}
			if len(s.TopicSettings) < 30 || len(s.BrokerSettings) < 300 {
				t.Fatalf("%d and %d settings are recorded", len(s.TopicSettings), len(s.BrokerSettings))
			}
			c, err := config.Load("", nil)
			if err != nil {
				t.Fatal(err)
			}
			for name, value := range s.Static {
				if err := c.Set(name, value); err != nil {
					t.Fatal(err)
				}
			}
			if s.Cluster == nil {
				s.Cluster = map[string]string{}
			}
			s.Cluster["min.insync.replicas"] = "1" // a record of every new cluster, with eligible leader replicas on
			compare(t, c, s)
		})
	}
}

func compare(t *testing.T, c *config.Config, s scenario) {
	d := config.Dynamic{Topic: in(s.Topic), Broker: in(s.Broker), All: in(s.Cluster)}
	for _, want := range s.TopicSettings {
		setting := config.Topic(want.Name)
		if setting == nil {
			t.Errorf("topics have no %s", want.Name)
			continue
		}
		match(t, want, setting, c.TopicValue(setting, d), c.TopicLevels(setting, d))
	}
	if got, want := len(config.Topics()), len(s.TopicSettings); got != want {
		t.Errorf("%d settings of topics, Kafka describes %d", got, want)
	}
	for _, want := range s.BrokerSettings {
		setting := config.Broker(want.Name)
		if setting == nil {
			t.Errorf("brokers have no %s", want.Name)
			continue
		}
		match(t, want, setting, c.BrokerValue(setting, d), c.BrokerLevels(setting, d))
	}
	described := 0
	for _, setting := range config.Brokers() {
		if setting.Name[:min(len(setting.Name), 11)] != "slipstream." {
			described++
		}
	}
	if described != len(s.BrokerSettings) {
		t.Errorf("%d settings of brokers, Kafka describes %d", described, len(s.BrokerSettings))
	}
}

func in(m map[string]string) config.Lookup {
	return func(name string) (string, bool) { v, ok := m[name]; return v, ok }
}

func match(t *testing.T, want described, s *config.Setting, v config.Value, levels []config.Level) {
	t.Helper()
	if want.Value == nil != v.Null && !s.Sensitive || want.Value != nil && *want.Value != v.Text {
		t.Errorf("%s is %q (null %v), in Kafka %s", s.Name, v.Text, v.Null, show(want.Value))
	}
	if int8(v.Source) != want.Source {
		t.Errorf("%s comes from %d, in Kafka from %d", s.Name, v.Source, want.Source)
	}
	if s.Kind.String() != want.Kind || s.ReadOnly != want.ReadOnly || s.Sensitive != want.Sensitive {
		t.Errorf("%s is %v, read-only %v, sensitive %v; in Kafka %+v", s.Name, s.Kind, s.ReadOnly, s.Sensitive, want)
	}
	if len(levels) != len(want.Synonyms) {
		t.Errorf("%s has levels %v, in Kafka %d", s.Name, levels, len(want.Synonyms))
		return
	}
	for i, l := range levels {
		y := want.Synonyms[i]
		if l.Name != y.Name || int8(l.Source) != y.Source || y.Value != nil && l.Value != *y.Value {
			t.Errorf("%s, level %d: %v, in Kafka %s=%s from %d", s.Name, i, l, y.Name, show(y.Value), y.Source)
		}
	}
}

func show(s *string) string {
	if s == nil {
		return "null"
	}
	return *s
}
