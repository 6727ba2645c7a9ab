package metadata

import (
	"slices"
	"strings"

	"slipstream/protocol"

	"github.com/twmb/franz-go/pkg/kmsg"
)

type (
	newTopicRequest  = kmsg.CreateTopicsRequestTopic
	newTopicResponse = kmsg.CreateTopicsResponseTopic
)

// CreateTopics decides a CreateTopics request (key 19). Topics are refused one by
// one and the records create those that were not; but a request that asks for too
// much is refused whole, as Kafka does. Answers are in the order of the request,
// a name that occurs twice is answered once. All records are one batch.
func (c *Controller) CreateTopics(req *kmsg.CreateTopicsRequest) (*kmsg.CreateTopicsResponse, []Record) {
	resp := kmsg.NewPtrCreateTopicsResponse()
	resp.Version = req.Version
	c.begin()
	topics, duplicate := uniqueTopics(req.Topics)
	excess := c.tooManyPartitions(topics, duplicate)
	var records []Record
	created := 0 // partitions
	for i, topic := range topics {
		refusal := excess
		if refuse := reservedTopic(topic.Topic, duplicate[i]); refuse != nil {
			refusal = refuse
		}
		answer := newTopicResponse{Topic: topic.Topic}
		if refusal == nil {
			answer, refusal = c.createTopic(topic, req.Version, &records, &created)
		}
		if refusal != nil {
			answer = refusedTopic(topic.Topic, refusal)
		}
		resp.Topics = append(resp.Topics, answer)
	}
	if !fitsBatch(records) {
		records = nil
		for i := range resp.Topics {
			if reservedTopic(topics[i].Topic, duplicate[i]) == nil {
				resp.Topics[i] = refusedTopic(topics[i].Topic, tooManyRecords)
			}
		}
	}
	if req.ValidateOnly {
		records = nil
	}
	return resp, records
}

func uniqueTopics(all []newTopicRequest) (topics []*newTopicRequest, duplicate []bool) {
	at := make(map[string]int, len(all))
	for i := range all {
		if first, ok := at[all[i].Topic]; ok {
			duplicate[first] = true
			continue
		}
		at[all[i].Topic] = len(topics)
		topics = append(topics, &all[i])
		duplicate = append(duplicate, false)
	}
	return topics, duplicate
}

func reservedTopic(name string, duplicate bool) *Refusal {
	switch {
	case duplicate:
		return duplicateTopic
	case name == MetadataTopic:
		return refuse(protocol.INVALID_REQUEST, "Creation of internal topic %s is prohibited.", name)
	}
	return nil
}

// tooManyPartitions adds up what the whole request asks for.
func (c *Controller) tooManyPartitions(topics []*newTopicRequest, duplicate []bool) *Refusal {
	total := int64(0)
	for i, topic := range topics {
		switch {
		case reservedTopic(topic.Topic, duplicate[i]) != nil:
		case len(topic.ReplicaAssignment) > 0:
			total += int64(len(topic.ReplicaAssignment))
		case topic.NumPartitions > 0:
			total += int64(topic.NumPartitions)
		default:
			total += int64(c.NumPartitions)
		}
	}
	if total > MaxBatchRecords {
		return tooManyAsked
	}
	return nil
}

func refusedTopic(name string, r *Refusal) newTopicResponse {
	return newTopicResponse{
		Topic: name, ErrorCode: int16(r.Code), ErrorMessage: r.text(), NumPartitions: -1, ReplicationFactor: -1,
		Configs: []kmsg.CreateTopicsResponseTopicConfig{}, // empty: Kafka does not answer null
	}
}

// createTopic decides one topic. What is wrong is told in Kafka's order: name,
// existence, collision, configs, replication factor, partitions.
func (c *Controller) createTopic(topic *newTopicRequest, version int16, records *[]Record, created *int) (newTopicResponse, *Refusal) {
	var none newTopicResponse
	if r := c.checkName(topic.Topic); r != nil {
		return none, r
	}
	configs, configRecords, r := c.newTopicConfigs(topic)
	if r != nil {
		return none, r
	}
	id := c.newTopicID()
	partitions, r := c.newTopicPartitions(topic, id)
	if r == nil {
		r = c.roomFor(len(partitions), *created)
	}
	if r == nil {
		r = c.admit(len(partitions))
	}
	if r != nil {
		return none, r
	}
	*created += len(partitions)
	*records = append(*records, &TopicRecord{Name: topic.Topic, TopicID: id})
	*records = append(*records, configRecords...)
	*records = append(*records, partitions...)
	answer := newTopicResponse{Topic: topic.Topic, TopicID: id, NumPartitions: -1, ReplicationFactor: -1}
	if version >= 5 {
		answer.NumPartitions = int32(len(partitions))
		answer.ReplicationFactor = int16(len(partitions[0].(*PartitionRecord).Replicas))
		answer.Configs = append([]kmsg.CreateTopicsResponseTopicConfig{}, c.Configs.Describe(configs)...)
	}
	return answer, nil
}

func (c *Controller) newTopicID() UUID {
	for {
		if id := c.newID(); c.Image.TopicByID(id) == nil {
			return id
		}
	}
}

func (c *Controller) checkName(name string) *Refusal {
	if r := CheckTopicName(name); r != nil {
		return r
	}
	if c.Image.TopicByName(name) != nil {
		return refuse(protocol.TOPIC_ALREADY_EXISTS, "Topic '%s' already exists.", name)
	}
	if other, found := c.Image.collision(name); found {
		return refuse(protocol.INVALID_TOPIC_EXCEPTION, "Topic '%s' collides with existing topic: %s", name, other)
	}
	return nil
}

