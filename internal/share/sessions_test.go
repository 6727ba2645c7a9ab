package share

import (
	"math"
	"slices"
	"strings"
	"testing"

	"slipstream/protocol"
)

// A member has one session; its requests carry rising epochs; what it fetches is
// remembered; and it ends with its connection.
func TestSessions(t *testing.T) {
	c := NewSessions(2)
	a, b := SessionKey{"g", "a"}, SessionKey{"g", "b"}
	if _, code := c.Next(a, 1); code != protocol.SHARE_SESSION_NOT_FOUND {
		t.Fatalf("a request before the first: %s", code)
	}
	s, code := c.Begin(a, 1)
	if code != protocol.NONE || s.Epoch != 1 {
		t.Fatalf("beginning: %s, epoch %d", code, s.Epoch)
	}
	tp := func(p int32) TopicPartition { return TopicPartition{Partition: p} }
	for _, p := range []int32{0, 1, 2, 1} {
		s.Add(tp(p))
	}
	s.Forget(tp(0))
	s.Forget(tp(7))
	if want := []TopicPartition{tp(2), tp(1)}; !slices.Equal(s.Partitions(), want) {
		t.Fatalf("partitions %v, not %v", s.Partitions(), want)
	}
	for _, epoch := range []int32{0, 2, 7} {
		if _, code := c.Next(a, epoch); code != protocol.INVALID_SHARE_SESSION_EPOCH {
			t.Fatalf("epoch %d: %s", epoch, code)
		}
	}
	for _, epoch := range []int32{1, FinalEpoch} {
		if _, code := c.Next(a, epoch); code != protocol.NONE {
			t.Fatalf("epoch %d: %s", epoch, code)
		}
	}
	s.Epoch = math.MaxInt32
	if s.Advance(); s.Epoch != 1 {
		t.Fatalf("the epoch after the last is %d", s.Epoch)
	}
	if _, code = c.Begin(b, 1); code != protocol.NONE {
		t.Fatalf("a second session: %s", code)
	}
	if _, code = c.Begin(SessionKey{"h", "a"}, 2); code != protocol.SHARE_SESSION_LIMIT_REACHED {
		t.Fatalf("a third session: %s", code)
	}
	if again, code := c.Begin(a, 2); code != protocol.NONE || again == s || c.Len() != 2 {
		t.Fatalf("a session in place of another: %s, %d sessions", code, c.Len())
	}
	if ended := c.Closed(1); len(ended) != 1 || ended[0].Key != b || c.Find(b) != nil || c.Find(a) == nil {
		t.Fatalf("the connection's end ended %v", ended)
	}
	if c.End(a) == nil || c.End(a) != nil || c.Len() != 0 || len(c.Closed(2)) != 0 {
		t.Fatal("an ended session is still there")
	}
}

// Kafka counts the UTF-16 units of a member's id.
func TestValidMemberID(t *testing.T) {
	long := strings.Repeat("m", 36)
	for id, want := range map[string]bool{
		"": false, " ": true, "AAAAAAAAAAAAAAAAAAAAAQ": true, long: true, long + "m": false,
		"é" + long[1:]: true, "\U0001F600" + long[2:]: true, "\U0001F600" + long[1:]: false,
	} {
		if ValidMemberID(id) != want {
			t.Errorf("%q: %v", id, !want)
		}
	}
}
