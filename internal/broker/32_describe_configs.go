package broker

import (
	"slipstream/internal/metadata"
	"slipstream/protocol"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// DescribeConfigs (32), versions 1-4, of topics and of this broker.
//
// Departures from Kafka: broker loggers, client metrics and groups are answered
// with no settings.

func (s *Shard) serveDescribeConfigs(c *call) {
	req := c.body.(*kmsg.DescribeConfigsRequest)
	resp := kmsg.NewPtrDescribeConfigsResponse()
	type named struct {
		kind kmsg.ConfigResourceType
		name string
	}
	seen := make(map[named]bool, len(req.Resources)) // see describeMetadata
	for i := range req.Resources {
		key := named{req.Resources[i].ResourceType, req.Resources[i].ResourceName}
		if seen[key] {
			continue
		}
		seen[key] = true
		resp.Resources = append(resp.Resources, s.describeConfigs(&req.Resources[i], req))
	}
	c.reply(resp)
}

func (s *Shard) describeConfigs(asked *kmsg.DescribeConfigsRequestResource, req *kmsg.DescribeConfigsRequest) kmsg.DescribeConfigsResponseResource {
	out := kmsg.NewDescribeConfigsResponseResource()
	out.ResourceType, out.ResourceName, out.ErrorMessage = asked.ResourceType, asked.ResourceName, kmsg.StringPtr("")
	q := ConfigQuery{Names: asked.ConfigNames, Synonyms: req.IncludeSynonyms, Documentation: req.IncludeDocumentation}
	refuse := func(code protocol.ErrorCode, message string) kmsg.DescribeConfigsResponseResource {
		out.ErrorCode, out.ErrorMessage = int16(code), &message
		return out
	}
	switch metadata.ResourceType(asked.ResourceType) {
	case metadata.ResourceTopic:
		if err := metadata.CheckTopicName(asked.ResourceName); err != nil {
			return refuse(protocol.INVALID_TOPIC_EXCEPTION, err.Message)
		}
		if s.image.TopicByName(asked.ResourceName) == nil {
			out.ErrorCode = int16(protocol.UNKNOWN_TOPIC_OR_PARTITION)
			message := "This server does not host this topic-partition."
			out.ErrorMessage = &message
			return out
		}
		own := s.image.Configs(metadata.Resource{Type: metadata.ResourceTopic, Name: asked.ResourceName})
		out.Configs = s.broker.settings.Topics.DescribeTopic(own, s.brokerConfigs(), q)
	case metadata.ResourceBroker:
		if asked.ResourceName != "" && asked.ResourceName != itoa(int(s.broker.settings.NodeID)) {
			return refuse(protocol.INVALID_REQUEST, "Unexpected broker id, expected "+itoa(int(s.broker.settings.NodeID))+
				" or empty string, but received "+asked.ResourceName)
		}
		if asked.ResourceName == "" {
			// The defaults of all brokers: only what has been set.
			set := s.image.Configs(metadata.Resource{Type: metadata.ResourceBroker})
			q.Names = []string{}
			for _, e := range set {
				q.Names = append(q.Names, e.Name)
			}
			out.Configs = s.broker.settings.Topics.DescribeBroker(BrokerConfigs{All: set}, q)
			return out
		}
		out.Configs = s.broker.settings.Topics.DescribeBroker(s.brokerConfigs(), q)
	case metadata.ResourceBrokerLogger, metadata.ResourceClientMetrics, metadata.ResourceGroup:
	default:
		return refuse(protocol.INVALID_REQUEST, "Unsupported resource type: "+itoa(int(asked.ResourceType)))
	}
	return out
}
