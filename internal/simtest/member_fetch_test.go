package simtest

import (
	"slipstream/internal/guarantees"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// fetch asks for records of everything whose position is known.
func (m *member) fetch() {
	if m.fetching || m.busy || !m.work.idle() || m.now() < m.fetchAt {
		return
	}
	req := kmsg.NewPtrFetchRequest()
	req.ReplicaID, req.MaxWaitMillis, req.MinBytes, req.MaxBytes = -1, int32(5+m.crew.run.rand.IntN(40)), 1, 40_000
	req.SessionID, req.SessionEpoch = 0, -1
	if m.crew.committed {
		req.IsolationLevel = 1
	}
	asked := map[guarantees.Partition]*share{}
	for _, s := range m.shares {
		t, known := m.meta[s.part.Topic]
		if s.position < 0 || !known {
			continue
		}
		asked[s.part] = s
		rt := kmsg.NewFetchRequestTopic()
		rt.Topic, rt.TopicID = s.part.Topic, t.id
		rp := kmsg.NewFetchRequestTopicPartition()
		rp.Partition, rp.FetchOffset, rp.CurrentLeaderEpoch, rp.PartitionMaxBytes = s.part.Number, s.position, -1, 10_000
		rt.Partitions = append(rt.Partitions, rp)
		req.Topics = append(req.Topics, rt)
	}
	if len(asked) == 0 {
		return
	}
	m.fetching = true
	from := map[*share]int64{}
	for _, s := range asked {
		from[s] = s.position
	}
	m.data.call(req, m.fetchLimit, func(resp kmsg.Response) {
		m.fetching = false
		m.fetched(asked, from, resp.(*kmsg.FetchResponse))
	}, func() { m.fetching = false })
}

func (m *member) fetched(asked map[guarantees.Partition]*share, from map[*share]int64, r *kmsg.FetchResponse) {
	if r.ErrorCode != codeNone {
		m.fail("Fetch: error %d", r.ErrorCode)
		return
	}
	for i := range r.Topics {
		t := &r.Topics[i]
		name := t.Topic
		if name == "" {
			name, _ = m.topicByID(t.TopicID)
		}
		for j := range t.Partitions {
			p := &t.Partitions[j]
			s := asked[guarantees.Partition{Topic: name, Number: p.Partition}]
			if s == nil || s.gone || m.busy || s.position != from[s] || !m.work.idle() {
				continue // it is not its own any more, or it is about to give something up
			}
			m.fetchedShare(s, p)
		}
	}
	if m.crew.run.rand.IntN(4) == 0 {
		m.fetchAt = m.now() + m.crew.run.rand.Int64N(20e6) // the records take their time
	}
}

func (m *member) fetchedShare(s *share, p *kmsg.FetchResponseTopicPartition) {
	switch p.ErrorCode {
	case codeNone:
	case codeOffsetOutOfRange:
		m.rewind(s) // records were deleted
		return
	case codeNotLeader, codeUnknownTopic, codeUnknownTopicID, codeStorageError:
		m.fetchAt = m.now() + 5e6
		return
	default:
		m.fail("Fetch of %v: error %d", s.part, p.ErrorCode)
		return
	}
	f, err := take(p, s.position, m.crew.committed)
	if err != nil {
		m.fail("%v: %w", s.part, err)
		return
	}
	if f.next == s.position {
		return
	}
	if err := m.crew.run.truth.consumed(s.part, &f, m.crew.committed); err != nil {
		m.fail("%w", err)
		return
	}
	m.check(m.crew.group.Processed(m.name, m.epoch, s.part, s.position, f.next))
	m.crew.run.worked += len(f.ids)
	m.work.records(s, &f)
}

// rewind goes to the log's start (auto.offset.reset=earliest).
func (m *member) rewind(s *share) {
	if s.asked {
		return
	}
	s.asked = true
	earliest(&m.data, s.part, func(offset int64) { s.asked, s.position = false, offset }, func() { s.asked = false })
}

// earliest asks where a partition's log begins.
func earliest(l *link, part guarantees.Partition, found func(offset int64), lost func()) {
	req := kmsg.NewPtrListOffsetsRequest()
	req.ReplicaID = -1
	t := kmsg.NewListOffsetsRequestTopic()
	t.Topic = part.Topic
	p := kmsg.NewListOffsetsRequestTopicPartition()
	p.Partition, p.Timestamp, p.CurrentLeaderEpoch = part.Number, -2, -1
	t.Partitions = append(t.Partitions, p)
	req.Topics = append(req.Topics, t)
	l.call(req, 4, func(resp kmsg.Response) {
		r := resp.(*kmsg.ListOffsetsResponse)
		if len(r.Topics) == 1 && len(r.Topics[0].Partitions) == 1 && r.Topics[0].Partitions[0].ErrorCode == codeNone {
			found(r.Topics[0].Partitions[0].Offset)
			return
		}
		lost()
	}, lost)
}

// committer is the plain worker: records are done when they are there, and
// positions are committed now and then.
type committer struct {
	m         *member
	asked     bool
	at        int64
	unsettled int64 // until then a commit whose answer was lost may still be carried out
	tries     int   // of a flush
	flushing  bool
}

func (w *committer) idle() bool { return true }

func (w *committer) records(s *share, f *fetched) { s.position = f.next }

func (w *committer) lost() { w.flushing, w.tries = false, 0 }

func (w *committer) step(coord, data bool) {
	if coord && !w.asked && w.m.now() >= w.at && !w.flushing {
		w.commit()
	}
}

// flush commits once more before partitions are given up; if that fails the next
// owner does some of the work again. What was sent before must be out of the way,
// or it could overwrite what the next owner commits.
func (w *committer) flush() bool {
	w.flushing = true
	if w.asked || w.m.now() < w.unsettled {
		return false
	}
	if w.tries == 0 && w.uncommitted() {
		w.tries++
		w.commit()
		return !w.asked
	}
	w.flushing, w.tries = false, 0
	return true
}

func (w *committer) uncommitted() bool {
	for _, s := range w.m.shares {
		if s.position > s.committed && s.position > 0 {
			return true
		}
	}
	return false
}

func (w *committer) commit() {
	m := w.m
	w.at = m.now() + 5e6 + m.crew.run.rand.Int64N(100e6)
	req := kmsg.NewPtrOffsetCommitRequest()
	req.Group, req.Generation, req.MemberID, req.InstanceID = m.crew.name, m.epoch, m.memberID, m.instance
	type sent struct {
		s             *share
		offset, floor int64
	}
	var list []sent
	for _, s := range m.shares {
		if s.position <= s.committed || s.position <= 0 {
			continue
		}
		list = append(list, sent{s, s.position, m.crew.group.Committable(s.part)})
		t := kmsg.NewOffsetCommitRequestTopic()
		t.Topic = s.part.Topic
		p := kmsg.NewOffsetCommitRequestTopicPartition()
		p.Partition, p.Offset, p.LeaderEpoch = s.part.Number, s.position, -1
		t.Partitions = append(t.Partitions, p)
		req.Topics = append(req.Topics, t)
	}
	if len(list) == 0 {
		return
	}
	version := int16(7 + m.crew.run.rand.IntN(3))
	if _, ok := m.speaks.(*reconciling); ok {
		version = 9
	}
	w.asked = true
	generation, floor := m.epoch, m.crew.group.Latest()
	m.coord.call(req, version, func(resp kmsg.Response) {
		w.asked = false
		r := resp.(*kmsg.OffsetCommitResponse)
		if len(r.Topics) != len(list) {
			m.fail("OffsetCommit: %d topics in the answer, %d in the request", len(r.Topics), len(list))
			return
		}
		for i, one := range list {
			code := r.Topics[i].Partitions[0].ErrorCode
			if code == codeNone && m.crew.kind <= crewCooperative {
				m.check(m.crew.group.Accepted(m.name, generation, floor))
			}
			w.answered(one.s, one.offset, one.floor, code)
		}
	}, func() { w.asked, w.unsettled = false, m.now()+50e6 })
}

func (w *committer) answered(s *share, offset, floor int64, code int16) {
	m := w.m
	switch code {
	case codeNone:
		m.check(m.crew.group.Committed(s.part, offset, floor))
		s.committed = max(s.committed, offset)
		m.crew.run.commits++
		m.crew.run.sprung()
	case codeRebalanceInProgress, codeIllegalGeneration, codeUnknownMember, codeFencedInstance, codeStaleMemberEpoch, codeFencedMemberEpoch:
		m.crew.run.zombies++ // the next heartbeat tells what it is
	case codeUnknownTopic, codeUnknownTopicID, codeConcurrentTxns:
	default:
		if !m.coord.astray(code) {
			m.fail("OffsetCommit of %v: error %d", s.part, code)
		}
	}
}
