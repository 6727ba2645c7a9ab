package group

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"slipstream/protocol"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// TestRandom lets clients of both protocols join, leave, crash, fall asleep, come
// back with the other protocol, commit and misbehave in a few groups, while topics
// come and go, batches are held up and the coordinator is replaced. After each
// action the invariants hold; in the end, when all is quiet, every group is whole.
func TestRandom(t *testing.T) {
	seeds := *chaosSeeds
	if testing.Short() {
		seeds = min(seeds, 10)
	}
	for seed := range seeds {
		t.Run(fmt.Sprint(seed), func(t *testing.T) { newChaos(t, seed).run(400) })
	}
}

var chaosSeeds = flag.Uint64("chaos-seeds", 40, "how many seeds TestRandom goes through")

// chaos is a world of clients, and what was seen of it before.
type chaos struct {
	*world
	random    *rand.Rand
	classics  []*classicClient
	consumers []*consumerClient
	born      int
	epochs    map[any]int32 // of each group as long as it lives as such
}

var chaosGroups = []string{"alpha", "beta", "gamma"}
var chaosTopics = []string{"apples", "bananas", "cherries", "dates"}

func newChaos(t *testing.T, seed uint64) *chaos {
	w := newWorld(t)
	w.settings.InitialRebalanceDelayMillis = 500
	w.settings.ConsumerAssignmentIntervalMillis = int32(seed%3) * 500
	w.restart()
	x := &chaos{world: w, random: rand.New(rand.NewPCG(seed, 7)), epochs: map[any]int32{}}
	for i, name := range chaosTopics {
		w.setTopic(name, int32(i+1)*2)
	}
	return x
}

func (x *chaos) run(actions int) {
	for i := range actions {
		x.act()
		x.check(i)
	}
	x.hold = false
	x.land()
	x.settle()
	x.quiet()
}

func (x *chaos) act() {
	n := x.random.IntN(100)
	switch {
	case n < 8:
		x.arrive()
	case n < 40 && len(x.consumers) > 0:
		x.consumers[x.random.IntN(len(x.consumers))].act(x.random)
	case n < 75 && len(x.classics) > 0:
		x.classics[x.random.IntN(len(x.classics))].act(x.random)
	case n < 80:
		x.depart()
	case n < 84:
		x.pass(x.random.Int64N(4000))
	case n < 88:
		x.commit()
	case n < 90:
		x.transaction()
	case n < 92:
		x.setTopic(chaosTopics[x.random.IntN(len(chaosTopics))], 2+x.random.Int32N(8))
	case n < 93:
		if name := chaosTopics[x.random.IntN(len(chaosTopics))]; x.topics.byName[name].Partitions > 0 {
			x.removeTopic(name)
		}
	case n < 95:
		x.garbage()
	case n < 96 && len(x.flying) == 0:
		x.takeOver()
	case n < 98:
		x.hold = !x.hold
		x.settle()
	default:
		x.admin()
	}
}

// takeOver has another coordinator load the log: who waited is cut off.
func (x *chaos) takeOver() {
	x.c.Unload(x.now)
	x.settle()
	x.restart()
	for _, c := range x.classics {
		if c.waits != 0 && x.answers[c.waits] == nil {
			x.t.Fatalf("the request of %s was not answered by Unload", c.name)
		}
	}
}

func (x *chaos) arrive() {
	x.born++
	name := fmt.Sprintf("c%d", x.born)
	group := chaosGroups[x.random.IntN(len(chaosGroups))]
	var instance *string
	if x.random.IntN(4) == 0 {
		s := fmt.Sprintf("i%d", x.random.IntN(3))
		instance = &s
	}
	var topics []string
	for _, t := range chaosTopics {
		if x.random.IntN(2) == 0 {
			topics = append(topics, t)
		}
	}
	if x.random.IntN(2) == 0 && len(x.classics) < 12 {
		x.classics = append(x.classics, &classicClient{w: x.world, name: name, group: group, instance: instance, topics: topics})
	} else if len(x.consumers) < 12 {
		c := &consumerClient{w: x.world, name: name, group: group, id: name, instance: instance, topics: topics, lazy: x.random.IntN(3)}
		if x.random.IntN(3) == 0 {
			s := []string{"a.*", ".*s", "b|c.*", "(apples|dates)"}[x.random.IntN(4)]
			c.regex = &s
		}
		if x.random.IntN(3) == 0 {
			s := []string{"range", "uniform"}[x.random.IntN(2)]
			c.assignor = &s
		}
		x.consumers = append(x.consumers, c)
	}
}

