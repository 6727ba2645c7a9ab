package protocol

import "math"

// Fetch, key 1, versions 4 to 18. From 12 on in the flexible form; from 13 on topics go by id.
//
//	replica id  wait    min     max     isolation  session id, epoch
//	+---------+-------+-------+-------+----------+---------------+--------+-----------+-------------+-----------------+
//	| int32   | int32 | int32 | int32 | int8     | int32, int32  | topics | forgotten | rack string | tags            |
//	| to 14   | ms    | bytes | bytes |          | 7+            |        | 7+        | 11+         | 0: cluster id   |
//	+---------+-------+-------+-------+----------+---------------+--------+-----------+-------------+ 1: replica state|
//	                                                                                                +-----------------+
//	topics:    n x | name or id | n x partition | tags |
//	forgotten: n x | name or id | n x int32     | tags |
//	partition:
//	+-------+----------------------+--------------+--------------------+------------------+-----------+-----------------------+
//	| int32 | int32, 9+            | int64        | int32, 12+         | int64, 5+        | int32     | tags                  |
//	| index | current leader epoch | fetch offset | last fetched epoch | log start offset | max bytes | 0: directory id (17+) |
//	+-------+----------------------+--------------+--------------------+------------------+-----------+ 1: high watermark(18+)|
//	                                                                                                  +-----------------------+
//
// The versions of Fetch that are served.
const (
	MinFetchVersion = 4
	MaxFetchVersion = 18
)

// FetchRequest is a Fetch request, read in place: its byte slices alias the request's frame. Decode walks
// all of it once, so that iterating cannot fail:
//
//	for req.NextTopic(&t) {
//		for req.NextPartition(&p) { ... }
//	}
//	for req.NextForgotten(&f) {
//		for i := 0; i < f.Len(); i++ { f.Partition(i) }
//	}
type FetchRequest struct {
	Version        int16
	ClusterID      []byte // nil: null
	ReplicaID      int32  // -1: a consumer
	ReplicaEpoch   int64  // -1: none
	MaxWaitMillis  int32
	MinBytes       int32
	MaxBytes       int32
	IsolationLevel int8 // 0: read uncommitted, 1: read committed
	SessionID      int32
	SessionEpoch   int32 // -1: no session wanted, 0: a new one
	RackID         []byte
	TopicCount     int
	PartitionCount int // of all topics together
	ForgottenCount int

	topics, forgotten []byte
	r                 Reader // where the iteration over topics is
	f                 Reader // and over forgotten topics
	topicsLeft        int
	partsLeft         int
	forgottenLeft     int
	inTopic           bool
}

// FetchTopic is one topic of a request: Name up to version 12, ID from 13 on.
type FetchTopic struct {
	Name           []byte
	ID             UUID
	PartitionCount int
}

// FetchPartition is what is wanted of one partition. Fields that the version does not have hold
// the schema's default.
type FetchPartition struct {
	Index              int32
	CurrentLeaderEpoch int32 // -1: unknown
	FetchOffset        int64
	LastFetchedEpoch   int32 // -1: unknown
	LogStartOffset     int64 // of a follower; -1
	MaxBytes           int32
	ReplicaDirectoryID UUID
	HighWatermark      int64 // of a follower; -1: unknown, math.MaxInt64: not supported
}

// ForgottenTopic is a topic some of whose partitions leave the fetch session.
type ForgottenTopic struct {
	Name       []byte
	ID         UUID
	partitions []byte
}

// Len returns the number of partitions.
func (f *ForgottenTopic) Len() int { return len(f.partitions) / 4 }

// Partition returns the index of the i-th of Len partitions.
func (f *ForgottenTopic) Partition(i int) int32 {
	r := NewReader(f.partitions[4*i:])
	return r.Int32()
}

func fetchFlexible(version int16) bool { return version >= 12 }
func fetchByID(version int16) bool     { return version >= 13 }

// Decode reads the body of a request of a version that is served. A Fetch of any other version, or a
// malformed body, is an error: there is no answer to it, the connection is closed. What follows the last
// field is ignored, as Kafka ignores it.
func (q *FetchRequest) Decode(version int16, body []byte) error {
	if version < MinFetchVersion || version > MaxFetchVersion {
		return ErrVersion
	}
	flexible := fetchFlexible(version)
	r := NewReader(body)
	*q = FetchRequest{Version: version, ReplicaID: -1, ReplicaEpoch: -1, SessionEpoch: -1}
	if version <= 14 {
		q.ReplicaID = r.Int32()
	}
	q.MaxWaitMillis = r.Int32()
	q.MinBytes = r.Int32()
	q.MaxBytes = r.Int32()
	q.IsolationLevel = r.Int8()
	if version >= 7 {
		q.SessionID = r.Int32()
		q.SessionEpoch = r.Int32()
	}
	q.TopicCount = r.arrayLength(flexible, 2)
	q.topics = r.b
	q.r, q.topicsLeft = r, q.TopicCount
	r = q.walkTopics()
	if version >= 7 {
		q.ForgottenCount = r.arrayLength(flexible, 2)
		q.forgotten = r.b
		q.f, q.forgottenLeft = r, q.ForgottenCount
		var f ForgottenTopic
		for q.NextForgotten(&f) {
		}
		r = q.f
	}
	if version >= 11 {
		if flexible {
			q.RackID = r.CompactString()
		} else {
			q.RackID = r.String()
		}
	}
	if flexible {
		q.decodeTags(&r)
	}
	if r.err != nil {
		return r.err
	}
	q.Rewind()
	return nil
}

