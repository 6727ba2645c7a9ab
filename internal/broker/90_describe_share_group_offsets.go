package broker

import (
	"slipstream/internal/group"
	"slipstream/internal/share"
	"slipstream/protocol"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// DescribeShareGroupOffsets (90), versions 0-1 (KIP-932): where share groups begin in
// their partitions, and (1, KIP-1226) how many records are before them.
//
// No departures from Kafka.

func (s *Shard) serveDescribeShareGroupOffsets(c *call) {
	req := c.body.(*kmsg.DescribeShareGroupOffsetsRequest)
	if !s.shareGroupsEnabled() {
		c.reply(group.Refuse(req, protocol.UNSUPPORTED_VERSION))
		return
	}
	resp := kmsg.NewPtrDescribeShareGroupOffsetsResponse()
	resp.Groups = make([]kmsg.DescribeShareGroupOffsetsResponseGroup, len(req.Groups))
	s.askGroups(c, len(req.Groups), func(i int) string { return req.Groups[i].GroupID },
		func(places []int) kmsg.Request {
			part := kmsg.NewPtrDescribeShareGroupOffsetsRequest()
			for _, i := range places {
				part.Groups = append(part.Groups, req.Groups[i])
			}
			return part
		},
		func(places []int, r kmsg.Response) {
			for j, i := range places {
				resp.Groups[i] = r.(*kmsg.DescribeShareGroupOffsetsResponse).Groups[j]
			}
		},
		func() { s.describeShareStates(c, resp) })
}

// describeShareStates asks for the states of those partitions that have one, which the
// group's coordinator has marked with leader epoch -1.
func (s *Shard) describeShareStates(c *call, resp *kmsg.DescribeShareGroupOffsetsResponse) {
	left := 1
	ended := func() {
		if left--; left == 0 {
			c.reply(resp)
		}
	}
	for i := range resp.Groups {
		g := &resp.Groups[i]
		for j := range g.Topics {
			t := &g.Topics[j]
			for k := range t.Partitions {
				p := &t.Partitions[k]
				p.Lag = -1
				if p.ErrorCode != 0 || p.LeaderEpoch != -1 {
					continue
				}
				p.LeaderEpoch = 0
				left++
				s.describeShareState(share.Key{Group: g.GroupID, Topic: t.TopicID, Partition: p.Partition}, p, ended)
			}
		}
	}
	ended()
}

// describeShareState fills in what is kept of one share-partition.
func (s *Shard) describeShareState(key share.Key, p *kmsg.DescribeShareGroupOffsetsResponseGroupTopicPartition, done func()) {
	s.askShareState(share.Request{Action: share.ReadSummary, Key: key, LeaderEpoch: -1}, func(r share.Result) {
		if p.ErrorCode, p.ErrorMessage = stateError(r); r.Code != protocol.NONE {
			done()
			return
		}
		p.StartOffset, p.LeaderEpoch = r.State.StartOffset, r.State.LeaderEpoch
		if r.State.StartOffset < 0 || r.State.DeliveryCompleteCount < 0 {
			done()
			return
		}
		of := partitionKey{key.Topic, key.Partition}
		owner := s.broker.shards[s.broker.ownerOf(of)]
		end := int64(-1)
		s.askCore(owner, func(back func()) {
			if h := owner.hosted[of]; h != nil && h.log != nil {
				end = h.log.Offsets().HighWatermark
			}
			back()
		}, func() {
			if end >= 0 {
				p.Lag = max(end-r.State.StartOffset-int64(r.State.DeliveryCompleteCount), 0)
			}
			done()
		})
	})
}
