package clients

import (
	"fmt"
	"strings"

	"slipstream/internal/clients/harness"

	"github.com/twmb/franz-go/pkg/kmsg"
)

func scriptAPIVersions(s *script) {
	s.versions("api versions", 0, 4, func(v int16) kmsg.Request {
		req := kmsg.NewPtrApiVersionsRequest()
		req.ClientSoftwareName, req.ClientSoftwareVersion = "test", "1.0"
		return req
	})
	req := kmsg.NewPtrApiVersionsRequest()
	req.ClientSoftwareName, req.ClientSoftwareVersion = "not a name!", ""
	s.ask("a client name with spaces", 3, req)
}

func metadataFor(topics ...string) *kmsg.MetadataRequest {
	req := kmsg.NewPtrMetadataRequest()
	req.Topics = []kmsg.MetadataRequestTopic{}
	for i := range topics {
		t := kmsg.NewMetadataRequestTopic()
		t.Topic = &topics[i]
		req.Topics = append(req.Topics, t)
	}
	return req
}

func scriptMetadata(s *script) {
	id := s.topic("meta-a", 3)
	s.topic("meta-b", 1)
	s.versions("two topics", 0, 13, func(int16) kmsg.Request { return metadataFor("meta-a", "meta-b") })
	s.versions("no topics", 1, 13, func(int16) kmsg.Request { return metadataFor() })
	s.versions("an unknown topic, not to be created", 4, 13, func(int16) kmsg.Request { return metadataFor("meta-unknown", "meta-a") })
	for _, name := range []string{"../x", "", ".", "..", strings.Repeat("x", 249), strings.Repeat("x", 250), "with space", "ünïcode", "a/b"} {
		s.ask(fmt.Sprintf("topic %q", name), 12, metadataFor(name))
		req := metadataFor(name)
		req.AllowAutoTopicCreation = len(name) != 249
		s.ask(fmt.Sprintf("topic %q, creating", name), 12, req)
	}
	s.ask("an auto-created topic, the first answer", 9, func() kmsg.Request {
		req := metadataFor("meta-auto")
		req.AllowAutoTopicCreation = true
		return req
	}())
	byID := kmsg.NewPtrMetadataRequest()
	t := kmsg.NewMetadataRequestTopic()
	t.TopicID = id
	byID.Topics = append(byID.Topics, t)
	for v := int16(10); v <= 13; v++ {
		s.ask("by id", v, byID)
	}
	t.TopicID = [16]byte{9, 9, 9}
	s.norm.id(t.TopicID, "unknown-id")
	byID.Topics = []kmsg.MetadataRequestTopic{t}
	s.ask("by an unknown id", 12, byID)
	auth := metadataFor("meta-a")
	auth.IncludeTopicAuthorizedOperations = true
	s.ask("with authorized operations", 9, auth)
}

func createRequest(topics ...kmsg.CreateTopicsRequestTopic) *kmsg.CreateTopicsRequest {
	req := kmsg.NewPtrCreateTopicsRequest()
	req.TimeoutMillis = 10_000
	req.Topics = topics
	return req
}

func newTopic(name string, partitions int32, rf int16, settings ...string) kmsg.CreateTopicsRequestTopic {
	t := kmsg.NewCreateTopicsRequestTopic()
	t.Topic, t.NumPartitions, t.ReplicationFactor = name, partitions, rf
	for i := 0; i+1 < len(settings); i += 2 {
		c := kmsg.NewCreateTopicsRequestTopicConfig()
		c.Name, c.Value = settings[i], &settings[i+1]
		t.Configs = append(t.Configs, c)
	}
	return t
}

