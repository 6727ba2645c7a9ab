package broker

import (
	"testing"

	"slipstream/protocol"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// A leader may send more than a mebibyte. What fits a batch of __consumer_offsets is
// handed out; what does not is refused as Kafka does, to everyone, and the
// connection stays.
func TestLargeAssignments(t *testing.T) {
	const members = 60
	b := startTestBroker(t, "", setCores(2), "group.initial.rebalance.delay.ms=300", "message.max.bytes=4194304")
	b.dial().findCoordinator(0, "g")
	g := newThousand(t, b, "g", members)
	g.join(100, 3_000_000/members)
	sync := kmsg.NewPtrSyncGroupRequest()
	sync.Version, sync.Group, sync.MemberID, sync.Generation = 3, "g", g.ids[g.leader], g.generation
	w := g.wires[g.leader]
	if got := w.ask(3, sync).(*kmsg.SyncGroupResponse); got.ErrorCode != 0 || len(got.MemberAssignment) != 3_000_000/members {
		t.Errorf("asked again: %s, %d bytes", protocol.ErrorCode(got.ErrorCode), len(got.MemberAssignment))
	}

	one := b.dial()
	joined := one.ask(3, joinRequest("h", "", 10)).(*kmsg.JoinGroupResponse)
	sync.Group, sync.MemberID, sync.Generation = "h", joined.MemberID, joined.Generation
	a := kmsg.NewSyncGroupRequestGroupAssignment()
	a.MemberID, a.MemberAssignment = joined.MemberID, make([]byte, 5_000_000)
	sync.GroupAssignment = append(sync.GroupAssignment, a)
	if got := one.ask(3, sync).(*kmsg.SyncGroupResponse); protocol.ErrorCode(got.ErrorCode) != protocol.UNKNOWN_SERVER_ERROR {
		t.Errorf("more than a batch takes: %s", protocol.ErrorCode(got.ErrorCode))
	}
	list := one.ask(5, kmsg.NewPtrListGroupsRequest()).(*kmsg.ListGroupsResponse)
	if len(list.Groups) != 2 {
		t.Errorf("%d groups are listed after it", len(list.Groups))
	}
}
