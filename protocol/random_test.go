package protocol

import (
	"math/rand"
	"strings"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// The functions here make kmsg messages with chance in every field that the version has. What a version does not have
// keeps its default, as it would come out of a decoder.

func randomString(r *rand.Rand) string { return strings.Repeat("t", r.Intn(4)) + itoa(r.Int63n(1000)) }

func randomBytes(r *rand.Rand) []byte {
	b := make([]byte, r.Intn(40)+r.Intn(2)*200)
	r.Read(b)
	return b
}

func randomProduce(r *rand.Rand, version int16) *kmsg.ProduceRequest {
	req := kmsg.NewPtrProduceRequest()
	req.SetVersion(version)
	if r.Intn(2) == 0 {
		s := randomString(r)
		req.TransactionID = &s
	}
	req.Acks, req.TimeoutMillis = int16(r.Intn(3)-1), r.Int31()
	for range r.Intn(4) {
		t := kmsg.NewProduceRequestTopic()
		if version < 13 {
			t.Topic = randomString(r)
		} else {
			r.Read(t.TopicID[:])
		}
		for range r.Intn(4) {
			p := kmsg.NewProduceRequestTopicPartition()
			p.Partition = r.Int31n(100)
			if r.Intn(4) > 0 {
				p.Records = randomBytes(r)
			}
			t.Partitions = append(t.Partitions, p)
		}
		req.Topics = append(req.Topics, t)
	}
	return req
}

func randomFetch(r *rand.Rand, version int16) *kmsg.FetchRequest {
	req := kmsg.NewPtrFetchRequest()
	req.SetVersion(version)
	switch {
	case version <= 14:
		req.ReplicaID = r.Int31n(3) - 1
	case r.Intn(2) == 0:
		req.ReplicaState.ID, req.ReplicaState.Epoch = r.Int31n(9), r.Int63()
	}
	req.MaxWaitMillis, req.MinBytes, req.MaxBytes = r.Int31(), r.Int31(), r.Int31()
	req.IsolationLevel = int8(r.Intn(2))
	if version >= 7 {
		req.SessionID, req.SessionEpoch = r.Int31(), r.Int31n(5)-1
		for range r.Intn(3) {
			req.ForgottenTopics = append(req.ForgottenTopics, randomForgotten(r, version))
		}
	}
	if version >= 11 {
		req.Rack = randomString(r)
	}
	if version >= 12 && r.Intn(2) == 0 {
		s := randomString(r)
		req.ClusterID = &s
	}
	for range r.Intn(4) {
		t := kmsg.NewFetchRequestTopic()
		if version < 13 {
			t.Topic = randomString(r)
		} else {
			r.Read(t.TopicID[:])
		}
		for range r.Intn(4) {
			t.Partitions = append(t.Partitions, randomFetchPartition(r, version))
		}
		req.Topics = append(req.Topics, t)
	}
	return req
}

func randomForgotten(r *rand.Rand, version int16) kmsg.FetchRequestForgottenTopic {
	f := kmsg.NewFetchRequestForgottenTopic()
	if version < 13 {
		f.Topic = randomString(r)
	} else {
		r.Read(f.TopicID[:])
	}
	for range r.Intn(4) {
		f.Partitions = append(f.Partitions, r.Int31())
	}
	return f
}

func randomFetchPartition(r *rand.Rand, version int16) kmsg.FetchRequestTopicPartition {
	p := kmsg.NewFetchRequestTopicPartition()
	p.Partition, p.FetchOffset, p.PartitionMaxBytes = r.Int31n(100), r.Int63(), r.Int31()
	if version >= 9 {
		p.CurrentLeaderEpoch = r.Int31n(9) - 1
	}
	if version >= 12 {
		p.LastFetchedEpoch = r.Int31n(9) - 1
	}
	if version >= 5 {
		p.LogStartOffset = r.Int63n(9) - 1
	}
	if version >= 17 && r.Intn(2) == 0 {
		r.Read(p.ReplicaDirectoryID[:])
	}
	if version >= 18 && r.Intn(2) == 0 {
		p.HighWatermark = r.Int63n(1000) - 1
	}
	return p
}
