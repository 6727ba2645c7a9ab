package broker

import (
	"slipstream/internal/group"
	"slipstream/protocol"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// TxnOffsetCommit (28), versions 0-5. The group's partition takes part in the
// producer's transaction: the coordinator of that is asked first (below version 5
// whether the partition is in it, from 5 on it is added), then the group's takes the offsets in.
//
// Departures from Kafka: none known.

func (s *Shard) serveTxnOffsetCommit(c *call) {
	req := c.body.(*kmsg.TxnOffsetCommitRequest)
	var resp kmsg.Response
	r := c.groupRequest(req)
	s.visitCoordinator(consumerOffsets, req.Group, func(co *coordinated, back func()) {
		co.commitInTransaction(req, r, func(answer kmsg.Response) {
			resp = answer
			back()
		})
	}, func(code protocol.ErrorCode) {
		if code != protocol.NONE {
			resp = group.Refuse(req, code)
		}
		c.reply(resp)
	})
}

// commitInTransaction has the transaction verified and then the offsets taken in.
func (c *coordinated) commitInTransaction(req *kmsg.TxnOffsetCommitRequest, r group.Request, answer func(kmsg.Response)) {
	c.shard.verifyGroupTransaction(c.hosted, req, func(guard uint64, code protocol.ErrorCode) {
		if code == protocol.NONE {
			code = c.code() // the coordinator may have gone meanwhile
		}
		if code != protocol.NONE {
			answer(group.Refuse(req, code))
			return
		}
		m := c.machine.(*groupMachine)
		if guard != 0 {
			m.guards[req.ProducerID] = guard
		}
		m.step(r, answer)
		c.mark()
	})
}
