package simtest

import (
	"fmt"

	"slipstream/protocol"

	"github.com/twmb/franz-go/pkg/kmsg"
)

const (
	codeSessionUnknown = 70
	codeSessionEpoch   = 71
)

// consumer follows every partition with long polls and checks what it reads.
type consumer struct {
	run     *run
	name    string
	conn    *conn
	wait    int64
	asking  bool
	version int16
	parts   []*consuming

	toTheEnd bool // read from the start to the end once, keeping everything

	sessions bool // it uses fetch sessions
	session  int32
	epoch    int32
	named    map[*consuming]int64 // what the session knows of: the offset
}

type consuming struct {
	topic     *topic
	partition int32
	next      int64
	first     int64
	ids       []string // from first on, for toTheEnd
	offsets   []int64  // theirs
	end       int64    // the high watermark told last; -1: none yet
	floor     int64    // what it had reached when it was asked for
	start     int64    // and where the log began then
	asked     int64
	refused   int
	life      int   // run.life then
	bytes     int64 // of the batches from first on, for toTheEnd
	left      int   // answers of the session, one after the other, that had nothing of it although there was something
}

func (r *run) newConsumer() *consumer {
	c := &consumer{run: r, version: int16(4 + r.rand.IntN(9))}
	if r.rand.IntN(3) == 0 {
		c.version = int16(13 + r.rand.IntN(5))
	}
	for _, t := range r.topics {
		if r.keyed != nil && t == r.keyed.topic {
			continue // offsets are missing there
		}
		for i := range t.parts {
			c.parts = append(c.parts, &consuming{topic: t, partition: int32(i), end: -1})
		}
	}
	c.sessions = c.version >= 7 && r.rand.IntN(2) == 0
	return c
}

func (c *consumer) step() error {
	now := c.run.node.world.Now()
	if c.conn == nil {
		if now < c.wait {
			return nil
		}
		c.conn, c.asking = dial(c.run.node.world), false
		c.session, c.epoch = 0, 0
	}
	if err := c.conn.receive(); err != nil {
		return fmt.Errorf("consumer: %w", err)
	}
	c.conn.mayBreak(c.run.rand)
	if c.conn.gone() {
		c.conn = nil
		c.wait = now + c.run.rand.Int64N(5e6)
		return nil
	}
	if !c.asking && now >= c.wait {
		c.fetch()
	}
	return nil
}

func (c *consumer) fetch() {
	c.asking = true
	req := kmsg.NewPtrFetchRequest()
	req.ReplicaID, req.MaxWaitMillis, req.MinBytes, req.MaxBytes = -1, int32(c.run.rand.IntN(30)), 1, int32(1+c.run.rand.IntN(200_000))
	req.SessionID, req.SessionEpoch = 0, -1
	if c.sessions {
		req.SessionID, req.SessionEpoch = c.session, c.epoch
		if c.epoch == 0 {
			c.named = map[*consuming]int64{}
		}
	}
	at := map[*topic]int{}
	behind := c.behind()
	for _, part := range c.parts {
		if next, named := c.named[part]; c.sessions && named && next == part.next {
			continue // the session has it
		}
		if c.sessions {
			c.named[part] = part.next
		}
		h := part.topic.parts[part.partition]
		part.floor, part.start, part.asked, part.life = h.high, h.start, part.next, c.run.life
		i, ok := at[part.topic]
		if !ok {
			t := kmsg.NewFetchRequestTopic()
			t.Topic, t.TopicID = part.topic.name, part.topic.id
			i = len(req.Topics)
			at[part.topic] = i
			req.Topics = append(req.Topics, t)
		}
		rp := kmsg.NewFetchRequestTopicPartition()
		rp.Partition, rp.FetchOffset, rp.CurrentLeaderEpoch, rp.PartitionMaxBytes = part.partition, part.next, -1, int32(1+c.run.rand.IntN(50_000))
		req.Topics[i].Partitions = append(req.Topics[i].Partitions, rp)
	}
	c.conn.send(req, c.version, func(resp kmsg.Response) {
		c.asking = false
		r := resp.(*kmsg.FetchResponse)
		err := c.fetched(r)
		if err == nil {
			err = c.leftOut(behind, r)
		}
		if err != nil {
			c.run.fail(fmt.Errorf("consumer: %w", err))
		}
	})
}

// behind are the partitions of the session that have more than it has read.
func (c *consumer) behind() (list []*consuming) {
	for _, part := range c.parts {
		if h := part.topic.parts[part.partition]; c.session != 0 && part.next < h.high && h.durable && !h.doubtful() && !h.mayShrink() && !part.topic.trimmed {
			list = append(list, part)
		}
	}
	return list
}

// leftOut: a session serves its partitions in turn. One that has something is not passed over
// more often than there are others.
func (c *consumer) leftOut(behind []*consuming, r *kmsg.FetchResponse) error {
	if c.session == 0 || r.ErrorCode != codeNone || c.run.faulty() {
		return nil
	}
	for _, part := range behind {
		if part.left++; part.next > part.asked {
			part.left = 0
		}
		if part.left > 2*len(c.parts) {
			return fmt.Errorf("%s-%d: a session has had nothing of it from offset %d in %d answers", part.topic.name, part.partition, part.next, part.left)
		}
	}
	return nil
}

