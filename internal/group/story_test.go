package group

import (
	"flag"
	"fmt"
	"slices"
	"strings"
	"testing"

	"slipstream/protocol"

	"github.com/twmb/franz-go/pkg/kmsg"
)

var (
	rewriteStories = flag.Bool("rewrite", false, "rewrite testdata/story")
	recordAnswers  = flag.Bool("record", false, "record testdata/apache anew from KAFKA_ADDR")
)

// TestStories plays testdata/story against the coordinator.
func TestStories(t *testing.T) {
	playAll(t, "story", *rewriteStories, func(t *testing.T) backend { return &machine{world: newWorld(t)} })
}

// TestApache plays testdata/apache against the coordinator with the settings that
// the recorded Kafka had, or records it.
func TestApache(t *testing.T) {
	if *recordAnswers {
		playAll(t, "apache", true, newKafka)
		return
	}
	playAll(t, "apache", false, func(t *testing.T) backend {
		w := newWorld(t)
		w.settings.InitialRebalanceDelayMillis = 0
		w.settings.ConsumerHeartbeatIntervalMillis = 1000
		w.restart()
		return &machine{world: w, lag: 200}
	})
}

// machine is a coordinator as a script's backend.
type machine struct {
	*world
	lag   int64 // what passes with each answer that is waited for
	sent  []sent
	shown int // of the log
}

type sent struct {
	client string
	token  uint64
	req    kmsg.Request
}

func (m *machine) topic(name string, partitions int32) { m.setTopic(name, partitions) }
func (m *machine) drop(name string)                    { m.removeTopic(name) }

func (m *machine) send(client string, req kmsg.Request) {
	m.sent = append(m.sent, sent{client, m.world.send(client, m.arriving(req)), req})
}

func (m *machine) answers() (out []answered) {
	m.world.pass(m.lag)
	kept := m.sent[:0]
	for _, s := range m.sent {
		if a := m.world.answers[s.token]; a != nil {
			out = append(out, answered{s.client, s.req, m.overTheWire(s.req, a)})
		} else {
			kept = append(kept, s)
		}
	}
	m.sent = kept
	return out
}

// arriving is a request as the coordinator reads it.
func (m *machine) arriving(req kmsg.Request) kmsg.Request {
	out := kmsg.RequestForKey(req.Key())
	out.SetVersion(req.GetVersion())
	if err := out.ReadFrom(req.AppendTo(nil)); err != nil {
		m.t.Fatalf("the request %+v: %v", req, err)
	}
	return out
}

// overTheWire is an answer as the client reads it.
func (m *machine) overTheWire(req kmsg.Request, resp kmsg.Response) kmsg.Response {
	out := req.ResponseKind()
	out.SetVersion(req.GetVersion())
	if resp.GetVersion() != req.GetVersion() {
		m.t.Fatalf("a request of version %d has an answer of version %d", req.GetVersion(), resp.GetVersion())
	}
	if err := out.ReadFrom(resp.AppendTo(nil)); err != nil {
		m.t.Fatalf("the answer %+v: %v", resp, err)
	}
	return out
}

func (m *machine) topicID(name string) protocol.UUID { return m.topics.byName[name].ID }

func (m *machine) topicName(id protocol.UUID) string {
	if t, ok := m.topics.TopicByID(id); ok {
		return t.Name
	}
	return id.String()
}

func (m *machine) other(words []string) (string, bool) {
	switch words[0] {
	case "show":
		return m.show(), true
	case "log":
		return m.news(), true
	case "restart":
		m.c.Unload(m.now)
		m.settle()
		m.world.restart()
		m.checkReplay()
	case "hold":
		m.hold = true
	case "land":
		m.hold = false
		m.settle()
	case "fail":
		m.fail(words[1])
	case "end":
		var id int64
		fmt.Sscan(words[1], &id)
		m.endTransaction(id, words[2] == "commit")
	case "set":
		m.set(words[1:])
	default:
		return "", false
	}
	return "", true
}

// fail has the oldest batch in flight fail.
func (m *machine) fail(name string) {
	if len(m.flying) == 0 {
		m.t.Fatal("no batch is in flight")
	}
	for c := protocol.ErrorCode(-1); c < 140; c++ {
		if c.String() == name {
			b := m.flying[0]
			m.flying = m.flying[1:]
			m.c.Failed(m.now, b.Seq, c)
			m.settle()
			return
		}
	}
	m.t.Fatalf("no error is called %s", name)
}

func (m *machine) set(words []string) {
	for _, w := range words {
		name, value, _ := strings.Cut(w, "=")
		n := 0
		fmt.Sscan(value, &n)
		s := &m.settings
		switch name {
		case "group.initial.rebalance.delay.ms":
			s.InitialRebalanceDelayMillis = int32(n)
		case "group.max.size":
			s.MaxSize = int32(n)
		case "group.consumer.max.size":
			s.ConsumerMaxSize = int32(n)
		case "group.consumer.assignment.interval.ms":
			s.ConsumerAssignmentIntervalMillis = int32(n)
		case "group.consumer.migration.policy":
			s.ConsumerMigrationPolicy = MigrationPolicy(slices.Index([]string{"disabled", "upgrade", "downgrade", "bidirectional"}, value))
		case "max.message.bytes":
			s.MaxBatchBytes = int32(n)
		default:
			m.t.Fatalf("what is %s?", name)
		}
	}
	m.c.SetSettings(m.settings)
}

