package broker

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"slipstream/internal/config"
	"slipstream/internal/metadata"
	"slipstream/protocol"
	"slipstream/storage"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// kafkaSettings is TopicSettings over the registry of internal/config and the
// broker's static configuration. A topic setting's value is the first of: the
// topic's own, the broker's dynamic synonym, the broker's static synonym, the
// default.
type kafkaSettings struct {
	static *config.Config
	// cluster gives what CreateTopics describes: the dynamic broker settings of
	// core 0's image, once there is one.
	cluster func() BrokerConfigs
}

func (k kafkaSettings) brokerConfigs() BrokerConfigs {
	if k.cluster == nil {
		return BrokerConfigs{}
	}
	return k.cluster()
}

// Sources of a setting's value (DescribeConfigsResponse.ConfigSource in Kafka).
const (
	sourceTopic         = 1
	sourceDynamicBroker = 2
	sourceClusterBroker = 3 // dynamic, of all brokers
	sourceStaticBroker  = 4
	sourceDefault       = 5
)

// Validate implements metadata.ConfigValidator. Its texts and codes are Kafka's.
func (k kafkaSettings) Validate(res metadata.Resource, configs []metadata.ConfigEntry) error {
	for _, e := range configs {
		switch res.Type {
		case metadata.ResourceTopic:
			s := config.Topic(e.Name)
			if s == nil {
				return fmt.Errorf("Unknown topic config name: %s", e.Name)
			}
			if err := s.Check(e.Value); err != nil {
				return err
			}
		case metadata.ResourceBroker:
			s := config.Broker(e.Name)
			if s == nil {
				continue // Kafka keeps what it does not know
			}
			if s.ReadOnly {
				return &metadata.Refusal{Code: protocol.INVALID_REQUEST, Message: "Cannot update these configs dynamically: [" + e.Name + "]"}
			}
			if err := s.Check(e.Value); err != nil {
				return &metadata.Refusal{Code: protocol.INVALID_REQUEST, Message: err.Error()}
			}
		default:
			return &metadata.Refusal{Code: protocol.INVALID_REQUEST, Message: "Configs of this kind of resource are not served"}
		}
	}
	return nil
}

// List implements metadata.ConfigValidator.
func (k kafkaSettings) List(res metadata.Resource, name string) (inherited string, isList bool) {
	s := config.Broker(name)
	if res.Type == metadata.ResourceTopic {
		s = config.Topic(name)
	}
	if s == nil || s.Kind != config.List {
		return "", false
	}
	if res.Type == metadata.ResourceTopic {
		value, _, _ := k.resolve(s, nil, BrokerConfigs{})
		return value, true
	}
	return k.static.Get(name), true
}

// Describe implements metadata.ConfigValidator.
func (k kafkaSettings) Describe(overrides []metadata.ConfigEntry) (out []kmsg.CreateTopicsResponseTopicConfig) {
	for _, s := range config.Topics() {
		value, source, null := k.resolve(s, overrides, k.brokerConfigs())
		c := kmsg.NewCreateTopicsResponseTopicConfig()
		c.Name, c.Source, c.ReadOnly, c.IsSensitive = s.Name, int8(source), s.ReadOnly, s.Sensitive
		if !null {
			c.Value = &value
		}
		out = append(out, c)
	}
	return out
}

// entry finds a dynamic setting.
func entry(entries []metadata.ConfigEntry, name string) (string, bool) {
	for i := range entries {
		if entries[i].Name == name {
			return entries[i].Value, true
		}
	}
	return "", false
}

// resolve finds a topic setting's value and where it comes from.
func (k kafkaSettings) resolve(s *config.Setting, topic []metadata.ConfigEntry, broker BrokerConfigs) (value string, source int, null bool) {
	if v, ok := entry(topic, s.Name); ok {
		return v, sourceTopic, false
	}
	if s.Synonym != "" {
		if v, ok := entry(broker.Own, s.Synonym); ok {
			return v, sourceDynamicBroker, false
		}
		if v, ok := entry(broker.All, s.Synonym); ok {
			return v, sourceClusterBroker, false
		}
		if v, ok := k.static.Static(s.Synonym); ok {
			return v, sourceStaticBroker, false
		}
		if v, ok := k.inOtherUnits(s.Name); ok {
			return v, sourceStaticBroker, false
		}
	}
	return s.Default, sourceDefault, s.None
}

// inOtherUnits is a time that server.properties gives in hours or minutes.
func (k kafkaSettings) inOtherUnits(topicName string) (string, bool) {
	for _, u := range []struct {
		topic, broker string
		millis        int64
	}{
		{"retention.ms", "log.retention.minutes", 60_000},
		{"retention.ms", "log.retention.hours", 3600_000},
		{"segment.ms", "log.roll.hours", 3600_000},
		{"segment.jitter.ms", "log.roll.jitter.hours", 3600_000},
		{"flush.ms", "log.flush.scheduler.interval.ms", 1},
	} {
		if v, ok := k.static.Static(u.broker); ok && u.topic == topicName {
			n, _ := strconv.ParseInt(v, 10, 64)
			if n > 0 {
				n *= u.millis
			}
			return strconv.FormatInt(n, 10), true
		}
	}
	return "", false
}

