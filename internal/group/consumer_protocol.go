package group

import (
	"encoding/binary"
	"errors"
)

// The embedded protocol of consumers, which is what the metadata and assignment
// bytes of a classic group are if its protocol type is "consumer" (plain encoding,
// as in codec.go):
//
//	subscription  version int16 | topics []string | user data bytes?
//	              v1+: owned []{topic string, partitions []int32}
//	              v2+: generation int32    v3+: rack string?
//	assignment    version int16 | []{topic string, partitions []int32} | user data bytes?
//
// A version that is newer than 3 begins with what version 3 is.
const consumerProtocolType = "consumer"

const newestConsumerProtocol = 3

var errProtocolVersion = errors.New("the consumer protocol has a negative version")

// consumerSubscription is what a consumer says of itself in JoinGroup.
type consumerSubscription struct {
	version int16
	topics  []string
	owned   []topicList
	rack    *string
}

type topicList struct {
	topic      string
	partitions []int32
}

func readProtocol(b []byte) (*codec, int16) {
	c := &codec{buf: b, reading: true}
	var version int16
	c.int16(&version)
	if version < 0 {
		c.fail(errProtocolVersion)
	}
	return c, min(version, newestConsumerProtocol)
}

func (c *codec) topicList(t *topicList) {
	c.string(&t.topic)
	c.int32s(&t.partitions)
}

// skipBytes passes over a byte string that may be null.
func (c *codec) skipBytes() {
	if n := c.length(0, 1, true); n > 0 {
		c.take(n)
	}
}

func parseSubscription(b []byte) (s consumerSubscription, err error) {
	c, version := readProtocol(b)
	s.version = version
	c.strings(&s.topics)
	c.skipBytes()
	if version >= 1 {
		array(c, &s.owned, 6, (*codec).topicList)
	}
	if version >= 2 {
		var generation int32
		c.int32(&generation)
	}
	if version >= 3 {
		c.nullableString(&s.rack)
	}
	return s, c.err
}

// protocolVersion is the version of consumer protocol bytes.
func protocolVersion(b []byte) (int16, error) {
	c, version := readProtocol(b)
	return version, c.err
}

func parseAssignment(b []byte) (assigned []topicList, err error) {
	if len(b) == 0 {
		return nil, nil // nothing was ever assigned
	}
	c, _ := readProtocol(b)
	array(c, &assigned, 6, (*codec).topicList)
	c.skipBytes()
	return assigned, c.err
}

// assignmentBytes is what a consumer of the classic protocol is told that it has.
// Topics that are gone are left out.
func assignmentBytes(topics Topics, a assignment, version int16) []byte {
	var lists []topicList
	for _, t := range a {
		if topic, ok := topics.TopicByID(t.topic); ok {
			lists = append(lists, topicList{topic.Name, t.partitions})
		}
	}
	c := codec{buf: binary.BigEndian.AppendUint16(nil, uint16(version))}
	array(&c, &lists, 6, (*codec).topicList)
	return binary.BigEndian.AppendUint32(c.buf, 0xffffffff) // no user data
}

// subscription is which topics the members of a classic group read, as far as
// their metadata says. It is worked out when someone asks (OffsetDelete, expiry).
type subscription struct {
	begun  bool // a generation has begun
	fresh  bool
	known  bool // the group's metadata can be read
	topics map[string]struct{}
}

// stale: a new generation has begun.
func (s *subscription) stale() { s.begun, s.fresh = true, false }

// subscribes says whether the group reads a topic. A consumer group of which it is
// not known does.
func (cg *classicGroup) subscribes(topic string) bool {
	s := &cg.subscription
	if s.begun && !s.fresh {
		s.topics, s.known = cg.subscribedTopics()
		s.fresh = true
	}
	if !s.known {
		return cg.isConsumer()
	}
	_, ok := s.topics[topic]
	return ok
}

func (cg *classicGroup) knowsSubscription() bool {
	cg.subscribes("")
	return cg.subscription.known
}

func (cg *classicGroup) subscribedTopics() (topics map[string]struct{}, known bool) {
	if !cg.isConsumer() {
		return nil, false
	}
	topics = map[string]struct{}{}
	if cg.members.count() == 0 {
		return topics, true
	}
	if cg.protocol == nil {
		return nil, false
	}
	for m := range cg.members.all() {
		if m.isNew {
			continue // of the next generation
		}
		// The topics come first in every version, which is all that is wanted here.
		c, _ := readProtocol(m.metadata(*cg.protocol))
		for n := c.length(0, 2, true); n > 0 && c.err == nil; n-- {
			name := c.take(c.length(0, 1, false))
			if _, ok := topics[string(name)]; !ok && c.err == nil {
				topics[string(name)] = struct{}{}
			}
		}
		if c.err != nil {
			return nil, false
		}
	}
	return topics, true
}

// topicIDs makes ids of the names in an assignment; names that are not known are
// left out.
func topicIDs(topics Topics, lists []topicList) assignment {
	var out assignment
	for _, l := range lists {
		if t, ok := topics.TopicByName(l.topic); ok && len(l.partitions) > 0 {
			out = append(out, topicAssignment{topic: t.ID, partitions: l.partitions})
		}
	}
	return out.normal()
}
