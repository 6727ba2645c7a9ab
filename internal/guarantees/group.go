package guarantees

import (
	"fmt"
	"slices"
)

// Group is what clients have seen of one consumer group, of either protocol. An
// epoch is the generation of a classic group, the member epoch of a consumer group.
// A member is who processes: the instance id of a static member, which goes on
// where it was under another member id, and any other member's id.
type Group struct {
	name      string
	given     map[turn]string // who was given a partition in an epoch
	processed map[turn]string // and who has processed records of it
	latest    int32           // the highest epoch in which anyone was given partitions
	members   map[string]*membership
	offsets   map[Partition]*progress
	causes    int
	restarts  bool
	highest   int32 // epoch that anyone was told
}

type turn struct {
	Partition
	epoch int32
}

// membership is what a member may rely on.
type membership struct {
	until int64 // nanoseconds; the broker cannot have given it up before
	has   []Partition
	epoch int32 // the highest that it was told
}

// progress is what is known of a partition's consumption.
type progress struct {
	floor     int64 // an offset that is known to be committed; -1: none is
	suspended int   // removals of the offset that may or may not be carried out
	covered   Ranges
}

// NewGroup is a group of which nothing is known.
func NewGroup(name string) *Group {
	return &Group{
		name: name, given: map[turn]string{}, processed: map[turn]string{},
		members: map[string]*membership{}, offsets: map[Partition]*progress{},
	}
}

func (g *Group) member(name string) *membership {
	m := g.members[name]
	if m == nil {
		m = &membership{}
		g.members[name] = m
	}
	return m
}

// Alive: a request that keeps the member's session was answered, and until then,
// nanoseconds, the session cannot end: counted from when the request was sent.
func (g *Group) Alive(member string, until int64) {
	m := g.member(member)
	m.until = max(m.until, until)
}

// Joined: the member was told, in answer to a request that was sent when floor was
// Latest, at which epoch it may be a member. An epoch in which anyone was given
// partitions is in the log, so it is not given out again; a generation that ended
// before that may be.
func (g *Group) Joined(member string, epoch, floor int32) error {
	if epoch < floor {
		return fmt.Errorf("group %s: %s joins at epoch %d, the group was at %d", g.name, member, epoch, floor)
	}
	g.highest = max(g.highest, epoch)
	return nil
}

// Epoch: the member of a consumer group was told its epoch, which only grows. floor
// is as for Joined, 0 where the member may be behind the group.
func (g *Group) Epoch(member string, epoch, floor int32) error {
	m := g.member(member)
	if epoch < m.epoch {
		return fmt.Errorf("group %s: %s is told epoch %d after %d", g.name, member, epoch, m.epoch)
	}
	m.epoch = epoch
	return g.Joined(member, epoch, floor)
}

// Latest is the highest epoch in which anyone was given partitions.
func (g *Group) Latest() int32 { return g.latest }

// Given: at now, nanoseconds, a member was told that from an epoch on it has these
// partitions, and no others. In one epoch a partition is one member's, and no member
// is given what another one, whose session goes on, has not given up.
func (g *Group) Given(now int64, member string, epoch int32, partitions []Partition) error {
	g.beginAnew(now, member, epoch)
	m := g.member(member)
	m.epoch, m.has = max(m.epoch, epoch), slices.Clone(partitions)
	g.latest, g.highest = max(g.latest, epoch), max(g.highest, epoch)
	for _, p := range partitions {
		t := turn{p, epoch}
		if other, ok := g.given[t]; ok && other != member {
			return fmt.Errorf("group %s: in epoch %d %s-%d was given to %s and to %s", g.name, epoch, p.Topic, p.Number, other, member)
		}
		g.given[t] = member
	}
	if m.until <= now {
		return nil // an old answer, read late: others may have been given what it says
	}
	for _, name := range g.names() {
		if other := g.members[name]; name != member && other.until > now {
			for _, p := range partitions {
				if slices.Contains(other.has, p) {
					return fmt.Errorf("group %s: %s-%d was given to %s in epoch %d while %s has it", g.name, p.Topic, p.Number, member, epoch, name)
				}
			}
		}
	}
	return nil
}

// MayRestart: members of both protocols come and go. When the group has no member its
// epochs may start over, for who joins with the other protocol makes it anew.
func (g *Group) MayRestart() { g.restarts = true }

// beginAnew forgets the epochs of a group that may have been made anew.
func (g *Group) beginAnew(now int64, member string, epoch int32) {
	if !g.restarts || epoch > g.latest {
		return
	}
	for name, other := range g.members { // whether there is any: the order does not show
		if name != member && other.until > now && len(other.has) > 0 { // who has nothing yet may be the new group's
			return
		}
	}
	clear(g.given)
	clear(g.processed)
	g.latest = 0
}

