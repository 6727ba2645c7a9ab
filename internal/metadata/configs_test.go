package metadata

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"slipstream/protocol"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// testConfigs is a ConfigValidator that knows the few configs of the scripts and
// says of them what Kafka 4.3.1 was recorded to say.
type testConfigs struct{}

type configKind struct {
	java     string // LONG, INT, LIST
	minimum  int64
	inherits string
	values   []string
}

var knownConfigs = map[ResourceType]map[string]configKind{
	ResourceTopic: {
		"retention.ms":                          {java: "LONG", minimum: -1},
		"segment.ms":                            {java: "LONG", minimum: 1},
		"segment.bytes":                         {java: "INT", minimum: 1048576},
		"min.insync.replicas":                   {java: "INT", minimum: 1},
		"cleanup.policy":                        {java: "LIST", inherits: "delete", values: []string{"compact", "delete"}},
		"leader.replication.throttled.replicas": {java: "LIST"},
	},
	ResourceBroker: {
		"log.cleaner.threads": {java: "INT"},
		"log.cleanup.policy":  {java: "LIST", inherits: "delete", values: []string{"compact", "delete"}},
		"min.insync.replicas": {java: "INT", minimum: 1},
	},
	ResourceGroup:         {"consumer.session.timeout.ms": {java: "INT"}},
	ResourceClientMetrics: {"interval.ms": {java: "INT"}},
}

func (testConfigs) Validate(res Resource, configs []ConfigEntry) error {
	for _, e := range configs {
		kind, known := knownConfigs[res.Type][e.Name]
		switch {
		case known:
			if err := kind.check(e); err != nil && res.Type == ResourceBroker {
				return &Refusal{protocol.INVALID_REQUEST, err.Error()}
			} else if err != nil {
				return err
			}
		case res.Type == ResourceTopic:
			return fmt.Errorf("Unknown topic config name: %s", e.Name)
		case res.Type == ResourceGroup:
			return fmt.Errorf("Unknown group config name: %s", e.Name)
		case res.Type == ResourceClientMetrics:
			return &Refusal{protocol.INVALID_REQUEST, "Unknown client metrics configuration: " + e.Name}
		case e.Name == "node.id":
			return &Refusal{protocol.INVALID_REQUEST, "Cannot update these configs dynamically: [node.id]"}
		}
	}
	return nil
}

func (k configKind) check(e ConfigEntry) error {
	if k.java == "LIST" {
		for _, part := range listParts(e.Value) {
			if k.values != nil && !slices.Contains(k.values, strings.TrimSpace(part)) {
				return fmt.Errorf("Invalid value %s for configuration %s: String must be one of: %s", part, e.Name, strings.Join(k.values, ", "))
			}
		}
		return nil
	}
	n, err := strconv.ParseInt(strings.TrimSpace(e.Value), 10, 64)
	if err != nil {
		return fmt.Errorf("Invalid value %s for configuration %s: Not a number of type %s", e.Value, e.Name, k.java)
	}
	if n < k.minimum {
		return fmt.Errorf("Invalid value %d for configuration %s: Value must be at least %d", n, e.Name, k.minimum)
	}
	return nil
}

func (testConfigs) List(res Resource, name string) (string, bool) {
	kind := knownConfigs[res.Type][name]
	return kind.inherits, kind.java == "LIST"
}

func (testConfigs) Describe(overrides []ConfigEntry) (out []kmsg.CreateTopicsResponseTopicConfig) {
	for _, e := range overrides {
		out = append(out, kmsg.CreateTopicsResponseTopicConfig{Name: e.Name, Value: &e.Value, Source: 1})
	}
	return out
}
