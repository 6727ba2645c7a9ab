package broker

import (
	"strconv"

	"slipstream/internal/metadata"
	"slipstream/protocol"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// DescribeConfigs (32), versions 1-4, of topics, of brokers (this one, and the
// defaults of all), of this broker's logger, of groups and of client metrics.
//
// Departures from Kafka: a resource that is named twice is answered once; there is
// one logger, root; Kafka's texts about its settings are not carried: those of
// settings that do something here are ours.

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
	res := metadata.Resource{Type: metadata.ResourceType(asked.ResourceType), Name: asked.ResourceName}
	settings, own := s.broker.settings.Topics, itoa(int(s.broker.nodeID))
	switch res.Type {
	case metadata.ResourceTopic:
		if err := metadata.CheckTopicName(res.Name); err != nil {
			return refuse(protocol.INVALID_TOPIC_EXCEPTION, err.Message)
		}
		if s.image.TopicByName(res.Name) == nil {
			return refuse(protocol.UNKNOWN_TOPIC_OR_PARTITION, "")
		}
		out.Configs = settings.DescribeTopic(s.image.Configs(res), s.brokerConfigs(), q)
	case metadata.ResourceBroker:
		switch res.Name {
		case "":
			out.Configs = settings.DescribeBrokers(s.image.Configs(res), q)
		case own:
			out.Configs = settings.DescribeBroker(s.brokerConfigs(), q)
		default:
			return refuse(protocol.INVALID_REQUEST, "Unexpected broker id, expected "+own+" or empty string, but received "+res.Name)
		}
	case metadata.ResourceBrokerLogger:
		if text := s.wrongLoggers(res.Name); text != "" {
			return refuse(protocol.INVALID_REQUEST, text)
		}
		out.Configs = s.describeLogger(q)
	case metadata.ResourceGroup:
		if res.Name == "" {
			return refuse(protocol.INVALID_REQUEST, "Group name must not be empty")
		}
		out.Configs = settings.DescribeGroup(s.image.Configs(res), s.brokerConfigs(), q)
	case metadata.ResourceClientMetrics:
		if res.Name == "" {
			return refuse(protocol.INVALID_REQUEST, "Client metrics subscription name must not be empty")
		}
		out.Configs = settings.DescribeClientMetrics(s.image.Configs(res), q)
	default:
		return refuse(protocol.INVALID_REQUEST, "This most likely occurs because of a request being malformed by the client library or the message "+
			"was sent to an incompatible broker. See the broker logs for more details.")
	}
	return out
}

// wrongLoggers says what is wrong with the name of the broker whose loggers are
// asked for, "" if it is this one.
func (s *Shard) wrongLoggers(name string) string {
	id, err := strconv.ParseInt(name, 10, 32)
	switch {
	case name == "":
		return "Broker id must not be empty"
	case err != nil:
		return "Broker id must be an integer, but it is: " + name
	case int32(id) != s.broker.nodeID:
		return "Unexpected broker id, expected " + itoa(int(s.broker.nodeID)) + " but received " + name
	}
	return ""
}
