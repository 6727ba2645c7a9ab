package group

import (
	"slipstream/protocol"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// assigning writes down what the leader of a classic group has decided. For a
// thousand members that is a record of a mebibyte, so it is made some members at a
// time; for a few it is one step. The request's bytes are read where they lie:
// they stay as long as the leader waits for its answer.
type assigning struct {
	group      *group
	classic    *classicGroup
	generation int32
	leader     *classicMember
	waiting    *parked // the leader's SyncGroup
	asked      []kmsg.SyncGroupRequestGroupAssignment

	at      int // of asked, how many are in given
	given   map[string][]byte
	started bool
	next    *classicMember // whose piece of the record is next
	record  []byte
	parts   map[*classicMember]part
}

// part is where in the record a member's assignment lies.
type part struct{ from, to int }

// What a member costs in units of work: looking it up, and writing it.
const (
	assignmentUnits = 4
	memberUnits     = 16
	bytesAUnit      = 64
)

// assign begins with it, and ends it at once if it is little.
func (c *Coordinator) assign(g *group, m *classicMember, req *kmsg.SyncGroupRequest) {
	cg := g.classic
	a := &assigning{
		group: g, classic: cg, generation: cg.generation, leader: m, waiting: m.sync, asked: req.GroupAssignment,
		given: make(map[string][]byte, len(req.GroupAssignment)), parts: make(map[*classicMember]part, cg.members.count()),
	}
	if _, done := a.run(c, syncUnits); !done {
		c.jobs.add(a)
	}
}

// over says whether somebody has come, gone or begun again in between: then this
// is history, and whoever waited has been told.
func (a *assigning) over() bool {
	return a.group.classic != a.classic || a.classic.state != completingRebalance || a.classic.generation != a.generation ||
		a.leader.sync != a.waiting
}

// run implements job.
func (a *assigning) run(c *Coordinator, units int) (used int, done bool) {
	if a.over() {
		return 1, true
	}
	for ; a.at < len(a.asked); a.at++ {
		if used >= units {
			return used, false
		}
		a.given[a.asked[a.at].MemberID] = a.asked[a.at].MemberAssignment
		used += assignmentUnits
	}
	if !a.started {
		a.begin()
		used += assignmentUnits * a.classic.members.count() / 4
	}
	for ; a.next != nil; a.next = a.next.after {
		if used >= units {
			return used, false
		}
		before := len(a.record)
		a.write(a.next)
		used += memberUnits + (len(a.record)-before)/bytesAUnit
	}
	a.finish(c)
	return used, true
}

// begin takes the memory for the record and writes its head.
func (a *assigning) begin() {
	cg := a.classic
	a.started = true
	head := cg.head()
	size := 128 + len(cg.protocolType) + len(orEmpty(head.Protocol)) + len(cg.leader)
	for m := range cg.members.all() {
		size += 40 + len(m.id) + len(orEmpty(m.instance)) + len(m.clientID) + len(m.clientHost) + len(m.metadata(*cg.protocol))
	}
	for i := range a.asked {
		size += len(a.asked[i].MemberAssignment)
	}
	a.record = appendClassicHead(make([]byte, 0, size), head, cg.members.count())
	a.next = cg.members.first
}

// write adds a member's piece of the record.
func (a *assigning) write(m *classicMember) {
	v := m.record(a.classic.protocol)
	v.Assignment = a.given[m.id] // who is not named gets nothing
	c := codec{buf: a.record}
	v.walk(&c, classicRecordVersion)
	a.record = c.buf
	if len(v.Assignment) > 0 {
		a.parts[m] = part{len(a.record) - len(v.Assignment), len(a.record)} // it is the last field
	}
}

// finish appends the record. Once it is in the log, everyone who waits is told and
// the group is stable.
func (a *assigning) finish(c *Coordinator) {
	g, cg := a.group, a.classic
	raw := RawRecord{Key: AppendKey(nil, Key{Type: TypeGroupMetadata, Group: g.id}), Value: a.record}
	if len(raw.Key)+len(raw.Value)+recordOverhead > int(c.settings.MaxBatchBytes)-batchOverhead {
		c.cancelSyncs(g, protocol.UNKNOWN_SERVER_ERROR)
		c.rebalanceOrComplete(g)
		return
	}
	c.appendRaw(g, []RawRecord{raw})
	cg.recorded = true
	a.asked, a.given = nil, nil
	c.whenCommitted(g, func(c *Coordinator) {
		if g.classic == cg && cg.state == completingRebalance && cg.generation == a.generation {
			c.stabilize(g, a)
		}
	})
}

// of is a member's part of the assignment, which lies in the record; nil: none.
func (a *assigning) of(m *classicMember) []byte {
	p, ok := a.parts[m]
	if !ok {
		return nil
	}
	return a.record[p.from:p.to:p.to]
}
