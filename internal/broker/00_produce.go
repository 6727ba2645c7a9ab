package broker

import (
	"slipstream/protocol"
	"slipstream/reactor"
	"slipstream/storage"
)

// Produce (0), versions 3-13; 0-2 are advertised and refused, as in Apache
// Kafka 4: librdkafka takes a higher minimum for a broker that is too old.
//
// Departures from Kafka: a control batch is refused before its transaction is looked at (produce_txn.go); a batch over
// max.message.bytes is refused even where the topic's own compression.type would make it smaller; zstd's levels come in four
// steps, and lz4's end at 9 of Kafka's 17.
//
// The request's core checks every batch (header, CRC, records), then hands it to
// the core that owns the partition: a plain call, or one message there and one
// back. The batches themselves are not copied: they stay in the connection's
// receive block, which the request holds until it is finished, and are written
// to the log from there. Compressed batches are opened by a helper, off the
// core, and brought into the topic's codec there (compression.type); nothing of
// what is unpacked is kept.

// produceOp is one Produce request. It is pooled.
type produceOp struct {
	home    *Shard
	req     *reactor.Request
	decoded protocol.ProduceRequest
	corrID  int32
	parts   []producePart
	pending int // parts not yet answered
	// unplaced are the parts whose place in their partition's order is not settled: with a helper, or with a transaction that
	// may have to be verified. While there are any, held, no other frame of the connection is dispatched.
	unplaced int
	held     bool
	unknown  int // parts that are back because their transaction has to be verified
	times    produceTimes
	next     *produceOp

	clientID       []byte // aliases the request's frame
	accounted      bool   // with its client's quotas
	throttleMillis int32
}

// produceTimes are a part's way, on the clock of the cores: sent to the partition's
// core, handed to its log, in the page cache, answered. An op has those of its
// part that was answered last.
type produceTimes struct{ sent, handed, written, answered int64 }

// producePart is one partition's share of a request: a message to the partition's
// core and back.
type producePart struct {
	op      *produceOp
	index   int32
	key     partitionKey
	topic   *topicState
	owner   *Shard
	batch   protocol.Batch
	result  protocol.ProduceResult
	append  storage.Append
	guard   uint64 // of the verification of its transaction; 0: none was needed
	vouched bool   // the coordinator has said that the partition is in the transaction
	stage   produceStage
	placed  bool // its place in the partition's order is settled
	times   produceTimes

	rules     protocol.Rules // as they were when the request came, for the helper
	nowMillis int64
	verdict   protocol.Verdict

	codec      protocol.Codec // that the topic keeps batches in
	level      int            // of codec
	recompress bool           // the batch has another
	made       protocol.Batch // by the helper: the batch in the topic's codec
	madeBlock  *reactor.Block // and where it was copied to
}

type produceStage uint8

const (
	produceChecking produceStage = iota // on a helper
	produceOwner                        // on its way to, or on, the partition's core
	produceHome                         // on its way back
	produceUnknown                      // on its way back, or back: its transaction has to be verified
)

func (s *Shard) serveProduce(r *reactor.Request, h protocol.Header, body []byte) reactor.Disposition {
	op := s.takeProduce()
	op.req, op.corrID, op.clientID = r, h.CorrelationID, h.ClientID
	if err := op.decoded.Decode(h.Version, body); err != nil {
		s.putProduce(op)
		return s.refuse(r, "unreadable produce request")
	}
	if s.tooManyPartitions(op.decoded.PartitionCount) {
		s.putProduce(op)
		return s.refuse(r, "too many partitions in a produce request")
	}
	op.collect(string(h.ClientID) == adminClientID)
	op.refuseTransactions()
	op.unplaced, op.unknown, op.held = len(op.parts), 0, false
	op.pending = len(op.parts) + 1
	for i := range op.parts {
		op.parts[i].check()
	}
	held := op.unplaced > 0
	if held {
		op.held = true // until all are placed
		r.Spent(reactor.StageLocal, s.core.ReadClock())
	}
	op.answered()
	if held {
		return reactor.Hold
	}
	return reactor.Next
}

