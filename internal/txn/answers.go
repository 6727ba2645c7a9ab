package txn

import (
	"slipstream/protocol"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// What requests are to a coordinator, and what its answers are to their versions. One request may be about
// several transactional ids, of several coordinators: AddPartitionsToTxn from version 4 on.

// asTold is the error as clients of a version know it. PRODUCER_FENCED came with KIP-588; before that fencing was
// INVALID_PRODUCER_EPOCH.
func asTold(code protocol.ErrorCode, version, knowsFenced int16) int16 {
	if code == protocol.PRODUCER_FENCED && version < knowsFenced {
		code = protocol.INVALID_PRODUCER_EPOCH
	}
	return int16(code)
}

// The versions from which on clients know PRODUCER_FENCED.
const (
	initKnowsFenced          = 4
	addPartitionsKnowsFenced = 2
	addOffsetsKnowsFenced    = 2
	endKnowsFenced           = 2
)

// OfInitProducerID is what an InitProducerId request asks; its transactional id must not be null.
func OfInitProducerID(req *kmsg.InitProducerIDRequest) InitProducerID {
	r := InitProducerID{TransactionalID: *req.TransactionalID, TimeoutMillis: req.TransactionTimeoutMillis, ProducerID: -1, ProducerEpoch: -1}
	if req.Version >= 3 {
		r.ProducerID, r.ProducerEpoch = req.ProducerID, req.ProducerEpoch
	}
	return r
}

// InitProducerIDResponse is the answer in the request's version.
func InitProducerIDResponse(version int16, r Response) *kmsg.InitProducerIDResponse {
	resp := kmsg.NewPtrInitProducerIDResponse()
	resp.Version = version
	resp.ErrorCode = asTold(r.Code, version, initKnowsFenced)
	resp.ProducerID, resp.ProducerEpoch = r.ProducerID, r.ProducerEpoch
	return resp
}

// OfEndTxn is what an EndTxn request asks.
func OfEndTxn(req *kmsg.EndTxnRequest) EndTxn {
	r := EndTxn{TransactionalID: req.TransactionalID, ProducerID: req.ProducerID, ProducerEpoch: req.ProducerEpoch, Commit: req.Commit}
	if req.Version >= 5 {
		r.Version = 2
	}
	return r
}

// EndTxnResponse is the answer in the request's version.
func EndTxnResponse(version int16, r Response) *kmsg.EndTxnResponse {
	resp := kmsg.NewPtrEndTxnResponse()
	resp.Version = version
	resp.ErrorCode = asTold(r.Code, version, endKnowsFenced)
	resp.ProducerID, resp.ProducerEpoch = r.ProducerID, r.ProducerEpoch
	return resp
}

// OfAddOffsetsToTxn is what an AddOffsetsToTxn request asks, where offsets is the partition of
// __consumer_offsets that its group belongs to.
func OfAddOffsetsToTxn(req *kmsg.AddOffsetsToTxnRequest, offsets TopicPartition) AddPartitions {
	return AddPartitions{
		TransactionalID: req.TransactionalID, ProducerID: req.ProducerID, ProducerEpoch: req.ProducerEpoch,
		Partitions: []TopicPartition{offsets},
	}
}

// AddOffsetsToTxnResponse is the answer in the request's version.
func AddOffsetsToTxnResponse(version int16, r Response) *kmsg.AddOffsetsToTxnResponse {
	resp := kmsg.NewPtrAddOffsetsToTxnResponse()
	resp.Version = version
	resp.ErrorCode = asTold(r.Code, version, addOffsetsKnowsFenced)
	return resp
}

// OfAddPartitionsToTxn is what an AddPartitionsToTxn request asks: one thing below version 4, where clients send
// it, and one for each transactional id from version 4 on, where brokers do.
func OfAddPartitionsToTxn(req *kmsg.AddPartitionsToTxnRequest) []AddPartitions {
	if req.Version < 4 {
		r := AddPartitions{TransactionalID: req.TransactionalID, ProducerID: req.ProducerID, ProducerEpoch: req.ProducerEpoch}
		for _, topic := range req.Topics {
			for _, p := range topic.Partitions {
				r.Partitions = append(r.Partitions, TopicPartition{topic.Topic, p})
			}
		}
		return []AddPartitions{r}
	}
	out := make([]AddPartitions, 0, len(req.Transactions))
	for i := range req.Transactions {
		t := &req.Transactions[i]
		r := AddPartitions{
			TransactionalID: t.TransactionalID, ProducerID: t.ProducerID, ProducerEpoch: t.ProducerEpoch,
			VerifyOnly: t.VerifyOnly, Version: 2,
		}
		for _, topic := range t.Topics {
			for _, p := range topic.Partitions {
				r.Partitions = append(r.Partitions, TopicPartition{topic.Topic, p})
			}
		}
		out = append(out, r)
	}
	return out
}

// RefusePartitions is the answer to a request some of whose partitions cannot be added, with their codes (NONE
// for the others): then none is, and the others were not attempted.
func RefusePartitions(codes []protocol.ErrorCode) Response {
	r := Response{ProducerID: -1, ProducerEpoch: -1, Codes: codes}
	for i, code := range codes {
		if code == protocol.NONE {
			codes[i] = protocol.OPERATION_NOT_ATTEMPTED
		}
	}
	return r
}

// AddPartitionsToTxnResponse is the answer in the request's version: answers[i] is that to asked[i].
func AddPartitionsToTxnResponse(version int16, asked []AddPartitions, answers []Response) *kmsg.AddPartitionsToTxnResponse {
	resp := kmsg.NewPtrAddPartitionsToTxnResponse()
	resp.Version = version
	for i := range asked {
		if version < 4 {
			for _, p := range eachCode(version, &asked[i], &answers[i]) {
				topic := lastTopic(&resp.Topics, p.Topic, func(t *kmsg.AddPartitionsToTxnResponseTopic) *string { return &t.Topic })
				topic.Partitions = append(topic.Partitions, kmsg.AddPartitionsToTxnResponseTopicPartition{Partition: p.Partition, ErrorCode: p.code})
			}
			continue
		}
		t := kmsg.NewAddPartitionsToTxnResponseTransaction()
		t.TransactionalID = asked[i].TransactionalID
		for _, p := range eachCode(version, &asked[i], &answers[i]) {
			topic := lastTopic(&t.Topics, p.Topic, func(t *kmsg.AddPartitionsToTxnResponseTransactionTopic) *string { return &t.Topic })
			topic.Partitions = append(topic.Partitions, kmsg.AddPartitionsToTxnResponseTransactionTopicPartition{Partition: p.Partition, ErrorCode: p.code})
		}
		resp.Transactions = append(resp.Transactions, t)
	}
	return resp
}

// coded is a partition with its answer.
type coded struct {
	TopicPartition
	code int16
}

func eachCode(version int16, asked *AddPartitions, r *Response) []coded {
	out := make([]coded, len(asked.Partitions))
	for i, p := range asked.Partitions {
		code := r.Code
		if r.Codes != nil {
			code = r.Codes[i]
		}
		out[i] = coded{p, asTold(code, version, addPartitionsKnowsFenced)}
	}
	return out
}

// lastTopic is the last of list if that is the topic of the name, else a new one behind it.
func lastTopic[T any](list *[]T, name string, nameOf func(*T) *string) *T {
	if n := len(*list); n == 0 || *nameOf(&(*list)[n-1]) != name {
		var t T
		*nameOf(&t) = name
		*list = append(*list, t)
	}
	return &(*list)[len(*list)-1]
}
