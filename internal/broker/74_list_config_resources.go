package broker

import (
	"slices"

	"slipstream/internal/metadata"
	"slipstream/protocol"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// ListConfigResources (74), versions 0-1: what has settings, by kind. Of groups and
// client metrics those that have been given some. Version 0 is of client metrics
// alone.

// configKinds are the kinds that are listed where a request names none.
var configKinds = []metadata.ResourceType{
	metadata.ResourceTopic, metadata.ResourceBroker, metadata.ResourceBrokerLogger, metadata.ResourceClientMetrics, metadata.ResourceGroup,
}

func (s *Shard) serveListConfigResources(c *call) {
	req := c.body.(*kmsg.ListConfigResourcesRequest)
	resp := kmsg.NewPtrListConfigResourcesResponse()
	kinds := configKinds
	switch {
	case req.Version == 0:
		kinds = []metadata.ResourceType{metadata.ResourceClientMetrics}
	case len(req.ResourceTypes) > 0:
		kinds = nil
		for _, k := range req.ResourceTypes {
			if !slices.Contains(configKinds, metadata.ResourceType(k)) {
				resp.ErrorCode = int16(protocol.UNSUPPORTED_VERSION)
				c.reply(resp)
				return
			}
			if !slices.Contains(kinds, metadata.ResourceType(k)) {
				kinds = append(kinds, metadata.ResourceType(k))
			}
		}
	}
	add := func(kind metadata.ResourceType, name string) {
		r := kmsg.NewListConfigResourcesResponseConfigResource()
		r.Name, r.Type = name, int8(kind)
		resp.ConfigResources = append(resp.ConfigResources, r)
	}
	for _, kind := range kinds {
		switch kind {
		case metadata.ResourceTopic:
			for _, t := range s.image.Topics() {
				add(kind, t.Name)
			}
		case metadata.ResourceBroker, metadata.ResourceBrokerLogger:
			add(kind, itoa(int(s.broker.nodeID)))
		default:
			for _, name := range s.image.ConfiguredNames(kind) {
				add(kind, name)
			}
		}
	}
	c.reply(resp)
}
