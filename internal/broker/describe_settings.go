package broker

import (
	"slices"

	"slipstream/internal/config"
	"slipstream/internal/metadata"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// DescribeTopic implements TopicSettings.
func (k kafkaSettings) DescribeTopic(topic []metadata.ConfigEntry, broker BrokerConfigs, q ConfigQuery) (out []kmsg.DescribeConfigsResponseResourceConfig) {
	d := dynamic(topic, broker)
	for _, s := range config.Topics() {
		if q.wants(s.Name) {
			out = append(out, describeSetting(s, k.static.TopicValue(s, d), k.static.TopicLevels(s, d), q))
		}
	}
	return out
}

// DescribeBroker implements TopicSettings.
func (k kafkaSettings) DescribeBroker(broker BrokerConfigs, q ConfigQuery) (out []kmsg.DescribeConfigsResponseResourceConfig) {
	d := dynamic(nil, broker)
	for _, s := range config.Brokers() {
		if q.wants(s.Name) {
			out = append(out, describeSetting(s, k.static.BrokerValue(s, d), k.static.BrokerLevels(s, d), q))
		}
	}
	return out
}

// DescribeBrokers implements TopicSettings. What Kafka does not know may be a
// secret, and is not shown.
func (k kafkaSettings) DescribeBrokers(all []metadata.ConfigEntry, q ConfigQuery) (out []kmsg.DescribeConfigsResponseResourceConfig) {
	for _, e := range all {
		if !q.wants(e.Name) {
			continue
		}
		s := config.Broker(e.Name)
		if s == nil {
			s = &config.Setting{Name: e.Name, ReadOnly: true, Sensitive: true}
		}
		v := config.Value{Text: e.Value, Source: config.DynamicAll}
		out = append(out, describeSetting(s, v, []config.Level{{Name: e.Name, Value: e.Value, Source: v.Source}}, q))
	}
	return out
}

// DescribeGroup implements TopicSettings.
func (k kafkaSettings) DescribeGroup(group []metadata.ConfigEntry, broker BrokerConfigs, q ConfigQuery) (out []kmsg.DescribeConfigsResponseResourceConfig) {
	d := dynamic(nil, broker)
	d.Group = lookup(group)
	for _, s := range config.Groups() {
		if q.wants(s.Name) {
			out = append(out, describeSetting(s, k.static.GroupValue(s, d), k.static.GroupLevels(s, d), q))
		}
	}
	return out
}

// DescribeClientMetrics implements TopicSettings.
func (k kafkaSettings) DescribeClientMetrics(set []metadata.ConfigEntry, q ConfigQuery) (out []kmsg.DescribeConfigsResponseResourceConfig) {
	own := lookup(set)
	for _, s := range config.ClientMetrics() {
		if !q.wants(s.Name) {
			continue
		}
		v, levels := config.Value{Text: s.Default, Source: config.Default}, []config.Level(nil)
		if text, ok := own(s.Name); ok {
			v = config.Value{Text: text, Source: config.DynamicClientMetrics}
			levels = append(levels, config.Level{Name: s.Name, Value: text, Source: v.Source})
		}
		out = append(out, describeSetting(s, v, levels, q))
	}
	return out
}

func (q ConfigQuery) wants(name string) bool {
	return len(q.Names) == 0 || slices.Contains(q.Names, name)
}

// describeSetting is one setting of the answer; levels are its synonyms, the one in
// force first.
func describeSetting(s *config.Setting, v config.Value, levels []config.Level, q ConfigQuery) kmsg.DescribeConfigsResponseResourceConfig {
	out := kmsg.NewDescribeConfigsResponseResourceConfig()
	out.Name, out.Source, out.ReadOnly, out.IsSensitive = s.Name, kmsg.ConfigSource(v.Source), s.ReadOnly, s.Sensitive
	out.IsDefault = v.Source == config.Default
	out.ConfigType = kmsg.ConfigType(s.Kind)
	if !v.Null && !s.Sensitive {
		out.Value = &v.Text
	}
	if q.Synonyms {
		for _, l := range levels {
			synonym := kmsg.NewDescribeConfigsResponseResourceConfigConfigSynonym()
			synonym.Name, synonym.Source = l.Name, kmsg.ConfigSource(l.Source)
			if !s.Sensitive {
				synonym.Value = &l.Value
			}
			out.ConfigSynonyms = append(out.ConfigSynonyms, synonym)
		}
	}
	if q.Documentation && s.Doc != "" {
		out.Documentation = &s.Doc
	}
	return out
}