func scriptCreateTopics(s *script) {
	s.versions("a topic", 2, 7, func(v int16) kmsg.Request {
		return createRequest(newTopic(fmt.Sprintf("create-v%d", v), 2, 1))
	})
	s.versions("again", 2, 7, func(v int16) kmsg.Request {
		return createRequest(newTopic(fmt.Sprintf("create-v%d", v), 2, 1))
	})
	bad := map[string]kmsg.CreateTopicsRequestTopic{
		"0 partitions":           newTopic("create-p0", 0, 1),
		"-2 partitions":          newTopic("create-p2", -2, 1),
		"3 replicas":             newTopic("create-r3", 1, 3),
		"0 replicas":             newTopic("create-r0", 1, 0),
		"an unknown setting":     newTopic("create-c", 1, 1, "nonsense", "1"),
		"a bad setting value":    newTopic("create-c", 1, 1, "retention.ms", "soon"),
		"a setting out of range": newTopic("create-c", 1, 1, "segment.bytes", "-1"),
		"a bad cleanup policy":   newTopic("create-c", 1, 1, "cleanup.policy", "burn"),
		"name ../x":              newTopic("../x", 1, 1),
		"an empty name":          newTopic("", 1, 1),
		"name .":                 newTopic(".", 1, 1),
		"name ..":                newTopic("..", 1, 1),
		"a name of 250 bytes":    newTopic(strings.Repeat("n", 250), 1, 1),
		"a name with a space":    newTopic("with space", 1, 1),
		"a colliding name":       newTopic("create.v2", 1, 1),
	}
	for _, name := range sortedNames(bad) {
		s.ask(name, 7, createRequest(bad[name]))
		s.ask(name, 2, createRequest(bad[name]))
	}
	s.ask("defaults", 7, createRequest(newTopic("create-defaults", -1, -1, "max.message.bytes", "2000000")))
	twice := createRequest(newTopic("create-twice", 1, 1), newTopic("create-twice", 1, 1), newTopic("create-once", 1, 1))
	s.ask("one name twice", 7, twice)
	only := createRequest(newTopic("create-validate", 4, 1))
	only.ValidateOnly = true
	s.ask("only validated", 7, only)
	s.ask("only validated, so not there", 12, metadataFor("create-validate"))
	assigned := newTopic("create-assigned", -1, -1)
	for p := range int32(2) {
		a := kmsg.NewCreateTopicsRequestTopicReplicaAssignment()
		a.Partition, a.Replicas = p, []int32{1}
		assigned.ReplicaAssignment = append(assigned.ReplicaAssignment, a)
	}
	s.ask("assigned by hand", 7, createRequest(assigned))
	assigned.Topic, assigned.NumPartitions = "create-assigned-2", 2
	s.ask("assigned and counted", 7, createRequest(assigned))
	assigned.Topic, assigned.NumPartitions = "create-assigned-3", -1
	assigned.ReplicaAssignment = append([]kmsg.CreateTopicsRequestTopicReplicaAssignment{}, assigned.ReplicaAssignment...)
	assigned.ReplicaAssignment[1].Replicas = []int32{7}
	s.ask("assigned to an unknown broker", 7, createRequest(assigned))
	s.ask("no topics", 7, createRequest())
}

func sortedNames[V any](m map[string]V) []string {
	var names []string
	for name := range m {
		names = append(names, name)
	}
	for i := range names {
		for j := i; j > 0 && names[j] < names[j-1]; j-- {
			names[j], names[j-1] = names[j-1], names[j]
		}
	}
	return names
}

func scriptDeleteTopics(s *script) {
	for v := int16(1); v <= 6; v++ {
		s.topic(fmt.Sprintf("delete-v%d", v), 2)
	}
	byName := func(names ...string) func(int16) kmsg.Request {
		return func(v int16) kmsg.Request {
			req := kmsg.NewPtrDeleteTopicsRequest()
			req.TimeoutMillis = 10_000
			for i := range names {
				name := strings.ReplaceAll(names[i], "%", fmt.Sprint(v))
				if v >= 6 {
					t := kmsg.NewDeleteTopicsRequestTopic()
					t.Topic = &name
					req.Topics = append(req.Topics, t)
				} else {
					req.TopicNames = append(req.TopicNames, name)
				}
			}
			return req
		}
	}
	s.versions("a topic", 1, 6, byName("delete-v%"))
	s.versions("again", 1, 6, byName("delete-v%"))
	s.ask("gone from metadata", 12, metadataFor("delete-v1"))
	id := s.topic("delete-by-id", 1)
	req := kmsg.NewPtrDeleteTopicsRequest()
	req.TimeoutMillis = 10_000
	t := kmsg.NewDeleteTopicsRequestTopic()
	t.TopicID = id
	req.Topics = append(req.Topics, t)
	s.ask("by id", 6, req)
	s.ask("by id again", 6, req)
	s.topic("delete-twice", 1)
	s.ask("one name twice", 5, byName("delete-twice", "delete-twice")(5))
	s.ask("bad names", 6, byName("../x", "")(6))
	// A topic made again under a deleted one's name is another topic: empty, with another id.
	s.topic("delete-again", 1)
	s.fill("delete-again", 0, harness.NewBatch("old"))
	s.ask("made again: delete", 6, byName("delete-again")(6))
	s.topic("delete-again", 1)
	s.ask("made again: empty", 7, listOffsets("delete-again", -1, -1, 0))
}

