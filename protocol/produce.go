package protocol

// Produce, key 0, versions 3 to 13. (Kafka 4.x also advertises 0 to 2, for librdkafka's sake, and
// refuses them.) From 9 on in the flexible form; from 13 on topics go by id.
//
//	transactional id  acks   timeout ms  topics
//	+----------------+-------+----------+-------------------------------------------+------+
//	| string or null | int16 | int32    | n x | name or id | partitions      | tags | tags |
//	+----------------+-------+----------+-----+------------+-----------------+------+------+
//	                                                       | n x | int32   | bytes   | tags |
//	                                                             | index   | records |
//	                                                             +---------+---------+------+
//
// The versions of Produce that are served.
const (
	MinProduceVersion = 3
	MaxProduceVersion = 13
)

// ProduceRequest is a Produce request, read in place: its byte slices alias the request's frame.
// Decode walks all of it once, so that iterating cannot fail:
//
//	for req.NextTopic(&t) {
//		for req.NextPartition(&p) { ... }
//	}
type ProduceRequest struct {
	Version         int16
	TransactionalID []byte // nil: null
	Acks            int16  // -1: all in-sync replicas, 0: no answer, 1: the leader
	TimeoutMillis   int32
	TopicCount      int
	PartitionCount  int // of all topics together

	topics     []byte // the topics' bytes, from the first topic on
	r          Reader // where the iteration is
	topicsLeft int
	partsLeft  int
	inTopic    bool
}

// ProduceTopic is one topic of a request: Name up to version 12, ID from 13 on.
type ProduceTopic struct {
	Name           []byte
	ID             UUID
	PartitionCount int
}

// ProducePartition is what is to be appended to one partition: Records is nil if null, and should
// hold exactly one batch (CheckProduced).
type ProducePartition struct {
	Index   int32
	Records []byte
}

func produceFlexible(version int16) bool { return version >= 9 }
func produceByID(version int16) bool     { return version >= 13 }

// Decode reads the body of a request of a version that is served. A Produce of any other version, or
// a malformed body, is an error: there is no answer to it, the connection is closed. What follows the
// last field is ignored, as Kafka ignores it.
func (p *ProduceRequest) Decode(version int16, body []byte) error {
	if version < MinProduceVersion || version > MaxProduceVersion {
		return ErrVersion
	}
	flexible := produceFlexible(version)
	r := NewReader(body)
	*p = ProduceRequest{Version: version}
	if flexible {
		p.TransactionalID = r.CompactNullableString()
	} else {
		p.TransactionalID = r.NullableString()
	}
	p.Acks = r.Int16()
	p.TimeoutMillis = r.Int32()
	p.TopicCount = r.arrayLength(flexible, 2)
	p.topics = r.b
	p.r, p.topicsLeft = r, p.TopicCount
	var topic ProduceTopic
	var part ProducePartition
	for p.NextTopic(&topic) {
		p.PartitionCount += topic.PartitionCount
		for p.NextPartition(&part) {
		}
	}
	if flexible {
		p.r.SkipTags()
	}
	if p.r.err != nil {
		return p.r.err
	}
	p.Rewind()
	return nil
}

// Rewind starts the iteration again at the first topic.
func (p *ProduceRequest) Rewind() {
	p.r = NewReader(p.topics)
	p.topicsLeft, p.partsLeft, p.inTopic = p.TopicCount, 0, false
}

// NextTopic reads the next topic into t, skipping what is left of the one before. False: there is none.
func (p *ProduceRequest) NextTopic(t *ProduceTopic) bool {
	var skipped ProducePartition
	for p.NextPartition(&skipped) {
	}
	if p.topicsLeft == 0 || p.r.err != nil {
		return false
	}
	flexible := produceFlexible(p.Version)
	p.topicsLeft--
	*t = ProduceTopic{}
	switch {
	case produceByID(p.Version):
		t.ID = p.r.UUID()
	case flexible:
		t.Name = p.r.CompactString()
	default:
		t.Name = p.r.String()
	}
	t.PartitionCount = p.r.arrayLength(flexible, 5)
	p.partsLeft, p.inTopic = t.PartitionCount, true
	return p.r.err == nil
}

// NextPartition reads the next partition of the current topic. False: there is none.
func (p *ProduceRequest) NextPartition(q *ProducePartition) bool {
	flexible := produceFlexible(p.Version)
	if p.partsLeft == 0 {
		if p.inTopic && flexible {
			p.r.SkipTags()
		}
		p.inTopic = false
		return false
	}
	p.partsLeft--
	q.Index = p.r.Int32()
	if flexible {
		q.Records = p.r.CompactNullableString()
		p.r.SkipTags()
	} else {
		q.Records = p.r.NullableBytes()
	}
	if p.r.err != nil {
		p.partsLeft, p.inTopic = 0, false
		return false
	}
	return true
}