// settled notes that the part's place in its partition's order is settled. When that is true of all of the request's, the
// next one may come.
func (p *producePart) settled() {
	if p.placed {
		return
	}
	p.placed = true
	op := p.op
	if op.unplaced--; op.unplaced == 0 && op.held {
		op.held = false
		op.req.Pass()
		op.req.Spent(reactor.StageQueue, op.home.core.Clock)
	}
}

// collect makes a part of every partition of the request, in order. Internal topics
// are coordinators' to write to, and the admin client's.
func (op *produceOp) collect(admin bool) {
	op.parts = growParts(op.parts, op.decoded.PartitionCount)
	code := op.refusal()
	var t protocol.ProduceTopic
	var q protocol.ProducePartition
	i := 0
	for op.decoded.NextTopic(&t) {
		topic, topicCode := op.home.findTopic(t.Name, t.ID, op.decoded.Version >= 13)
		for op.decoded.NextPartition(&q) {
			p := &op.parts[i]
			i++
			p.op, p.index, p.topic, p.guard, p.placed, p.vouched = op, q.Index, topic, 0, false, false
			p.batch = q.Records
			p.result = protocol.ProduceResult{
				Index: q.Index, Code: code, BaseOffset: -1, LogAppendTime: -1, LogStartOffset: -1,
			}
			switch {
			case code != protocol.NONE:
			case topicCode != protocol.NONE:
				p.result.Code = topicCode
			case q.Index < 0 || int(q.Index) >= topic.partitions:
				p.result.Code = protocol.UNKNOWN_TOPIC_OR_PARTITION
			case topic.internal && !admin:
				p.result.Code = protocol.INVALID_TOPIC_EXCEPTION
			default:
				p.key = partitionKey{topic.id, q.Index}
				p.owner = op.home.broker.shards[op.home.broker.ownerOf(p.key)]
			}
		}
	}
}

// refusal is the error, if any, that the whole request is answered with.
func (op *produceOp) refusal() protocol.ErrorCode {
	if op.decoded.Acks < -1 || op.decoded.Acks > 1 {
		return protocol.INVALID_REQUIRED_ACKS
	}
	return protocol.NONE
}

// check validates the part's batch and sends it on its way.
func (p *producePart) check() {
	if p.result.Code != protocol.NONE {
		p.answered()
		return
	}
	p.rules, p.nowMillis = p.topic.rules, p.op.home.core.Wall/1e6
	p.rules.Partition = p.topic.partitionNames[p.index]
	batch, code := protocol.CheckProduced(p.batch, p.op.decoded.Version, &p.rules)
	if code != protocol.NONE {
		p.refuseRecords(code)
		return
	}
	p.batch = batch
	p.codec, p.level = p.topic.codec, p.topic.level
	p.recompress = p.topic.recompress && p.codec != batch.Codec()
	if batch.Codec() != protocol.None || p.recompress {
		p.stage = produceChecking
		p.op.home.core.Offload(p)
		return
	}
	p.settle(protocol.CheckRecords(batch, &p.rules, p.nowMillis))
}

// settle takes the verdict on the records: the batch goes on, or its producer is
// told which records were at fault.
func (p *producePart) settle(v protocol.Verdict) {
	if v.Code != protocol.NONE {
		p.result.RecordErrors, p.result.Message = v.Errors, v.Message
		p.refuse(v.Code, v.Message)
		return
	}
	p.takeMade()
	v.Settle(p.batch, &p.rules, p.nowMillis)
	p.forward()
}

// takeMade has the log take the batch that a helper has made of what came. Where there is no memory for it, the batch stays in the
// producer's codec: consumers read either.
func (p *producePart) takeMade() {
	if p.made == nil {
		return
	}
	if p.madeBlock = p.op.home.core.Arena.Alloc(len(p.made)); p.madeBlock != nil {
		copy(p.madeBlock.Bytes(), p.made)
		p.batch = protocol.Batch(p.madeBlock.Bytes()[:len(p.made)])
	}
	p.made = nil
}

