package group

import (
	"slices"

	"slipstream/protocol"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// withTarget sees to it that there is a target assignment for the group's epoch,
// then finishes the heartbeat. A small group's target is computed on the spot. A
// large one's is a job; the heartbeat that has begun it waits for it. Others go on
// with what there is, and so do all while the assignment interval lasts. When it
// ends the target is computed without waiting for another heartbeat, as Kafka does:
// its members learn of it one heartbeat sooner. A JoinGroup waits until then, or it
// would be sent back to join again and again.
func (c *Coordinator) withTarget(g *group, b *beat) {
	cg := g.consumer
	switch {
	case cg.epoch <= cg.assignmentEpoch:
		c.finish(g, b)
	case cg.job != nil || !c.assignmentDue(g):
		if cg.job == nil && !cg.assign.armed() {
			c.timers.arm(&cg.assign, cg.assignedAt+int64(c.assignmentIntervalMillis(g.id)))
		}
		if b.join == nil {
			c.finish(g, b)
		} else if cg.job != nil {
			cg.job.waiting = append(cg.job.waiting, b)
		} else {
			cg.delayed = append(cg.delayed, b)
		}
	default:
		c.assignNow(g, b)
	}
}

// assignNow computes a target, at once or in a job, and finishes what waits for it.
func (c *Coordinator) assignNow(g *group, waiting ...*beat) {
	cg := g.consumer
	c.timers.stop(&cg.assign)
	cg.job = newAssignJob(g)
	cg.job.waiting = append(cg.delayed, waiting...)
	cg.delayed = nil
	if _, done := cg.job.run(c, syncUnits); !done {
		c.jobs.add(cg.job)
	}
}

// assignLate is the end of an assignment interval in which someone waited.
func (c *Coordinator) assignLate(g *group) {
	if cg := g.consumer; cg != nil && cg.job == nil && len(cg.members) > 0 {
		c.assignNow(g)
	}
}

// assignmentDue holds group.consumer.assignment.interval.ms (KIP-1263): many who
// join at once are assigned to at once.
func (c *Coordinator) assignmentDue(g *group) bool {
	at := g.consumer.assignedAt
	return at == 0 || c.now < at || c.now-at >= int64(c.assignmentIntervalMillis(g.id))
}

// restartJob begins a computation anew that has seen a member under another id.
func (c *Coordinator) restartJob(g *group) {
	if j := g.consumer.job; j != nil {
		*j = assignJob{g: g, epoch: g.consumer.epoch, waiting: j.waiting}
	}
}

// abortJob ends a computation for a group that is gone.
func (c *Coordinator) abortJob(g *group) {
	cg := g.consumer
	c.timers.stop(&cg.assign)
	for _, b := range cg.waiting() {
		b.refuse(c, g, refusef(protocol.UNKNOWN_MEMBER_ID, "Member %s is not a member of group %s.", b.id, g.id))
	}
}

// waiting takes everything that waits for a target, and ends its computation.
func (cg *consumerGroup) waiting() []*beat {
	waiting := cg.delayed
	cg.delayed = nil
	if cg.job != nil {
		waiting = append(waiting, cg.job.waiting...)
		cg.job.waiting, cg.job.phase = nil, assignDone
		cg.job = nil
	}
	return waiting
}

// refuse answers a heartbeat, or what stands for one, with an error.
func (b *beat) refuse(c *Coordinator, g *group, r *refusal) {
	if b.join != nil {
		req := kmsg.JoinGroupRequest{Version: b.join.version}
		c.respondTo(g, b.token, joinError(&req, b.id, r.code))
		return
	}
	c.respondTo(g, b.token, heartbeatError(b.version, r))
}

// assignJob computes a target assignment, piece by piece. What it works on is a
// copy: members that come or go meanwhile raise the group's epoch, and the next
// computation sees to them.
type assignJob struct {
	g       *group
	epoch   int32
	waiting []*beat

	phase   assignPhase
	names   []string // of the topics, to be looked up
	topics  topicTable
	last    string // the last member that was copied
	begun   bool
	members []specMember
	solver  solver
	at      int // the member whose result is next
	changed []changedTarget
}

type assignPhase int8

const (
	assignBegin assignPhase = iota
	assignTopics
	assignMembers
	assignSolve
	assignCompare
	assignWrite
	assignDone
)

type changedTarget struct {
	id     string
	target assignment
	raw    RawRecord
}

func newAssignJob(g *group) *assignJob { return &assignJob{g: g, epoch: g.consumer.epoch} }

func (j *assignJob) run(c *Coordinator, units int) (used int, done bool) {
	for used < units {
		switch j.phase {
		case assignBegin:
			used += j.begin()
		case assignTopics:
			used += j.lookUp(c, units-used)
		case assignMembers:
			used += j.copyMembers(c, units-used)
		case assignSolve:
			n, solved := j.solver.run(units - used)
			used += n
			if solved {
				j.phase = assignCompare
			}
		case assignCompare:
			used += j.compare(units - used)
		case assignWrite:
			j.write(c)
			return used + len(j.changed), true
		default:
			return used, true
		}
	}
	return used, false
}

func (j *assignJob) begin() int {
	for name := range j.g.consumer.subscribed {
		j.names = append(j.names, name) // their ids will be their order
	}
	j.phase = assignTopics
	return 1 + len(j.names)
}

// lookUp finds the topics and puts them in the order of their ids. Ids are random,
// so that their first byte divides them evenly.
func (j *assignJob) lookUp(c *Coordinator, units int) int {
	n := min(len(j.names), units/4+1)
	for _, name := range j.names[:n] {
		if t, ok := c.topics.TopicByName(name); ok && t.Partitions > 0 {
			j.topics.add(t)
		}
	}
	j.names = j.names[n:]
	if len(j.names) > 0 {
		return 4 * n
	}
	if k := j.topics.sortSome(units / 4); k > 0 {
		return 4 * (n + k)
	}
	j.phase = assignMembers
	return 4*n + 1
}

// specMember is a member as an assignor sees it.
type specMember struct {
	id       string
	instance *string
	topics   []int32 // what it reads, by index and in order
	current  assignment
	result   assignment
}

func (j *assignJob) copyMembers(c *Coordinator, units int) (used int) {
	cg := j.g.consumer
	at := 0
	if j.begun {
		var found bool
		if at, found = cg.search(j.last); found {
			at++
		}
	}
	for ; at < len(cg.sorted) && used < units; at++ {
		m := cg.sorted[at]
		j.last, j.begun = m.id, true
		used += 3 + len(m.topics)/4
		topics := j.sameAsLast(cg, m)
		if topics == nil {
			topics = j.topics.indices(m.topics, cg.matched(m.regex))
			used += 3 * len(topics)
		}
		j.members = append(j.members, specMember{id: m.id, instance: m.instance, topics: topics, current: cg.target[m.id]})
	}
	if at >= len(cg.sorted) {
		j.solver = newSolver(c.assignor(cg), j.members, j.topics.list)
		j.phase = assignSolve
	}
	return used + 1
}

// sameAsLast shares the list of the previous member if this one reads the same.
func (j *assignJob) sameAsLast(cg *consumerGroup, m *consumerMember) []int32 {
	if len(j.members) == 0 {
		return nil
	}
	last := &j.members[len(j.members)-1]
	before := cg.members[last.id]
	if before == nil || before.regex != m.regex || !slices.Equal(before.topics, m.topics) {
		return nil
	}
	return last.topics
}

// matched are the topics that a regular expression means, in order.
func (cg *consumerGroup) matched(regex string) []string {
	if r := cg.regexes[regex]; r != nil && regex != "" {
		return r.topics
	}
	return nil
}

// compare keeps those results that differ from what there is, encoded.
func (j *assignJob) compare(units int) (used int) {
	cg := j.g.consumer
	for ; j.at < len(j.members) && used < units; j.at++ {
		m := &j.members[j.at]
		used += 3 + m.result.count()/8
		have, ok := cg.target[m.id]
		if ok && have.samePartitions(m.result) {
			continue
		}
		raw, _ := encodeAll([]Record{targetRecord(j.g, m.id, m.result)})
		j.changed = append(j.changed, changedTarget{m.id, m.result, raw[0]})
		used += 5 + m.result.count()/2
	}
	if j.at == len(j.members) {
		j.phase = assignWrite
	}
	return used
}

// write makes the result the group's target and finishes the heartbeats that
// waited. Should it be too much for one batch it takes several: the epoch comes
// last, so that a target of which only a part was written is computed again.
func (j *assignJob) write(c *Coordinator) {
	cg := j.g.consumer
	j.phase = assignDone
	cg.job = nil
	raw := make([]RawRecord, 0, len(j.changed))
	for _, ch := range j.changed {
		if cg.members[ch.id] != nil {
			raw = append(raw, ch.raw)
		}
	}
	c.appendRaw(j.g, raw)
	for _, ch := range j.changed {
		if cg.members[ch.id] != nil {
			cg.target[ch.id] = ch.target
		}
	}
	c.write(j.g, targetEpochRecord(j.g, j.epoch, c.now))
	for _, b := range j.waiting {
		c.finish(j.g, b)
	}
}

// topicTable is the topics of an assignment, by id.
type topicTable struct {
	list    []specTopic
	byName  map[string]int32
	buckets [256][]Topic
	sorted  int
}

type specTopic struct {
	id         protocol.UUID
	partitions int32
}

func (t *topicTable) add(topic Topic) {
	b := topic.ID[0]
	t.buckets[b] = append(t.buckets[b], topic)
}

// sortSome moves about n topics from the buckets into the list; 0: there are no more.
func (t *topicTable) sortSome(n int) (moved int) {
	if t.byName == nil {
		t.byName = map[string]int32{}
	}
	for ; t.sorted < len(t.buckets) && moved <= n; t.sorted++ {
		bucket := t.buckets[t.sorted]
		slices.SortFunc(bucket, func(a, b Topic) int { return slices.Compare(a.ID[:], b.ID[:]) })
		for _, topic := range bucket {
			t.byName[topic.Name] = int32(len(t.list))
			t.list = append(t.list, specTopic{topic.ID, topic.Partitions})
		}
		moved += len(bucket)
	}
	return moved
}

func (t *topicTable) indices(names, matched []string) []int32 {
	out := make([]int32, 0, len(names)+len(matched))
	for _, list := range [...][]string{names, matched} {
		for _, name := range list {
			if i, ok := t.byName[name]; ok {
				out = append(out, i)
			}
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}
