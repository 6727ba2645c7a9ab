package broker

import (
	"math"

	"slipstream/internal/metadata"
	"slipstream/protocol"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// Metadata (3), versions 0-13, with auto-creation.
//
// Departures from Kafka: a topic that the request creates is answered with its
// partitions, after they can be used, instead of LEADER_NOT_AVAILABLE and a retry.

// authorizedOperationsAbsent is what a response without the bit field says.
const authorizedOperationsAbsent = -2147483648

// Authorized operations when no authorizer is configured: all that apply
// (AclOperation's bits in Kafka).
const (
	topicOperations   = 1<<3 | 1<<4 | 1<<5 | 1<<6 | 1<<7 | 1<<8 | 1<<10 | 1<<11
	clusterOperations = 1<<5 | 1<<7 | 1<<8 | 1<<9 | 1<<10 | 1<<11 | 1<<12
)

func (s *Shard) serveMetadata(c *call) {
	req := c.body.(*kmsg.MetadataRequest)
	if req.Version < 12 && namedByID(req) {
		c.reply(refuseMetadata(req))
		return
	}
	missing := s.topicsToCreate(req)
	if len(missing) == 0 {
		c.reply(s.describeMetadata(req, nil))
		return
	}
	var created *kmsg.CreateTopicsResponse
	m := c.mutating(math.MaxInt16)
	s.propose(func(ctl *metadata.Controller) (records []metadata.Record) {
		m.on(ctl, s.broker.shards[controllerCore], func() { created, records = ctl.CreateTopics(autoCreation(missing)) })
		return records
	}, func(code protocol.ErrorCode) {
		refused := make(map[string]int16)
		for _, t := range created.Topics {
			if code != protocol.NONE {
				refused[t.Topic] = int16(code)
			} else if t.ErrorCode != 0 && t.ErrorCode != int16(protocol.TOPIC_ALREADY_EXISTS) {
				refused[t.Topic] = t.ErrorCode
			}
		}
		c.throttleMillis = m.delayMillis
		c.reply(s.describeMetadata(req, refused))
	})
}

// namedByID says whether a request names a topic by its id; versions 10 and 11
// have the field, and Kafka serves it from 12 on.
func namedByID(req *kmsg.MetadataRequest) bool {
	for i := range req.Topics {
		if req.Topics[i].Topic == nil || req.Topics[i].TopicID != [16]byte{} {
			return true
		}
	}
	return false
}

// refuseMetadata is Kafka's answer to a request that cannot be served as a whole.
func refuseMetadata(req *kmsg.MetadataRequest) *kmsg.MetadataResponse {
	resp := kmsg.NewPtrMetadataResponse()
	resp.ControllerID, resp.AuthorizedOperations = -1, authorizedOperationsAbsent
	for i := range req.Topics {
		t := kmsg.NewMetadataResponseTopic()
		name := ""
		if req.Topics[i].Topic != nil {
			name = *req.Topics[i].Topic
		}
		t.Topic, t.TopicID, t.ErrorCode = &name, req.Topics[i].TopicID, int16(protocol.INVALID_REQUEST)
		resp.Topics = append(resp.Topics, t)
	}
	return resp
}

// topicsToCreate names the topics that the request asks for, that do not exist,
// and that the broker and the request allow to be created.
func (s *Shard) topicsToCreate(req *kmsg.MetadataRequest) (names []string) {
	allowed := req.Version < 4 || req.AllowAutoTopicCreation
	if !allowed || !s.broker.autoCreate {
		return nil
	}
	seen := make(map[string]bool)
	for _, t := range req.Topics {
		if t.Topic == nil || t.TopicID != [16]byte{} || seen[*t.Topic] || s.topicsByName[*t.Topic] != nil {
			continue
		}
		if metadata.CheckTopicName(*t.Topic) != nil || *t.Topic == metadata.MetadataTopic {
			continue
		}
		seen[*t.Topic] = true
		names = append(names, *t.Topic)
	}
	return names
}

func autoCreation(names []string) *kmsg.CreateTopicsRequest {
	req := kmsg.NewPtrCreateTopicsRequest()
	req.Version = 7
	for _, name := range names {
		t := kmsg.NewCreateTopicsRequestTopic()
		t.Topic, t.NumPartitions, t.ReplicationFactor = name, -1, -1
		req.Topics = append(req.Topics, t)
	}
	return req
}

func (s *Shard) describeMetadata(req *kmsg.MetadataRequest, refused map[string]int16) *kmsg.MetadataResponse {
	resp := kmsg.NewPtrMetadataResponse()
	resp.ClusterID = kmsg.StringPtr(s.broker.clusterID)
	resp.ControllerID = s.broker.nodeID
	resp.AuthorizedOperations = authorizedOperationsAbsent
	if req.IncludeClusterAuthorizedOperations {
		resp.AuthorizedOperations = clusterOperations
	}
	b := kmsg.NewMetadataResponseBroker()
	b.NodeID, b.Host, b.Port = s.broker.nodeID, s.broker.advertisedHost, s.broker.advertisedPort
	resp.Brokers = append(resp.Brokers, b)
	// A null list asks for every topic, in version 0 an empty one does.
	if req.Topics == nil || req.Version == 0 && len(req.Topics) == 0 {
		for _, t := range s.image.Topics() {
			resp.Topics = append(resp.Topics, s.describeTopic(t, req))
		}
		return resp
	}
	// A topic named twice is described once, as in Kafka: the answer would
	// otherwise be as many times larger than the request as a topic is than its name.
	type named struct {
		name string
		id   [16]byte
	}
	seen := make(map[named]bool, len(req.Topics))
	for i := range req.Topics {
		key := named{id: req.Topics[i].TopicID}
		if req.Topics[i].Topic != nil {
			key.name = *req.Topics[i].Topic
		}
		if !seen[key] {
			seen[key] = true
			resp.Topics = append(resp.Topics, s.describeAsked(&req.Topics[i], req, refused))
		}
	}
	return resp
}

// describeAsked describes a topic that the request names, by name or by id.
func (s *Shard) describeAsked(asked *kmsg.MetadataRequestTopic, req *kmsg.MetadataRequest, refused map[string]int16) kmsg.MetadataResponseTopic {
	out := kmsg.NewMetadataResponseTopic()
	if asked.TopicID != [16]byte{} {
		if t := s.image.TopicByID(asked.TopicID); t != nil {
			return s.describeTopic(t, req)
		}
		out.TopicID = asked.TopicID
		out.ErrorCode = int16(protocol.UNKNOWN_TOPIC_ID)
		return out
	}
	name := ""
	if asked.Topic != nil {
		name = *asked.Topic
	}
	if t := s.image.TopicByName(name); t != nil {
		return s.describeTopic(t, req)
	}
	out.Topic = &name
	out.ErrorCode = int16(protocol.UNKNOWN_TOPIC_OR_PARTITION)
	if metadata.CheckTopicName(name) != nil {
		if req.IncludeTopicAuthorizedOperations {
			out.AuthorizedOperations = topicOperations
		}
		out.ErrorCode = int16(protocol.INVALID_TOPIC_EXCEPTION)
	}
	if code, ok := refused[name]; ok {
		out.ErrorCode = code
	}
	return out
}

func (s *Shard) describeTopic(t *metadata.Topic, req *kmsg.MetadataRequest) kmsg.MetadataResponseTopic {
	out := kmsg.NewMetadataResponseTopic()
	name := t.Name
	out.Topic, out.TopicID, out.IsInternal = &name, t.ID, isInternal(t.Name)
	out.AuthorizedOperations = authorizedOperationsAbsent
	if req.IncludeTopicAuthorizedOperations {
		out.AuthorizedOperations = topicOperations
	}
	out.Partitions = make([]kmsg.MetadataResponseTopicPartition, len(t.Partitions))
	for i := range t.Partitions {
		p, o := &t.Partitions[i], &out.Partitions[i]
		o.Default()
		o.Partition, o.Leader, o.LeaderEpoch = p.Index, p.Leader, p.LeaderEpoch
		o.Replicas, o.ISR, o.OfflineReplicas = p.Replicas, p.ISR, s.image.Offline(p)
		if p.Leader < 0 {
			o.ErrorCode = int16(protocol.LEADER_NOT_AVAILABLE)
		}
	}
	return out
}
