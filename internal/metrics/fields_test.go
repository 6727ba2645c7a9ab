package metrics

import (
	"reflect"
	"strings"
	"testing"

	"slipstream/reactor"
	"slipstream/storage"
)

// TestEveryFieldIsExported: each field of the reactor's and the store's counters has
// a metric with a text of its own, or a reason why not.
func TestEveryFieldIsExported(t *testing.T) {
	for _, s := range []struct {
		of     reflect.Type
		fields []fieldFamily
		help   map[string]string
	}{
		{reflect.TypeFor[reactor.Counters](), counterFields, counterHelp},
		{reflect.TypeFor[reactor.Gauges](), gaugeFields, gaugeHelp},
		{reflect.TypeFor[storage.StoreStats](), storeFields, storeHelp},
	} {
		exported := map[int]*family{}
		for _, f := range s.fields {
			exported[f.index] = f.family
		}
		names := map[string]bool{}
		for i := range s.of.NumField() {
			name := s.of.Field(i).Name
			names[name] = true
			if notExported[name] != "" {
				continue
			}
			f := exported[i]
			if f == nil {
				t.Errorf("%s.%s is not exported: is it no number?", s.of, name)
				continue
			}
			if s.help[name] == "" {
				t.Errorf("%s.%s has no text: add it to internal/metrics/fields.go", s.of, name)
			}
			if (f.kind == counter) != strings.HasSuffix(f.name, "_total") {
				t.Errorf("%s is a %s", f.name, f.kind)
			}
		}
		for name := range s.help {
			if !names[name] {
				t.Errorf("%s has a text and is no field of %s", name, s.of)
			}
		}
	}
}

func TestSnake(t *testing.T) {
	for field, want := range map[string]string{"Turns": "turns", "FileBytesSent": "file_bytes_sent", "ParkedNanos": "parked_nanos"} {
		if got := snake(field); got != want {
			t.Errorf("%s becomes %s, want %s", field, got, want)
		}
	}
}

func TestRequestNames(t *testing.T) {
	for key, want := range map[int16]string{0: "Produce", 1: "Fetch", 2: "ListOffsets", 18: "ApiVersions", 22: "InitProducerId", 23: "OffsetForLeaderEpoch", 75: "DescribeTopicPartitions"} {
		if got := requestName(key); got != want {
			t.Errorf("key %d is called %s, want %s", key, got, want)
		}
	}
}

// notExported are fields that are no figures, and what they are.
var notExported = map[string]string{
	"LastUnexpected": "text: the log has it",
	"LastColdError":  "an errno: the log has it",
	"LastFileError":  "an errno: the log has it",
	"Rungs":          "have a label: slipstream_core_rung_...",
}
