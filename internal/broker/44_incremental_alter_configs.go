package broker

import (
	"slipstream/internal/metadata"
	"slipstream/protocol"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// IncrementalAlterConfigs (44), versions 0-1, on topics, brokers (this one, or all
// of them by the empty name), groups, client metrics and this broker's logger.
// Changes are live on every core when the answer comes.
//
// Departures from Kafka: what would change threads that there are not is accepted
// in any number; there is one logger, root.

func (s *Shard) serveIncrementalAlterConfigs(c *call) {
	req := c.body.(*kmsg.IncrementalAlterConfigsRequest)
	ofCluster := *req
	ofCluster.Resources = nil
	for i := range req.Resources {
		if !isLogger(&req.Resources[i]) {
			ofCluster.Resources = append(ofCluster.Resources, req.Resources[i])
		}
	}
	if len(ofCluster.Resources) == 0 {
		c.reply(s.alterLoggers(req, nil))
		return
	}
	var resp *kmsg.IncrementalAlterConfigsResponse
	s.propose(func(ctl *metadata.Controller) (records []metadata.Record) {
		resp, records = ctl.IncrementalAlterConfigs(&ofCluster)
		return records
	}, func(code protocol.ErrorCode) {
		uncommitted(code, len(resp.Resources), func(i int) *int16 { return &resp.Resources[i].ErrorCode })
		c.reply(s.alterLoggers(req, resp.Resources))
	})
}

func isLogger(r *kmsg.IncrementalAlterConfigsRequestResource) bool {
	return metadata.ResourceType(r.ResourceType) == metadata.ResourceBrokerLogger
}

// alterLoggers does what the request asks of loggers and puts the answers among
// those about other resources, in the request's order.
func (s *Shard) alterLoggers(req *kmsg.IncrementalAlterConfigsRequest, others []kmsg.IncrementalAlterConfigsResponseResource) *kmsg.IncrementalAlterConfigsResponse {
	resp := kmsg.NewPtrIncrementalAlterConfigsResponse()
	count := map[string]int{}
	for i := range req.Resources {
		if isLogger(&req.Resources[i]) {
			count[req.Resources[i].ResourceName]++
		}
	}
	for i := range req.Resources {
		asked := &req.Resources[i]
		if !isLogger(asked) {
			resp.Resources = append(resp.Resources, others[0])
			others = others[1:]
			continue
		}
		answer := kmsg.IncrementalAlterConfigsResponseResource{ResourceType: asked.ResourceType, ResourceName: asked.ResourceName}
		r := refusal(protocol.INVALID_REQUEST, "Each resource must appear at most once.")
		if count[asked.ResourceName] == 1 {
			r = s.alterLogger(asked, req.ValidateOnly)
		}
		if r != nil {
			answer.ErrorCode = int16(r.Code)
			if r.Message != "" {
				answer.ErrorMessage = &r.Message
			}
		}
		resp.Resources = append(resp.Resources, answer)
	}
	return resp
}
