package protocol

// The response to Fetch, versions 4 to 18. The records are not in the encoder's buffer: they go from files to
// the socket, in the gap between what Partition and EndPartition append.
//
//	+-------------+-----------+------------+---------------------------------------------+----------------------+
//	| int32       | int16, 7+ | int32, 7+  | n x | name or id | n x partition     | tags | tags                 |
//	| throttle ms | error     | session id |     |            |                   |      | 0: node endpoints 16+|
//	+-------------+-----------+------------+-----+------------+-------------------+------+----------------------+
//	partition:
//	+-------+-------+----------------+-------------+-----------+-------------------+---------------------+
//	| int32 | int16 | int64          | int64       | int64, 5+ | n x int64, int64  | int32, 11+          |
//	| index | error | high watermark | last stable | log start | producer id,      | preferred replica   |
//	+-------+-------+----------------+-------------+-----------+ first offset      |---------------------+
//	                                                           +-------------------+
//	+---------+=======================+----------------------+
//	| length  | records, from a file  | tags 0: diverging    |
//	|         |                       | 1: leader 2: snapshot|
//	+---------+=======================+----------------------+

// AbortedTransaction is a transaction that a reader of committed records must leave out.
type AbortedTransaction struct {
	ProducerID, FirstOffset int64
}

// EpochOffset is an epoch and an offset, as the tags "diverging epoch" (the epoch's end) and
// "snapshot id" (of a snapshot) hold them. Present false is no tag.
type EpochOffset struct {
	Epoch   int32
	Offset  int64
	Present bool
}

// FetchResult is the answer for one partition.
type FetchResult struct {
	Index                int32
	Code                 ErrorCode
	HighWatermark        int64 // NoOffset with an error
	LastStableOffset     int64
	LogStartOffset       int64
	Aborted              []AbortedTransaction
	AbortedKnown         bool  // false writes null, which Kafka does unless read committed was asked for
	PreferredReadReplica int32 // -1: none
	RecordsBytes         int   // length of the records that follow, 0 for none; -1 writes null
	DivergingEpoch       EpochOffset
	CurrentLeader        Leader
	SnapshotID           EpochOffset
}

// FetchEncoder appends a response to Fetch to a caller's buffer, frame length included, with gaps where
// records go that are not in the buffer:
//
//	start := len(b)
//	b = e.Begin(b, correlationID, throttleMillis, code, sessionID, topics)
//	for each topic {
//		b = e.Topic(b, name, id, partitions)
//		for each partition {
//			b = e.Partition(b, &result)
//			// here, at len(b), go result.RecordsBytes bytes of file; outside += them
//			b = e.EndPartition(b, &result)
//		}
//		b = e.EndTopic(b)
//	}
//	b = e.End(b, start, outside, endpoints)
//
// It allocates only when the buffer's capacity does not suffice.
type FetchEncoder struct{ Version int16 }

// Begin appends frame length, header and what precedes the topics.
func (e FetchEncoder) Begin(b []byte, correlationID, throttleMillis int32, code ErrorCode, sessionID int32, topics int) []byte {
	b = AppendResponseHeader(BeginFrame(b), KeyFetch, e.Version, correlationID)
	b = AppendInt32(b, throttleMillis)
	if e.Version >= 7 {
		b = AppendInt16(b, int16(code))
		b = AppendInt32(b, sessionID)
	}
	return AppendArrayLength(b, topics, fetchFlexible(e.Version))
}

// Topic begins a topic: the name up to version 12, the id from 13 on.
func (e FetchEncoder) Topic(b, name []byte, id UUID, partitions int) []byte {
	if fetchByID(e.Version) {
		b = AppendUUID(b, id)
	} else {
		b = appendStringForm(b, name, fetchFlexible(e.Version))
	}
	return AppendArrayLength(b, partitions, fetchFlexible(e.Version))
}

// Partition appends the answer for one partition up to and with the length of its records. The
// records belong right behind it.
func (e FetchEncoder) Partition(b []byte, r *FetchResult) []byte {
	flexible := fetchFlexible(e.Version)
	b = AppendInt32(b, r.Index)
	b = AppendInt16(b, int16(r.Code))
	b = AppendInt64(b, r.HighWatermark)
	b = AppendInt64(b, r.LastStableOffset)
	if e.Version >= 5 {
		b = AppendInt64(b, r.LogStartOffset)
	}
	if !r.AbortedKnown {
		b = AppendArrayLength(b, -1, flexible)
	} else {
		b = AppendArrayLength(b, len(r.Aborted), flexible)
		for _, a := range r.Aborted {
			b = AppendInt64(b, a.ProducerID)
			b = AppendInt64(b, a.FirstOffset)
			if flexible {
				b = append(b, 0)
			}
		}
	}
	if e.Version >= 11 {
		b = AppendInt32(b, r.PreferredReadReplica)
	}
	return AppendArrayLength(b, r.RecordsBytes, flexible)
}

// EndPartition appends what follows the records.
func (e FetchEncoder) EndPartition(b []byte, r *FetchResult) []byte {
	if !fetchFlexible(e.Version) {
		return b
	}
	at := len(b)
	b = append(b, 0)
	if d := r.DivergingEpoch; d.Present {
		b[at]++
		b = append(b, 0, 13)
		b = AppendInt32(b, d.Epoch)
		b = append(AppendInt64(b, d.Offset), 0)
	}
	if r.CurrentLeader.Known {
		b[at]++
		b = r.CurrentLeader.appendTag(b, 1)
	}
	if s := r.SnapshotID; s.Present {
		b[at]++
		b = append(b, 2, 13)
		b = AppendInt64(b, s.Offset)
		b = append(AppendInt32(b, s.Epoch), 0)
	}
	return b
}

// EndTopic ends the current topic.
func (e FetchEncoder) EndTopic(b []byte) []byte {
	if fetchFlexible(e.Version) {
		b = append(b, 0)
	}
	return b
}

// End ends the response that begins at b[start:] and fills in its length, to which the outside bytes of
// records count that are not in b. endpoints (version 16+) are those of the current leaders named.
func (e FetchEncoder) End(b []byte, start, outside int, endpoints []NodeEndpoint) []byte {
	if fetchFlexible(e.Version) {
		if e.Version < 16 {
			endpoints = nil
		}
		b = appendEndpointTag(b, endpoints)
	}
	EndFrame(b, start, outside)
	return b
}

// Upper bounds of what is appended for a response, so that the room can be had before
// encoding: FetchFixedBytes once, FetchTopicBytes and the name for each topic, FetchPartitionBytes and
// AbortedTransactionBytes for each aborted transaction for each partition. Endpoints and records come on top.
const (
	FetchFixedBytes         = FrameLengthBytes + 5 + 4 + 2 + 4 + 5 + 2
	FetchTopicBytes         = 16 + 2 + 5 + 1
	FetchPartitionBytes     = 4 + 2 + 3*8 + 5 + 4 + 5 + 1 + 15 + 11 + 15
	AbortedTransactionBytes = 17
)
