package metadata

import (
	"fmt"
	"slices"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// placedController is a controller whose node, 1, has these directories.
func placedController(t *testing.T, dirs []Directory) *Controller {
	t.Helper()
	im := NewImage()
	var ids []UUID
	for _, d := range dirs {
		ids = append(ids, d.ID)
	}
	if err := im.Apply(&RegisterBrokerRecord{BrokerID: 1, BrokerEpoch: 5, LogDirs: ids}); err != nil {
		t.Fatal(err)
	}
	next := byte(0)
	return &Controller{
		Image: im, NodeID: 1, NumPartitions: 1, ReplicationFactor: 1, Directories: dirs, Configs: anyConfigs{},
		RandomID: func() UUID { next++; return UUID{9, next} },
	}
}

// anyConfigs takes every config.
type anyConfigs struct{}

func (anyConfigs) Validate(Resource, []ConfigEntry) error { return nil }
func (anyConfigs) List(Resource, string) (string, bool)   { return "", false }
func (anyConfigs) Describe([]ConfigEntry) []kmsg.CreateTopicsResponseTopicConfig {
	return nil
}

func createsTopic(c *Controller, name string, partitions int32) ([]Record, int16) {
	req := kmsg.NewPtrCreateTopicsRequest()
	one := kmsg.NewCreateTopicsRequestTopic()
	one.Topic, one.NumPartitions, one.ReplicationFactor = name, partitions, 1
	req.Topics = append(req.Topics, one)
	resp, records := c.CreateTopics(req)
	return records, resp.Topics[0].ErrorCode
}

// TestPlacement: where new partitions go, by how much room the directories have and how many partitions are there.
func TestPlacement(t *testing.T) {
	a, b, c := UUID{1}, UUID{2}, UUID{3}
	const gib = 1 << 30
	for _, x := range []struct {
		name  string
		dirs  []Directory
		have  map[UUID]int // partitions there before
		make  int32
		want  []int // of the new ones, by directory
		fails bool
	}{
		{"alike: they take turns", []Directory{{ID: a, UsableBytes: 100 * gib}, {ID: b, UsableBytes: 100 * gib}, {ID: c, UsableBytes: 100 * gib}}, nil, 9, []int{3, 3, 3}, false},
		{"nearly alike", []Directory{{ID: a, UsableBytes: 100*gib - 1}, {ID: b, UsableBytes: 100 * gib}}, nil, 100, []int{50, 50}, false},
		{"one large, one small", []Directory{{ID: a, UsableBytes: 900 * gib}, {ID: b, UsableBytes: 100 * gib}}, nil, 100, []int{90, 10}, false},
		{"one full", []Directory{{ID: a, UsableBytes: 100 * gib}, {ID: b}}, nil, 10, []int{10, 0}, false},
		{"all full: the fewest partitions", []Directory{{ID: a}, {ID: b}}, map[UUID]int{a: 3}, 5, []int{1, 4}, false},
		{"a new, empty disk catches up", []Directory{{ID: a, UsableBytes: 100 * gib}, {ID: b, UsableBytes: 100 * gib}}, map[UUID]int{a: 10}, 20, []int{5, 15}, false},
		{"on one file system: the fewest partitions", []Directory{{ID: a, UsableBytes: 7 * gib}, {ID: b, UsableBytes: 7 * gib}}, map[UUID]int{a: 1, b: 2}, 3, []int{2, 1}, false},
		{"cordoned", []Directory{{ID: a, UsableBytes: 100 * gib, Cordoned: true}, {ID: b, UsableBytes: gib}}, nil, 4, []int{0, 4}, false},
		{"all cordoned", []Directory{{ID: a, UsableBytes: gib, Cordoned: true}}, nil, 4, nil, true},
		{"the only one", []Directory{{ID: a}}, nil, 3, []int{3}, false},
	} {
		t.Run(x.name, func(t *testing.T) {
			ctl := placedController(t, x.dirs)
			topic := UUID{8}
			if err := ctl.Image.Apply(&TopicRecord{Name: "before", TopicID: topic}); err != nil {
				t.Fatal(err)
			}
			n := int32(0)
			for _, d := range x.dirs {
				for range x.have[d.ID] {
					if err := ctl.Image.Apply(&PartitionRecord{Version: partitionVersion, PartitionID: n, TopicID: topic, Replicas: []int32{1}, ISR: []int32{1}, Leader: 1, Directories: []UUID{d.ID}}); err != nil {
						t.Fatal(err)
					}
					n++
				}
			}
			for range 2 { // a decision that came to nothing does not count
				records, code := createsTopic(ctl, "new", x.make)
				if x.fails {
					if code == 0 {
						t.Fatal("created")
					}
					return
				}
				got := make([]int, len(x.dirs))
				for _, r := range records {
					if p, ok := r.(*PartitionRecord); ok {
						got[slices.IndexFunc(x.dirs, func(d Directory) bool { return d.ID == p.Directories[0] })]++
					}
				}
				if !slices.Equal(got, x.want) {
					t.Fatalf("%v, want %v", got, x.want)
				}
			}
		})
	}
}

// TestPlacementOneByOne makes topics of one partition each: the counts stay in proportion, and deleted ones make place.
func TestPlacementOneByOne(t *testing.T) {
	dirs := []Directory{{ID: UUID{1}, UsableBytes: 300}, {ID: UUID{2}, UsableBytes: 100}}
	c := placedController(t, dirs)
	for i := range 40 {
		records, code := createsTopic(c, fmt.Sprint("t", i), 1)
		if code != 0 {
			t.Fatal(code)
		}
		if err := c.Image.ApplyAll(records); err != nil {
			t.Fatal(err)
		}
	}
	if x, y := c.Image.ReplicasIn(UUID{1}), c.Image.ReplicasIn(UUID{2}); x != 30 || y != 10 {
		t.Errorf("%d and %d partitions, want 30 and 10", x, y)
	}
	for i := range 40 {
		if err := c.Image.Apply(&RemoveTopicRecord{TopicID: c.Image.TopicByName(fmt.Sprint("t", i)).ID}); err != nil {
			t.Fatal(err)
		}
	}
	if len(c.Image.directories) != 0 {
		t.Errorf("directories of partitions that are no more: %v", c.Image.directories)
	}
}

// TestFailDirectory: the partitions in it have no leader, can be led again, and are offline replicas; others are left alone.
func TestFailDirectory(t *testing.T) {
	a, b := UUID{1}, UUID{2}
	c := placedController(t, []Directory{{ID: a, UsableBytes: 100}, {ID: b, UsableBytes: 100}})
	if err := c.Image.Apply(&FeatureLevelRecord{Name: featureELR, FeatureLevel: 1}); err != nil {
		t.Fatal(err)
	}
	records, _ := createsTopic(c, "t", 4)
	if err := c.Image.ApplyAll(records); err != nil {
		t.Fatal(err)
	}
	if err := c.Image.ApplyAll(c.FailDirectory(b)); err != nil {
		t.Fatal(err)
	}
	topic := c.Image.TopicByName("t")
	for i := range topic.Partitions {
		p := &topic.Partitions[i]
		lost := p.Directories[0] == b
		if (p.Leader == NoLeader) != lost || slices.Equal(p.EligibleLeaderReplicas, []int32{1}) != lost || slices.Equal(c.Image.Offline(p), []int32{1}) != lost {
			t.Errorf("%+v, offline %v", p, c.Image.Offline(p))
		}
	}
	if got := c.Image.Broker(1).LogDirs; !slices.Equal(got, []UUID{a}) {
		t.Errorf("registered directories: %v", got)
	}
	if records := c.FailDirectory(b); len(records) != 0 {
		t.Errorf("failing it again: %v", records)
	}
	records, _ = createsTopic(c, "later", 3)
	for _, r := range records {
		if p, ok := r.(*PartitionRecord); ok && p.Directories[0] != a {
			t.Errorf("a new partition in %v", p.Directories)
		}
	}
}
