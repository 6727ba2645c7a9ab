package clients

import (
	"context"
	"fmt"
	"testing"
	"time"

	"slipstream/internal/clients/harness"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// TestShareGroupReadsCommitted: members of a share group with share.isolation.level=read_committed are given no record of
// an aborted transaction, and none of one that is not decided; a group without that is given all of them.
func TestShareGroupReadsCommitted(t *testing.T) {
	b := harness.StartT(t, harness.Options{})
	topic := topicName(t, "share-committed")
	createTopic(t, b, topic, 1)
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	cl, err := kgo.NewClient(kgo.SeedBrokers(b.Addr), kgo.TransactionalID(topic), kgo.DefaultProduceTopic(topic))
	harness.Need(t, err)
	defer cl.Close()
	var aborted, committed, open []place
	write := func(n int) (at []place) {
		for i := range n {
			r, err := cl.ProduceSync(ctx, kgo.StringRecord(fmt.Sprint(i))).First()
			harness.Need(t, err)
			at = append(at, place{0, r.Offset})
		}
		return at
	}
	for round := range 4 {
		harness.Need(t, cl.BeginTransaction())
		at, end := write(3+round), kgo.TransactionEndTry(round%2 == 1)
		harness.Need(t, cl.EndTransaction(ctx, end))
		if end == kgo.TryCommit {
			committed = append(committed, at...)
		} else {
			aborted = append(aborted, at...)
		}
	}
	harness.Need(t, cl.BeginTransaction())
	open = write(2)

	s := &script{t: t, b: b, norm: newNormaliser(b.Addr)}
	s.dial()
	tid := s.quietly(12, metadataFor(topic)).(*kmsg.MetadataResponse).Topics[0].TopicID
	for _, g := range []struct {
		isolation  string
		has, lacks [][]place
	}{
		{"read_committed", [][]place{committed}, [][]place{aborted, open}},
		{"read_uncommitted", [][]place{committed, aborted, open}, nil},
	} {
		id := topic + "-" + g.isolation
		s.shareSetting(id, "share.auto.offset.reset", "earliest")
		s.shareSetting(id, "share.isolation.level", g.isolation)
		m := newShareMember(t, b, id, "member", topic, tid)
		m.join(1)
		got := m.fetch(1)
		for _, list := range g.has {
			for _, r := range list {
				if got[r] != 1 {
					t.Errorf("%s: record %d was delivered %d times, not once", g.isolation, r.offset, got[r])
				}
			}
		}
		for _, list := range g.lacks {
			for _, r := range list {
				if got[r] != 0 {
					t.Errorf("%s: record %d was delivered", g.isolation, r.offset)
				}
			}
		}
		m.w.Close()
	}
	harness.Need(t, cl.EndTransaction(ctx, kgo.TryAbort))
}