func scriptCreatePartitions(s *script) {
	s.topic("widen", 1)
	widen := func(topic string, count int32, assignments ...int32) *kmsg.CreatePartitionsRequest {
		req := kmsg.NewPtrCreatePartitionsRequest()
		req.TimeoutMillis = 10_000
		t := kmsg.NewCreatePartitionsRequestTopic()
		t.Topic, t.Count = topic, count
		for _, b := range assignments {
			a := kmsg.NewCreatePartitionsRequestTopicAssignment()
			a.Replicas = []int32{b}
			t.Assignment = append(t.Assignment, a)
		}
		req.Topics = append(req.Topics, t)
		return req
	}
	s.versions("one more", 0, 3, func(v int16) kmsg.Request { return widen("widen", int32(v)+2) })
	s.ask("as many as before", 3, widen("widen", 5))
	s.ask("fewer", 3, widen("widen", 2))
	s.ask("none", 3, widen("widen", 0))
	s.ask("unknown topic", 3, widen("widen-unknown", 2))
	s.ask("assigned", 3, widen("widen", 6, 1))
	s.ask("wrongly assigned", 3, widen("widen", 8, 1))
	s.ask("assigned to an unknown broker", 3, widen("widen", 7, 9))
	req := widen("widen", 20)
	req.ValidateOnly = true
	s.ask("only validated", 3, req)
	twice := widen("widen", 9)
	twice.Topics = append(twice.Topics, twice.Topics[0])
	s.ask("one topic twice", 3, twice)
	s.ask("metadata after", 12, metadataFor("widen"))
}

func scriptDescribeConfigs(s *script) {
	s.topic("conf", 1, "retention.ms", "1234", "cleanup.policy", "compact,delete")
	describe := func(kind kmsg.ConfigResourceType, name string, keys []string, docs bool) *kmsg.DescribeConfigsRequest {
		req := kmsg.NewPtrDescribeConfigsRequest()
		r := kmsg.NewDescribeConfigsRequestResource()
		r.ResourceType, r.ResourceName, r.ConfigNames = kind, name, keys
		req.Resources = append(req.Resources, r)
		req.IncludeSynonyms, req.IncludeDocumentation = true, docs
		return req
	}
	s.versions("a topic", 1, 4, func(v int16) kmsg.Request { return describe(2, "conf", nil, v >= 3) })
	s.ask("some keys of a topic", 4, describe(2, "conf", []string{"retention.ms", "segment.bytes", "nonsense"}, false))
	s.ask("an unknown topic", 4, describe(2, "conf-unknown", nil, false))
	s.ask("a bad topic name", 4, describe(2, "../x", nil, false))
	s.ask("an empty topic name", 4, describe(2, "", nil, false))
	s.ask("another broker", 4, describe(4, "77", nil, false))
	s.ask("a broker that is no number", 4, describe(4, "x", nil, false))
	s.ask("keys of a broker", 4, describe(4, "1", []string{"log.retention.hours", "num.partitions", "message.max.bytes", "auto.create.topics.enable", "log.segment.bytes"}, false))
	s.ask("an unknown kind", 4, describe(99, "x", nil, false))
}

