package broker

import (
	"strconv"
	"strings"

	"slipstream/internal/metadata"
	"slipstream/protocol"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// FindCoordinator (10), versions 0-6: of groups, of transactional ids (v1+) and of
// share groups' partitions (v6+); several keys at once from v4 on.
//
// This node coordinates everything. What the question does is make the internal
// topic when it is asked for the first time.
// Departures from Kafka: the topic is there when the question is answered; Kafka
// answers COORDINATOR_NOT_AVAILABLE until it is, and clients ask again.

// Types of coordinators (FindCoordinatorRequest.CoordinatorType in Kafka).
const (
	coordinatorOfGroup       = 0
	coordinatorOfTransaction = 1
	coordinatorOfShare       = 2
)

func (s *Shard) serveFindCoordinator(c *call) {
	req := c.body.(*kmsg.FindCoordinatorRequest)
	var of *internalTopic
	switch {
	case req.CoordinatorType == coordinatorOfGroup:
		of = consumerOffsets
	case req.CoordinatorType == coordinatorOfTransaction:
		of = transactionState
	case req.CoordinatorType == coordinatorOfShare && req.Version >= 6:
		of = shareGroupState
	default:
		c.reply(s.foundCoordinator(req, func(string) protocol.ErrorCode { return protocol.INVALID_REQUEST }))
		return
	}
	s.needInternalTopic(of, func(code protocol.ErrorCode) {
		c.reply(s.foundCoordinator(req, func(key string) protocol.ErrorCode {
			if of == shareGroupState && !validShareKey(key) {
				return protocol.INVALID_REQUEST
			}
			if code == protocol.NONE && !s.led(of, key) {
				return protocol.COORDINATOR_NOT_AVAILABLE
			}
			return code
		}))
	})
}

// led is whether the partition of a key has a leader: it has none while its data directory is out of service.
func (s *Shard) led(of *internalTopic, key string) bool {
	at, ok := s.partitionOf(of, key)
	if !ok {
		return true
	}
	t := s.image.TopicByID(metadata.UUID(at.topic))
	if t == nil {
		return true
	}
	p := t.Partition(at.partition)
	return p == nil || p.Leader >= 0
}

// foundCoordinator is the answer: this node for every key that code allows.
func (s *Shard) foundCoordinator(req *kmsg.FindCoordinatorRequest, code func(key string) protocol.ErrorCode) *kmsg.FindCoordinatorResponse {
	resp := kmsg.NewPtrFindCoordinatorResponse()
	if req.Version < 4 {
		one := s.foundOne(req.CoordinatorKey, code(req.CoordinatorKey))
		resp.ErrorCode, resp.ErrorMessage = one.ErrorCode, one.ErrorMessage
		resp.NodeID, resp.Host, resp.Port = one.NodeID, one.Host, one.Port
		return resp
	}
	for _, key := range req.CoordinatorKeys {
		resp.Coordinators = append(resp.Coordinators, s.foundOne(key, code(key)))
	}
	return resp
}

func (s *Shard) foundOne(key string, code protocol.ErrorCode) kmsg.FindCoordinatorResponseCoordinator {
	out := kmsg.NewFindCoordinatorResponseCoordinator()
	out.Key, out.NodeID, out.Port = key, -1, -1
	out.ErrorMessage = kmsg.StringPtr(explainCoordinator(code))
	if code != protocol.NONE {
		out.ErrorCode = int16(code)
		return out
	}
	out.NodeID, out.Host, out.Port = s.broker.nodeID, s.broker.advertisedHost, s.broker.advertisedPort
	return out
}

// explainCoordinator is Kafka's text for an error; it has one for none, too.
func explainCoordinator(code protocol.ErrorCode) string {
	switch code {
	case protocol.INVALID_REQUEST:
		return "This most likely occurs because of a request being malformed by the client library or the message was sent to an incompatible broker. " +
			"See the broker logs for more details."
	case protocol.COORDINATOR_NOT_AVAILABLE:
		return "The coordinator is not available."
	}
	return code.String()
}

// validShareKey says whether a key is group:topic id:partition, as
// SharePartitionKey in Kafka reads it: from the right, since a group may have colons in
// its name, and without the colons that it ends in. What the partition is, it does not ask.
func validShareKey(key string) bool {
	rest, partition, ok := cutLast(strings.TrimRight(key, ":"))
	group, topic, both := cutLast(rest)
	if !ok || !both || strings.TrimFunc(group, func(r rune) bool { return r <= ' ' }) == "" {
		return false
	}
	topic = strings.TrimSuffix(topic, "==")
	_, err := protocol.ParseUUID(topic)
	_, bad := strconv.ParseInt(partition, 10, 32)
	return err == nil && len(topic) == 22 && bad == nil
}

// cutLast cuts s at its last colon.
func cutLast(s string) (before, after string, ok bool) {
	at := strings.LastIndexByte(s, ':')
	if at < 0 {
		return "", s, false
	}
	return s[:at], s[at+1:], true
}
