package simtest

import (
	"bytes"
	"fmt"
	"slices"

	"slipstream/internal/guarantees"
	"slipstream/protocol"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// transactor is a transactional producer: one transaction after the other, by the
// rules of transaction.version 2 (partitions are added by producing to them, each
// transaction has its epoch) or by those before.
type transactor struct {
	run    *run
	name   string // occurs once; the transactional id does not
	id     string
	v2     bool
	millis int32 // transaction.timeout.ms
	coord  *link
	data   *link

	phase txnPhase
	asked bool
	wait  int64
	dead  bool

	producerID int64
	epoch      int16
	sequences  map[guarantees.Partition]int32
	renew      bool // is to ask for a new epoch before it goes on

	number  int
	txn     *guarantees.Transaction
	batches []*txnBatch
	commit  bool
	reads   offsetSender         // nil: a producer only
	ended   func(committed bool) // tells its owner; committed: it is known to be
}

// offsetSender is what a pipeline adds to a transaction: offsets. It sends one
// request and calls one of the transactor's methods with what came of it.
type offsetSender interface{ sendOffsets() }

type txnPhase int8

const (
	txnInit    txnPhase = iota // has no producer id
	txnIdle                    // no transaction
	txnAdding                  // says which partitions it will write to
	txnWriting                 // produces
	txnOffsets                 // says that it will commit offsets, and does
	txnEnding                  // asks for the end
)

// txnBatch is one batch of a transaction.
type txnBatch struct {
	part     guarantees.Partition
	ids      []string
	sequence int32 // -1: not sent yet
	done     bool
	sent     bool
}

func newTransactor(r *run, name, id string, coord, data *link) *transactor {
	return &transactor{
		run: r, name: name, id: id, v2: r.rand.IntN(2) == 0, millis: int32(300 + r.rand.IntN(700)), coord: coord, data: data, producerID: -1, epoch: -1,
		sequences: map[guarantees.Partition]int32{},
	}
}

// free: it has nothing to do and can begin.
func (t *transactor) free() bool { return t.phase == txnIdle && !t.asked }

// quietNow: it is in no transaction.
func (t *transactor) quietNow() bool { return t.dead || t.phase <= txnIdle }

// begin begins a transaction of these batches; commit says how it is to end.
func (t *transactor) begin(batches []*txnBatch, commit bool) {
	t.number++
	t.batches, t.commit = batches, commit
	name := fmt.Sprint(t.name, "/", t.number)
	t.txn = t.run.truth.txns.Begin(name, t.run.now(), int64(t.millis)*1e6-2e6)
	if t.run.claims[t.id] != t {
		t.txn.GivenUp() // somebody is about to take over
	}
	for _, b := range batches {
		b.sequence = -1
		for _, id := range b.ids {
			t.run.truth.txns.Writes(t.txn, b.part, id)
		}
	}
	t.phase = txnWriting
	if !t.v2 && len(batches) > 0 {
		t.phase = txnAdding
	}
	t.tell("begins %s, commit %v, %d batches, epoch %d of %d", name, commit, len(batches), t.epoch, t.producerID)
}

func (t *transactor) tell(format string, args ...any) { t.run.tell(t.name, format, args...) }

// step goes on; which of its connections are there?
func (t *transactor) step(coord, data bool) {
	if t.dead || t.asked || t.run.now() < t.wait {
		return
	}
	switch t.phase {
	case txnInit:
		if coord {
			t.init()
		}
	case txnAdding:
		if coord {
			t.add()
		}
	case txnWriting:
		switch {
		case t.written() && t.reads != nil:
			t.phase = txnOffsets
		case t.written():
			t.phase = txnEnding
		case data:
			t.write()
		}
	case txnOffsets:
		t.reads.sendOffsets()
	case txnEnding:
		if coord {
			t.end()
		}
	}
}

func (t *transactor) written() bool {
	return !slices.ContainsFunc(t.batches, func(b *txnBatch) bool { return !b.done })
}

// later tries the same again.
func (t *transactor) later() { t.wait = t.run.now() + 2e6 + t.run.rand.Int64N(20e6) }

func (t *transactor) fail(what string, code int16) {
	t.run.fail(fmt.Errorf("producer %s: %s: error %d", t.name, what, code))
}

// call sends a request to its coordinator.
func (t *transactor) call(req kmsg.Request, version int16, done func(kmsg.Response)) {
	t.asked = true
	t.coord.call(req, version, func(resp kmsg.Response) {
		t.asked = false
		if !t.dead {
			done(resp)
		}
	}, func() { t.asked = false })
}

// init becomes the producer of its transactional id. Whatever another one, or it
// itself in an earlier life, has not ended is aborted.
func (t *transactor) init() {
	if before := t.run.claims[t.id]; before != nil && before.txn != nil {
		before.txn.GivenUp()
	}
	if t.txn != nil {
		t.txn.GivenUp()
	}
	t.run.claims[t.id] = t
	req := kmsg.NewPtrInitProducerIDRequest()
	req.TransactionalID, req.TransactionTimeoutMillis = &t.id, t.millis
	req.ProducerID, req.ProducerEpoch = -1, -1
	version := int16(1 + t.run.rand.IntN(5))
	if t.renew && t.producerID >= 0 {
		req.ProducerID, req.ProducerEpoch, version = t.producerID, t.epoch, 4
	}
	t.call(req, version, func(resp kmsg.Response) {
		r := resp.(*kmsg.InitProducerIDResponse)
		switch r.ErrorCode {
		case codeNone:
			if r.ProducerID < 0 || r.ProducerEpoch < 0 {
				t.run.fail(fmt.Errorf("producer %s is given epoch %d of id %d", t.name, r.ProducerEpoch, r.ProducerID))
			}
			t.producerID, t.epoch, t.phase, t.renew, t.txn = r.ProducerID, r.ProducerEpoch, txnIdle, false, nil
			clear(t.sequences)
			t.tell("is epoch %d of %d", t.epoch, t.producerID)
		case codeConcurrentTxns:
			t.later()
		case codeProducerFenced, codeInvalidProducerEpoch, codeInvalidProducerIDMap:
			if !t.renew {
				t.fail("InitProducerId", r.ErrorCode)
				return
			}
			t.fenced()
		default:
			if !t.coord.astray(r.ErrorCode) {
				t.fail("InitProducerId", r.ErrorCode)
			}
		}
	})
}

// fenced: another one has its id, or its transaction has timed out. It gives up for
// the other, or begins a new life.
func (t *transactor) fenced() {
	t.run.fences++
	t.tell("is fenced")
	t.over(false)
	t.phase, t.renew = txnInit, false
	t.producerID, t.epoch = -1, -1
	if t.run.claims[t.id] != t {
		t.dead = true
	}
	t.later()
}

// over: the transaction is behind it.
func (t *transactor) over(committed bool) {
	t.phase, t.batches = txnIdle, nil
	if t.renew {
		t.phase = txnInit
	}
	if t.ended != nil {
		t.ended(committed)
	}
}

// abort goes on with an abort. What was sent and not answered is in doubt, and with
// it the sequence: below version 2 that takes a new epoch.
func (t *transactor) abort() {
	t.tell("must abort")
	t.commit, t.batches, t.phase = false, nil, txnEnding
	t.renew = !t.v2
}

// refused takes in an error that a request of a transaction was answered with;
// false: it is none that a transaction can be answered with.
func (t *transactor) refused(code int16) bool {
	switch code {
	case codeConcurrentTxns, codeNotEnoughReplicas:
		t.later()
	case codeProducerFenced, codeInvalidProducerEpoch:
		t.fenced()
	case codeInvalidTxnState, codeTransactionAbortable, codeOperationNotAttempted, codeInvalidProducerIDMap:
		t.abort()
	default:
		return false
	}
	return true
}

func (t *transactor) add() {
	req := kmsg.NewPtrAddPartitionsToTxnRequest()
	req.TransactionalID, req.ProducerID, req.ProducerEpoch = t.id, t.producerID, t.epoch
	for _, b := range t.batches {
		rt := kmsg.NewAddPartitionsToTxnRequestTopic()
		rt.Topic, rt.Partitions = b.part.Topic, []int32{b.part.Number}
		if !slices.ContainsFunc(req.Topics, func(o kmsg.AddPartitionsToTxnRequestTopic) bool {
			return o.Topic == rt.Topic && o.Partitions[0] == rt.Partitions[0]
		}) {
			req.Topics = append(req.Topics, rt)
		}
	}
	t.call(req, int16(t.run.rand.IntN(4)), func(resp kmsg.Response) {
		for _, topic := range resp.(*kmsg.AddPartitionsToTxnResponse).Topics {
			for _, p := range topic.Partitions {
				if p.ErrorCode != codeNone {
					if !t.refused(p.ErrorCode) && !t.coord.astray(p.ErrorCode) {
						t.fail("AddPartitionsToTxn", p.ErrorCode)
					}
					return
				}
			}
		}
		t.phase = txnWriting
	})
}

// write produces the next batch of each partition, all in one request.
func (t *transactor) write() {
	req := kmsg.NewPtrProduceRequest()
	req.TransactionID, req.Acks, req.TimeoutMillis = &t.id, -1, 30_000
	version := int16(3 + t.run.rand.IntN(9))
	if t.v2 {
		version = 12
	}
	var sent []*txnBatch
	for _, b := range t.batches {
		if b.done || slices.ContainsFunc(sent, func(o *txnBatch) bool { return o.part == b.part }) {
			continue
		}
		if b.sequence < 0 {
			b.sequence = t.sequences[b.part]
			t.sequences[b.part] += int32(len(b.ids))
		}
		b.sent = true
		sent = append(sent, b)
		rt := kmsg.NewProduceRequestTopic()
		rt.Topic = b.part.Topic
		rp := kmsg.NewProduceRequestTopicPartition()
		rp.Partition, rp.Records = b.part.Number, t.encode(b)
		rt.Partitions = append(rt.Partitions, rp)
		req.Topics = append(req.Topics, rt)
	}
	t.asked = true
	t.data.call(req, version, func(resp kmsg.Response) {
		t.asked = false
		r := resp.(*kmsg.ProduceResponse)
		if len(r.Topics) != len(sent) {
			t.run.fail(fmt.Errorf("producer %s: %d topics in the answer, %d in the request", t.name, len(r.Topics), len(sent)))
			return
		}
		for i, b := range sent {
			if t.dead || t.phase != txnWriting {
				return // an answer before it has ended the transaction
			}
			t.wrote(b, &r.Topics[i].Partitions[0])
		}
	}, func() { t.asked = false })
}

func (t *transactor) encode(b *txnBatch) []byte {
	info := protocol.NewBatchInfo(0, -1)
	info.Attributes = protocol.AttrTransactional
	info.ProducerID, info.ProducerEpoch, info.BaseSequence = t.producerID, t.epoch, b.sequence
	var bl protocol.Builder
	bl.Begin(nil, info)
	for _, id := range b.ids {
		bl.Append(&protocol.Record{Timestamp: t.run.node.world.Kernel().Wall() / 1e6, Key: []byte(id), Value: bytes.Repeat([]byte{7}, 20)})
	}
	_, batch := bl.Finish()
	return batch
}

func (t *transactor) wrote(b *txnBatch, p *kmsg.ProduceResponseTopicPartition) {
	switch p.ErrorCode {
	case codeNone:
		b.done = true
		for i, id := range b.ids {
			if err := t.run.truth.txns.Wrote(t.txn, id, p.BaseOffset+int64(i)); err != nil {
				t.run.fail(err)
			}
		}
	case codeDuplicateSequence:
		b.done = true
	case codeNotLeader, codeUnknownTopic, codeStorageError, codeCoordinatorLoading, codeCoordinatorNotAvail, codeNotCoordinator:
		t.later()
	case codeOutOfOrder, codeUnknownProducer:
		// Its transaction was aborted behind its back and the sequence with it.
		t.abort()
	default:
		if !t.refused(p.ErrorCode) {
			t.fail("Produce", p.ErrorCode)
		}
	}
}

// end asks for the end of the transaction.
func (t *transactor) end() {
	commit := t.commit
	t.txn.Ending(commit)
	req := kmsg.NewPtrEndTxnRequest()
	req.TransactionalID, req.ProducerID, req.ProducerEpoch, req.Commit = t.id, t.producerID, t.epoch, commit
	version := int16(t.run.rand.IntN(5))
	if t.v2 {
		version = 5
	}
	t.call(req, version, func(resp kmsg.Response) {
		r := resp.(*kmsg.EndTxnResponse)
		switch r.ErrorCode {
		case codeNone:
			if err := t.txn.Ended(commit); err != nil {
				t.run.fail(err)
			}
			if t.v2 {
				t.producerID, t.epoch = r.ProducerID, r.ProducerEpoch
				clear(t.sequences)
			}
			t.run.finished++
			t.run.sprung()
			t.over(commit)
		case codeConcurrentTxns:
			t.later()
		case codeProducerFenced, codeInvalidProducerEpoch:
			t.txn.Refused()
			t.fenced()
		case codeInvalidTxnState, codeInvalidProducerIDMap, codeTransactionAbortable:
			t.txn.Refused()
			t.renew = true
			t.over(false)
		default:
			if !t.coord.astray(r.ErrorCode) {
				t.fail("EndTxn", r.ErrorCode)
			}
		}
	})
}
