package protocol

import (
	"bytes"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// TestShareFetchResponse: what the encoder writes around the records is what kmsg writes with them.
func TestShareFetchResponse(t *testing.T) {
	records := []byte("records of some batch")
	results := []ShareFetchResult{
		{Index: 3, RecordsBytes: len(records), Acquired: []ShareAcquired{{10, 19, 1}, {20, 20, 3}}},
		{Index: 4, Code: NOT_LEADER_OR_FOLLOWER, CurrentLeader: Leader{ID: 7, Epoch: 2, Known: true}},
		{Index: 5, AcknowledgeCode: INVALID_RECORD_STATE, AcknowledgeMessage: "why"},
	}
	for version := int16(1); version <= 2; version++ {
		want := kmsg.NewPtrShareFetchResponse()
		want.Version, want.AcquisitionLockTimeoutMillis = version, 30_000
		topic := kmsg.NewShareFetchResponseTopic()
		topic.TopicID = [16]byte{1, 2, 3}
		e := ShareFetchEncoder{Version: version}
		got := e.Topic(e.Begin(nil, 7, NONE, "", 30_000, 1), UUID{1, 2, 3}, len(results))
		room := ShareFetchFixedBytes + ShareFetchTopicBytes
		for i := range results {
			r := &results[i]
			p := kmsg.NewShareFetchResponseTopicPartition()
			p.Partition, p.ErrorCode, p.AcknowledgeErrorCode = r.Index, int16(r.Code), int16(r.AcknowledgeCode)
			if r.AcknowledgeMessage != "" {
				p.AcknowledgeErrorMessage = &r.AcknowledgeMessage
			}
			p.CurrentLeader.LeaderID, p.CurrentLeader.LeaderEpoch = r.CurrentLeader.ID, r.CurrentLeader.Epoch
			p.Records = []byte{}
			got = e.Partition(got, r)
			if r.RecordsBytes > 0 {
				p.Records = records
				got = append(got, records...)
				room += len(records)
			}
			for _, a := range r.Acquired {
				one := kmsg.NewShareFetchResponseTopicPartitionAcquiredRecord()
				one.FirstOffset, one.LastOffset, one.DeliveryCount = a.First, a.Last, a.DeliveryCount
				p.AcquiredRecords = append(p.AcquiredRecords, one)
			}
			got = e.EndPartition(got, r)
			room += ShareFetchPartitionBytes + len(r.AcknowledgeMessage) + ShareAcquiredBytes*len(r.Acquired)
			topic.Partitions = append(topic.Partitions, p)
		}
		got = e.End(e.EndTopic(got), 0, 0)
		want.Topics = append(want.Topics, topic)
		whole := want.AppendTo(AppendResponseHeader(BeginFrame(nil), KeyShareFetch, version, 7))
		EndFrame(whole, 0, 0)
		if !bytes.Equal(got, whole) {
			t.Errorf("version %d:\n%x\nkmsg:\n%x", version, got, whole)
		}
		if len(got) > room {
			t.Errorf("version %d takes %d bytes, more than the %d that it is given", version, len(got), room)
		}
	}
}
