package group

import (
	"bytes"
	"slices"

	"slipstream/protocol"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// topicAssignment is some partitions of a topic, in order. In what a member has,
// epochs says at which epoch it got each.
type topicAssignment struct {
	topic      protocol.UUID
	partitions []int32
	epochs     []int32
}

// assignment is partitions of topics, by topic id, without empty ones. It is
// never changed in place: members, targets and records share it.
type assignment []topicAssignment

func (a assignment) search(topic protocol.UUID) (int, bool) {
	return slices.BinarySearchFunc(a, topic, func(t topicAssignment, id protocol.UUID) int { return bytes.Compare(t.topic[:], id[:]) })
}

// of gives a topic's part, which may be none.
func (a assignment) of(topic protocol.UUID) topicAssignment {
	if i, ok := a.search(topic); ok {
		return a[i]
	}
	return topicAssignment{topic: topic}
}

func (t *topicAssignment) has(partition int32) bool {
	_, ok := slices.BinarySearch(t.partitions, partition)
	return ok
}

// epochOf is at which epoch a partition was got; ok is false if it is not there.
func (a assignment) epochOf(topic protocol.UUID, partition int32) (epoch int32, ok bool) {
	t := a.of(topic)
	i, ok := slices.BinarySearch(t.partitions, partition)
	if !ok || i >= len(t.epochs) {
		return 0, ok
	}
	return t.epochs[i], true
}

// each gives every partition, in order.
func (a assignment) each(f func(o owner)) {
	for _, t := range a {
		for _, p := range t.partitions {
			f(owner{t.topic, p})
		}
	}
}

func (a assignment) count() (n int) {
	for _, t := range a {
		n += len(t.partitions)
	}
	return n
}

// samePartitions compares without the epochs.
func (a assignment) samePartitions(b assignment) bool {
	return slices.EqualFunc(a, b, func(x, y topicAssignment) bool {
		return x.topic == y.topic && slices.Equal(x.partitions, y.partitions)
	})
}

func (a assignment) equal(b assignment) bool {
	return slices.EqualFunc(a, b, func(x, y topicAssignment) bool {
		return x.topic == y.topic && slices.Equal(x.partitions, y.partitions) && slices.Equal(x.epochs, y.epochs)
	})
}

// normal puts an assignment that came from outside in order: topics and
// partitions sorted, each once, none empty. Epochs are not for such.
func (a assignment) normal() assignment {
	slices.SortStableFunc(a, func(x, y topicAssignment) int { return bytes.Compare(x.topic[:], y.topic[:]) })
	out := a[:0]
	for _, t := range a {
		parts := slices.Clone(t.partitions)
		if n := len(out); n > 0 && out[n-1].topic == t.topic {
			parts = append(parts, out[n-1].partitions...)
			out = out[:n-1]
		}
		slices.Sort(parts)
		if parts = slices.Compact(parts); len(parts) > 0 {
			out = append(out, topicAssignment{topic: t.topic, partitions: parts})
		}
	}
	return out
}

// at has every partition got at epoch.
func (a assignment) at(epoch int32) assignment {
	out := make(assignment, len(a))
	for i, t := range a {
		out[i] = topicAssignment{t.topic, t.partitions, repeated(epoch, len(t.partitions))}
	}
	return out
}

func repeated(epoch int32, n int) []int32 {
	epochs := make([]int32, n)
	for i := range epochs {
		epochs[i] = epoch
	}
	return epochs
}

// records is an assignment as the log has it.
func (a assignment) records(epochs bool) []TopicPartitions {
	out := make([]TopicPartitions, len(a))
	for i, t := range a {
		out[i] = TopicPartitions{TopicID: t.topic, Partitions: t.partitions}
		if epochs {
			out[i].AssignmentEpochs = t.epochs
		}
	}
	return out
}

// assignmentOf reads what the log has. A record of before Kafka 4.3 does not tell
// the epochs of partitions: then they are the member's.
func assignmentOf(records []TopicPartitions, epoch int32, epochs bool) assignment {
	var out assignment
	for _, r := range records {
		if len(r.Partitions) == 0 {
			continue
		}
		t := topicAssignment{topic: r.TopicID, partitions: slices.Clone(r.Partitions)}
		if epochs {
			if t.epochs = slices.Clone(r.AssignmentEpochs); len(t.epochs) != len(t.partitions) {
				t.epochs = repeated(epoch, len(t.partitions))
			}
		}
		t.sort()
		out = append(out, t)
	}
	slices.SortStableFunc(out, func(x, y topicAssignment) int { return bytes.Compare(x.topic[:], y.topic[:]) })
	return out
}

// sort puts the partitions in order and takes their epochs along.
func (t *topicAssignment) sort() {
	if slices.IsSorted(t.partitions) {
		return
	}
	order := make([]int, len(t.partitions))
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(a, b int) int { return int(t.partitions[a]) - int(t.partitions[b]) })
	partitions, epochs := make([]int32, len(order)), make([]int32, 0, len(order))
	for i, from := range order {
		partitions[i] = t.partitions[from]
		if t.epochs != nil {
			epochs = append(epochs, t.epochs[from])
		}
	}
	t.partitions = partitions
	if t.epochs != nil {
		t.epochs = epochs
	}
}

// owned is what a heartbeat says that the member has; known is false if it does
// not say.
type owned struct {
	known  bool
	topics assignment
}

func ownedOf(topics []kmsg.ConsumerGroupHeartbeatRequestTopic) owned {
	if topics == nil {
		return owned{}
	}
	a := make(assignment, 0, len(topics))
	for _, t := range topics {
		a = append(a, topicAssignment{topic: t.TopicID, partitions: t.Partitions})
	}
	return owned{true, a.normal()}
}

// within says whether the member has nothing but what is in a. It does not, if it
// does not say.
func (o owned) within(a assignment) bool {
	if !o.known {
		return false
	}
	for _, t := range o.topics {
		in := a.of(t.topic)
		for _, p := range t.partitions {
			if !in.has(p) {
				return false
			}
		}
	}
	return true
}

// any says whether the member still has something of a, which it does if it does
// not say.
func (o owned) any(a assignment) bool {
	if !o.known {
		return true
	}
	for _, t := range o.topics {
		in := a.of(t.topic)
		for _, p := range t.partitions {
			if in.has(p) {
				return true
			}
		}
	}
	return false
}
