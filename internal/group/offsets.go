package group

import (
	"cmp"
	"slices"

	"slipstream/protocol"
)

// committed is a committed offset.
type committed struct {
	partition   int32
	leaderEpoch int32 // -1: not known
	offset      int64
	metadata    string
	at          int64 // milliseconds, when
	expires     int64 // milliseconds; -1: by the retention of all
	topicID     protocol.UUID
	position    int64 // of its record in the log: the later one counts
}

// expireTimestampVersion and offsetCommitVersion are the versions of
// OffsetCommitValue that Kafka 4.3 writes: the first where a client set its own
// retention (OffsetCommit v2-4).
const (
	expireTimestampVersion = 1
	offsetCommitVersion    = 4
)

func (o *committed) value() *OffsetCommitValue {
	v := &OffsetCommitValue{Version: offsetCommitVersion, Offset: o.offset, LeaderEpoch: o.leaderEpoch, Metadata: o.metadata,
		CommitTimestamp: o.at, ExpireTimestamp: o.expires, TopicID: o.topicID}
	if o.expires != -1 {
		v.Version = expireTimestampVersion
	}
	return v
}

func committedOf(partition int32, v *OffsetCommitValue, position int64) committed {
	return committed{partition: partition, leaderEpoch: v.LeaderEpoch, offset: v.Offset, metadata: v.Metadata,
		at: v.CommitTimestamp, expires: v.ExpireTimestamp, topicID: v.TopicID, position: position}
}

// offsetTable is offsets by topic and partition.
type offsetTable map[string]*topicOffsets

// topicOffsets are a topic's offsets, by partition.
type topicOffsets struct{ list []committed }

func (t *topicOffsets) search(partition int32) (int, bool) {
	return slices.BinarySearchFunc(t.list, partition, func(o committed, p int32) int { return cmp.Compare(o.partition, p) })
}

func (t offsetTable) find(topic string, partition int32) *committed {
	if of := t[topic]; of != nil {
		if i, ok := of.search(partition); ok {
			return &of.list[i]
		}
	}
	return nil
}

func (t offsetTable) put(topic string, o committed) {
	of := t[topic]
	if of == nil {
		of = &topicOffsets{}
		t[topic] = of
	}
	i, ok := of.search(o.partition)
	if ok {
		of.list[i] = o
	} else {
		of.list = slices.Insert(of.list, i, o)
	}
}

func (t offsetTable) remove(topic string, partition int32) {
	of := t[topic]
	if of == nil {
		return
	}
	if i, ok := of.search(partition); ok {
		of.list = slices.Delete(of.list, i, i+1)
		if len(of.list) == 0 {
			delete(t, topic)
		}
	}
}

// names are the topics, in order.
func (t offsetTable) names() []string {
	names := make([]string, 0, len(t))
	for name := range t {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// groupOffsets are the offsets of a group: those that count, and those of
// transactions that have not ended.
type groupOffsets struct {
	table   offsetTable
	pending []pendingOffsets // by producer id
}

// pendingOffsets are what one producer's transaction would commit.
type pendingOffsets struct {
	producerID int64
	table      offsetTable
}

func (o *groupOffsets) none() bool { return len(o.table) == 0 && len(o.pending) == 0 }

func (o *groupOffsets) put(topic string, c committed) {
	if o.table == nil {
		o.table = offsetTable{}
	}
	o.table.put(topic, c)
}

func (o *groupOffsets) searchPending(producerID int64) (int, bool) {
	return slices.BinarySearchFunc(o.pending, producerID, func(p pendingOffsets, id int64) int { return cmp.Compare(p.producerID, id) })
}

// unstable says whether a transaction may still change a partition's offset.
func (o *groupOffsets) unstable(topic string, partition int32) bool {
	return slices.ContainsFunc(o.pending, func(p pendingOffsets) bool { return p.table.find(topic, partition) != nil })
}

// transactions knows which groups a producer's open transaction speaks of.
type transactions struct{ groups map[int64][]*group }

func (t *transactions) init() { t.groups = map[int64][]*group{} }

// putOffset takes an offset into the state; producerID -1: it counts at once.
// Where there is no group, the offset makes one: classic, empty, without a
// protocol (a consumer that manages its partitions itself).
func (c *Coordinator) putOffset(g *group, topic string, producerID int64, o committed) {
	if !g.exists() {
		c.adopt(g, newClassicGroup(c, g))
	}
	if producerID < 0 {
		g.offsets.put(topic, o)
		return
	}
	i, ok := g.offsets.searchPending(producerID)
	if !ok {
		g.offsets.pending = slices.Insert(g.offsets.pending, i, pendingOffsets{producerID, offsetTable{}})
		c.txns.groups[producerID] = append(c.txns.groups[producerID], g)
	}
	g.offsets.pending[i].table.put(topic, o)
}

// removeOffset takes an offset out, also of what transactions would commit.
func (c *Coordinator) removeOffset(g *group, topic string, partition int32) {
	g.offsets.table.remove(topic, partition)
	for i := range g.offsets.pending {
		g.offsets.pending[i].table.remove(topic, partition)
	}
	g.offsets.pending = slices.DeleteFunc(g.offsets.pending, func(p pendingOffsets) bool { return len(p.table) == 0 })
}

// EndTransaction says that the marker that ends a producer's transaction is in
// the log of this partition: what it has committed counts from now on, or never.
// All its batches must have been reported (Committed, Failed) before.
func (c *Coordinator) EndTransaction(nowMillis int64, producerID int64, commit bool) {
	c.advance(nowMillis)
	if c.phase != active {
		return
	}
	c.position++
	c.endTransaction(producerID, commit)
}

func (c *Coordinator) endTransaction(producerID int64, commit bool) {
	groups := c.txns.groups[producerID]
	delete(c.txns.groups, producerID)
	for _, g := range groups {
		i, ok := g.offsets.searchPending(producerID)
		if !ok {
			continue
		}
		table := g.offsets.pending[i].table
		g.offsets.pending = slices.Delete(g.offsets.pending, i, i+1)
		if commit {
			g.materialize(table)
		}
		c.sweep(g)
	}
}

// materialize makes a transaction's offsets count, except where someone has
// committed without a transaction after it: the later record wins, because that
// is what a reader of the compacted log would find.
func (g *group) materialize(table offsetTable) {
	for _, topic := range table.names() {
		for _, o := range table[topic].list {
			if have := g.offsets.table.find(topic, o.partition); have == nil || have.position < o.position {
				g.offsets.put(topic, o)
			}
		}
	}
}

func offsetKey(g *group, topic string, partition int32) Key {
	return Key{Type: TypeOffsetCommit, Group: g.id, Name: topic, Partition: partition}
}

// applyOffset is an offset's record, as it comes from the log.
func (c *Coordinator) applyOffset(k Key, v Value, producerID, position int64) {
	switch v := v.(type) {
	case *OffsetCommitValue:
		c.putOffset(c.place(k.Group), k.Name, producerID, committedOf(k.Partition, v, position))
	case *LegacyOffsetCommitValue:
		c.putOffset(c.place(k.Group), k.Name, producerID, committed{partition: k.Partition, leaderEpoch: -1, offset: v.Offset,
			metadata: v.Metadata, at: v.CommitTimestamp, expires: -1, position: position})
	default:
		if g := c.groups[k.Group]; g != nil {
			c.removeOffset(g, k.Name, k.Partition)
			c.sweep(g)
		}
	}
}
