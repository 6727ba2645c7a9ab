package group

import (
	"errors"
	"fmt"
)

// Replay takes a record in from the log, at offset. producerID is the batch's if
// it is transactional, else -1. Records of types that are not this package's are
// passed over, as Kafka does; any other error means that the log is damaged, and
// the record has changed nothing.
func (c *Coordinator) Replay(offset, producerID int64, key, value []byte) error {
	c.position = max(c.position, offset+1)
	var unknown *UnknownRecordError
	k, err := DecodeKey(key)
	if errors.As(err, &unknown) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("at offset %d: %w", offset, err)
	}
	v, err := DecodeValue(k.Type, value)
	if errors.As(err, &unknown) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("at offset %d: %w", offset, err)
	}
	c.replay(k, v, producerID, offset)
	c.ending.saw(k, v)
	return nil
}

// groupEnd is a run of tombstones of one consumer group, at the end of what has been
// read. With a classic group's record behind it, it is a downgrade. Has that fewer
// members than there were, somebody has left, and the others are to join again:
// that is not in the log, and a broker that dies before they have would find a group
// that is stable, with partitions that nobody reads.
type groupEnd struct {
	group   string
	members int
	whole   bool // the group's own tombstone was among them
}

func (e *groupEnd) saw(k Key, v Value) {
	if v != nil || k.Group != e.group {
		*e = groupEnd{group: k.Group}
	}
	if v == nil {
		switch k.Type {
		case TypeConsumerMember:
			e.members++
		case TypeConsumerGroup:
			e.whole = true
		}
	}
}

func (e *groupEnd) downgrades(g *group) bool {
	return e.group == g.id && e.whole && e.members > g.classic.members.count()
}

func (c *Coordinator) replay(k Key, v Value, producerID, position int64) {
	switch k.Type {
	case TypeOffsetCommit, TypeLegacyOffsetCommit:
		c.applyOffset(k, v, producerID, position)
	case TypeGroupMetadata:
		g := c.groups[k.Group]
		if g == nil {
			if v == nil {
				return
			}
			g = c.place(k.Group)
		}
		if v != nil && g.consumer != nil {
			c.dropConsumer(g)
		}
		if v != nil || g.consumer == nil {
			c.applyClassic(g, v)
		}
		if g.classic != nil {
			g.classic.unsettled = c.ending.downgrades(g)
		}
		c.sweep(g)
	case TypeShareMember, TypeShareGroup, TypeShareTarget, TypeShareTargetMember, TypeShareMemberAssignment, TypeShareStatePartitions:
		c.applyShare(k, v)
	default:
		c.applyConsumer(k, v)
	}
}

// ReplayMarker takes in the marker that ends a producer's transaction.
func (c *Coordinator) ReplayMarker(offset, producerID int64, commit bool) {
	c.position = max(c.position, offset+1)
	c.endTransaction(producerID, commit)
}
