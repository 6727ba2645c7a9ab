package protocol

import (
	"bytes"
	"encoding/binary"
	"math/rand"
	"reflect"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// fetchAsKmsg is what the request says, as kmsg would hold it.
func fetchAsKmsg(q *FetchRequest) *kmsg.FetchRequest {
	req := kmsg.NewPtrFetchRequest()
	req.SetVersion(q.Version)
	if q.ClusterID != nil {
		s := string(q.ClusterID)
		req.ClusterID = &s
	}
	if q.Version <= 14 {
		req.ReplicaID = q.ReplicaID
	} else {
		req.ReplicaState.ID, req.ReplicaState.Epoch = q.ReplicaID, q.ReplicaEpoch
	}
	req.MaxWaitMillis, req.MinBytes, req.MaxBytes = q.MaxWaitMillis, q.MinBytes, q.MaxBytes
	req.IsolationLevel, req.SessionID, req.SessionEpoch = q.IsolationLevel, q.SessionID, q.SessionEpoch
	req.Rack = string(q.RackID)
	var t FetchTopic
	var p FetchPartition
	for q.NextTopic(&t) {
		kt := kmsg.NewFetchRequestTopic()
		kt.Topic, kt.TopicID = string(t.Name), t.ID
		for q.NextPartition(&p) {
			kp := kmsg.NewFetchRequestTopicPartition()
			kp.Partition, kp.CurrentLeaderEpoch, kp.FetchOffset = p.Index, p.CurrentLeaderEpoch, p.FetchOffset
			kp.LastFetchedEpoch, kp.LogStartOffset, kp.PartitionMaxBytes = p.LastFetchedEpoch, p.LogStartOffset, p.MaxBytes
			kp.ReplicaDirectoryID, kp.HighWatermark = p.ReplicaDirectoryID, p.HighWatermark
			kt.Partitions = append(kt.Partitions, kp)
		}
		req.Topics = append(req.Topics, kt)
	}
	var f ForgottenTopic
	for q.NextForgotten(&f) {
		kf := kmsg.NewFetchRequestForgottenTopic()
		kf.Topic, kf.TopicID = string(f.Name), f.ID
		for i := range f.Len() {
			kf.Partitions = append(kf.Partitions, f.Partition(i))
		}
		req.ForgottenTopics = append(req.ForgottenTopics, kf)
	}
	return req
}

// plainFetch removes what does not count when requests are compared: unknown tags, and empty slices that are not nil.
func plainFetch(r *kmsg.FetchRequest) *kmsg.FetchRequest {
	r.UnknownTags, r.ReplicaState.UnknownTags = kmsg.Tags{}, kmsg.Tags{}
	r.Topics, r.ForgottenTopics = nilIfEmpty(r.Topics), nilIfEmpty(r.ForgottenTopics)
	for i := range r.Topics {
		r.Topics[i].UnknownTags = kmsg.Tags{}
		r.Topics[i].Partitions = nilIfEmpty(r.Topics[i].Partitions)
		for j := range r.Topics[i].Partitions {
			r.Topics[i].Partitions[j].UnknownTags = kmsg.Tags{}
		}
	}
	for i := range r.ForgottenTopics {
		r.ForgottenTopics[i].UnknownTags = kmsg.Tags{}
		r.ForgottenTopics[i].Partitions = nilIfEmpty(r.ForgottenTopics[i].Partitions)
	}
	return r
}

func nilIfEmpty[E any](s []E) []E {
	if len(s) == 0 {
		return nil
	}
	return s
}

// TestFetchRequests decodes what kmsg encodes, and makes sure that every shorter body is refused.
func TestFetchRequests(t *testing.T) {
	r := rand.New(rand.NewSource(1))
	for version := int16(MinFetchVersion); version <= MaxFetchVersion; version++ {
		for range 50 {
			want := randomFetch(r, version)
			body := want.AppendTo(nil)
			var q FetchRequest
			if err := q.Decode(version, body); err != nil {
				t.Fatalf("version %d: %v\n%x", version, err, body)
			}
			got := plainFetch(fetchAsKmsg(&q))
			if !reflect.DeepEqual(got, plainFetch(want)) {
				t.Fatalf("version %d:\ngot  %+v\nwant %+v", version, got, want)
			}
			q.Rewind()
			if again := plainFetch(fetchAsKmsg(&q)); !reflect.DeepEqual(got, again) {
				t.Fatalf("version %d: another iteration gave %+v", version, again)
			}
			for n := range body {
				if err := q.Decode(version, body[:n]); err == nil {
					t.Fatalf("version %d: %d of %d bytes were enough", version, n, len(body))
				}
			}
			if err := q.Decode(version, append(body, 1, 2, 3)); err != nil {
				t.Errorf("version %d: bytes behind the body: %v", version, err)
			}
		}
	}
	var q FetchRequest
	for _, version := range []int16{-1, 0, 3, 19, 32767} {
		if err := q.Decode(version, nil); err != ErrVersion {
			t.Errorf("version %d: %v", version, err)
		}
	}
}

// fetchAnswer is one topic of a response.
type fetchAnswer struct {
	name    string
	id      UUID
	results []FetchResult
	records [][]byte
}

func randomFetchResult(r *rand.Rand, version int16) FetchResult {
	q := FetchResult{Index: r.Int31(), Code: ErrorCode(r.Intn(130) - 1), HighWatermark: r.Int63(), LastStableOffset: r.Int63(),
		LogStartOffset: r.Int63(), PreferredReadReplica: r.Int31n(5) - 1}
	if q.AbortedKnown = r.Intn(2) == 0; q.AbortedKnown {
		q.Aborted = []AbortedTransaction{}
		for range r.Intn(4) {
			q.Aborted = append(q.Aborted, AbortedTransaction{r.Int63(), r.Int63()})
		}
	}
	if r.Intn(2) == 0 {
		q.DivergingEpoch = EpochOffset{r.Int31(), r.Int63(), true}
	}
	if r.Intn(2) == 0 {
		q.CurrentLeader = Leader{r.Int31n(9), r.Int31n(9), true}
	}
	if r.Intn(2) == 0 {
		q.SnapshotID = EpochOffset{r.Int31(), r.Int63(), true}
	}
	return q
}

func fetchResultAsKmsg(q *FetchResult, records []byte, version int16) kmsg.FetchResponseTopicPartition {
	kp := kmsg.NewFetchResponseTopicPartition()
	kp.Partition, kp.ErrorCode, kp.HighWatermark = q.Index, int16(q.Code), q.HighWatermark
	kp.LastStableOffset, kp.LogStartOffset, kp.PreferredReadReplica = q.LastStableOffset, q.LogStartOffset, q.PreferredReadReplica
	kp.RecordBatches = records
	if q.AbortedKnown {
		kp.AbortedTransactions = []kmsg.FetchResponseTopicPartitionAbortedTransaction{}
	}
	for _, a := range q.Aborted {
		kp.AbortedTransactions = append(kp.AbortedTransactions, kmsg.FetchResponseTopicPartitionAbortedTransaction{ProducerID: a.ProducerID, FirstOffset: a.FirstOffset})
	}
	if version >= 12 {
		if q.DivergingEpoch.Present {
			kp.DivergingEpoch.Epoch, kp.DivergingEpoch.EndOffset = q.DivergingEpoch.Epoch, q.DivergingEpoch.Offset
		}
		if q.CurrentLeader.Known {
			kp.CurrentLeader.LeaderID, kp.CurrentLeader.LeaderEpoch = q.CurrentLeader.ID, q.CurrentLeader.Epoch
		}
		if q.SnapshotID.Present {
			kp.SnapshotID.Epoch, kp.SnapshotID.EndOffset = q.SnapshotID.Epoch, q.SnapshotID.Offset
		}
	}
	return kp
}

// randomFetchAnswers is a response, as our results and as kmsg's message.
func randomFetchAnswers(r *rand.Rand, version int16) ([]fetchAnswer, []NodeEndpoint, *kmsg.FetchResponse) {
	resp := kmsg.NewPtrFetchResponse()
	resp.SetVersion(version)
	resp.ThrottleMillis, resp.ErrorCode, resp.SessionID = r.Int31(), int16(r.Intn(100)), r.Int31()
	var answers []fetchAnswer
	for range r.Intn(4) {
		a := fetchAnswer{name: randomString(r)}
		r.Read(a.id[:])
		kt := kmsg.NewFetchResponseTopic()
		kt.Topic, kt.TopicID = a.name, a.id
		for range r.Intn(4) {
			q := randomFetchResult(r, version)
			records := randomBytes(r)
			q.RecordsBytes = len(records)
			if r.Intn(4) == 0 {
				records, q.RecordsBytes = nil, -1
			}
			a.results, a.records = append(a.results, q), append(a.records, records)
			kt.Partitions = append(kt.Partitions, fetchResultAsKmsg(&q, records, version))
		}
		answers = append(answers, a)
		resp.Topics = append(resp.Topics, kt)
	}
	var endpoints []NodeEndpoint
	for range r.Intn(3) {
		e := NodeEndpoint{r.Int31(), randomString(r), r.Int31(), randomString(r)[:r.Intn(2)]}
		endpoints = append(endpoints, e)
		if version >= 16 {
			resp.Brokers = append(resp.Brokers, kmsg.FetchResponseBroker{NodeID: e.NodeID, Host: e.Host, Port: e.Port, Rack: nullable(e.Rack)})
		}
	}
	return answers, endpoints, resp
}

// encodeFetch encodes answers with our encoder and puts the records into the gaps afterwards, as a connection does. It
// also returns the size of what the encoder itself wrote.
func encodeFetch(version int16, resp *kmsg.FetchResponse, answers []fetchAnswer, endpoints []NodeEndpoint) (whole []byte, own int) {
	e := FetchEncoder{version}
	b := e.Begin(nil, 7, resp.ThrottleMillis, ErrorCode(resp.ErrorCode), resp.SessionID, len(answers))
	type gap struct {
		at      int
		records []byte
	}
	var gaps []gap
	outside := 0
	for i := range answers {
		a := &answers[i]
		b = e.Topic(b, []byte(a.name), a.id, len(a.results))
		for j := range a.results {
			b = e.Partition(b, &a.results[j])
			gaps = append(gaps, gap{len(b), a.records[j]})
			outside += max(a.results[j].RecordsBytes, 0)
			b = e.EndPartition(b, &a.results[j])
		}
		b = e.EndTopic(b)
	}
	b = e.End(b, 0, outside, endpoints)
	from := 0
	for _, g := range gaps {
		whole = append(append(whole, b[from:g.at]...), g.records...)
		from = g.at
	}
	return append(whole, b[from:]...), len(b)
}

// TestFetchResponses compares every byte with kmsg's encoding, and the size with the upper bound.
func TestFetchResponses(t *testing.T) {
	r := rand.New(rand.NewSource(3))
	for version := int16(MinFetchVersion); version <= MaxFetchVersion; version++ {
		for range 50 {
			answers, endpoints, resp := randomFetchAnswers(r, version)
			want := resp.AppendTo(AppendResponseHeader(BeginFrame(nil), KeyFetch, version, 7))
			EndFrame(want, 0, 0)
			got, _ := encodeFetch(version, resp, answers, endpoints)
			if !bytes.Equal(got, want) {
				t.Fatalf("version %d:\ngot  %x\nwant %x", version, got, want)
			}
			if n := binary.BigEndian.Uint32(got); int(n) != len(got)-FrameLengthBytes {
				t.Errorf("version %d: length %d in a frame of %d", version, n, len(got))
			}
			bound := FetchFixedBytes
			for _, a := range answers {
				bound += FetchTopicBytes + len(a.name) + len(a.results)*FetchPartitionBytes
				for i := range a.results {
					bound += len(a.results[i].Aborted) * AbortedTransactionBytes
				}
			}
			if _, own := encodeFetch(version, resp, answers, nil); own > bound {
				t.Errorf("version %d: %d bytes, the bound was %d", version, own, bound)
			}
		}
	}
}

// TestFetchAllocatesNothing decodes a request and encodes the answer.
func TestFetchAllocatesNothing(t *testing.T) {
	out := make([]byte, 0, 8192)
	r := rand.New(rand.NewSource(5))
	for version := int16(MinFetchVersion); version <= MaxFetchVersion; version++ {
		req := randomFetch(r, version)
		for len(req.Topics) == 0 {
			req = randomFetch(r, version)
		}
		frame := requestFrame(req, 1)
		var failed error
		allocated := testing.AllocsPerRun(100, func() {
			h, body, _ := ParseHeader(frame)
			var q FetchRequest
			if err := q.Decode(h.Version, body); err != nil {
				failed = err
			}
			e := FetchEncoder{h.Version}
			b := e.Begin(out[:0], h.CorrelationID, 0, NONE, 0, q.TopicCount)
			var topic FetchTopic
			var part FetchPartition
			for q.NextTopic(&topic) {
				b = e.Topic(b, topic.Name, topic.ID, topic.PartitionCount)
				for q.NextPartition(&part) {
					result := FetchResult{Index: part.Index, RecordsBytes: 5, CurrentLeader: Leader{1, 1, true}}
					b = e.EndPartition(e.Partition(b, &result), &result)
				}
				b = e.EndTopic(b)
			}
			e.End(b, 0, 5, nil)
			var forgotten ForgottenTopic
			for q.NextForgotten(&forgotten) {
				for i := range forgotten.Len() {
					_ = forgotten.Partition(i)
				}
			}
		})
		if allocated != 0 || failed != nil {
			t.Errorf("version %d: %v allocations, %v", version, allocated, failed)
		}
	}
}

// FuzzFetchRequest compares our decoder with kmsg's on any bytes.
func FuzzFetchRequest(f *testing.F) {
	r := rand.New(rand.NewSource(4))
	for version := int16(MinFetchVersion); version <= MaxFetchVersion; version++ {
		f.Add(version, randomFetch(r, version).AppendTo(nil))
	}
	f.Fuzz(func(t *testing.T, version int16, body []byte) {
		var q FetchRequest
		err := q.Decode(version, body)
		if version < MinFetchVersion || version > MaxFetchVersion {
			if err != ErrVersion {
				t.Fatalf("version %d: %v", version, err)
			}
			return
		}
		if err != nil {
			return // and kmsg is not asked: a count of tags that lies keeps it busy for minutes
		}
		theirs := kmsg.NewPtrFetchRequest()
		theirs.SetVersion(version)
		if err := theirs.ReadFrom(bytes.Clone(body)); err != nil {
			t.Fatalf("we read what kmsg does not: %v", err)
		}
		if ours := plainFetch(fetchAsKmsg(&q)); !reflect.DeepEqual(ours, plainFetch(theirs)) {
			t.Fatalf("we read %+v, kmsg %+v", ours, theirs)
		}
	})
}
