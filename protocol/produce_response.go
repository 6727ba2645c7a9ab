package protocol

// The response to Produce, versions 3 to 13:
//
//	+-------------------------------------------------+-------------+------------------+
//	| n x | name or id | partitions            | tags | int32       | tags             |
//	+-----+------------+-----------------------+------+ throttle ms | 0: node endpoints|
//	                   | n x below                    +-------------+------------------+
//	+-------+-------+-------------+-----------------+-----------+----------------+---------+-------------------+
//	| int32 | int16 | int64       | int64           | int64, 5+ | record errors, | message | tags              |
//	| index | error | base offset | log append time | log start | 8+             | 8+      | 0: current leader |
//	+-------+-------+-------------+-----------------+-----------+----------------+---------+-------------------+

// RecordError names a record for which a batch was refused: its index in the batch, and why.
type RecordError struct {
	BatchIndex int32
	Message    string // empty: null
}

// Leader is a partition's leader as told to a client that asked the wrong broker (tag "current leader").
// The zero value is written as none; so is NoLeader.
type Leader struct {
	ID, Epoch int32
	Known     bool
}

// NodeEndpoint is where a leader can be found.
type NodeEndpoint struct {
	NodeID int32
	Host   string
	Port   int32
	Rack   string // empty: null
}

// ProduceResult is the answer for one partition.
type ProduceResult struct {
	Index          int32
	Code           ErrorCode
	BaseOffset     int64 // NoOffset if refused
	LogAppendTime  int64 // ms; NoTimestamp unless the topic has LogAppendTime
	LogStartOffset int64 // NoOffset if refused
	RecordErrors   []RecordError
	Message        string // empty: null
	CurrentLeader  Leader
}

// ProduceEncoder appends a response to Produce to a caller's buffer, frame length included:
//
//	start := len(b)
//	b = e.Begin(b, correlationID, topics)
//	for each topic { b = e.Topic(b, name, id, partitions); for each partition { b = e.Partition(b, &result) }; b = e.EndTopic(b) }
//	b = e.End(b, start, throttleMillis, endpoints)
//
// It allocates only when the buffer's capacity does not suffice.
type ProduceEncoder struct{ Version int16 }

// Begin appends frame length, header and the count of topics.
func (e ProduceEncoder) Begin(b []byte, correlationID int32, topics int) []byte {
	b = AppendResponseHeader(BeginFrame(b), KeyProduce, e.Version, correlationID)
	return AppendArrayLength(b, topics, produceFlexible(e.Version))
}

// Topic begins a topic: the name up to version 12, the id from 13 on.
func (e ProduceEncoder) Topic(b, name []byte, id UUID, partitions int) []byte {
	if produceByID(e.Version) {
		b = AppendUUID(b, id)
	} else {
		b = appendStringForm(b, name, produceFlexible(e.Version))
	}
	return AppendArrayLength(b, partitions, produceFlexible(e.Version))
}

// Partition appends the answer for one partition.
func (e ProduceEncoder) Partition(b []byte, r *ProduceResult) []byte {
	flexible := produceFlexible(e.Version)
	b = AppendInt32(b, r.Index)
	b = AppendInt16(b, int16(r.Code))
	b = AppendInt64(b, r.BaseOffset)
	b = AppendInt64(b, r.LogAppendTime)
	if e.Version >= 5 {
		b = AppendInt64(b, r.LogStartOffset)
	}
	if e.Version >= 8 {
		b = AppendArrayLength(b, len(r.RecordErrors), flexible)
		for i := range r.RecordErrors {
			b = AppendInt32(b, r.RecordErrors[i].BatchIndex)
			b = appendNullableForm(b, r.RecordErrors[i].Message, flexible)
			if flexible {
				b = append(b, 0)
			}
		}
		b = appendNullableForm(b, r.Message, flexible)
	}
	if !flexible {
		return b
	}
	if e.Version < 10 || !r.CurrentLeader.Known {
		return append(b, 0)
	}
	return r.CurrentLeader.appendTag(append(b, 1), 0)
}

// EndTopic ends the current topic.
func (e ProduceEncoder) EndTopic(b []byte) []byte {
	if produceFlexible(e.Version) {
		b = append(b, 0)
	}
	return b
}

// End ends the response that begins at b[start:] and fills in its length. endpoints (version 10+) are those
// of the current leaders named.
func (e ProduceEncoder) End(b []byte, start int, throttleMillis int32, endpoints []NodeEndpoint) []byte {
	b = AppendInt32(b, throttleMillis)
	if produceFlexible(e.Version) {
		if e.Version < 10 {
			endpoints = nil
		}
		b = appendEndpointTag(b, endpoints)
	}
	EndFrame(b, start, 0)
	return b
}

// appendTag appends a tagged field that holds a leader.
func (l Leader) appendTag(b []byte, tag byte) []byte {
	b = append(b, tag, 9) // two int32 and no tags of their own
	b = AppendInt32(b, l.ID)
	b = AppendInt32(b, l.Epoch)
	return append(b, 0)
}

// appendEndpointTag appends the tagged fields at the end of Produce's and Fetch's responses: endpoints
// as tag 0, or none at all.
func appendEndpointTag(b []byte, endpoints []NodeEndpoint) []byte {
	if len(endpoints) == 0 {
		return append(b, 0)
	}
	size := uvarintBytes(uint32(len(endpoints) + 1))
	for i := range endpoints {
		size += endpoints[i].bytes()
	}
	b = append(b, 1, 0)
	b = AppendUvarint(b, uint32(size))
	b = AppendArrayLength(b, len(endpoints), true)
	for i := range endpoints {
		b = AppendInt32(b, endpoints[i].NodeID)
		b = AppendCompactString(b, endpoints[i].Host)
		b = AppendInt32(b, endpoints[i].Port)
		b = append(appendNullableForm(b, endpoints[i].Rack, true), 0)
	}
	return b
}

// bytes is the size of one endpoint in appendEndpointTag.
func (n *NodeEndpoint) bytes() int {
	return 4 + compactStringBytes(n.Host) + 4 + compactStringBytes(n.Rack) + 1
}

// compactStringBytes is the size of s as a compact string; an empty one and a null one are equally long.
func compactStringBytes(s string) int { return uvarintBytes(uint32(len(s)+1)) + len(s) }

// Upper bounds, for whoever has to have the room before encoding.
const (
	produceFixedBytes     = FrameLengthBytes + 5 + 5 + 4 + 2 // length, header, count of topics, throttle, tags
	produceTopicBytes     = 2 + 16 + 5 + 1                   // without the name
	producePartitionBytes = 4 + 2 + 8 + 8 + 8 + 5 + 3 + 1 + 11
)

// ResponseBytes returns an upper bound of the size of the response to p, frame length included, as long as
// no result has record errors or a message (add ProduceResult.ExtraBytes for those that do) and there are no endpoints.
func (p *ProduceRequest) ResponseBytes() int {
	n := produceFixedBytes + p.PartitionCount*producePartitionBytes
	var t ProduceTopic
	for q := *p; q.NextTopic(&t); {
		n += produceTopicBytes + len(t.Name)
	}
	return n
}

// ExtraBytes returns an upper bound of what record errors and message add to a response.
func (r *ProduceResult) ExtraBytes() int {
	n := len(r.Message)
	for i := range r.RecordErrors {
		n += 4 + 5 + len(r.RecordErrors[i].Message) + 1
	}
	return n
}
