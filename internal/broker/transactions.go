package broker

import (
	"errors"
	"math"

	"slipstream/internal/txn"
	"slipstream/protocol"
)

// txnMachine drives a transaction coordinator (internal/txn) on the coordinator
// host: records to its partition of __transaction_state, answers to whoever asked,
// markers to the partitions' cores (transaction_markers.go), producer ids from the
// core's block.
type txnMachine struct {
	of          *coordinated
	coordinator *txn.Coordinator
	records     []protocol.Record // of the batch that was handed out last
	batch       [1]machineBatch
}

// txnAnswer is the tag of every request: what is called, on the coordinator's core, with the answer.
type txnAnswer func(txn.Response)

func newTxnMachine(c *coordinated) machine {
	return &txnMachine{of: c, coordinator: txn.New(c.shard.transactionConfig, c.hosted.leaderEpoch)}
}

// settleMillis is how long the answer to EndTxn may wait for the markers, which
// are mostly there within one: a producer that is answered before them is met with
// CONCURRENT_TRANSACTIONS and backs off for 20 ms or more.
const settleMillis = 100

// configureTransactions takes in the settings in force, when the core starts and when they have changed.
func (s *Shard) configureTransactions() {
	t := s.broker.settings.Topics.Transactions(s.brokerConfigs())
	s.store.SetVerification(t.Verify)
	s.transactionConfig = t.Coordinator
	s.transactionConfig.Version, s.transactionConfig.SettleMillis = s.image.Feature("transaction.version"), settleMillis
}

// replay implements machine.
func (m *txnMachine) replay(r *loadedRecord) error {
	if r.marker {
		return nil
	}
	err := m.coordinator.Load(r.key, r.value)
	if errors.Is(err, txn.ErrVersion) {
		m.of.shard.broker.log.Warn("a record of a newer version is passed over", "topic", m.of.of.name,
			"partition", m.of.hosted.key.partition, "offset", r.offset, "error", err)
		return nil
	}
	return err
}

// loaded implements machine.
func (m *txnMachine) loaded(nowMillis int64) { m.coordinator.Loaded(nowMillis) }

// tick implements machine.
func (m *txnMachine) tick(nowMillis int64) { m.coordinator.Tick(nowMillis) }

// work implements machine.
func (m *txnMachine) work(nowMillis int64) { m.coordinator.Work(nowMillis) }

func (m *txnMachine) check() error { return m.coordinator.Check() }

// ready implements machine.
func (m *txnMachine) ready(int64) (out machineReady) {
	if m.coordinator.HasReady() {
		r := m.coordinator.Ready()
		if len(r.Records) > 0 {
			out.batches = m.batchOf(&r)
		}
		for i := range r.Responses {
			r.Responses[i].Tag.(txnAnswer)(r.Responses[i])
		}
		for i := range r.Markers {
			m.of.shard.markers.send(m, &r.Markers[i])
		}
		m.of.shard.markers.leave()
		for range r.ProducerIDs {
			m.of.shard.takeProducerID(m.takeProducerID)
		}
	}
	if d := m.coordinator.Deadline(); d != math.MaxInt64 {
		out.deadlineMillis = max(d, 1)
	}
	out.more = m.coordinator.HasReady() || m.coordinator.HasWork()
	return out
}

func (m *txnMachine) batchOf(r *txn.Ready) []machineBatch {
	m.records = m.records[:0]
	for i := range r.Records {
		m.records = append(m.records, protocol.Record{
			Timestamp: r.Records[i].TimestampMillis, Key: r.Records[i].Key, Value: r.Records[i].Value,
		})
	}
	m.batch[0] = machineBatch{seq: r.Append, records: m.records, producerID: -1, producerEpoch: -1}
	return m.batch[:]
}

func (m *txnMachine) takeProducerID(id int64, code protocol.ErrorCode) {
	now := m.of.shard.coordinating.millis()
	if code != protocol.NONE {
		m.coordinator.RefuseProducerIDs(now, code)
	} else {
		m.coordinator.AddProducerIDs(now, id, 1)
	}
	m.of.mark()
}

// committed implements machine.
func (m *txnMachine) committed(nowMillis int64, seq uint64) { m.coordinator.Committed(nowMillis, seq) }

// failed implements machine.
func (m *txnMachine) failed(nowMillis int64, seq uint64, code protocol.ErrorCode) {
	m.coordinator.Failed(nowMillis, seq, code)
}

// broken implements machine: a state takes effect only when its record is
// committed, so a failed append leaves nothing to be undone.
func (m *txnMachine) broken() bool { return false }

// endTransaction implements machine. Nobody writes to __transaction_state within a transaction.
func (m *txnMachine) endTransaction(int64, int64, bool) {}

// resign implements machine.
func (m *txnMachine) resign(int64) { m.coordinator.Resign() }

// configure implements machine.
func (m *txnMachine) configure() { m.coordinator.SetConfig(m.of.shard.transactionConfig) }

// topicsChanged implements machine: the partitions of deleted topics are found to be gone when their markers are due.
func (m *txnMachine) topicsChanged(int64, *topicChanges) {}

// atTransaction asks the coordinator of a transactional id. ask runs on its core, with the tag to be handed on; done runs
// here with the answer.
func (s *Shard) atTransaction(id string, ask func(c *txn.Coordinator, nowMillis int64, tag txn.Tag), done func(txn.Response)) {
	r := txn.Response{ProducerID: -1, ProducerEpoch: -1}
	if id == "" {
		r.Code = protocol.INVALID_REQUEST
		done(r)
		return
	}
	s.visitCoordinator(transactionState, id, func(c *coordinated, back func()) {
		ask(c.machine.(*txnMachine).coordinator, c.shard.coordinating.millis(), txnAnswer(func(answer txn.Response) {
			r = answer
			back()
		}))
	}, func(code protocol.ErrorCode) {
		if code != protocol.NONE {
			r.Code = code
		}
		done(r)
	})
}

// addPartitions asks a coordinator to add partitions to a transaction, or whether they are in it.
func (s *Shard) addPartitions(r txn.AddPartitions, done func(txn.Response)) {
	s.atTransaction(r.TransactionalID, func(c *txn.Coordinator, nowMillis int64, tag txn.Tag) {
		c.AddPartitions(nowMillis, tag, r)
	}, done)
}
