package group_test

import (
	"fmt"

	"slipstream/internal/group"
	"slipstream/protocol"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// cluster is an image of one topic.
type cluster struct{ group.Topic }

func (c cluster) TopicByName(name string) (group.Topic, bool)    { return c.Topic, name == c.Name }
func (c cluster) TopicByID(id protocol.UUID) (group.Topic, bool) { return c.Topic, id == c.ID }
func (c cluster) Version() int64                                 { return 1 }
func (c cluster) NamesAfter(d []string, after string, n int) []string {
	if after < c.Name && n > 0 {
		d = append(d, c.Name)
	}
	return d
}

// A driver, in short: the log is a slice, and appending to it always succeeds.
func Example() {
	next := byte(0)
	c := group.New(group.Options{
		Settings: group.DefaultSettings(),
		Topics:   cluster{group.Topic{Name: "orders", ID: protocol.UUID{1}, Partitions: 4}},
		RandomID: func() protocol.UUID { next++; return protocol.UUID{15: next} },
	})
	var log []group.RawRecord
	now := int64(1000) // milliseconds

	// Load what the log has (nothing), then serve.
	for offset, r := range log {
		if err := c.Replay(int64(offset), -1, r.Key, r.Value); err != nil {
			fmt.Println("the log is damaged:", err)
		}
	}
	c.Loaded(now)

	turn := func() {
		for {
			ready := c.Ready(256)
			for _, b := range ready.Batches { // append first: answers rest on it
				log = append(log, b.Records...)
				c.Committed(now, b.Seq)
			}
			for _, r := range ready.Responses {
				resp := r.Body.(*kmsg.ConsumerGroupHeartbeatResponse)
				fmt.Printf("request %d: member epoch %d, %d partitions\n", r.Token, resp.MemberEpoch, len(resp.Assignment.Topics[0].Partitions))
			}
			if !ready.More && len(ready.Batches) == 0 {
				return // until the next input, or ready.DeadlineMillis
			}
			c.Work(now)
		}
	}

	req := kmsg.NewPtrConsumerGroupHeartbeatRequest()
	req.Version, req.Group, req.MemberID, req.RebalanceTimeoutMillis = 1, "billing", "m1", 60_000
	req.SubscribedTopicNames, req.Topics = []string{"orders"}, []kmsg.ConsumerGroupHeartbeatRequestTopic{}
	c.Step(now, group.Request{Token: 1, ClientID: "app", ClientHost: "/127.0.0.1", Body: req})
	turn()

	for _, r := range log {
		k, _ := group.DecodeKey(r.Key)
		fmt.Println(k.Type)
	}
	// Output:
	// request 1: member epoch 2, 4 partitions
	// ConsumerGroupMemberMetadata
	// ConsumerGroupMetadata
	// ConsumerGroupTargetAssignmentMember
	// ConsumerGroupTargetAssignmentMetadata
	// ConsumerGroupCurrentMemberAssignment
}
