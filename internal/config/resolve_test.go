package config_test

import (
	"testing"

	"slipstream/internal/config"
)

// TestValuesHaveOneSpelling sets what Apache Kafka accepts in several spellings, and
// wants the one that Apache Kafka 4.3.1 describes.
func TestValuesHaveOneSpelling(t *testing.T) {
	c, err := config.Load("", nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, x := range []struct{ name, set, want string }{
		{"retention.ms", " 5000 ", "5000"},
		{"retention.ms", "+5000", "5000"},
		{"preallocate", "TRUE", "true"},
		{"min.cleanable.dirty.ratio", "5e-1", "0.5"},
		{"min.cleanable.dirty.ratio", "0.9f", "0.9"},
		{"cleanup.policy", "compact , delete", "compact,delete"},
		{"cleanup.policy", "compact,compact", "compact"},
		{"message.timestamp.type", " LogAppendTime ", "LogAppendTime"},
	} {
		if err := config.CheckTopic(map[string]string{x.name: x.set}); err != nil {
			t.Errorf("%s=%q: %v", x.name, x.set, err)
		}
		d := config.Dynamic{Topic: func(name string) (string, bool) { return x.set, name == x.name }}
		s := config.Topic(x.name)
		if got := c.TopicValue(s, d).Text; got != x.want {
			t.Errorf("%s=%q is %q, want %q", x.name, x.set, got, x.want)
		}
		if got := c.TopicLevels(s, d)[0].Value; got != x.want {
			t.Errorf("%s=%q is described as %q, want %q", x.name, x.set, got, x.want)
		}
	}
	s := config.Broker("log.cleaner.io.max.bytes.per.second")
	d := config.Dynamic{All: func(name string) (string, bool) { return "1e6d", name == s.Name }}
	if got := c.BrokerValue(s, d).Text; got != "1000000.0" {
		t.Errorf("%s=1e6d is %q", s.Name, got)
	}
}
