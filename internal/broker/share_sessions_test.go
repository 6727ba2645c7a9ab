package broker

import (
	"fmt"
	"testing"

	"slipstream/protocol"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// TestSessionsPerCore: the parts of the limit are the limit, and a core that is asked has one.
func TestSessionsPerCore(t *testing.T) {
	for cores := 1; cores <= 9; cores++ {
		for limit := 1; limit <= 20; limit++ {
			sum := 0
			for core := range cores {
				n := sessionsPerCore(core, cores, limit)
				if sum += n; (n > 0) != (core < sessionCores(cores, limit)) {
					t.Errorf("core %d of %d has room for %d of %d sessions", core, cores, n, limit)
				}
			}
			if sum != limit {
				t.Errorf("%d cores have room for %d sessions together, want %d", cores, sum, limit)
			}
		}
	}
}

// TestShareSessionLimit: group.share.max.share.sessions is a broker's, however many cores
// it has; who ends a session makes room.
func TestShareSessionLimit(t *testing.T) {
	b := startTestBroker(t, "", setCores(3), "group.share.max.share.sessions=2")
	w := b.dial()
	ask := func(member string, epoch int32) protocol.ErrorCode {
		t.Helper()
		group := "g"
		req := kmsg.NewPtrShareFetchRequest()
		req.GroupID, req.MemberID, req.ShareSessionEpoch, req.MaxBytes, req.MaxRecords = &group, &member, epoch, 1<<20, 10
		return protocol.ErrorCode(w.ask(2, req).(*kmsg.ShareFetchResponse).ErrorCode)
	}
	var taken []string
	for i := range 32 {
		member := fmt.Sprint("m", i)
		switch code := ask(member, 0); code {
		case protocol.NONE:
			taken = append(taken, member)
		case protocol.SHARE_SESSION_LIMIT_REACHED:
		default:
			t.Fatalf("%s: %s", member, code)
		}
	}
	if len(taken) != 2 {
		t.Fatalf("sessions of %v", taken)
	}
	if code := ask(taken[0], 0); code != protocol.NONE {
		t.Errorf("a session that is begun anew: %s", code)
	}
	if code := ask(taken[1], -1); code != protocol.NONE {
		t.Errorf("the end of a session: %s", code)
	}
	if code := ask(taken[1], 0); code != protocol.NONE {
		t.Errorf("a session where there is room again: %s", code)
	}
}
