package simtest

import (
	"fmt"
	"strings"

	"slipstream/internal/guarantees"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// pipeline is the worker of consume, transform and produce: what was fetched gives
// as many records of the topic of results, and both those and the offsets are
// committed in one transaction, guarded by the membership (KIP-447).
type pipeline struct {
	m       *member
	coord   link
	t       *transactor
	inputs  []*input
	adding  bool // AddOffsetsToTxn was answered
	begun   bool
	cut     bool // the membership was lost meanwhile: whatever is under way must not be committed
	unready bool
}

type input struct {
	s       *share
	next    int64
	offsets []int64
	floor   int64
}

func newPipeline(m *member) *pipeline {
	p := &pipeline{m: m}
	id := m.name
	p.coord = link{run: m.crew.run, kind: lookForTransaction, key: id}
	m.crew.born++
	p.t = newTransactor(m.crew.run, fmt.Sprintf("o:%s:%d", m.name, m.crew.born), id, &p.coord, &m.data)
	p.t.reads, p.t.ended = p, p.over
	return p
}

func (p *pipeline) idle() bool { return p.t.free() && !p.begun }

func (p *pipeline) records(s *share, f *fetched) {
	p.inputs = append(p.inputs, &input{s: s, next: f.next, offsets: f.offsets})
	s.position = f.next
}

func (p *pipeline) step(coord, data bool) {
	ready, err := p.coord.step()
	if err != nil {
		p.m.crew.run.fail(fmt.Errorf("%s: %w", p.t.name, err))
		return
	}
	if p.idle() && len(p.inputs) > 0 && !p.m.busy {
		p.begin()
	}
	p.unready = !coord || !ready
	p.t.step(ready && p.coord.conn != nil && p.coord.found, data && p.m.data.conn != nil)
}

func (p *pipeline) begin() {
	results := p.m.crew.run.truth.topics["results"]
	var batches []*txnBatch
	for _, in := range p.inputs {
		if len(in.offsets) == 0 {
			continue
		}
		b := &txnBatch{part: guarantees.Partition{Topic: results.name, Number: int32(p.m.crew.run.rand.IntN(len(results.parts)))}}
		for _, offset := range in.offsets {
			b.ids = append(b.ids, fmt.Sprintf("%s:%d|%s|%d|%d", p.t.name, p.t.number+1, in.s.part.Topic, in.s.part.Number, offset))
		}
		batches = append(batches, b)
	}
	p.begun, p.adding, p.cut = true, false, false
	p.t.begin(batches, p.m.crew.run.rand.IntN(8) > 0)
}

// inputOf is which input a result was made of.
func inputOf(id string) (in guarantees.Input, ok bool) {
	f := strings.Split(id, "|")
	if len(f) != 4 {
		return in, false
	}
	_, err := fmt.Sscanf(f[2]+" "+f[3], "%d %d", &in.Partition.Number, &in.Offset)
	in.Partition.Topic = f[1]
	return in, err == nil
}

// over: the transaction has ended, or nobody knows how.
func (p *pipeline) over(committed bool) {
	group := p.m.crew.group
	for _, in := range p.inputs {
		if committed {
			p.m.check(group.Committed(in.s.part, in.next, in.floor))
			in.s.committed = in.next
		} else {
			in.s.position = -1 // from what is committed
		}
	}
	p.inputs, p.begun = nil, false
}

// flush ends the transaction that is under way.
func (p *pipeline) flush() bool {
	if !p.begun {
		p.over(false)
		return p.t.quietNow()
	}
	return false
}

func (p *pipeline) lost() {
	if p.m.dead {
		p.t.dead = true
		p.coord.drop()
		return
	}
	if !p.begun {
		p.inputs = nil
		return
	}
	p.cut = true
}

// sendOffsets is called by the transactor, again until it goes on.
func (p *pipeline) sendOffsets() {
	switch {
	case p.cut:
		p.t.abort()
	case p.unready:
	case !p.t.v2 && !p.adding:
		p.addOffsets()
	default:
		p.commitOffsets()
	}
}

func (p *pipeline) addOffsets() {
	req := kmsg.NewPtrAddOffsetsToTxnRequest()
	req.TransactionalID, req.ProducerID, req.ProducerEpoch, req.Group = p.t.id, p.t.producerID, p.t.epoch, p.m.crew.name
	p.t.call(req, int16(p.m.crew.run.rand.IntN(4)), func(resp kmsg.Response) {
		code := resp.(*kmsg.AddOffsetsToTxnResponse).ErrorCode
		switch {
		case code == codeNone:
			p.adding = true
		case !p.t.refused(code) && !p.coord.astray(code):
			p.t.fail("AddOffsetsToTxn", code)
		}
	})
}

func (p *pipeline) commitOffsets() {
	m := p.m
	if m.coord.conn == nil || !m.coord.found {
		return
	}
	req := kmsg.NewPtrTxnOffsetCommitRequest()
	req.TransactionalID, req.Group, req.ProducerID, req.ProducerEpoch = p.t.id, m.crew.name, p.t.producerID, p.t.epoch
	req.Generation, req.MemberID, req.InstanceID = m.epoch, m.memberID, m.instance
	for _, in := range p.inputs {
		in.floor = m.crew.group.Committable(in.s.part)
		t := kmsg.NewTxnOffsetCommitRequestTopic()
		t.Topic = in.s.part.Topic
		rp := kmsg.NewTxnOffsetCommitRequestTopicPartition()
		rp.Partition, rp.Offset, rp.LeaderEpoch = in.s.part.Number, in.next, -1
		t.Partitions = append(t.Partitions, rp)
		req.Topics = append(req.Topics, t)
	}
	version := int16(3 + m.crew.run.rand.IntN(2))
	if p.t.v2 {
		version = 5
	}
	p.t.asked = true
	generation, latest := m.epoch, m.crew.group.Latest()
	m.coord.call(req, version, func(resp kmsg.Response) {
		p.t.asked = false
		if p.t.dead {
			return
		}
		for _, t := range resp.(*kmsg.TxnOffsetCommitResponse).Topics {
			for _, one := range t.Partitions {
				if one.ErrorCode != codeNone {
					p.refused(one.ErrorCode)
					return
				}
			}
		}
		if m.crew.kind <= crewCooperative {
			m.check(m.crew.group.Accepted(m.name, generation, latest))
		}
		p.t.phase = txnEnding
	}, func() { p.t.asked = false })
}

func (p *pipeline) refused(code int16) {
	switch code {
	case codeIllegalGeneration, codeUnknownMember, codeFencedInstance, codeStaleMemberEpoch, codeFencedMemberEpoch, codeRebalanceInProgress:
		p.m.crew.run.zombies++
		p.t.abort()
	default:
		if !p.m.coord.astray(code) && !p.t.refused(code) {
			p.t.fail("TxnOffsetCommit", code)
		}
	}
}