// Work implements reactor.Job: a helper unpacks a compressed batch to check what
// is in it, and packs one that the topic wants otherwise.
func (p *producePart) Work(kernel) reactor.Message {
	scratch := scratches.Get().(*protocol.Scratch)
	if p.batch.Codec() == protocol.None {
		p.verdict = protocol.CheckRecords(p.batch, &p.rules, p.nowMillis)
	} else {
		p.verdict = protocol.CheckCompressed(p.batch, &p.rules, p.nowMillis, scratch)
	}
	if p.recompress && p.verdict.Code == protocol.NONE {
		p.made, p.verdict.Code = protocol.RecompressAt(p.batch, p.codec, p.level, int(p.rules.MaxMessageBytes), scratch)
	}
	scratches.Put(scratch)
	return p
}

// Deliver implements reactor.Message for each of the part's ways.
func (p *producePart) Deliver(*reactor.Core) {
	switch p.stage {
	case produceChecking:
		p.settle(p.verdict)
	case produceOwner:
		p.hand()
	case produceHome:
		p.returned()
	case produceUnknown:
		p.mustVerify()
	}
}

// forward takes the part to the core that owns the partition.
func (p *producePart) forward() {
	p.stage = produceOwner
	p.times.sent = p.op.home.core.Clock
	if p.verified() {
		p.settled()
	}
	if p.owner == p.op.home {
		p.hand()
		return
	}
	p.op.home.core.Send(p.owner.core, p)
}

// hand gives the batch to the partition, on the partition's core.
func (p *producePart) hand() {
	p.times.handed = p.owner.core.Clock
	hosted := p.owner.hosted[p.key]
	if hosted == nil || hosted.log == nil {
		if p.result.Code == protocol.NONE {
			p.result.Code = hostless(hosted)
		}
		p.comeBack()
		return
	}
	if p.result.Code != protocol.NONE {
		p.result.LogStartOffset = hosted.log.Offsets().LogStart
		p.comeBack()
		return
	}
	if !p.verified() && !p.verify(hosted.log) {
		return
	}
	p.append.Batch, p.append.Verified = p.batch, p.guard
	p.append.At = reactor.Piece{}
	if p.owner == p.op.home && p.madeBlock == nil {
		p.append.At, _ = p.op.req.Piece(p.batch)
	}
	p.append.Owner = p
	hosted.log.Append(&p.append)
}

// Appended implements storage.AppendOwner.
func (p *producePart) Appended(a *storage.Append) {
	p.result.Code = a.Err
	p.times.written = a.Written
	if a.Err == protocol.NONE {
		p.result.BaseOffset, p.result.LogAppendTime, p.result.LogStartOffset = a.BaseOffset, a.LogAppendTime, a.LogStart
	} else {
		p.result.Message = a.Message
		if tellsLogStart(a.Err) {
			p.result.LogStartOffset = p.owner.hosted[p.key].logStart()
		}
	}
	p.comeBack()
}

func (p *producePart) comeBack() {
	p.stage = produceHome
	p.times.answered = p.owner.core.Clock
	if p.owner == p.op.home {
		p.returned()
		return
	}
	p.owner.core.Send(p.op.home.core, p)
}

// returned takes in a part that was with its partition.
func (p *producePart) returned() {
	p.op.times = p.times
	p.answered()
}

// answered ends the part.
func (p *producePart) answered() {
	op := p.op
	p.settled()
	op.answered()
}

// refuse answers the part with an error. Where Kafka tells the log's start with
// it, the part asks the partition's core for that.
func (p *producePart) refuse(code protocol.ErrorCode, message string) {
	p.result.Code, p.result.Message = code, message
	if tellsLogStart(code) {
		p.forward()
		return
	}
	p.answered()
}

