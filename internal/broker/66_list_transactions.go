package broker

import (
	"slipstream/internal/txn"
	"slipstream/protocol"
	"slipstream/reactor"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// ListTransactions (66), versions 0-2: by state, producer id, duration (1) and pattern (2). The coordinators of all
// partitions are asked, each some hundred ids a turn.
//
// Departures from Kafka: none; patterns are matched in time that grows with the id and no faster.

func (s *Shard) serveListTransactions(c *call) {
	req := c.body.(*kmsg.ListTransactionsRequest)
	resp := kmsg.NewPtrListTransactionsResponse()
	filter, unknown, code := txn.ParseFilter(req)
	resp.UnknownStateFilters = unknown
	if code != protocol.NONE {
		resp.ErrorCode = int16(code)
		c.reply(resp)
		return
	}
	var found [][]kmsg.ListTransactionsResponseTransactionState // by partition
	if t := s.topicsByName[transactionState.name]; t != nil {
		found = make([][]kmsg.ListTransactionsResponseTransactionState, t.partitions)
	}
	s.visitCoordinators(transactionState, func(at *coordinated, back func()) {
		l := &transactionList{of: at, filter: &filter, before: txn.ListAll, found: &found[at.hosted.key.partition], done: back}
		l.Deliver(at.shard.core)
	}, func(partition int32, code protocol.ErrorCode) {
		if code == protocol.COORDINATOR_LOAD_IN_PROGRESS {
			resp.ErrorCode = int16(code)
		}
		resp.TransactionStates = append(resp.TransactionStates, found[partition]...)
	}, func() {
		if resp.ErrorCode != 0 {
			resp.TransactionStates = nil
		}
		c.reply(resp)
	})
}

// listedAtOnce is how many transactional ids a coordinator looks at in a turn for ListTransactions.
const listedAtOnce = 500

// transactionList goes through a coordinator's transactional ids.
type transactionList struct {
	of     *coordinated
	filter *txn.Filter
	before int
	found  *[]kmsg.ListTransactionsResponseTransactionState
	done   func()
}

// Deliver implements reactor.Message: the next piece.
func (l *transactionList) Deliver(core *reactor.Core) {
	s := l.of.shard
	m, ok := l.of.machine.(*txnMachine)
	if ok {
		*l.found, l.before = m.coordinator.List(s.coordinating.millis(), l.filter, l.before, listedAtOnce, *l.found)
	}
	if !ok || l.before == 0 {
		l.done()
		return
	}
	core.Send(core, l)
}
