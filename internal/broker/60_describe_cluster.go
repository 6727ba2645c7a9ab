package broker

import (
	"slipstream/protocol"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// DescribeCluster (60), versions 0-2.
//
// Departures from Kafka: controllers as endpoints (v1) cannot be asked for on a
// broker's listener, and are refused there, as by Kafka.

// Endpoint types of DescribeCluster v1.
const (
	endpointBrokers     = 1
	endpointControllers = 2
)

func (s *Shard) serveDescribeCluster(c *call) {
	req := c.body.(*kmsg.DescribeClusterRequest)
	resp := kmsg.NewPtrDescribeClusterResponse()
	resp.ClusterID = s.broker.clusterID
	resp.ControllerID = s.broker.nodeID
	resp.ClusterAuthorizedOperations = authorizedOperationsAbsent
	if req.IncludeClusterAuthorizedOperations {
		resp.ClusterAuthorizedOperations = clusterOperations
	}
	resp.EndpointType = endpointBrokers
	if req.Version >= 1 && req.EndpointType != endpointBrokers {
		resp.ClusterID, resp.ControllerID = "", -1
		resp.ErrorCode = int16(protocol.UNSUPPORTED_ENDPOINT_TYPE)
		message := "Unsupported endpoint type " + itoa(int(req.EndpointType))
		if req.EndpointType == endpointControllers {
			resp.ErrorCode = int16(protocol.MISMATCHED_ENDPOINT_TYPE)
			message = "The request was sent to an endpoint of type BROKER, but we wanted an endpoint of type CONTROLLER"
		}
		resp.ErrorMessage = &message
		c.reply(resp)
		return
	}
	b := kmsg.NewDescribeClusterResponseBroker()
	b.NodeID, b.Host, b.Port = s.broker.nodeID, s.broker.advertisedHost, s.broker.advertisedPort
	resp.Brokers = append(resp.Brokers, b)
	c.reply(resp)
}
