package crash

import (
	"context"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

const (
	groupName  = "readers"
	groupTopic = "flushed"
)

// committer is a consumer group of one static member that commits what it has read.
type committer struct {
	l     *Ledger
	acked []int64   // by partition: the last committed offset that was acknowledged; -1: none
	asked [][]int64 // and those that were asked for after it
}

func newCommitter(l *Ledger) *committer {
	c := &committer{l: l}
	for range l.logOf[groupTopic] {
		c.acked, c.asked = append(c.acked, -1), append(c.asked, nil)
	}
	return c
}

// run consumes from where the group's offsets are, and commits after every poll.
func (c *committer) run(ld *Load) {
	cl, err := kgo.NewClient(options(ld.addr, kgo.ConsumerGroup(groupName), kgo.ConsumeTopics(groupTopic), kgo.InstanceID("reader"), kgo.DisableAutoCommit(),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.FetchMaxWait(50*time.Millisecond), kgo.SessionTimeout(30*time.Second))...)
	if err != nil {
		c.l.finding("the consumer: %v", err)
		return
	}
	defer cl.CloseAllowingRebalance()
	begun := make([]bool, len(c.acked))
	for ld.pause(10 * time.Millisecond) {
		fetches := cl.PollRecords(ld.ctx, 200)
		var newest []*kgo.Record
		fetches.EachPartition(func(p kgo.FetchTopicPartition) {
			if len(p.Records) == 0 {
				return
			}
			first := p.Records[0].Offset
			if want := max(c.acked[p.Partition], 0); !begun[p.Partition] && first != want {
				c.l.finding("group %s: partition %d is read from offset %d on, and offset %d was committed", groupName, p.Partition, first, want)
			}
			begun[p.Partition] = true
			newest = append(newest, p.Records[len(p.Records)-1])
		})
		if len(newest) == 0 {
			continue
		}
		for _, r := range newest {
			c.asked[r.Partition] = append(c.asked[r.Partition], r.Offset+1)
		}
		if cl.CommitRecords(ld.ctx, newest...) != nil {
			continue // the broker is gone, or about to
		}
		c.l.mu.Lock()
		for _, r := range newest {
			c.acked[r.Partition], c.asked[r.Partition] = r.Offset+1, nil
			c.l.counts.Commits++
		}
		c.l.mu.Unlock()
	}
}

// check requires the offset that was acknowledged last, or one that was asked for after it.
func (c *committer) check(ctx context.Context, admin *kadm.Client) error {
	for p := range c.acked {
		got, err := committedOffset(ctx, admin, groupName, groupTopic, int32(p))
		if err != nil {
			return err
		}
		if got != c.acked[p] && !slices.Contains(c.asked[p], got) {
			c.l.finding("group %s: the committed offset of partition %d is %d; %d was acknowledged, and after it %d asked for", groupName, p, got, c.acked[p], c.asked[p])
		}
		c.acked[p], c.asked[p] = got, nil
	}
	return nil
}
