package broker

import (
	"strings"
	"testing"

	"slipstream/protocol"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// A share group's member has an id of at most 36 characters, in whatever it sends.
func TestShareMemberIDs(t *testing.T) {
	b := startTestBroker(t, "")
	w := b.dial()
	for _, c := range []struct {
		member  string
		refused bool
	}{{"", true}, {strings.Repeat("m", 36), false}, {strings.Repeat("m", 37), true}} {
		heartbeat := kmsg.NewPtrShareGroupHeartbeatRequest()
		heartbeat.GroupID, heartbeat.MemberID, heartbeat.SubscribedTopicNames = "g", c.member, []string{"t"}
		fetch := kmsg.NewPtrShareFetchRequest()
		fetch.GroupID, fetch.MemberID, fetch.ShareSessionEpoch = kmsg.StringPtr("g"), &c.member, 7
		ack := kmsg.NewPtrShareAcknowledgeRequest()
		ack.GroupID, ack.MemberID, ack.ShareSessionEpoch = fetch.GroupID, fetch.MemberID, 7
		got := []int16{
			w.ask(1, heartbeat).(*kmsg.ShareGroupHeartbeatResponse).ErrorCode,
			w.ask(1, fetch).(*kmsg.ShareFetchResponse).ErrorCode,
			w.ask(1, ack).(*kmsg.ShareAcknowledgeResponse).ErrorCode,
		}
		for i, code := range got {
			if refused := protocol.ErrorCode(code) == protocol.INVALID_REQUEST; refused != c.refused {
				t.Errorf("a member id of %d characters, request %d: %v", len(c.member), i, protocol.ErrorCode(code))
			}
		}
	}
}
