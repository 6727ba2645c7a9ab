package metrics

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// shareMember speaks for a member of the share group g.
type shareMember struct {
	t  *testing.T
	b  *kgo.Broker
	id string
}

func (m *shareMember) ask(req kmsg.Request) kmsg.Response {
	m.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	resp, err := m.b.Request(ctx, req)
	if err != nil {
		m.t.Fatal(err)
	}
	return resp
}

// join heartbeats until the member has a partition.
func (m *shareMember) join(topic string) {
	m.t.Helper()
	find := kmsg.NewPtrFindCoordinatorRequest()
	find.CoordinatorKeys = []string{"g"}
	m.ask(find) // makes the topic of groups
	var last *kmsg.ShareGroupHeartbeatResponse
	for until, epoch := time.Now().Add(20*time.Second), int32(0); time.Now().Before(until); time.Sleep(20 * time.Millisecond) {
		req := kmsg.NewPtrShareGroupHeartbeatRequest()
		req.GroupID, req.MemberID, req.MemberEpoch, req.SubscribedTopicNames = "g", m.id, epoch, []string{topic}
		resp := m.ask(req).(*kmsg.ShareGroupHeartbeatResponse)
		last = resp
		if epoch = resp.MemberEpoch; resp.Assignment != nil && len(resp.Assignment.TopicPartitions) > 0 {
			return
		}
	}
	m.t.Fatalf("the member was not given a partition: %+v", last)
}

// fetch fetches from partition 0 and returns its error and how many ranges were acquired.
func (m *shareMember) fetch(id [16]byte, epoch int32, acks ...kmsg.ShareFetchRequestTopicPartitionAcknowledgementBatch) (code int16, acquired int) {
	m.t.Helper()
	group := "g"
	req := kmsg.NewPtrShareFetchRequest()
	req.GroupID, req.MemberID, req.ShareSessionEpoch = &group, &m.id, epoch
	req.MaxWaitMillis, req.MinBytes, req.MaxBytes, req.MaxRecords = 200, 1, 1<<20, 500
	req.Topics = []kmsg.ShareFetchRequestTopic{{TopicID: id, Partitions: []kmsg.ShareFetchRequestTopicPartition{{AcknowledgementBatches: acks}}}}
	resp := m.ask(req).(*kmsg.ShareFetchResponse)
	if resp.ErrorCode != 0 {
		m.t.Fatalf("ShareFetch: error %d", resp.ErrorCode)
	}
	for _, p := range resp.Topics {
		code, acquired = max(p.Partitions[0].ErrorCode, p.Partitions[0].AcknowledgeErrorCode), len(p.Partitions[0].AcquiredRecords)
	}
	return code, acquired
}

// Share groups, their sessions and what members say of records are counted.
func TestShareFigures(t *testing.T) {
	w := startWatched(t, Options{}, "offsets.topic.num.partitions=4", "share.coordinator.state.topic.num.partitions=4")
	cl, err := kgo.NewClient(kgo.SeedBrokers(w.address))
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	ctx := context.Background()
	made, err := kadm.NewClient(cl).CreateTopic(ctx, 1, 1, nil, "t")
	if err != nil {
		t.Fatal(err)
	}
	for range 6 {
		if err := cl.ProduceSync(ctx, &kgo.Record{Topic: "t", Value: []byte("x")}).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	m := &shareMember{t, cl.SeedBrokers()[0], "member"}
	earliest := "earliest"
	set := kmsg.NewPtrIncrementalAlterConfigsRequest()
	set.Resources = []kmsg.IncrementalAlterConfigsRequestResource{{ResourceType: kmsg.ConfigResourceTypeGroupConfig, ResourceName: "g",
		Configs: []kmsg.IncrementalAlterConfigsRequestResourceConfig{{Name: "share.auto.offset.reset", Value: &earliest}}}}
	m.ask(set)
	m.join("t")
	id := [16]byte(made.ID)
	if code, acquired := m.fetch(id, 0); code != 0 || acquired == 0 {
		t.Fatalf("the records: error %d, %d ranges", code, acquired)
	}
	batch := func(first, last int64, types ...int8) kmsg.ShareFetchRequestTopicPartitionAcknowledgementBatch {
		return kmsg.ShareFetchRequestTopicPartitionAcknowledgementBatch{FirstOffset: first, LastOffset: last, AcknowledgeTypes: types}
	}
	if code, _ := m.fetch(id, 1, batch(0, 2, 1), batch(3, 4, 3, 1)); code != 0 {
		t.Fatalf("acknowledging: error %d", code)
	}
	if code, _ := m.fetch(id, 2, batch(40, 50, 1)); code == 0 {
		t.Fatal("records that are not there are acknowledged")
	}
	_, _, body := w.get("/metrics", "text/plain")
	text := string(body)
	for _, want := range []string{
		`kafka_server_group_coordinator_metrics_group_count{protocol="share"} 1` + "\n",
		`kafka_server_group_coordinator_metrics_share_group_count{state="stable"} 1` + "\n",
		"kafka_server_sharesessioncache_sharesessionscount 1\n",
		"kafka_server_sharesessioncache_sharepartitionscount 1\n",
		`kafka_server_sharegroupmetrics_recordacknowledgements_total{ackType="Accept"} 4` + "\n",
		`kafka_server_sharegroupmetrics_recordacknowledgements_total{ackType="Reject"} 1` + "\n",
		`kafka_server_sharegroupmetrics_recordacknowledgements_total{ackType="Renew"} 0` + "\n",
		`kafka_server_brokertopicmetrics_totalsharefetchrequests_total{topic="t"} 3` + "\n",
		`kafka_server_brokertopicmetrics_failedsharefetchrequests_total{topic="t"} 0` + "\n",
		`kafka_server_brokertopicmetrics_totalshareacknowledgementrequests_total{topic="t"} 2` + "\n",
		`kafka_server_brokertopicmetrics_failedshareacknowledgementrequests_total{topic=""} 1` + "\n",
		"slipstream_share_records_acquired_total 6\n",
		"slipstream_share_partitions 1\n",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("there is no %q in\n%s", want, grepLines(text, strings.FieldsFunc(want, func(r rune) bool { return r == '{' || r == ' ' })[0]))
		}
	}
	m.fetch(id, -1)
	left := -1.0
	for until := time.Now().Add(5 * time.Second); left != 0 && time.Now().Before(until); time.Sleep(50 * time.Millisecond) { // a scrape may be answered with the last one's figures
		left = w.scrape("/metrics", "text/plain").value("kafka_server_sharesessioncache_sharepartitionscount")
	}
	if left != 0 {
		t.Errorf("%v partitions of sessions that have ended", left)
	}
}
