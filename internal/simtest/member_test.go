package simtest

import (
	"fmt"
	"os"
	"slices"
	"strings"

	"slipstream/internal/guarantees"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// member is a consumer in a group: it heartbeats, fetches what it was assigned,
// works on it and commits. How it is a member is its speaker's business, what it
// does with records its worker's.
type member struct {
	crew     *crew
	name     string // to the promises: its instance id, or its own
	instance *string
	topics   []string
	coord    link
	data     link
	speaks   speaker
	work     worker
	dead     bool
	asleep   int64 // until
	quitting bool  // leaves as soon as it has finished what it does
	farewell bool  // and has begun to

	memberID string
	epoch    int32 // the generation or member epoch
	shares   []*share
	busy     bool // is giving something up: takes no new work

	meta       map[string]topicMeta
	metaAsked  bool
	metaAt     int64
	fetching   bool
	fetchAt    int64
	fetchLimit int16 // version
}

type topicMeta struct {
	id         [16]byte
	partitions int32
}

// share is a partition that a member has.
type share struct {
	part      guarantees.Partition
	position  int64 // -1: not known yet
	committed int64
	asked     bool // for the position
	gone      bool
}

// speaker is one of the two protocols.
type speaker interface {
	step() error   // the coordinator's connection is there
	leave() bool   // likewise; says good-bye, if there is anyone to say it to
	settled() bool // is a member and has nothing to give up
}

// worker does something with records.
type worker interface {
	step(coord, data bool)        // which connections are there
	records(s *share, f *fetched) // what was fetched, from the share's position on
	idle() bool                   // takes records
	flush() bool                  // ends what was begun; true when it is
	lost()                        // the member is none any more
}

func (m *member) now() int64 { return m.crew.run.now() }

func (m *member) step() error {
	if m.dead || m.now() < m.asleep {
		return nil
	}
	coord, err := m.coord.step()
	if err != nil {
		return fmt.Errorf("%s: %w", m.name, err)
	}
	if m.speaks == nil || m.dead {
		return nil
	}
	data, err := m.data.step()
	if err != nil {
		return fmt.Errorf("%s: %w", m.name, err)
	}
	if coord && m.quitting && (m.farewell || m.speaks.settled()) {
		m.busy, m.farewell = true, true
		if m.work.flush() {
			m.quitting = false
			m.leave()
		}
	} else if coord {
		if err := m.speaks.step(); err != nil {
			return fmt.Errorf("%s: %w", m.name, err)
		}
	}
	if m.dead {
		return nil
	}
	if coord && m.coord.conn != nil && m.coord.found {
		m.findPositions()
	}
	if data {
		m.refresh()
		m.fetch()
	}
	m.work.step(coord && m.coord.conn != nil && m.coord.found, data && m.data.conn != nil)
	return nil
}

// die ends the member as a crash does.
func (m *member) die() {
	m.logf("dies")
	m.dead = true
	m.coord.drop()
	m.data.drop()
	m.crew.group.Gone(m.name)
	for _, s := range m.shares {
		s.gone = true
	}
	m.work.lost()
	m.shares = nil
}

func (m *member) fail(format string, args ...any) {
	m.crew.run.fail(fmt.Errorf("group %s, %s: %w", m.crew.name, m.name, fmt.Errorf(format, args...)))
}

func (m *member) check(err error) {
	if err != nil {
		m.crew.run.fail(err)
	}
}

// cutOff: it is no member any more, and is told so.
func (m *member) cutOff() {
	m.logf("cut off")
	m.crew.group.Gone(m.name)
	m.crew.group.Cause()
	for _, s := range m.shares {
		s.gone = true
	}
	m.shares, m.busy = nil, false
	m.work.lost()
}

// giveUp stops processing partitions, for good.
func (m *member) giveUp(parts []guarantees.Partition) {
	m.crew.group.GaveUp(m.name, parts)
	m.shares = slices.DeleteFunc(m.shares, func(s *share) bool {
		if slices.Contains(parts, s.part) {
			s.gone = true
			return true
		}
		return false
	})
}

// has are its partitions.
func (m *member) has() (parts []guarantees.Partition) {
	for _, s := range m.shares {
		parts = append(parts, s.part)
	}
	return parts
}

// assigned: from an epoch on it has these partitions.
func (m *member) assigned(epoch int32, parts []guarantees.Partition) {
	m.epoch = epoch
	m.logf("assigned epoch %d %v", epoch, parts)
	m.check(m.crew.group.Given(m.now(), m.name, epoch, parts))
	for _, p := range parts {
		if !slices.ContainsFunc(m.shares, func(s *share) bool { return s.part == p }) {
			m.shares = append(m.shares, &share{part: p, position: -1, committed: -1})
		}
	}
	slices.SortFunc(m.shares, func(a, b *share) int { return comparePartitions(a.part, b.part) })
}

func comparePartitions(a, b guarantees.Partition) int {
	if c := strings.Compare(a.Topic, b.Topic); c != 0 {
		return c
	}
	return int(a.Number) - int(b.Number)
}

// missing are the partitions of a that are not in b.
func missing(a, b []guarantees.Partition) (out []guarantees.Partition) {
	for _, p := range a {
		if !slices.Contains(b, p) {
			out = append(out, p)
		}
	}
	return out
}

// findPositions asks for the committed offsets of what was newly assigned.
func (m *member) findPositions() {
	var asked []*share
	for _, s := range m.shares {
		if s.position < 0 && !s.asked {
			asked = append(asked, s)
		}
	}
	if len(asked) == 0 || m.busy || m.now() < m.fetchAt {
		return
	}
	floors := map[*share]int64{}
	req := kmsg.NewPtrOffsetFetchRequest()
	req.Group, req.RequireStable = m.crew.name, true
	g := kmsg.NewOffsetFetchRequestGroup()
	g.Group = m.crew.name
	if _, ok := m.speaks.(*reconciling); ok {
		g.MemberID, g.MemberEpoch = &m.memberID, m.epoch
	}
	for _, s := range asked {
		s.asked = true
		floors[s] = m.crew.group.Committable(s.part)
		t := kmsg.NewOffsetFetchRequestTopic()
		t.Topic, t.Partitions = s.part.Topic, []int32{s.part.Number}
		req.Topics = append(req.Topics, t)
		gt := kmsg.NewOffsetFetchRequestGroupTopic()
		gt.Topic, gt.Partitions = s.part.Topic, []int32{s.part.Number}
		g.Topics = append(g.Topics, gt)
	}
	req.Groups = append(req.Groups, g)
	forget := func() {
		for _, s := range asked {
			s.asked = false
		}
		m.fetchAt = m.now() + 10e6
	}
	m.coord.call(req, int16(7+m.crew.run.rand.IntN(3)), func(resp kmsg.Response) {
		forget()
		m.foundPositions(asked, floors, resp.(*kmsg.OffsetFetchResponse))
	}, forget)
}

// foundPositions takes the answer in; of both its forms.
func (m *member) foundPositions(asked []*share, floors map[*share]int64, r *kmsg.OffsetFetchResponse) {
	code := r.ErrorCode
	type told struct {
		offset int64
		code   int16
	}
	got := map[guarantees.Partition]told{}
	for _, t := range r.Topics {
		for _, p := range t.Partitions {
			got[guarantees.Partition{Topic: t.Topic, Number: p.Partition}] = told{p.Offset, p.ErrorCode}
		}
	}
	for _, g := range r.Groups {
		code = g.ErrorCode
		for _, t := range g.Topics {
			for _, p := range t.Partitions {
				got[guarantees.Partition{Topic: t.Topic, Number: p.Partition}] = told{p.Offset, p.ErrorCode}
			}
		}
	}
	switch {
	case code == codeStaleMemberEpoch, code == codeUnknownMember, m.coord.astray(code):
		return // the next heartbeat tells
	case code != codeNone:
		m.fail("OffsetFetch: error %d", code)
		return
	}
	for _, s := range asked {
		p, ok := got[s.part]
		switch {
		case !ok:
			m.fail("OffsetFetch: no answer for %v", s.part)
		case p.code == codeUnstableOffset || s.gone:
		case p.code == codeUnknownTopic && m.crew.mayVanish(s.part.Topic):
		case p.code != codeNone:
			m.fail("OffsetFetch of %v: error %d", s.part, p.code)
		default:
			m.check(m.crew.group.Fetched(s.part, p.offset, floors[s]))
			s.position, s.committed = max(p.offset, 0), p.offset
			m.fetchAt = m.now()
		}
	}
}

// refresh asks for the topics' ids and partitions now and then.
func (m *member) refresh() {
	if m.metaAsked || m.now() < m.metaAt {
		return
	}
	m.metaAsked = true
	req := kmsg.NewPtrMetadataRequest()
	for _, name := range m.topics {
		t := kmsg.NewMetadataRequestTopic()
		t.Topic = kmsg.StringPtr(name)
		req.Topics = append(req.Topics, t)
	}
	m.data.call(req, 12, func(resp kmsg.Response) {
		m.metaAsked, m.metaAt = false, m.now()+50e6
		m.meta = map[string]topicMeta{}
		for _, t := range resp.(*kmsg.MetadataResponse).Topics {
			if t.ErrorCode == codeNone && t.Topic != nil {
				m.meta[*t.Topic] = topicMeta{t.TopicID, int32(len(t.Partitions))}
			}
		}
	}, func() { m.metaAsked = false })
}

// topicByID is the name of a topic that it knows.
func (m *member) topicByID(id [16]byte) (string, bool) {
	for name, t := range m.meta { // ids differ: the order does not show
		if t.id == id {
			return name, true
		}
	}
	return "", false
}

// alive: a request of it that was sent at some time was answered. A rebalance may
// have begun right after that, or its session be counted from there. The broker
// counts in milliseconds.
func (m *member) alive(sent int64) {
	m.crew.group.Alive(m.name, sent+min(m.crew.session, m.crew.rebalance)-2e6)
}

// logf tells what the member does, on demand: TELL=1.
func (m *member) logf(format string, args ...any) { m.crew.run.tell(m.name, format, args...) }

var telling = os.Getenv("TELL") != ""

func (r *run) tell(who, format string, args ...any) {
	if telling {
		r.t.Logf("%9.3f ms %s: %s", float64(r.now())/1e6, who, fmt.Sprintf(format, args...))
	}
}
