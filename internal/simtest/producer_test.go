package simtest

import (
	"bytes"
	"fmt"

	"slipstream/protocol"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// Kafka's error codes that a client meets here.
const (
	codeNone              = 0
	codeOffsetOutOfRange  = 1
	codeUnknownTopic      = 3
	codeNotLeader         = 6
	codeTopicExists       = 36
	codeInvalidTimestamp  = 32
	codeOutOfOrder        = 45
	codeDuplicateSequence = 46
	codeStorageError      = 56
	codeUnknownProducer   = 59
)

// producer produces to every partition, several batches in flight for each, and
// after a lost connection sends again what was not acknowledged.
type producer struct {
	run    *run
	name   producerName
	conn   *conn
	wait   int64 // not before this time
	id     int64
	epoch  int16
	asking bool // for a producer id
	parts  []*producing
	acks   int16
	depth  int
	pace   int64 // the longest pause before new batches, nanoseconds; 0: none
	next   int64 // and when they are due
}

// producing is a producer's state for one partition.
type producing struct {
	topic     *topic
	partition int32
	sequence  int32
	number    int
	unacked   []*produced // in order
	confirmed int
}

type produced struct {
	ids      []string
	sequence int32
	sent     *conn // over which it was sent last
	at       int64 // and when
}

// newProducer makes one for some partitions of a topic. One that may have to begin
// anew with another producer id, because a power cut took what was acknowledged, has
// a single partition: what it then sends again is in no log.
func (r *run) newProducer(name string, t *topic, partitions ...int32) *producer {
	p := &producer{run: r, name: producerName(name), id: -1, acks: -1, depth: 1 + r.rand.IntN(5)}
	if !p.name.idempotent() {
		p.depth, p.acks = 1, []int16{-1, 1}[r.rand.IntN(2)]
	}
	for _, i := range partitions {
		p.parts = append(p.parts, &producing{topic: t, partition: i})
	}
	return p
}

func (p *producer) step() error {
	now := p.run.node.world.Now()
	if p.conn == nil {
		if now < p.wait || p.run.quiet && !p.pending() {
			return nil
		}
		p.conn, p.asking = dial(p.run.node.world), false
	}
	if err := p.conn.receive(); err != nil {
		return fmt.Errorf("producer %s: %w", p.name, err)
	}
	p.conn.mayBreak(p.run.rand)
	if p.conn.gone() {
		p.conn = nil
		p.wait = now + p.run.rand.Int64N(5e6)
		return nil
	}
	if p.name.idempotent() && p.id < 0 {
		p.askForID()
		return nil
	}
	if now < p.wait {
		return nil
	}
	for _, part := range p.parts {
		if err := p.fill(part); err != nil {
			return err
		}
	}
	return nil
}

func (p *producer) pending() bool {
	for _, part := range p.parts {
		if len(part.unacked) > 0 {
			return true
		}
	}
	return false
}

func (p *producer) askForID() {
	if p.asking {
		return
	}
	p.asking = true
	req := kmsg.NewPtrInitProducerIDRequest()
	req.ProducerID, req.ProducerEpoch = -1, -1
	p.conn.send(req, int16(p.run.rand.IntN(5)), func(resp kmsg.Response) {
		p.asking = false
		r := resp.(*kmsg.InitProducerIDResponse)
		if r.ErrorCode != codeNone {
			p.wait = p.run.node.world.Now() + 1e6
			return
		}
		p.run.gotProducerID(r.ProducerID)
		p.id, p.epoch = r.ProducerID, r.ProducerEpoch
		for _, part := range p.parts {
			part.sequence = 0
			for _, b := range part.unacked {
				b.sequence, b.sent = part.sequence, nil
				part.sequence += int32(len(b.ids))
			}
		}
	})
}

// fill sends what is unacknowledged again, and new batches up to the depth.
func (p *producer) fill(part *producing) error {
	inFlight := 0
	for _, b := range part.unacked {
		if b.sent != p.conn {
			p.send(part, b)
		}
		inFlight++
	}
	if p.run.quiet || inFlight >= p.depth || p.run.rand.IntN(8) > 0 {
		return nil
	}
	if p.pace > 0 {
		if p.run.now() < p.next {
			return nil
		}
		p.next = p.run.now() + p.run.rand.Int64N(p.pace)
	}
	b := &produced{sequence: part.sequence}
	for range 1 + p.run.rand.IntN(4) {
		b.ids = append(b.ids, recordID(p.name, part.number))
		part.number++
	}
	part.sequence += int32(len(b.ids))
	part.unacked = append(part.unacked, b)
	p.send(part, b)
	return nil
}

func (p *producer) send(part *producing, b *produced) {
	b.sent, b.at = p.conn, p.run.now()
	info := protocol.NewBatchInfo(0, -1)
	if p.name.idempotent() {
		info.ProducerID, info.ProducerEpoch, info.BaseSequence = p.id, p.epoch, b.sequence
	}
	var bl protocol.Builder
	bl.Begin(nil, info)
	for _, id := range b.ids {
		size := p.run.rand.IntN(200)
		if p.run.rand.IntN(20) == 0 {
			size = p.run.rand.IntN(min(6000, p.run.node.segment/6)) // a batch has to fit into a segment
		}
		rec := protocol.Record{Timestamp: p.run.node.world.Kernel().Wall() / 1e6, Key: []byte(id), Value: bytes.Repeat([]byte{byte(size)}, size)}
		if part.topic.keyed {
			rec.Key, rec.Headers = []byte(keyOf(id)), []protocol.RecordHeader{{Key: []byte("id"), Value: []byte(id)}}
			if tombstone(id) {
				rec.Value = nil
			}
		}
		bl.Append(&rec)
	}
	_, batch := bl.Finish()
	req := kmsg.NewPtrProduceRequest()
	req.Acks, req.TimeoutMillis = p.acks, 30_000
	t := kmsg.NewProduceRequestTopic()
	t.Topic = part.topic.name
	version := int16(3 + p.run.rand.IntN(11))
	if version >= 13 {
		t.TopicID = part.topic.id
	}
	rp := kmsg.NewProduceRequestTopicPartition()
	rp.Partition, rp.Records = part.partition, batch
	t.Partitions = append(t.Partitions, rp)
	req.Topics = append(req.Topics, t)
	conn, id := p.conn, p.id
	conn.send(req, version, func(resp kmsg.Response) {
		r := resp.(*kmsg.ProduceResponse)
		if len(r.Topics) != 1 || len(r.Topics[0].Partitions) != 1 {
			p.run.fail(fmt.Errorf("producer %s: a response for %d topics", p.name, len(r.Topics)))
			return
		}
		if id != p.id {
			return // of an earlier life
		}
		rp := &r.Topics[0].Partitions[0]
		if err := p.answered(part, b, rp.ErrorCode, rp.BaseOffset); err != nil {
			p.run.fail(fmt.Errorf("producer %s, seq %d of producer id %d: %w", p.name, b.sequence, id, err))
		}
	})
}

// answered takes the answer to a batch in.
func (p *producer) answered(part *producing, b *produced, code int16, base int64) error {
	h := part.topic.parts[part.partition]
	i := 0
	for i < len(part.unacked) && part.unacked[i] != b {
		i++
	}
	if i == len(part.unacked) {
		return fmt.Errorf("%s: answered twice", h.name)
	}
	switch code {
	case codeNone:
		for j, id := range b.ids {
			if err := h.ack(base+int64(j), id); err != nil {
				return err
			}
			h.sent[id] = b.at
		}
	case codeDuplicateSequence: // it is there, where is not told
	case codeUnknownTopic, codeNotLeader, codeStorageError:
		if code == codeStorageError {
			p.run.refused++
		}
		// Everything goes again, in order, over another connection.
		p.wait = p.run.node.world.Now() + 1e6
		p.conn.Reset()
		return nil
	case codeOutOfOrder, codeUnknownProducer:
		if (h.durable || !p.run.lost) && !h.doubtful() {
			return fmt.Errorf("%s: error %d for the oldest batch that is not acknowledged", h.name, code)
		}
		p.id = -1 // a power cut took what was acknowledged: begin anew
		return nil
	case codeInvalidTimestamp: // the wall clock has jumped: again, with the time as it is now
		if !p.run.jumped {
			return fmt.Errorf("%s: error %d", h.name, code)
		}
		p.wait = p.run.node.world.Now() + 1e6
		p.conn.Reset()
		return nil
	default:
		return fmt.Errorf("%s: error %d", h.name, code)
	}
	part.unacked = append(part.unacked[:i:i], part.unacked[i+1:]...)
	part.confirmed += len(b.ids)
	p.run.acked += len(b.ids)
	return nil
}