func (c *consumer) fetched(resp *kmsg.FetchResponse) error {
	if c.sessions && (resp.ErrorCode == codeSessionUnknown || resp.ErrorCode == codeSessionEpoch) {
		c.session, c.epoch = 0, 0 // begin another
		return nil
	}
	if c.sessions && resp.ErrorCode == codeNone {
		c.session = resp.SessionID
		if c.epoch++; c.session == 0 {
			c.epoch = 0 // there is no room for a session
		}
	}
	if resp.ErrorCode != codeNone {
		return fmt.Errorf("fetch: error %d", resp.ErrorCode)
	}
	for i := range resp.Topics {
		t := &resp.Topics[i]
		for j := range t.Partitions {
			part := c.find(t.Topic, t.TopicID, t.Partitions[j].Partition)
			if part == nil {
				return fmt.Errorf("fetch answered for %s-%d", t.Topic, t.Partitions[j].Partition)
			}
			if err := c.fetchedPartition(part, &t.Partitions[j]); err != nil {
				return err
			}
		}
	}
	return nil
}

func (c *consumer) find(name string, id [16]byte, partition int32) *consuming {
	for _, part := range c.parts {
		if part.partition == partition && (name != "" && part.topic.name == name || name == "" && part.topic.id == id) {
			return part
		}
	}
	return nil
}

func (c *consumer) fetchedPartition(part *consuming, p *kmsg.FetchResponseTopicPartition) error {
	h := part.topic.parts[part.partition]
	switch p.ErrorCode {
	case codeNone:
	case codeNotLeader, codeUnknownTopic, codeStorageError:
		part.refused++
		c.wait = c.run.node.world.Now() + 1e6
		return nil
	case codeOffsetOutOfRange:
		if (h.durable || !c.run.lost) && !part.topic.trimmed && !h.mayShrink() && !h.doubtful() {
			return fmt.Errorf("%s: offset %d is out of range", h.name, part.next)
		}
		c.rewind(part)
		return nil
	default:
		return fmt.Errorf("%s: error %d", h.name, p.ErrorCode)
	}
	if err := h.reached(p.HighWatermark, part.floor); err != nil {
		return err
	}
	if part.end = p.HighWatermark; part.next != part.asked {
		return nil // it has gone to the log's start meanwhile
	}
	if c.version >= 5 && part.life == c.run.life {
		if err := h.begins(p.LogStartOffset, part.start); err != nil {
			return err
		}
	}
	if c.toTheEnd && !h.doubtful() {
		part.bytes += wholeBytes(p.RecordBatches)
	}
	next, err := eachRecord(p.RecordBatches, func(r *protocol.Record) error {
		offset, id := r.Offset, idOf(r)
		if offset < part.next { // a batch is given whole
			return nil
		}
		if offset != part.next && !(part.topic.keyed && offset > part.next) && !h.doubtful() {
			return fmt.Errorf("%s: offset %d follows %d", h.name, offset, part.next-1)
		}
		if offset >= p.HighWatermark {
			return fmt.Errorf("%s: offset %d was read past the high watermark %d", h.name, offset, p.HighWatermark)
		}
		if c.toTheEnd {
			part.ids, part.offsets = append(part.ids, id), append(part.offsets, offset)
		}
		c.run.read++
		part.next = offset + 1
		h.times[offset] = r.Timestamp
		return h.saw(offset, id)
	})
	switch {
	case h.doubtful():
		if part.next == part.asked && (err != nil || len(p.RecordBatches) > 0) && part.next < part.end {
			part.next++ // what is damaged is passed over
		}
		return nil
	case err == nil && part.topic.keyed:
		part.next = max(part.next, next) // compaction leaves gaps
	case err == nil && next > part.next:
		err = fmt.Errorf("%s: the batches end at %d, their records at %d", h.name, next, part.next)
	}
	return err
}

// wholeBytes is how many bytes the whole batches of a fetch have.
func wholeBytes(b []byte) (n int64) {
	for ; len(b) >= protocol.LogOverhead; b = b[protocol.LogOverhead+int(protocol.Batch(b).Length()):] {
		size := protocol.LogOverhead + int(protocol.Batch(b).Length())
		if size > len(b) {
			break
		}
		n += int64(size)
	}
	return n
}

// rewind goes to the log's start: 0, or behind a first segment that a power cut took
// because nothing of it had been synced.
func (c *consumer) rewind(part *consuming) {
	req := kmsg.NewPtrListOffsetsRequest()
	req.ReplicaID = -1
	t := kmsg.NewListOffsetsRequestTopic()
	t.Topic = part.topic.name
	p := kmsg.NewListOffsetsRequestTopicPartition()
	p.Partition, p.Timestamp, p.CurrentLeaderEpoch = part.partition, -2, -1
	t.Partitions = append(t.Partitions, p)
	req.Topics = append(req.Topics, t)
	c.conn.send(req, 4, func(resp kmsg.Response) {
		r := resp.(*kmsg.ListOffsetsResponse)
		if len(r.Topics) == 1 && len(r.Topics[0].Partitions) == 1 && r.Topics[0].Partitions[0].ErrorCode == codeNone {
			part.next = r.Topics[0].Partitions[0].Offset
			part.first, part.ids, part.offsets, part.bytes = part.next, nil, nil, 0
		}
	})
}

// finished: everything up to the end has been read.
func (c *consumer) finished() bool {
	for _, part := range c.parts {
		if part.end < 0 || part.next < part.end {
			return false
		}
	}
	return true
}

// powerCut: offsets of partitions that are not synced mean nothing any more, nor does
// what is still to be read from the connection.
func (c *consumer) powerCut() {
	c.conn = nil
	for _, part := range c.parts {
		if !part.topic.durable {
			part.next, part.first, part.ids, part.offsets, part.end = 0, 0, nil, nil, -1
		}
	}
}