func (g *Group) names() []string {
	var names []string
	for name := range g.members {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// GaveUp: the member processes nothing of these partitions any more. It is to be
// told before the request is sent by which the broker learns of it.
func (g *Group) GaveUp(member string, partitions []Partition) {
	m := g.member(member)
	m.has = slices.DeleteFunc(m.has, func(p Partition) bool { return slices.Contains(partitions, p) })
}

// Gone: the member has left, has died, or was told that it is none. Under its name
// another one may begin.
func (g *Group) Gone(member string) { delete(g.members, member) }

// Processed: a member has dealt with the records from an offset up to and without
// another, in the epoch that it was told last.
func (g *Group) Processed(member string, epoch int32, p Partition, from, to int64) error {
	t := turn{p, epoch}
	if g.restarts && g.given[t] != member {
		g.progress(p).covered.Add(from, to) // it was given it before the group was made anew
		return nil
	}
	if other, ok := g.processed[t]; ok && other != member {
		return fmt.Errorf("group %s: in epoch %d %s-%d was processed by %s and by %s", g.name, epoch, p.Topic, p.Number, other, member)
	}
	if given, ok := g.given[t]; !ok || given != member {
		return fmt.Errorf("group %s: in epoch %d %s processed %s-%d, which was given to %q", g.name, epoch, member, p.Topic, p.Number, given)
	}
	g.processed[t] = member
	g.progress(p).covered.Add(from, to)
	return nil
}

func (g *Group) progress(p Partition) *progress {
	o := g.offsets[p]
	if o == nil {
		o = &progress{floor: -1}
		g.offsets[p] = o
	}
	return o
}

// Committable is what is known to be committed, -1 if nothing is: the floor of a
// request that is about to be sent.
func (g *Group) Committable(p Partition) int64 { return g.progress(p).floor }

// Committed: a commit that was sent when floor was Committable was accepted. What
// is known to be committed does not go back: whoever could commit less was not to
// be allowed to.
func (g *Group) Committed(p Partition, offset, floor int64) error {
	o := g.progress(p)
	if o.suspended > 0 {
		return nil
	}
	if offset < floor {
		return fmt.Errorf("group %s: offset %d of %s-%d was committed, %d was before", g.name, offset, p.Topic, p.Number, floor)
	}
	o.floor = max(o.floor, offset)
	return nil
}

// Accepted: a member of a classic group has committed in its generation, with a
// request that was sent when floor was Latest. Who is behind that is not to be heard.
func (g *Group) Accepted(member string, generation, floor int32) error {
	if generation < floor {
		return fmt.Errorf("group %s: %s committed in generation %d, the group was at %d", g.name, member, generation, floor)
	}
	return nil
}

// Fetched: the committed offset was told, -1 for none, in answer to a request that
// was sent when floor was Committable.
func (g *Group) Fetched(p Partition, offset, floor int64) error {
	o := g.progress(p)
	if o.suspended > 0 {
		return nil
	}
	if offset < floor {
		return fmt.Errorf("group %s: the committed offset of %s-%d is told as %d, it was %d", g.name, p.Topic, p.Number, offset, floor)
	}
	o.floor = max(o.floor, offset)
	return nil
}

// Removing: a request is about to be sent that removes the offset of a partition.
// Until Removed, or for ever, nothing is known of it.
func (g *Group) Removing(p Partition) {
	o := g.progress(p)
	o.suspended++
	o.floor = -1
}

// Removed: it was answered, one way or the other.
func (g *Group) Removed(p Partition) {
	o := g.progress(p)
	o.suspended--
	o.floor = -1
}

// Complete: the group has consumed a partition to end, and no record from start on
// has been missed.
func (g *Group) Complete(p Partition, start, end int64) error {
	if from, to, ok := g.progress(p).covered.Gap(start, end); ok {
		return fmt.Errorf("group %s: offsets %d to %d of %s-%d were passed over by everyone", g.name, from, to-1, p.Topic, p.Number)
	}
	return nil
}

// Cause: something happened that is a reason to rebalance.
func (g *Group) Cause() { g.causes++ }

// Calm: there were not more rebalances than reasons for them, a reason being good
// for two (one to go, one to come; cooperative members take a second step).
func (g *Group) Calm() error {
	if bound := 2*g.causes + 2; int(g.highest) > bound {
		return fmt.Errorf("group %s: epoch %d after %d reasons to rebalance", g.name, g.highest, g.causes)
	}
	return nil
}
