package txn

import (
	"math"
	"slices"
	"strings"
	"unicode/utf16"
)

// TopicPartition names a partition that takes part in a transaction: of a topic
// that was produced to, or of __consumer_offsets for a group's offsets.
type TopicPartition struct {
	Topic     string
	Partition int32
}

func compare(a, b TopicPartition) int {
	if c := strings.Compare(a.Topic, b.Topic); c != 0 {
		return c
	}
	return int(a.Partition) - int(b.Partition)
}

// ordered orders partitions in place and drops repeated ones.
func ordered(list []TopicPartition) []TopicPartition {
	slices.SortFunc(list, compare)
	return slices.Compact(list)
}

// contains says whether all of few are in the ordered list.
func contains(list, few []TopicPartition) bool {
	for _, p := range few {
		if _, found := slices.BinarySearchFunc(list, p, compare); !found {
			return false
		}
	}
	return true
}

// union is a new ordered list of both. list is ordered, more need not be.
func union(list, more []TopicPartition) []TopicPartition {
	both := make([]TopicPartition, 0, len(list)+len(more))
	return ordered(append(append(both, list...), more...))
}

// without is the ordered list without p, in place.
func without(list []TopicPartition, p TopicPartition) []TopicPartition {
	if i, found := slices.BinarySearchFunc(list, p, compare); found {
		return slices.Delete(list, i, i+1)
	}
	return list
}

// sameTopic is how many partitions at the start of an ordered, non-empty list are of one topic.
func sameTopic(list []TopicPartition) int {
	n := 1
	for n < len(list) && list[n].Topic == list[0].Topic {
		n++
	}
	return n
}

// topics counts the topics of an ordered list.
func topics(list []TopicPartition) (n int) {
	for len(list) > 0 {
		list = list[sameTopic(list):]
		n++
	}
	return n
}

// PartitionFor is the partition of __transaction_state that a transactional id
// belongs to: Java's hash of the string, without its sign, modulo the number of
// partitions. Kafka finds a group's partition of __consumer_offsets in the same way.
func PartitionFor(id string, partitions int32) int32 {
	var h int32
	for _, unit := range utf16.Encode([]rune(id)) {
		h = 31*h + int32(unit)
	}
	if h == math.MinInt32 {
		return 0
	}
	return max(h, -h) % partitions
}
