package protocol

// The response to ShareFetch, versions 1 and 2, which are alike and flexible. As with Fetch, the records are not in
// the encoder's buffer but go in the gap between what Partition and EndPartition append.
//
//	+-------------+-------+---------+--------------+---------------------------------------+-----------+------+
//	| int32       | int16 | string? | int32        | n x | topic id | n x partition | tags | endpoints | tags |
//	| throttle ms | error | message | lock timeout |     |          |               |      |           |      |
//	+-------------+-------+---------+--------------+-----+----------+---------------+------+-----------+------+
//	partition:
//	+-------+-------+---------+-------------+---------+----------------------+--------+=========+----------+------+
//	| int32 | int16 | string? | int16       | string? | int32, int32, tags   | length | records | acquired | tags |
//	| index | error | message | acknowledge | message | leader's id, epoch   |        |         |          |      |
//	+-------+-------+---------+-------------+---------+----------------------+--------+=========+----------+------+
//	acquired: n x | int64 first | int64 last | int16 delivery count | tags |

// ShareAcquired is a stretch of records that a member has been given.
type ShareAcquired struct {
	First, Last   int64
	DeliveryCount int16
}

// ShareFetchResult is the answer for one partition.
type ShareFetchResult struct {
	Index           int32
	Code            ErrorCode
	AcknowledgeCode ErrorCode
	// AcknowledgeMessage says more of AcknowledgeCode; empty: null.
	AcknowledgeMessage string
	CurrentLeader      Leader // 0 and 0 unless known
	RecordsBytes       int    // length of the records that follow
	Acquired           []ShareAcquired
}

// ShareFetchEncoder appends a response to ShareFetch to a caller's buffer, in the way of [FetchEncoder].
type ShareFetchEncoder struct{ Version int16 }

// Begin appends frame length, header and what precedes the topics.
func (e ShareFetchEncoder) Begin(b []byte, correlationID int32, code ErrorCode, message string, lockMillis int32, topics int) []byte {
	b = AppendResponseHeader(BeginFrame(b), KeyShareFetch, e.Version, correlationID)
	b = AppendInt32(b, 0)
	b = AppendInt16(b, int16(code))
	b = appendNullableForm(b, message, true)
	b = AppendInt32(b, lockMillis)
	return AppendArrayLength(b, topics, true)
}

// Topic begins a topic.
func (e ShareFetchEncoder) Topic(b []byte, id UUID, partitions int) []byte {
	return AppendArrayLength(AppendUUID(b, id), partitions, true)
}

// Partition appends the answer for one partition up to and with the length of its records.
func (e ShareFetchEncoder) Partition(b []byte, r *ShareFetchResult) []byte {
	b = AppendInt32(b, r.Index)
	b = append(AppendInt16(b, int16(r.Code)), 0)
	b = appendNullableForm(AppendInt16(b, int16(r.AcknowledgeCode)), r.AcknowledgeMessage, true)
	leader := r.CurrentLeader
	if !leader.Known {
		leader = Leader{}
	}
	b = AppendInt32(b, leader.ID)
	b = append(AppendInt32(b, leader.Epoch), 0)
	return AppendArrayLength(b, r.RecordsBytes, true)
}

// EndPartition appends what follows the records.
func (e ShareFetchEncoder) EndPartition(b []byte, r *ShareFetchResult) []byte {
	b = AppendArrayLength(b, len(r.Acquired), true)
	for _, a := range r.Acquired {
		b = AppendInt64(b, a.First)
		b = AppendInt64(b, a.Last)
		b = append(AppendInt16(b, a.DeliveryCount), 0)
	}
	return append(b, 0)
}

// EndTopic ends the current topic.
func (e ShareFetchEncoder) EndTopic(b []byte) []byte { return append(b, 0) }

// End ends the response that begins at b[start:] and fills in its length, to which the outside bytes of
// records count that are not in b.
func (e ShareFetchEncoder) End(b []byte, start, outside int) []byte {
	b = append(b, 1, 0) // no endpoints: every partition's leader is the node that was asked
	EndFrame(b, start, outside)
	return b
}

// Upper bounds of what is appended for a response: ShareFetchFixedBytes and the message once,
// ShareFetchTopicBytes for each topic, ShareFetchPartitionBytes and the message for each partition, ShareAcquiredBytes for each
// stretch of acquired records.
const (
	ShareFetchFixedBytes     = FrameLengthBytes + 5 + 4 + 2 + 5 + 4 + 5 + 2
	ShareFetchTopicBytes     = 16 + 5 + 1
	ShareFetchPartitionBytes = 4 + 3 + 2 + 5 + 9 + 5 + 5 + 1
	ShareAcquiredBytes       = 19
)
