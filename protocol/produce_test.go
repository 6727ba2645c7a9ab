package protocol

import (
	"bytes"
	"math/rand"
	"reflect"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// produceAsKmsg is what the request says, as kmsg would hold it.
func produceAsKmsg(p *ProduceRequest) *kmsg.ProduceRequest {
	req := kmsg.NewPtrProduceRequest()
	req.SetVersion(p.Version)
	if p.TransactionalID != nil {
		s := string(p.TransactionalID)
		req.TransactionID = &s
	}
	req.Acks, req.TimeoutMillis = p.Acks, p.TimeoutMillis
	var t ProduceTopic
	var q ProducePartition
	for p.NextTopic(&t) {
		kt := kmsg.NewProduceRequestTopic()
		kt.Topic, kt.TopicID = string(t.Name), t.ID
		for p.NextPartition(&q) {
			kp := kmsg.NewProduceRequestTopicPartition()
			kp.Partition, kp.Records = q.Index, q.Records
			kt.Partitions = append(kt.Partitions, kp)
		}
		req.Topics = append(req.Topics, kt)
	}
	return req
}

// sameProduce compares two requests, null and empty records told apart, unknown tags left out.
func sameProduce(a, b *kmsg.ProduceRequest) bool {
	for _, r := range []*kmsg.ProduceRequest{a, b} {
		r.UnknownTags = kmsg.Tags{}
		if len(r.Topics) == 0 {
			r.Topics = nil
		}
		for i := range r.Topics {
			r.Topics[i].UnknownTags = kmsg.Tags{}
			if len(r.Topics[i].Partitions) == 0 {
				r.Topics[i].Partitions = nil
			}
			for j := range r.Topics[i].Partitions {
				r.Topics[i].Partitions[j].UnknownTags = kmsg.Tags{}
			}
		}
	}
	return reflect.DeepEqual(a, b)
}

// TestProduceRequests decodes what kmsg encodes, and makes sure that every shorter body is refused.
func TestProduceRequests(t *testing.T) {
	r := rand.New(rand.NewSource(1))
	for version := int16(MinProduceVersion); version <= MaxProduceVersion; version++ {
		for range 50 {
			want := randomProduce(r, version)
			body := want.AppendTo(nil)
			var p ProduceRequest
			if err := p.Decode(version, body); err != nil {
				t.Fatalf("version %d: %v\n%x", version, err, body)
			}
			got := produceAsKmsg(&p)
			if !bytes.Equal(got.AppendTo(nil), body) {
				t.Fatalf("version %d:\ngot  %+v\nwant %+v", version, got, want)
			}
			p.Rewind()
			if again := produceAsKmsg(&p); !reflect.DeepEqual(got, again) {
				t.Fatalf("version %d: another iteration gave %+v", version, again)
			}
			for n := range body {
				if err := p.Decode(version, body[:n]); err == nil {
					t.Fatalf("version %d: %d of %d bytes were enough", version, n, len(body))
				}
			}
			if err := p.Decode(version, append(body, 1, 2, 3)); err != nil {
				t.Errorf("version %d: bytes behind the body: %v", version, err)
			}
		}
	}
	var p ProduceRequest
	for _, version := range []int16{-1, 0, 1, 2, 14, 32767} {
		if err := p.Decode(version, nil); err != ErrVersion {
			t.Errorf("version %d: %v", version, err)
		}
	}
}

// TestProduceSkipping iterates over topics without looking at their partitions.
func TestProduceSkipping(t *testing.T) {
	r := rand.New(rand.NewSource(2))
	for version := int16(MinProduceVersion); version <= MaxProduceVersion; version++ {
		want := randomProduce(r, version)
		var p ProduceRequest
		if err := p.Decode(version, want.AppendTo(nil)); err != nil {
			t.Fatal(err)
		}
		var topic ProduceTopic
		topics, parts := 0, 0
		for p.NextTopic(&topic) {
			if string(topic.Name) != want.Topics[topics].Topic || topic.ID != want.Topics[topics].TopicID {
				t.Errorf("version %d: topic %d is %q %v", version, topics, topic.Name, topic.ID)
			}
			topics++
			parts += topic.PartitionCount
		}
		if topics != len(want.Topics) || topics != p.TopicCount || parts != p.PartitionCount {
			t.Errorf("version %d: %d topics and %d partitions of %d and %d", version, topics, parts, p.TopicCount, p.PartitionCount)
		}
	}
}

// randomProduceResults is a response for each partition of a request, as results and as kmsg's message.
func randomProduceResults(r *rand.Rand, req *kmsg.ProduceRequest) ([][]ProduceResult, []NodeEndpoint, *kmsg.ProduceResponse) {
	version := req.Version
	resp := kmsg.NewPtrProduceResponse()
	resp.SetVersion(version)
	resp.ThrottleMillis = r.Int31()
	var all [][]ProduceResult
	for _, t := range req.Topics {
		kt := kmsg.NewProduceResponseTopic()
		kt.Topic, kt.TopicID = t.Topic, t.TopicID
		var results []ProduceResult
		for _, p := range t.Partitions {
			q := ProduceResult{Index: p.Partition, Code: ErrorCode(r.Intn(130) - 1), BaseOffset: r.Int63() - 5,
				LogAppendTime: r.Int63(), LogStartOffset: r.Int63()}
			for range r.Intn(3) * r.Intn(2) {
				q.RecordErrors = append(q.RecordErrors, RecordError{r.Int31(), randomString(r)[:r.Intn(2)]})
			}
			if r.Intn(2) == 0 {
				q.Message = randomString(r)
			}
			if r.Intn(2) == 0 {
				q.CurrentLeader = Leader{r.Int31n(5), r.Int31n(5), true}
			}
			results = append(results, q)
			kt.Partitions = append(kt.Partitions, produceResultAsKmsg(&q, version))
		}
		all = append(all, results)
		resp.Topics = append(resp.Topics, kt)
	}
	var endpoints []NodeEndpoint
	for range r.Intn(3) {
		e := NodeEndpoint{r.Int31(), randomString(r), r.Int31(), randomString(r)[:r.Intn(2)]}
		endpoints = append(endpoints, e)
		if version >= 10 {
			resp.Brokers = append(resp.Brokers, kmsg.ProduceResponseBroker{NodeID: e.NodeID, Host: e.Host, Port: e.Port, Rack: nullable(e.Rack)})
		}
	}
	return all, endpoints, resp
}

func nullable(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

func produceResultAsKmsg(q *ProduceResult, version int16) kmsg.ProduceResponseTopicPartition {
	kp := kmsg.NewProduceResponseTopicPartition()
	kp.Partition, kp.ErrorCode, kp.BaseOffset = q.Index, int16(q.Code), q.BaseOffset
	kp.LogAppendTime, kp.LogStartOffset, kp.ErrorMessage = q.LogAppendTime, q.LogStartOffset, nullable(q.Message)
	for _, e := range q.RecordErrors {
		kp.ErrorRecords = append(kp.ErrorRecords, kmsg.ProduceResponseTopicPartitionErrorRecord{RelativeOffset: e.BatchIndex, ErrorMessage: nullable(e.Message)})
	}
	if q.CurrentLeader.Known && version >= 10 {
		kp.CurrentLeader.LeaderID, kp.CurrentLeader.LeaderEpoch = q.CurrentLeader.ID, q.CurrentLeader.Epoch
	}
	return kp
}

// encodeProduce encodes results with our encoder.
func encodeProduce(b []byte, req *kmsg.ProduceRequest, all [][]ProduceResult, throttle int32, endpoints []NodeEndpoint) []byte {
	e := ProduceEncoder{req.Version}
	start := len(b)
	b = e.Begin(b, 7, len(all))
	for i, results := range all {
		b = e.Topic(b, []byte(req.Topics[i].Topic), req.Topics[i].TopicID, len(results))
		for j := range results {
			b = e.Partition(b, &results[j])
		}
		b = e.EndTopic(b)
	}
	return e.End(b, start, throttle, endpoints)
}

// TestProduceResponses compares every byte with kmsg's encoding, and the size with the upper bound.
func TestProduceResponses(t *testing.T) {
	r := rand.New(rand.NewSource(3))
	for version := int16(MinProduceVersion); version <= MaxProduceVersion; version++ {
		for range 50 {
			req := randomProduce(r, version)
			all, endpoints, resp := randomProduceResults(r, req)
			want := AppendResponseHeader(BeginFrame([]byte("before")), KeyProduce, version, 7)
			want = resp.AppendTo(want)
			EndFrame(want, 6, 0)
			got := encodeProduce([]byte("before"), req, all, resp.ThrottleMillis, endpoints)
			if !bytes.Equal(got, want) {
				t.Fatalf("version %d:\ngot  %x\nwant %x", version, got, want)
			}
			var p ProduceRequest
			if err := p.Decode(version, req.AppendTo(nil)); err != nil {
				t.Fatal(err)
			}
			bound := p.ResponseBytes()
			for _, results := range all {
				for i := range results {
					bound += results[i].ExtraBytes()
				}
			}
			if got := encodeProduce(nil, req, all, 1, nil); len(got) > bound {
				t.Errorf("version %d: %d bytes, the bound was %d", version, len(got), bound)
			}
		}
	}
}

// TestProduceAllocatesNothing decodes a request, checks its batches and encodes the answer.
func TestProduceAllocatesNothing(t *testing.T) {
	rules := DefaultRules()
	name := []byte("topic")
	out := make([]byte, 0, 4096)
	for version := int16(MinProduceVersion); version <= MaxProduceVersion; version++ {
		req := kmsg.NewPtrProduceRequest()
		req.SetVersion(version)
		topic := kmsg.NewProduceRequestTopic()
		topic.Topic = "topic"
		for i := range int32(3) {
			topic.Partitions = append(topic.Partitions, kmsg.ProduceRequestTopicPartition{Partition: i, Records: craftBatch(20)})
		}
		req.Topics = append(req.Topics, topic)
		frame := requestFrame(req, 1)
		bad := NONE
		allocated := testing.AllocsPerRun(100, func() {
			h, body, _ := ParseHeader(frame)
			var p ProduceRequest
			if p.Decode(h.Version, body) != nil {
				bad = INVALID_REQUEST
			}
			e := ProduceEncoder{h.Version}
			b := e.Begin(out[:0], h.CorrelationID, p.TopicCount)
			var topic ProduceTopic
			var part ProducePartition
			for p.NextTopic(&topic) {
				b = e.Topic(b, name, topic.ID, topic.PartitionCount)
				for p.NextPartition(&part) {
					batch, code := CheckProduced(part.Records, h.Version, &rules)
					v := CheckRecords(batch, &rules, craftedTime)
					v.Settle(batch, &rules, craftedTime)
					bad = max(bad, code, v.Code)
					b = e.Partition(b, &ProduceResult{Index: part.Index, Code: code})
				}
				b = e.EndTopic(b)
			}
			e.End(b, 0, 0, nil)
			_ = p.ResponseBytes()
		})
		if allocated != 0 || bad != NONE {
			t.Errorf("version %d: %v allocations, %v", version, allocated, bad)
		}
	}
}

// FuzzProduceRequest compares our decoder with kmsg's on any bytes.
func FuzzProduceRequest(f *testing.F) {
	r := rand.New(rand.NewSource(4))
	for version := int16(MinProduceVersion); version <= MaxProduceVersion; version++ {
		f.Add(version, randomProduce(r, version).AppendTo(nil))
	}
	f.Fuzz(func(t *testing.T, version int16, body []byte) {
		var p ProduceRequest
		err := p.Decode(version, body)
		if version < MinProduceVersion || version > MaxProduceVersion {
			if err != ErrVersion {
				t.Fatalf("version %d: %v", version, err)
			}
			return
		}
		if err != nil {
			return // and kmsg is not asked: a count of tags that lies keeps it busy for minutes
		}
		theirs := kmsg.NewPtrProduceRequest()
		theirs.SetVersion(version)
		if err := theirs.ReadFrom(bytes.Clone(body)); err != nil {
			t.Fatalf("we read what kmsg does not: %v", err)
		}
		if ours := produceAsKmsg(&p); !sameProduce(ours, theirs) {
			t.Fatalf("we read %+v, kmsg %+v", ours, theirs)
		}
	})
}
