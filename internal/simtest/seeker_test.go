package simtest

import (
	"fmt"

	"slipstream/protocol"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// seeker reads here and there: from an offset that is known to be there, by the indexes of
// whatever segment it is in, and asks for offsets by the time of their records.
type seeker struct {
	run   *run
	conn  *conn
	wait  int64
	asked bool
	did   int
}

func (s *seeker) step() error {
	ready, err := s.run.stepConn(&s.conn, &s.wait, &s.asked)
	if err != nil {
		return fmt.Errorf("seeker: %w", err)
	}
	if !ready || s.run.quiet {
		return nil
	}
	t := s.run.topics[s.run.rand.IntN(len(s.run.topics))]
	h := t.parts[s.run.rand.IntN(len(t.parts))]
	if h.high <= h.start || s.run.keyed != nil && t == s.run.keyed.topic {
		return nil
	}
	offset := h.start + s.run.rand.Int64N(h.high-h.start)
	s.asked = true
	if millis, known := h.times[offset]; known && s.run.rand.IntN(2) == 0 {
		s.byTime(t, h, offset, millis)
		return nil
	}
	s.byOffset(t, h, offset)
	return nil
}

// partitionOf is the number of a topic's partition.
func (t *topic) partitionOf(h *history) int32 {
	for i := range t.parts {
		if t.parts[i] == h {
			return int32(i)
		}
	}
	return -1
}

func (s *seeker) answered() {
	s.asked = false
	s.did++
	s.wait = s.run.now() + s.run.rand.Int64N(1e6)
}

// byOffset reads from an offset: the first batch is the one that has it.
func (s *seeker) byOffset(t *topic, h *history, offset int64) {
	req := kmsg.NewPtrFetchRequest()
	req.ReplicaID, req.MinBytes, req.MaxBytes, req.SessionEpoch = -1, 1, 20_000, -1
	rt := kmsg.NewFetchRequestTopic()
	rt.Topic = t.name
	p := kmsg.NewFetchRequestTopicPartition()
	p.Partition, p.FetchOffset, p.CurrentLeaderEpoch, p.PartitionMaxBytes = t.partitionOf(h), offset, -1, int32(1+s.run.rand.IntN(20_000))
	rt.Partitions = append(rt.Partitions, p)
	req.Topics = append(req.Topics, rt)
	s.conn.send(req, 11, func(resp kmsg.Response) {
		s.answered()
		p := &resp.(*kmsg.FetchResponse).Topics[0].Partitions[0]
		if p.ErrorCode != codeNone {
			if p.ErrorCode == codeOffsetOutOfRange && !h.mayShrink() && h.durable {
				s.run.fail(fmt.Errorf("seeker: %s: offset %d is out of range", h.name, offset))
			}
			return
		}
		first := true
		_, err := eachRecord(p.RecordBatches, func(r *protocol.Record) error {
			if first && r.Offset > offset {
				return fmt.Errorf("%s: a fetch from offset %d begins with %d", h.name, offset, r.Offset)
			}
			first = false
			if r.Offset < p.LogStartOffset || r.Offset >= p.HighWatermark {
				return nil // of a batch that has others
			}
			return h.saw(r.Offset, idOf(r))
		})
		if err != nil {
			s.run.fail(fmt.Errorf("seeker: %w", err))
		}
	})
}

// byTime asks for the first offset with a time or a later one.
func (s *seeker) byTime(t *topic, h *history, offset, millis int64) {
	req := kmsg.NewPtrListOffsetsRequest()
	req.ReplicaID = -1
	rt := kmsg.NewListOffsetsRequestTopic()
	rt.Topic = t.name
	p := kmsg.NewListOffsetsRequestTopicPartition()
	p.Partition, p.Timestamp, p.CurrentLeaderEpoch = t.partitionOf(h), millis, -1
	rt.Partitions = append(rt.Partitions, p)
	req.Topics = append(req.Topics, rt)
	start := h.start
	s.conn.send(req, 5, func(resp kmsg.Response) {
		s.answered()
		p := &resp.(*kmsg.ListOffsetsResponse).Topics[0].Partitions[0]
		if p.ErrorCode != codeNone || h.mayShrink() {
			return
		}
		if p.Offset < start || p.Offset > offset || p.Timestamp < millis {
			s.run.fail(fmt.Errorf("seeker: %s: for the time %d offset %d was told with %d; %d is there with %d", h.name, millis, p.Offset, p.Timestamp, offset, millis))
			return
		}
		for at := max(start, p.Offset-200); at <= p.Offset; at++ {
			if known, ok := h.times[at]; ok && (at < p.Offset && known >= millis || at == p.Offset && known != p.Timestamp) {
				s.run.fail(fmt.Errorf("seeker: %s: for the time %d offset %d was told with %d; %d is there with %d", h.name, millis, p.Offset, p.Timestamp, at, known))
				return
			}
		}
	})
}