// news is what has been written since it was last asked.
func (m *machine) news() string {
	var out []string
	for _, l := range m.log[m.shown:] {
		out = append(out, "  "+m.tellRecord(l))
	}
	m.shown = len(m.log)
	return strings.Join(out, "\n")
}

func (m *machine) tellRecord(l logged) string {
	if l.marker {
		return fmt.Sprintf("marker of %d: commit %v", l.producerID, l.commit)
	}
	k, err := DecodeKey(l.key)
	if err != nil {
		return err.Error()
	}
	v, err := DecodeValue(k.Type, l.value)
	if err != nil {
		return err.Error()
	}
	who := fmt.Sprintf("%s %s", k.Type, k.Group)
	if k.Name != "" {
		who += " " + k.Name
	}
	if k.Type == TypeOffsetCommit {
		who += fmt.Sprintf("-%d", k.Partition)
	}
	if l.producerID >= 0 {
		who += fmt.Sprintf(" by producer %d", l.producerID)
	}
	return who + ": " + m.tellValue(v)
}

func (m *machine) tellValue(v Value) string {
	switch v := v.(type) {
	case nil:
		return "gone"
	case *OffsetCommitValue:
		return fmt.Sprintf("v%d %d %q", v.Version, v.Offset, v.Metadata)
	case *GroupMetadataValue:
		out := fmt.Sprintf("%q generation %d protocol %s leader %s", v.ProtocolType, v.Generation, shown(v.Protocol), shown(v.Leader))
		for _, p := range v.Members {
			out += fmt.Sprintf("; %s %s", p.MemberID, tellAssignment(p.Assignment))
		}
		return out
	case *ConsumerGroupMetadataValue:
		return fmt.Sprintf("epoch %d", v.Epoch)
	case *ConsumerGroupMemberMetadataValue:
		return fmt.Sprintf("reads %v regex %s, classic %v", v.SubscribedTopicNames, shown(v.SubscribedTopicRegex), v.Classic != nil)
	case *ConsumerGroupTargetAssignmentMetadataValue:
		return fmt.Sprintf("epoch %d", v.AssignmentEpoch)
	case *ConsumerGroupTargetAssignmentMemberValue:
		return m.tellPartitions(v.TopicPartitions)
	case *ConsumerGroupCurrentMemberAssignmentValue:
		return fmt.Sprintf("epoch %d after %d, %s, has %s, gives up %s", v.MemberEpoch, v.PreviousMemberEpoch, tellState(memberState(v.State)),
			m.tellPartitions(v.AssignedPartitions), m.tellPartitions(v.PartitionsPendingRevocation))
	case *ConsumerGroupRegularExpressionValue:
		return fmt.Sprintf("means %v", v.Topics)
	}
	return fmt.Sprintf("%T", v)
}

func tellState(s memberState) string {
	return [...]string{"stable", "unrevoked", "unreleased"}[s]
}

func (m *machine) tellPartitions(list []TopicPartitions) string {
	var out []string
	for _, t := range list {
		out = append(out, fmt.Sprintf("%s%v", m.topicName(t.TopicID), t.Partitions))
	}
	slices.Sort(out)
	return "{" + strings.Join(out, " ") + "}"
}

func (m *machine) tellHeld(a assignment) string {
	return m.tellPartitions(a.records(false))
}

// show is the state, in short.
func (m *machine) show() string {
	var out []string
	for _, g := range m.c.sorted {
		switch {
		case g.classic != nil:
			cg := g.classic
			out = append(out, fmt.Sprintf("%s: classic %s generation %d, %d members, %d pending, %d joining, %d to sync",
				g.id, cg.state, cg.generation, cg.members.count(), len(cg.pending.byID), cg.joining, cg.syncing))
		case g.consumer != nil:
			cg := g.consumer
			out = append(out, fmt.Sprintf("%s: consumer %s epoch %d target %d", g.id, cg.state(), cg.epoch, cg.assignmentEpoch))
			for _, p := range cg.sorted {
				out = append(out, fmt.Sprintf("  %s epoch %d %s has %s gives up %s is to have %s", p.id, p.epoch, tellState(p.state),
					m.tellHeld(p.assigned), m.tellHeld(p.revoking), m.tellHeld(cg.target[p.id])))
			}
		}
		for _, name := range g.offsets.table.names() {
			for _, o := range g.offsets.table[name].list {
				out = append(out, fmt.Sprintf("  %s-%d at %d", name, o.partition, o.offset))
			}
		}
		for _, p := range g.offsets.pending {
			for _, name := range p.table.names() {
				for _, o := range p.table[name].list {
					out = append(out, fmt.Sprintf("  %s-%d pending at %d of producer %d", name, o.partition, o.offset, p.producerID))
				}
			}
		}
	}
	if len(out) == 0 {
		return "no groups"
	}
	return strings.Join(out, "\n")
}
