package broker

import (
	"sort"

	"slipstream/internal/group"
	"slipstream/internal/metadata"
	"slipstream/protocol"
)

// What coordinators know of the cluster: the core's image, and what one commit has
// changed in it.

// topicChanges are the topics that one commit made, let grow or removed.
type topicChanges struct {
	created, grown []string
	removed        []group.Topic
}

func (m *topicChanges) add(name string) { m.created = append(m.created, name) }

// grow notes a new partition; those of a new topic are part of its creation.
func (m *topicChanges) grow(name string) {
	for _, list := range [][]string{m.created, m.grown} {
		if n := len(list); n > 0 && list[n-1] == name {
			return
		}
	}
	m.grown = append(m.grown, name)
}

func (m *topicChanges) remove(t *topicState) {
	m.removed = append(m.removed, group.Topic{Name: t.name, ID: t.id, Partitions: int32(t.partitions)})
}

// tellTopics tells every coordinator of this core what a commit has changed.
func (g *coordinating) tellTopics() {
	m := &g.changes
	if len(m.created)+len(m.grown)+len(m.removed) == 0 {
		return
	}
	now := g.millis()
	for _, c := range g.all {
		if c.state == coordinatorServing {
			c.machine.topicsChanged(now, m)
			c.mark()
		}
	}
	*m = topicChanges{}
}

// clusterTopics is the core's image as group.Topics.
type clusterTopics struct{ shard *Shard }

// TopicByName implements group.Topics.
func (t clusterTopics) TopicByName(name string) (group.Topic, bool) {
	return groupTopic(t.shard.image.TopicByName(name))
}

// TopicByID implements group.Topics.
func (t clusterTopics) TopicByID(id protocol.UUID) (group.Topic, bool) {
	return groupTopic(t.shard.image.TopicByID(id))
}

func groupTopic(t *metadata.Topic) (group.Topic, bool) {
	if t == nil {
		return group.Topic{}, false
	}
	return group.Topic{Name: t.Name, ID: protocol.UUID(t.ID), Partitions: int32(len(t.Partitions))}, true
}

// NamesAfter implements group.Topics.
func (t clusterTopics) NamesAfter(dst []string, after string, n int) []string {
	all := t.shard.image.Topics()
	for i := sort.Search(len(all), func(i int) bool { return all[i].Name > after }); i < len(all) && n > 0; i++ {
		dst = append(dst, all[i].Name)
		n--
	}
	return dst
}

// Version implements group.Topics. It is Kafka's, the offset in the metadata log:
// records keep it, so that it must go on where it was after a restart.
func (t clusterTopics) Version() int64 { return t.shard.metadataOffset }