func (x *chaos) depart() {
	if x.random.IntN(2) == 0 && len(x.classics) > 0 {
		i := x.random.IntN(len(x.classics))
		if c := x.classics[i]; x.random.IntN(2) == 0 {
			c.leave()
		}
		x.classics = append(x.classics[:i], x.classics[i+1:]...)
	} else if len(x.consumers) > 0 {
		i := x.random.IntN(len(x.consumers))
		switch c := x.consumers[i]; x.random.IntN(3) {
		case 0:
			c.leave(leftEpoch)
		case 1:
			c.leave(leftForNowEpoch)
		}
		x.consumers = append(x.consumers[:i], x.consumers[i+1:]...)
	}
}

func (x *chaos) commit() {
	req := kmsg.NewPtrOffsetCommitRequest()
	req.Version, req.Group, req.Generation = 9, chaosGroups[x.random.IntN(len(chaosGroups))], -1
	if len(x.consumers) > 0 && x.random.IntN(2) == 0 {
		c := x.consumers[x.random.IntN(len(x.consumers))]
		req.Group, req.MemberID, req.Generation = c.group, c.id, c.epoch
	} else if len(x.classics) > 0 {
		c := x.classics[x.random.IntN(len(x.classics))]
		req.Group, req.MemberID, req.Generation = c.group, c.memberID, c.generation
	}
	topic := kmsg.OffsetCommitRequestTopic{Topic: chaosTopics[x.random.IntN(len(chaosTopics))]}
	for range 1 + x.random.IntN(3) {
		topic.Partitions = append(topic.Partitions, kmsg.OffsetCommitRequestTopicPartition{Partition: x.random.Int32N(8), Offset: x.random.Int64N(1000), LeaderEpoch: -1})
	}
	req.Topics = append(req.Topics, topic)
	x.send("committer", req)
}

func (x *chaos) transaction() {
	if x.random.IntN(3) == 0 && len(x.flying) == 0 {
		x.endTransaction(x.random.Int64N(3), x.random.IntN(2) == 0)
		return
	}
	req := kmsg.NewPtrTxnOffsetCommitRequest()
	req.Version, req.Group, req.Generation, req.ProducerID = 3, chaosGroups[x.random.IntN(len(chaosGroups))], -1, x.random.Int64N(3)
	req.Topics = []kmsg.TxnOffsetCommitRequestTopic{{Topic: chaosTopics[x.random.IntN(len(chaosTopics))],
		Partitions: []kmsg.TxnOffsetCommitRequestTopicPartition{{Partition: x.random.Int32N(6), Offset: x.random.Int64N(1000)}}}}
	if x.random.IntN(4) == 0 {
		x.refuse = protocol.INVALID_PRODUCER_EPOCH
	}
	x.send("producer", req)
	x.refuse = protocol.NONE
}

// garbage is requests that no client sends.
func (x *chaos) garbage() {
	text := func() *string {
		s := []string{"", "c1", "i1", "alpha", "nobody", "(", "a{1000}{1000}"}[x.random.IntN(7)]
		return &s
	}
	epoch := x.random.Int32N(8) - 3
	group := chaosGroups[x.random.IntN(len(chaosGroups))]
	switch x.random.IntN(5) {
	case 0:
		req := kmsg.NewPtrConsumerGroupHeartbeatRequest()
		req.Version, req.Group, req.MemberID, req.MemberEpoch, req.RebalanceTimeoutMillis = 1, group, *text(), epoch, epoch
		req.SubscribedTopicRegex, req.SubscribedTopicNames, req.Topics = text(), []string{*text()}, []kmsg.ConsumerGroupHeartbeatRequestTopic{}
		x.send("garbage", req)
	case 1:
		req := kmsg.NewPtrJoinGroupRequest()
		req.Version, req.Group, req.MemberID, req.SessionTimeoutMillis, req.ProtocolType = int16(x.random.IntN(10)), group, *text(), 6000+epoch, "consumer"
		if x.random.IntN(2) == 0 {
			req.InstanceID = text()
		}
		req.Protocols = []kmsg.JoinGroupRequestProtocol{{Name: "range", Metadata: []byte(*text())}, {Name: "range"}}
		x.send("garbage", req)
	case 2:
		req := kmsg.NewPtrSyncGroupRequest()
		req.Version, req.Group, req.MemberID, req.Generation = 4, group, *text(), epoch
		x.send("garbage", req)
	case 3:
		req := kmsg.NewPtrLeaveGroupRequest()
		req.Version, req.Group = 4, group
		req.Members = []kmsg.LeaveGroupRequestMember{{MemberID: *text(), InstanceID: text()}, {MemberID: *text()}}
		x.send("garbage", req)
	case 4:
		req := kmsg.NewPtrHeartbeatRequest()
		req.Version, req.Group, req.MemberID, req.Generation = 4, group, *text(), epoch
		x.send("garbage", req)
	}
}