// walkTopics iterates over all topics and returns the Reader behind them.
func (q *FetchRequest) walkTopics() Reader {
	var t FetchTopic
	var p FetchPartition
	for q.NextTopic(&t) {
		q.PartitionCount += t.PartitionCount
		for q.NextPartition(&p) {
		}
	}
	return q.r
}

func (q *FetchRequest) decodeTags(r *Reader) {
	for n := r.Uvarint(); n > 0 && r.err == nil; n-- {
		tag, field := r.Tag()
		switch {
		case tag == 0:
			q.ClusterID = field.CompactNullableString()
		case tag == 1 && q.Version >= 15:
			q.ReplicaID = field.Int32()
			q.ReplicaEpoch = field.Int64()
			field.SkipTags()
		default:
			continue
		}
		if field.err != nil {
			r.fail(field.err)
		}
	}
}

// Rewind starts both iterations again.
func (q *FetchRequest) Rewind() {
	q.r, q.f = NewReader(q.topics), NewReader(q.forgotten)
	q.topicsLeft, q.partsLeft, q.inTopic = q.TopicCount, 0, false
	q.forgottenLeft = q.ForgottenCount
}

// NextTopic reads the next topic into t, skipping what is left of the one before. False: there is none.
func (q *FetchRequest) NextTopic(t *FetchTopic) bool {
	var skipped FetchPartition
	for q.NextPartition(&skipped) {
	}
	if q.topicsLeft == 0 || q.r.err != nil {
		return false
	}
	q.topicsLeft--
	*t = FetchTopic{}
	t.Name, t.ID = q.topicKey(&q.r)
	// The shortest partition: index, offset, max bytes.
	t.PartitionCount = q.r.arrayLength(fetchFlexible(q.Version), 16)
	q.partsLeft, q.inTopic = t.PartitionCount, true
	return q.r.err == nil
}

// topicKey reads what names a topic in this version.
func (q *FetchRequest) topicKey(r *Reader) (name []byte, id UUID) {
	switch {
	case fetchByID(q.Version):
		id = r.UUID()
	case fetchFlexible(q.Version):
		name = r.CompactString()
	default:
		name = r.String()
	}
	return name, id
}

// NextPartition reads the next partition of the current topic. False: there is none.
func (q *FetchRequest) NextPartition(p *FetchPartition) bool {
	flexible := fetchFlexible(q.Version)
	if q.partsLeft == 0 {
		if q.inTopic && flexible {
			q.r.SkipTags()
		}
		q.inTopic = false
		return false
	}
	q.partsLeft--
	r := &q.r
	*p = FetchPartition{CurrentLeaderEpoch: -1, LastFetchedEpoch: -1, LogStartOffset: -1, HighWatermark: math.MaxInt64}
	p.Index = r.Int32()
	if q.Version >= 9 {
		p.CurrentLeaderEpoch = r.Int32()
	}
	p.FetchOffset = r.Int64()
	if q.Version >= 12 {
		p.LastFetchedEpoch = r.Int32()
	}
	if q.Version >= 5 {
		p.LogStartOffset = r.Int64()
	}
	p.MaxBytes = r.Int32()
	if flexible {
		q.partitionTags(p)
	}
	if r.err != nil {
		q.partsLeft, q.inTopic = 0, false
		return false
	}
	return true
}

func (q *FetchRequest) partitionTags(p *FetchPartition) {
	for n := q.r.Uvarint(); n > 0 && q.r.err == nil; n-- {
		tag, field := q.r.Tag()
		switch {
		case tag == 0 && q.Version >= 17:
			p.ReplicaDirectoryID = field.UUID()
		case tag == 1 && q.Version >= 18:
			p.HighWatermark = field.Int64()
		default:
			continue
		}
		if field.err != nil {
			q.r.fail(field.err)
		}
	}
}

// NextForgotten reads the next forgotten topic. False: there is none.
func (q *FetchRequest) NextForgotten(f *ForgottenTopic) bool {
	if q.forgottenLeft == 0 || q.f.err != nil {
		return false
	}
	q.forgottenLeft--
	flexible := fetchFlexible(q.Version)
	f.Name, f.ID = q.topicKey(&q.f)
	f.partitions = q.f.Take(4 * q.f.arrayLength(flexible, 4))
	if flexible {
		q.f.SkipTags()
	}
	return q.f.err == nil
}
