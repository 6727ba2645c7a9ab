package broker

import (
	"errors"
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

// Validate implements metadata.ConfigValidator. Its texts and codes are Kafka's.
func (k kafkaSettings) Validate(res metadata.Resource, configs []metadata.ConfigEntry) error {
	set := make(map[string]string, len(configs))
	for _, e := range configs {
		set[e.Name] = e.Value
	}
	switch res.Type {
	case metadata.ResourceTopic:
		return config.CheckTopic(set)
	case metadata.ResourceBroker:
		if err := config.CheckBroker(set, res.Name == ""); err != nil {
			return &metadata.Refusal{Code: protocol.INVALID_REQUEST, Message: err.Error()}
		}
		return nil
	case metadata.ResourceGroup:
		return k.static.CheckGroup(set, dynamic(nil, k.brokerConfigs()))
	case metadata.ResourceClientMetrics:
		err := config.CheckClientMetrics(set)
		var malformed *config.ErrMalformed
		if errors.As(err, &malformed) {
			return &metadata.Refusal{Code: protocol.INVALID_REQUEST, Message: malformed.Text}
		}
		return err
	}
	return &metadata.Refusal{Code: protocol.INVALID_REQUEST, Message: "Unknown resource type " + itoa(int(res.Type))}
}

// List implements metadata.ConfigValidator.
func (k kafkaSettings) List(res metadata.Resource, name string) (inherited string, isList bool) {
	var s *config.Setting
	switch res.Type { // of others Kafka knows no types, and so no lists
	case metadata.ResourceTopic:
		s = config.Topic(name)
	case metadata.ResourceBroker:
		s = config.Broker(name)
	}
	if s == nil || s.Kind != config.List {
		return "", false
	}
	if res.Type == metadata.ResourceTopic {
		return k.static.TopicValue(s, config.Dynamic{}).Text, true
	}
	return k.static.Get(name), true
}

// Describe implements metadata.ConfigValidator.
func (k kafkaSettings) Describe(overrides []metadata.ConfigEntry) (out []kmsg.CreateTopicsResponseTopicConfig) {
	for _, s := range config.Topics() {
		v := k.static.TopicValue(s, dynamic(overrides, k.brokerConfigs()))
		c := kmsg.NewCreateTopicsResponseTopicConfig()
		c.Name, c.Source, c.ReadOnly, c.IsSensitive = s.Name, int8(v.Source), s.ReadOnly, s.Sensitive
		if !v.Null {
			c.Value = &v.Text
		}
		out = append(out, c)
	}
	return out
}

// lookup finds settings in a list of dynamic ones.
func lookup(entries []metadata.ConfigEntry) config.Lookup {
	return func(name string) (string, bool) {
		for i := range entries {
			if entries[i].Name == name {
				return entries[i].Value, true
			}
		}
		return "", false
	}
}

// dynamic is what the metadata log sets for a topic.
func dynamic(topic []metadata.ConfigEntry, broker BrokerConfigs) config.Dynamic {
	return config.Dynamic{Topic: lookup(topic), Broker: lookup(broker.Own), All: lookup(broker.All)}
}

// Resolve implements TopicSettings.
func (k kafkaSettings) Resolve(topic []metadata.ConfigEntry, broker BrokerConfigs) TopicConfig {
	d := dynamic(topic, broker)
	text := func(name string) string { return k.static.TopicValue(config.Topic(name), d).Text }
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
	c.Log.ProducerIDMillis, _ = strconv.ParseInt(strings.TrimSpace(k.static.BrokerValue(config.Broker("producer.id.expiration.ms"), d).Text), 10, 64)
	c.Rules = protocol.Rules{
		MaxMessageBytes: c.Log.MaxMessageBytes, TimestampType: stamp,
		TimestampBeforeMaxMillis: number("message.timestamp.before.max.ms"),
		TimestampAfterMaxMillis:  number("message.timestamp.after.max.ms"),
		Compacted:                slices.Contains(config.SplitList(text("cleanup.policy")), "compact"),
	}
	c.Log.Compacted = c.Rules.Compacted
	c.Codec, c.Recompress = codecOf(text("compression.type"))
	switch c.Codec {
	case protocol.Gzip, protocol.LZ4, protocol.Zstd:
		c.Level = int(number("compression." + c.Codec.String() + ".level"))
	}
	c.Log.RetentionMillis = number("retention.ms")
	c.Log.RetentionBytes = number("retention.bytes")
	c.Log.MinCompactionLagMillis = number("min.compaction.lag.ms")
	c.Log.MaxCompactionLagMillis = number("max.compaction.lag.ms")
	c.Log.DeleteRetentionMillis = number("delete.retention.ms")
	c.Log.MinDirtyRatio, _ = strconv.ParseFloat(strings.TrimSpace(text("min.cleanable.dirty.ratio")), 64)
	c.Log.Deletable = slices.Contains(config.SplitList(text("cleanup.policy")), "delete")
	return c
}

// codecOf is the codec that a value of compression.type stands for; "producer" stands for none.
func codecOf(text string) (codec protocol.Codec, recompress bool) {
	if text == "uncompressed" {
		return protocol.None, true
	}
	for c := protocol.Gzip; c <= protocol.Zstd; c++ {
		if c.String() == text {
			return c, true
		}
	}
	return protocol.None, false
}
