package broker

import (
	"slipstream/internal/txn"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// EndTxn (26), versions 0-5; from 5 on (transaction.version 2) the answer has the epoch of the next transaction.
//
// Departures from Kafka: the answer waits for the transaction's markers, up to 100 ms, so that the producer's
// next transaction is not met with CONCURRENT_TRANSACTIONS.

func (s *Shard) serveEndTxn(c *call) {
	req := c.body.(*kmsg.EndTxnRequest)
	r := txn.OfEndTxn(req)
	s.atTransaction(r.TransactionalID, func(to *txn.Coordinator, nowMillis int64, tag txn.Tag) {
		to.EndTxn(nowMillis, tag, r)
	}, func(r txn.Response) {
		c.reply(txn.EndTxnResponse(req.Version, r))
	})
}
