package group

import "slipstream/protocol"

// owners knows who has each partition of a consumer group, or must still give it
// up. There is one owner at most. Partitions that a topic has are in a table, so
// that a member with tens of thousands is quickly counted; others, which only a
// classic group's leader can have made up, are in a map.
type owners struct {
	tables map[protocol.UUID][]*consumerMember
	odd    map[owner]*consumerMember
	count  int
}

// owner is a partition, as a key.
type owner struct {
	topic     protocol.UUID
	partition int32
}

// of is a partition's owner, or nil.
func (o *owners) of(topic protocol.UUID, partition int32) *consumerMember {
	if table := o.tables[topic]; int(partition) < len(table) && partition >= 0 && table[partition] != nil {
		return table[partition]
	}
	if len(o.odd) == 0 {
		return nil
	}
	return o.odd[owner{topic, partition}]
}

// add makes m the owner of partitions of a topic that has so many.
func (o *owners) add(m *consumerMember, t *topicAssignment, has int32) {
	table := o.tables[t.topic]
	if int(has) > len(table) {
		table = append(table, make([]*consumerMember, int(has)-len(table))...)
		if o.tables == nil {
			o.tables = map[protocol.UUID][]*consumerMember{}
		}
		o.tables[t.topic] = table
	}
	for _, p := range t.partitions {
		if p >= 0 && int(p) < len(table) {
			if table[p] == nil {
				o.count++
			}
			table[p] = m
			continue
		}
		if o.odd == nil {
			o.odd = map[owner]*consumerMember{}
		}
		o.odd[owner{t.topic, p}] = m
	}
}

// remove takes partitions from m, but not those that another is said to have by
// now, as a compacted log may say in between.
func (o *owners) remove(m *consumerMember, t *topicAssignment) {
	table := o.tables[t.topic]
	for _, p := range t.partitions {
		if p >= 0 && int(p) < len(table) && table[p] == m {
			table[p] = nil
			o.count--
		} else if len(o.odd) > 0 && o.odd[owner{t.topic, p}] == m {
			delete(o.odd, owner{t.topic, p})
		}
	}
	if o.count == 0 {
		clear(o.tables) // topics that are gone leave nothing behind
	}
}
