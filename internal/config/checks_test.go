package config_test

import (
	"encoding/json"
	"os"
	"strings"
	"testing"

	"slipstream/internal/config"
)

// TestChecks holds every rule against what Kafka's definitions say to the same
// values (testdata/Settings.java).
func TestChecks(t *testing.T) {
	text, err := os.ReadFile("testdata/checks.tsv")
	if err != nil {
		t.Fatal(err)
	}
	count := 0
	for _, line := range strings.Split(strings.TrimSuffix(string(text), "\n"), "\n") {
		f := strings.Split(line, "\t")
		if strings.HasPrefix(line, "#") {
			continue
		}
		if len(f) != 4 {
			t.Fatalf("%q is not a row of 4 columns", line)
		}
		err, known := check(f[0], f[1], strings.TrimSuffix(strings.TrimPrefix(f[2], `"`), `"`))
		if known {
			count++
			if says(err) != f[3] {
				t.Errorf("%s %s %s\n   we say: %s\nKafka says: %s", f[0], f[1], f[2], says(err), f[3])
			}
		}
	}
	if count < 1700 {
		t.Errorf("only %d values were tried", count)
	}
}

// check asks about one row. What is left out: that java.lang.String is a class, and
// requirements among settings that nothing here acts on.
func check(scope, name, value string) (err error, known bool) {
	switch scope {
	case "broker":
		s := config.Broker(name)
		return s.Check(value), s.Kind != config.Class
	case "together":
		set := map[string]string{}
		for _, pair := range strings.Split(name, ";") {
			n, v, _ := strings.Cut(pair, "=")
			set[n] = v
		}
		return config.CheckTopic(set), set["remote.storage.enable"] == "" // Kafka was asked with tiered storage on
	default:
		n, _, _ := strings.Cut(name, "=")
		_, err := config.Load("", []string{name})
		if err != nil {
			_, rest, _ := strings.Cut(err.Error(), ": ")
			err = errorText(rest)
		}
		return err, !strings.Contains(" offsets.topic.compression.codec replica.fetch.wait.max.ms max.connections.per.ip log.cleaner.dedupe.buffer.size broker.id ", " "+n+" ")
	}
}

type errorText string

func (e errorText) Error() string { return string(e) }

func says(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// TestRefusals holds CheckTopic and CheckBroker against what a running Kafka said
// to the same changes.
func TestRefusals(t *testing.T) {
	text, err := os.ReadFile("testdata/refusals.json")
	if err != nil {
		t.Fatal(err)
	}
	var all []refusal
	if err := json.Unmarshal(text, &all); err != nil {
		t.Fatal(err)
	}
	for _, r := range all {
		set := map[string]string{}
		for _, pair := range r.Set {
			name, value, _ := strings.Cut(pair, "=")
			set[name] = value
		}
		var err error
		code := int16(42) // INVALID_REQUEST
		if r.Resource == "topic" {
			err, code = config.CheckTopic(set), 40 // INVALID_CONFIG
		} else {
			err = config.CheckBroker(set, r.Resource == "cluster")
		}
		want := ""
		if r.Message != nil {
			want = *r.Message
		}
		if why := departures[r.Set[0]]; why != "" {
			continue
		}
		if says(err) != want || (err != nil && code != r.Code) {
			t.Errorf("%s %v\n   we say: %s\nKafka says: %s", r.Resource, r.Set, says(err), want)
		}
	}
}

// departures are changes that we judge otherwise than Kafka, and why.
var departures = map[string]string{
	"listeners=PLAINTEXT://:1":            "Kafka compares them with its controller's listener; here they cannot change while a broker runs",
	"num.io.threads=100":                  "there is no such pool",
	"log.cleaner.threads=5":               "there is no such pool",
	"min.insync.replicas=2":               "the controller says this, which knows that the feature is on",
	"log.local.retention.ms=100000000000": "tiered storage is not served",
	"num.partitions=3":                    "tested below, as the order of several names is that of a Java set",
	"metric.reporters=x":                  "not served",
}

func TestSeveralFixedSettings(t *testing.T) {
	err := config.CheckBroker(map[string]string{"num.partitions": "3", "log.dirs": "x", "no.such": "4"}, false)
	if want := "Cannot update these configs dynamically: [log.dirs, num.partitions]"; says(err) != want {
		t.Errorf("%v, want %s", err, want)
	}
}