// MaxTopicName is the longest name of a topic, in bytes: with a partition's
// number it still is a file name.
const MaxTopicName = 249

// CheckTopicName refuses what cannot be the name of a topic (and so of a
// directory): nil if the name is fine.
func CheckTopicName(name string) *Refusal {
	switch {
	case name == "":
		return refuse(protocol.INVALID_TOPIC_EXCEPTION, "Topic name is invalid: the empty string is not allowed")
	case name == "." || name == "..":
		return refuse(protocol.INVALID_TOPIC_EXCEPTION, "Topic name is invalid: '%s' is not allowed", name)
	case len(name) > MaxTopicName:
		return refuse(protocol.INVALID_TOPIC_EXCEPTION, "Topic name is invalid: the length of '%s' is longer than the max allowed length %d", name, MaxTopicName)
	case strings.ContainsFunc(name, func(r rune) bool { return !topicRune(r) }):
		return refuse(protocol.INVALID_TOPIC_EXCEPTION, "Topic name is invalid: '%s' contains one or more characters other than ASCII alphanumerics, '.', '_' and '-'", name)
	}
	return nil
}

func topicRune(r rune) bool {
	return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '.' || r == '_' || r == '-'
}

// newTopicConfigs checks the configs that a topic is to start with. Of a name
// that occurs twice the last value counts.
func (c *Controller) newTopicConfigs(topic *newTopicRequest) (configs []ConfigEntry, records []Record, _ *Refusal) {
	res := Resource{ResourceTopic, topic.Topic}
	var null []string
	var order []string
	for _, e := range topic.Configs {
		if e.Value == nil {
			null = append(null, e.Name)
			continue
		}
		at, ok := searchEntry(configs, e.Name)
		if ok {
			configs[at].Value = *e.Value
			continue
		}
		configs = slices.Insert(configs, at, ConfigEntry{e.Name, *e.Value})
		order = append(order, e.Name)
	}
	if len(null) > 0 {
		return nil, nil, refuse(protocol.INVALID_CONFIG, "Null value not supported for topic configs: %s", strings.Join(null, ","))
	}
	if len(configs) == 0 {
		return nil, nil, nil
	}
	if r := refused(c.Configs.Validate(res, configs)); r != nil {
		return nil, nil, r
	}
	for _, name := range order {
		at, _ := searchEntry(configs, name)
		records = append(records, newConfig(res, name, &configs[at].Value))
	}
	return configs, records, nil
}

func (c *Controller) newTopicPartitions(topic *newTopicRequest, id UUID) ([]Record, *Refusal) {
	if len(topic.ReplicaAssignment) > 0 {
		return c.assignedPartitions(topic, id)
	}
	count, factor := topic.NumPartitions, topic.ReplicationFactor
	if factor < -1 || factor == 0 {
		return nil, refuse(protocol.INVALID_REPLICATION_FACTOR, "Replication factor must be larger than 0, or -1 to use the default value.")
	}
	if count < -1 || count == 0 {
		return nil, refuse(protocol.INVALID_PARTITIONS, "Number of partitions was set to an invalid non-positive value.")
	}
	if factor == -1 {
		factor = c.ReplicationFactor
	}
	if count == -1 {
		count = c.NumPartitions
	}
	if r := c.placeable(factor); r != nil {
		return nil, r
	}
	return c.placed(id, 0, count)
}

// placed makes the partitions from first up to before end, on this node.
func (c *Controller) placed(topic UUID, first, end int32) ([]Record, *Refusal) {
	replicas := []int32{c.NodeID}
	var out []Record
	for i := first; i < end; i++ {
		p, r := c.newPartition(topic, i, replicas)
		if r != nil {
			return nil, r
		}
		out = append(out, p)
	}
	return out, nil
}

func (c *Controller) assignedPartitions(topic *newTopicRequest, id UUID) ([]Record, *Refusal) {
	if topic.ReplicationFactor != -1 {
		return nil, refuse(protocol.INVALID_REQUEST, "A manual partition assignment was specified, but replication factor was not set to -1.")
	}
	if topic.NumPartitions != -1 {
		return nil, refuse(protocol.INVALID_REQUEST, "A manual partition assignment was specified, but numPartitions was not set to -1.")
	}
	byIndex := make(map[int32]Record, len(topic.ReplicaAssignment))
	factor := 0
	for _, a := range topic.ReplicaAssignment {
		if byIndex[a.Partition] != nil {
			return nil, refuse(protocol.INVALID_REPLICA_ASSIGNMENT, "Found multiple manual partition assignments for partition %d", a.Partition)
		}
		r := c.checkManual(a.Replicas, factor)
		if r != nil {
			return nil, r
		}
		factor = len(a.Replicas)
		if byIndex[a.Partition], r = c.newPartition(id, a.Partition, a.Replicas); r != nil {
			return nil, r
		}
	}
	out := make([]Record, 0, len(byIndex))
	for i := range int32(len(byIndex)) {
		p := byIndex[i]
		if p == nil {
			return nil, refuse(protocol.INVALID_REPLICA_ASSIGNMENT, "partitions should be a consecutive 0-based integer sequence")
		}
		out = append(out, p)
	}
	return out, nil
}