func (x *chaos) admin() {
	group := chaosGroups[x.random.IntN(len(chaosGroups))]
	switch x.random.IntN(4) {
	case 0:
		req := kmsg.NewPtrDeleteGroupsRequest()
		req.Groups = []string{group}
		x.send("admin", req)
	case 1:
		req := kmsg.NewPtrOffsetDeleteRequest()
		req.Group = group
		req.Topics = []kmsg.OffsetDeleteRequestTopic{{Topic: chaosTopics[x.random.IntN(len(chaosTopics))],
			Partitions: []kmsg.OffsetDeleteRequestTopicPartition{{Partition: 0}, {Partition: 1}}}}
		x.send("admin", req)
	case 2:
		req := kmsg.NewPtrConsumerGroupDescribeRequest()
		req.Groups = chaosGroups
		x.send("admin", req)
	case 3:
		x.send("admin", kmsg.NewPtrListGroupsRequest())
	}
}

// check holds the invariants.
func (x *chaos) check(action int) {
	x.t.Helper()
	for _, g := range x.c.sorted {
		epoch, life := int32(-1), any(nil)
		if g.classic != nil {
			epoch, life = g.classic.generation, g.classic
		} else if g.consumer != nil {
			epoch, life = g.consumer.epoch, g.consumer
		}
		if life != nil && epoch < x.epochs[life] {
			x.t.Fatalf("action %d: %s went from epoch %d back to %d", action, g.id, x.epochs[life], epoch)
		}
		x.epochs[life] = epoch
	}
	if err := x.c.Check(); err != nil {
		x.t.Fatalf("action %d: %v", action, err)
	}
	if len(x.flying) == 0 && action%5 == 0 {
		x.checkReplay()
	}
}

// quiet lets the clients that are left settle, and then every group must be whole.
func (x *chaos) quiet() {
	x.endFights()
	for range 60 {
		for _, c := range x.classics {
			for range 3 {
				c.act(x.random)
			}
		}
		for _, c := range x.consumers {
			for range 2 {
				c.act(x.random)
			}
		}
		x.pass(3000)
	}
	x.checkReplay()
	for _, g := range x.c.sorted {
		switch {
		case g.consumer != nil && len(g.consumer.members) > 0:
			x.wholeConsumer(g)
		case g.classic != nil && g.classic.state != classicStable && g.classic.state != classicEmpty:
			x.t.Errorf("%s is %s in the end", g.id, g.classic.state)
		}
	}
	for token := range x.token {
		if x.answers[token+1] == nil {
			x.t.Errorf("request %d was never answered", token+1)
		}
	}
}

// endFights lets only one client go on of those that share an instance id: they
// would throw each other out for ever.
func (x *chaos) endFights() {
	used := map[string]bool{}
	first := func(group string, instance *string) bool {
		if instance == nil {
			return true
		}
		again := used[group+*instance]
		used[group+*instance] = true
		return !again
	}
	x.classics = slices.DeleteFunc(x.classics, func(c *classicClient) bool { return !first(c.group, c.instance) })
	x.consumers = slices.DeleteFunc(x.consumers, func(c *consumerClient) bool { return !first(c.group, c.instance) })
}

func (x *chaos) wholeConsumer(g *group) {
	cg := g.consumer
	if cg.state() != consumerStable {
		var b strings.Builder
		dumpConsumer(&b, g, cg)
		x.t.Errorf("%s is %s in the end:\n%s", g.id, cg.state(), &b)
		return
	}
	for name := range cg.subscribed {
		topic, ok := x.topics.byName[name]
		for p := range topic.Partitions {
			if ok && cg.owners.of(topic.ID, p) == nil {
				var b strings.Builder
				dumpConsumer(&b, g, cg)
				x.t.Fatalf("%s: nobody has %s-%d:\n%s", g.id, name, p, &b)
			}
		}
	}
}
