package broker

import (
	"slipstream/protocol"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// DescribeTransactions (65), version 0.
//
// No departures from Kafka.

func (s *Shard) serveDescribeTransactions(c *call) {
	req := c.body.(*kmsg.DescribeTransactionsRequest)
	resp := kmsg.NewPtrDescribeTransactionsResponse()
	resp.TransactionStates = make([]kmsg.DescribeTransactionsResponseTransactionState, len(req.TransactionalIDs))
	left := len(req.TransactionalIDs) + 1
	answered := func() {
		if left--; left == 0 {
			c.reply(resp)
		}
	}
	for i, id := range req.TransactionalIDs {
		a := &resp.TransactionStates[i]
		a.Default()
		a.TransactionalID = id
		if id == "" {
			a.ErrorCode = int16(protocol.INVALID_REQUEST)
			answered()
			continue
		}
		s.visitCoordinator(transactionState, id, func(at *coordinated, back func()) {
			*a = at.machine.(*txnMachine).coordinator.Describe(id)
			back()
		}, func(code protocol.ErrorCode) {
			if code != protocol.NONE {
				a.ErrorCode = int16(code)
			}
			answered()
		})
	}
	answered()
}