// refuseRecords refuses what is not one sound batch. What Kafka refuses while it
// still reads the request is answered without the log's start.
func (p *producePart) refuseRecords(code protocol.ErrorCode) {
	if code == protocol.CORRUPT_MESSAGE {
		p.refuse(code, protocol.ExplainCorrupt(p.batch))
		return
	}
	first, rest, err := protocol.NextBatch(p.batch)
	_, _, second := protocol.NextBatch(rest)
	if len(p.batch) > 0 && (err != nil || len(first) > 0 && second == nil) {
		p.result.Code = code
		p.answered()
		return
	}
	p.refuse(code, "")
}

// tellsLogStart says whether an answer with this error carries the log's start:
// all but those that Kafka's ReplicaManager treats as known errors.
func tellsLogStart(code protocol.ErrorCode) bool {
	switch code {
	case protocol.UNKNOWN_TOPIC_OR_PARTITION, protocol.NOT_LEADER_OR_FOLLOWER, protocol.MESSAGE_TOO_LARGE,
		protocol.RECORD_LIST_TOO_LARGE, protocol.CORRUPT_MESSAGE, protocol.KAFKA_STORAGE_ERROR,
		protocol.TRANSACTIONAL_ID_AUTHORIZATION_FAILED, protocol.UNSUPPORTED_COMPRESSION_TYPE:
		return false
	}
	return true
}

// answered counts a part that has its answer; the last one sends the response.
func (op *produceOp) answered() {
	op.pending--
	if op.pending == 0 {
		op.account()
		op.home.finishProduce(op)
		return
	}
	op.verifyUnknown()
}

// account says what the request's time went to: the way to another core and back
// is queueing, waiting for an fsync is remote.
func (op *produceOp) account() {
	r, t := op.req, &op.times
	r.Spent(reactor.StageLocal, t.sent)
	r.Spent(reactor.StageQueue, t.handed)
	r.Spent(reactor.StageLocal, t.written)
	r.Spent(reactor.StageRemote, t.answered)
	r.Spent(reactor.StageQueue, op.home.core.Clock)
	for i := range op.parts {
		p := &op.parts[i]
		op.home.countProduce(p)
		if p.madeBlock != nil {
			p.batch = nil
			p.madeBlock.Release()
			p.madeBlock = nil
		}
	}
}

// finishProduce responds, or for acks=0 closes the connection if anything was
// refused: the only way to tell such a producer (as Kafka does).
func (s *Shard) finishProduce(op *produceOp) {
	if s.quotas != nil && !op.accounted {
		op.throttle(s.quotas)
	}
	if op.decoded.Acks == 0 {
		conn, failed := op.req.Conn, false
		for i := range op.parts {
			failed = failed || op.parts[i].result.Code != protocol.NONE
		}
		op.req.FinishSilent()
		s.putProduce(op)
		if failed {
			conn.Close()
		}
		return
	}
	size := op.decoded.ResponseBytes()
	for i := range op.parts {
		size += op.parts[i].result.ExtraBytes()
	}
	block := s.core.Arena.Alloc(size)
	if block == nil {
		s.unansweredProduce.push(op)
		return
	}
	op.req.Spent(reactor.StageQueue, s.core.Clock) // if it found no memory before
	b := op.encode(block.Bytes()[:0])
	op.req.AddBlock(block, 0, len(b))
	op.req.Finish()
	s.putProduce(op)
}

func (op *produceOp) encode(b []byte) []byte {
	e := protocol.ProduceEncoder{Version: op.decoded.Version}
	b = e.Begin(b, op.corrID, op.decoded.TopicCount)
	var t protocol.ProduceTopic
	var q protocol.ProducePartition
	op.decoded.Rewind()
	i := 0
	for op.decoded.NextTopic(&t) {
		b = e.Topic(b, t.Name, t.ID, t.PartitionCount)
		for op.decoded.NextPartition(&q) {
			b = e.Partition(b, &op.parts[i].result)
			i++
		}
		b = e.EndTopic(b)
	}
	return e.End(b, 0, op.throttleMillis, nil)
}

func growParts(parts []producePart, n int) []producePart {
	for cap(parts) < n {
		parts = append(parts[:cap(parts)], producePart{})
	}
	return parts[:n]
}
