package config_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"slipstream/internal/config"
)

// TestOffsetReset reads what Duration.parse of Java reads (the refusals of whole
// requests are compared with Kafka's in internal/clients).
func TestOffsetReset(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"PT0S": 0, "PT1H": time.Hour, "P1D": 24 * time.Hour, "pt1m": time.Minute, "P1DT2H3M4.5S": 26*time.Hour + 3*time.Minute + 4500*time.Millisecond,
		"PT-1H2H": -1, "PT1H-30M": 30 * time.Minute, "-PT-1S": time.Second, "PT0.000000001S": 1, "+PT1S": time.Second, "P2DT3H4M5.6S": 51*time.Hour + 4*time.Minute + 5600*time.Millisecond,
		"": -1, "P": -1, "PT": -1, "P1DT": -1, "1H": -1, "PT1": -1, "P1H": -1, "PT1.5H": -1, "PT1.0000000001S": -1, "-PT1S": -1, "PT99999999999999999999S": -1, "P1000000D": -1,
	} {
		r, ok := config.ParseOffsetReset("by_duration:" + text)
		if ok != (want >= 0) || ok && r.Age != want {
			t.Errorf("by_duration:%s is %v, %v, want %v", text, r.Age, ok, want)
		}
	}
}

// TestClientMetricsBounds: what one client can make the others' core do with
// patterns is bounded.
func TestClientMetricsBounds(t *testing.T) {
	for _, match := range []string{"client_id=" + strings.Repeat("a", 2000), strings.Repeat("client_id=a,", 20) + "client_id=b"} {
		if err := config.CheckClientMetrics(map[string]string{"match": match}); err == nil {
			t.Errorf("a match of %d bytes is taken", len(match))
		}
	}
	var malformed *config.ErrMalformed
	if err := config.CheckClientMetrics(map[string]string{"interval.ms": "1"}); !errors.As(err, &malformed) {
		t.Errorf("an interval of 1 ms: %v", err)
	}
	m, err := config.ParseClientMatch("client_id=a+,client_source_port=90.*")
	if err != nil {
		t.Fatal(err)
	}
	for id, want := range map[string]bool{"a": true, "aa": true, "ba": false, "ab": false, "": false} {
		if got := m.Matches(func(name string) string {
			return map[string]string{config.MatchClientID: id, config.MatchSourcePort: "9092"}[name]
		}); got != want {
			t.Errorf("%q matches: %v", id, got)
		}
	}
}
