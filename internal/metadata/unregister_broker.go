package metadata

import (
	"slipstream/protocol"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// UnregisterBroker decides an UnregisterBroker request (key 64): another broker of
// an Apache cluster, which this node fenced when it started, is forgotten.
func (c *Controller) UnregisterBroker(req *kmsg.UnregisterBrokerRequest) (*kmsg.UnregisterBrokerResponse, []Record) {
	resp := kmsg.NewPtrUnregisterBrokerResponse()
	var r *Refusal
	b := c.Image.Broker(req.BrokerID)
	switch {
	case b == nil:
		r = refuse(protocol.BROKER_ID_NOT_REGISTERED, "Broker ID %d is not currently registered", req.BrokerID)
	case req.BrokerID == c.NodeID:
		r = refuse(protocol.INVALID_REQUEST, "Broker ID %d is this broker: stop it instead", req.BrokerID)
	default:
		return resp, []Record{&UnregisterBrokerRecord{BrokerID: b.BrokerID, BrokerEpoch: b.BrokerEpoch}}
	}
	resp.ErrorCode, resp.ErrorMessage = int16(r.Code), r.text()
	return resp, nil
}