// Resolve implements TopicSettings.
func (k kafkaSettings) Resolve(topic []metadata.ConfigEntry, broker BrokerConfigs) TopicConfig {
	text := func(name string) string {
		v, _, _ := k.resolve(config.Topic(name), topic, broker)
		return v
	}
	number := func(name string) int64 {
		n, _ := strconv.ParseInt(strings.TrimSpace(text(name)), 10, 64) // checked when it was set
		return n
	}
	stamp := protocol.CreateTime
	if text("message.timestamp.type") == "LogAppendTime" {
		stamp = protocol.LogAppendTime
	}
	c := TopicConfig{Log: storage.DefaultConfig(), MinInsyncReplicas: int(number("min.insync.replicas"))}
	c.Log.SegmentBytes = int32(number("segment.bytes"))
	c.Log.SegmentMillis = number("segment.ms")
	c.Log.SegmentJitterMillis = number("segment.jitter.ms")
	c.Log.IndexIntervalBytes = int32(number("index.interval.bytes"))
	c.Log.IndexBytes = int32(number("segment.index.bytes"))
	c.Log.MaxMessageBytes = int32(number("max.message.bytes"))
	c.Log.FlushMessages = number("flush.messages")
	c.Log.FlushMillis = number("flush.ms")
	c.Log.DeleteDelayMillis = number("file.delete.delay.ms")
	c.Log.TimestampType = stamp
	c.Log.Preallocate = text("preallocate") == "true"
	c.Log.ProducerIDMillis = k.static.Int("producer.id.expiration.ms")
	c.Rules = protocol.Rules{
		MaxMessageBytes: c.Log.MaxMessageBytes, TimestampType: stamp,
		TimestampBeforeMaxMillis: number("message.timestamp.before.max.ms"),
		TimestampAfterMaxMillis:  number("message.timestamp.after.max.ms"),
		Compacted:                slices.Contains(config.SplitList(text("cleanup.policy")), "compact"),
	}
	return c
}

// DescribeTopic implements TopicSettings.
func (k kafkaSettings) DescribeTopic(topic []metadata.ConfigEntry, broker BrokerConfigs, q ConfigQuery) (out []kmsg.DescribeConfigsResponseResourceConfig) {
	for _, s := range config.Topics() {
		if !q.wants(s.Name) {
			continue
		}
		value, source, null := k.resolve(s, topic, broker)
		out = append(out, describeSetting(s, value, source, null, k.synonyms(s, topic, broker), q))
	}
	return out
}

// DescribeBroker implements TopicSettings.
func (k kafkaSettings) DescribeBroker(broker BrokerConfigs, q ConfigQuery) (out []kmsg.DescribeConfigsResponseResourceConfig) {
	for _, s := range config.Brokers() {
		if !q.wants(s.Name) {
			continue
		}
		levels := k.brokerLevels(s, broker)
		value, source, null := s.Default, sourceDefault, s.None
		if len(levels) > 0 {
			value, source, null = *levels[0].Value, int(levels[0].Source), false
		}
		out = append(out, describeSetting(s, value, source, null, levels, q))
	}
	return out
}

func (q ConfigQuery) wants(name string) bool {
	return q.Names == nil || slices.Contains(q.Names, name)
}

// synonyms lists every level at which a topic setting has a value, the one in
// force first.
func (k kafkaSettings) synonyms(s *config.Setting, topic []metadata.ConfigEntry, broker BrokerConfigs) (out []kmsg.DescribeConfigsResponseResourceConfigConfigSynonym) {
	if v, ok := entry(topic, s.Name); ok {
		out = append(out, synonym(s.Name, v, sourceTopic))
	}
	if b := config.Broker(s.Synonym); b != nil {
		out = append(out, k.brokerLevels(b, broker)...)
	}
	return out
}

func (k kafkaSettings) brokerLevels(s *config.Setting, broker BrokerConfigs) (out []kmsg.DescribeConfigsResponseResourceConfigConfigSynonym) {
	if v, ok := entry(broker.Own, s.Name); ok {
		out = append(out, synonym(s.Name, v, sourceDynamicBroker))
	}
	if v, ok := entry(broker.All, s.Name); ok {
		out = append(out, synonym(s.Name, v, sourceClusterBroker))
	}
	if v, ok := k.static.Static(s.Name); ok {
		out = append(out, synonym(s.Name, v, sourceStaticBroker))
	}
	if !s.None {
		out = append(out, synonym(s.Name, s.Default, sourceDefault))
	}
	return out
}

func synonym(name, value string, source int) kmsg.DescribeConfigsResponseResourceConfigConfigSynonym {
	out := kmsg.NewDescribeConfigsResponseResourceConfigConfigSynonym()
	out.Name, out.Value, out.Source = name, &value, kmsg.ConfigSource(source)
	return out
}

func describeSetting(s *config.Setting, value string, source int, null bool, levels []kmsg.DescribeConfigsResponseResourceConfigConfigSynonym, q ConfigQuery) kmsg.DescribeConfigsResponseResourceConfig {
	out := kmsg.NewDescribeConfigsResponseResourceConfig()
	out.Name, out.Source, out.ReadOnly, out.IsSensitive = s.Name, kmsg.ConfigSource(source), s.ReadOnly, s.Sensitive
	out.IsDefault = source == sourceDefault
	out.ConfigType = kmsg.ConfigType(s.Kind)
	if !null && !s.Sensitive {
		out.Value = &value
	}
	if q.Synonyms {
		for _, l := range levels {
			if s.Sensitive {
				l.Value = nil
			}
			out.ConfigSynonyms = append(out.ConfigSynonyms, l)
		}
	}
	if q.Documentation && s.Doc != "" {
		out.Documentation = &s.Doc
	}
	return out
}
