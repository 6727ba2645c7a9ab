package broker

import (
	"slipstream/internal/txn"
	"slipstream/protocol"
	"slipstream/storage"
)

// Produce within a transaction (KIP-890). The first batch of a transaction in a partition is not appended before its
// coordinator has said that the partition is in the transaction, or, from version 12 on, has put it there:
//
//	partition's core   Partition.Verify: known there, append; else the part goes home with a guard
//	home               all parts of the request that came back go to the coordinator in one question
//	coordinator        txn.AddPartitions
//	home               refused, or to the partition's core once more, with the guard
//
// One question a request, because a transactional id takes one at a time. It waits until the request's other parts
// are answered. Until all of this is done the connection holds: the batches behind keep their order.
//
// Departures from Kafka: none that a client sees.

// refuseTransactions refuses the whole request for what is wrong with its transactional batches: that it names no
// transactional id, or more than one producer.
func (op *produceOp) refuseTransactions() {
	code, producer := protocol.NONE, int64(-1)
	for i := range op.parts {
		p := &op.parts[i]
		b, _, err := protocol.NextBatch(p.batch)
		if p.result.Code != protocol.NONE || err != nil || !b.IsTransactional() {
			continue // what is no batch is refused as such
		}
		switch id := b.ProducerID(); {
		case op.decoded.TransactionalID == nil:
			code = protocol.TRANSACTIONAL_ID_AUTHORIZATION_FAILED
		case producer >= 0 && id != producer:
			code = protocol.INVALID_PRODUCER_ID_MAPPING
		default:
			producer = id
		}
	}
	if code == protocol.NONE {
		return
	}
	for i := range op.parts {
		r := &op.parts[i].result
		if r.Code = code; code == protocol.INVALID_PRODUCER_ID_MAPPING {
			r.Message = "Transactional records contained more than one producer ID"
		}
	}
}

// nextEpochs says whether the client goes by transaction.version 2.
func (op *produceOp) nextEpochs() bool { return op.decoded.Version >= 12 }

// verified says whether nobody needs to be asked about the part's transaction.
func (p *producePart) verified() bool {
	return p.vouched || p.result.Code != protocol.NONE || !p.batch.IsTransactional()
}

// verify asks the log whether the part's transaction is known there. It is true if the batch may be appended; else
// the part is on its way home.
func (p *producePart) verify(log *storage.Partition) bool {
	b := p.batch
	var code protocol.ErrorCode
	p.guard, code = log.Verify(b.ProducerID(), b.ProducerEpoch(), b.BaseSequence(), p.op.nextEpochs())
	switch {
	case code != protocol.NONE:
		p.result.Code = code
		p.comeBack()
		return false
	case p.guard == 0:
		if p.owner == p.op.home {
			p.settled()
		}
		return true
	}
	p.stage = produceUnknown
	if p.owner == p.op.home {
		p.mustVerify()
	} else {
		p.owner.core.Send(p.op.home.core, p)
	}
	return false
}

// mustVerify takes in a part that is back to be verified.
func (p *producePart) mustVerify() {
	p.op.unknown++
	p.op.verifyUnknown()
}

// verifyUnknown asks the coordinator when only parts are left that must be verified.
func (op *produceOp) verifyUnknown() {
	if op.unknown == 0 || op.pending != op.unknown {
		return
	}
	r := txn.AddPartitions{
		TransactionalID: string(op.decoded.TransactionalID), VerifyOnly: !op.nextEpochs(),
		Partitions: make([]txn.TopicPartition, 0, op.unknown),
	}
	if op.nextEpochs() {
		r.Version = 2
	}
	for i := range op.parts {
		if p := &op.parts[i]; p.stage == produceUnknown {
			r.ProducerID, r.ProducerEpoch = p.batch.ProducerID(), p.batch.ProducerEpoch()
			r.Partitions = append(r.Partitions, txn.TopicPartition{Topic: p.topic.name, Partition: p.index})
		}
	}
	op.unknown = 0
	op.home.addPartitions(r, op.verifiedBy)
}

// verifiedBy takes in the coordinator's answer.
func (op *produceOp) verifiedBy(r txn.Response) {
	op.home.countVerification(r.Worst())
	op.pending++ // so that the last part does not end it before the loop does
	asked := 0
	for i := range op.parts {
		p := &op.parts[i]
		if p.stage != produceUnknown {
			continue
		}
		code := r.Code
		if r.Codes != nil {
			code = r.Codes[asked]
		}
		asked++
		if code == protocol.NONE {
			p.vouched = true
			p.forward()
			continue
		}
		p.stage = produceHome
		p.result.Code, p.result.Message = asProduced(code, op.decoded.Version)
		p.answered()
	}
	op.answered()
}

// asProduced is what a producer is told of its coordinator's refusal: older clients must see an error that they try
// again after, and know fewer of the others.
func asProduced(code protocol.ErrorCode, version int16) (protocol.ErrorCode, string) {
	const notAdded = "Partition was not added to the transaction"
	switch code {
	case protocol.PRODUCER_FENCED:
		return protocol.INVALID_PRODUCER_EPOCH, ""
	case protocol.INVALID_TXN_STATE:
		return code, notAdded
	case protocol.TRANSACTION_ABORTABLE:
		if version <= 10 {
			return protocol.INVALID_TXN_STATE, notAdded
		}
	case protocol.CONCURRENT_TRANSACTIONS:
		if version >= 12 {
			return code, ""
		}
		return notEnoughToVerify(code)
	case protocol.COORDINATOR_LOAD_IN_PROGRESS, protocol.COORDINATOR_NOT_AVAILABLE, protocol.NOT_COORDINATOR:
		return notEnoughToVerify(code)
	}
	return code, ""
}

func notEnoughToVerify(code protocol.ErrorCode) (protocol.ErrorCode, string) {
	return protocol.NOT_ENOUGH_REPLICAS,
		"Unable to verify the partition has been added to the transaction. Underlying error: " + code.String()
}