func scriptIncrementalAlterConfigs(s *script) {
	s.topic("alter", 1)
	type op struct {
		name  string
		kind  kmsg.IncrementalAlterConfigOp
		value string
	}
	alter := func(kind kmsg.ConfigResourceType, name string, ops ...op) *kmsg.IncrementalAlterConfigsRequest {
		req := kmsg.NewPtrIncrementalAlterConfigsRequest()
		r := kmsg.NewIncrementalAlterConfigsRequestResource()
		r.ResourceType, r.ResourceName = kind, name
		for _, o := range ops {
			c := kmsg.NewIncrementalAlterConfigsRequestResourceConfig()
			c.Name, c.Op = o.name, o.kind
			if o.kind != 1 {
				c.Value = &o.value
			}
			r.Configs = append(r.Configs, c)
		}
		req.Resources = append(req.Resources, r)
		return req
	}
	for v := int16(0); v <= 1; v++ {
		s.ask("set", v, alter(2, "alter", op{"retention.ms", 0, "5000"}, op{"max.message.bytes", 0, "70000"}))
		s.ask("append", v, alter(2, "alter", op{"cleanup.policy", 2, "compact"}))
		s.ask("subtract", v, alter(2, "alter", op{"cleanup.policy", 3, "delete"}))
		s.ask("delete", v, alter(2, "alter", op{"retention.ms", 1, ""}))
	}
	s.ask("append to what is no list", 1, alter(2, "alter", op{"retention.ms", 2, "7"}))
	s.ask("an unknown setting", 1, alter(2, "alter", op{"nonsense", 0, "7"}))
	s.ask("a bad value", 1, alter(2, "alter", op{"retention.ms", 0, "soon"}))
	s.ask("out of range", 1, alter(2, "alter", op{"segment.bytes", 0, "0"}))
	s.ask("a null value", 1, func() kmsg.Request {
		req := alter(2, "alter", op{"retention.ms", 0, ""})
		req.Resources[0].Configs[0].Value = nil
		return req
	}())
	s.ask("one name twice", 1, alter(2, "alter", op{"retention.ms", 0, "1"}, op{"retention.ms", 0, "2"}))
	s.ask("an unknown operation", 1, alter(2, "alter", op{"retention.ms", 9, "1"}))
	s.ask("an unknown topic", 1, alter(2, "alter-unknown", op{"retention.ms", 0, "1"}))
	s.ask("a bad topic name", 1, alter(2, "../x", op{"retention.ms", 0, "1"}))
	req := alter(2, "alter", op{"retention.ms", 0, "99"})
	req.ValidateOnly = true
	s.ask("only validated", 1, req)
	describe := kmsg.NewPtrDescribeConfigsRequest()
	r := kmsg.NewDescribeConfigsRequestResource()
	r.ResourceType, r.ResourceName, r.ConfigNames = 2, "alter", []string{"retention.ms", "max.message.bytes", "cleanup.policy"}
	describe.Resources = append(describe.Resources, r)
	s.ask("what it is now", 4, describe)
}

func scriptDescribeCluster(s *script) {
	s.versions("describe cluster", 0, 2, func(v int16) kmsg.Request {
		req := kmsg.NewPtrDescribeClusterRequest()
		req.EndpointType = 1
		return req
	})
	req := kmsg.NewPtrDescribeClusterRequest()
	req.EndpointType = 2
	s.ask("controllers, asked of a broker", 1, req)
	req.EndpointType = 7
	s.ask("an unknown kind of endpoint", 1, req)
	req = kmsg.NewPtrDescribeClusterRequest()
	req.IncludeClusterAuthorizedOperations = true
	s.ask("with authorized operations", 0, req)
}

func scriptDescribeTopicPartitions(s *script) {
	s.topic("dtp-a", 5)
	s.topic("dtp-b", 2)
	describe := func(limit int32, cursor string, partition int32, topics ...string) *kmsg.DescribeTopicPartitionsRequest {
		req := kmsg.NewPtrDescribeTopicPartitionsRequest()
		req.ResponsePartitionLimit = limit
		for _, name := range topics {
			t := kmsg.NewDescribeTopicPartitionsRequestTopic()
			t.Topic = name
			req.Topics = append(req.Topics, t)
		}
		if cursor != "" {
			c := kmsg.NewDescribeTopicPartitionsRequestCursor()
			c.Topic, c.Partition = cursor, partition
			req.Cursor = &c
		}
		return req
	}
	s.ask("two topics", 0, describe(2000, "", 0, "dtp-b", "dtp-a"))
	s.ask("in pieces", 0, describe(3, "", 0, "dtp-a", "dtp-b"))
	s.ask("the next piece", 0, describe(3, "dtp-a", 3, "dtp-a", "dtp-b"))
	s.ask("an unknown name", 0, describe(2000, "", 0, "dtp-unknown"))
	s.ask("a cursor past the end", 0, describe(2000, "dtp-b", 9, "dtp-a", "dtp-b"))
	s.ask("a negative cursor", 0, describe(2000, "dtp-b", -1, "dtp-a", "dtp-b"))
	s.ask("a limit of none", 0, describe(0, "", 0, "dtp-a"))
}
