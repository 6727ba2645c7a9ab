package broker

import (
	"strconv"
	"strings"

	"slipstream/internal/group"
	"slipstream/internal/metadata"
	"slipstream/protocol"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// groupMachine drives internal/group for one partition of __consumer_offsets.
type groupMachine struct {
	of      *coordinated
	groups  *group.Coordinator
	waiting map[uint64]func(kmsg.Response)
	token   uint64
	guards  map[int64]uint64 // by producer: of verified transactions whose batch is yet to be appended
}

// groupMemberBytes is what members of a core's groups may have it keep of their
// protocols and subscriptions.
const groupMemberBytes = 128 << 20

// answerStep is how many answers are made and sent between two looks at the clock;
// one takes 3 to 20 us.
const answerStep = 8

func newGroupMachine(c *coordinated) machine {
	m := &groupMachine{of: c, waiting: make(map[uint64]func(kmsg.Response)), guards: make(map[int64]uint64)}
	s := c.shard
	m.groups = group.New(group.Options{
		Settings: m.settings(), Topics: clusterTopics{s}, Memory: &s.coordinating.members, Stats: &s.coordinating.groups,
		RandomID: func() (id protocol.UUID) { s.broker.kernel.Random(id[:]); return id },
	})
	return m
}

func (m *groupMachine) settings() group.Settings {
	s := m.of.shard
	out := s.broker.settings.Topics.Groups(s.brokerConfigs())
	out.MaxBatchBytes = m.of.hosted.topic.settings.MaxMessageBytes
	out.Group = s.groupSettings
	return out
}

func (m *groupMachine) configure() { m.groups.SetSettings(m.settings()) }

// step takes a request; answer gets the response on this core, once.
func (m *groupMachine) step(r group.Request, answer func(kmsg.Response)) {
	m.token++
	r.Token = m.token
	m.waiting[m.token] = answer
	m.groups.Step(m.of.shard.coordinating.millis(), r)
}

func (m *groupMachine) check() error { return m.groups.Check() }

func (m *groupMachine) ready(int64) (out machineReady) {
	core := m.of.shard.core
	for {
		r := m.groups.Ready(answerStep)
		out.deadlineMillis, out.more = r.DeadlineMillis, r.More
		for i := range r.Batches {
			out.batches = append(out.batches, m.batch(&r.Batches[i]))
		}
		m.runErrands(r.Errands)
		m.shareMembersLeft(r.Left)
		for i := range r.Responses {
			answer := m.waiting[r.Responses[i].Token]
			delete(m.waiting, r.Responses[i].Token)
			answer(r.Responses[i].Body)
		}
		if len(r.Responses) < answerStep || core.ReadClock()-m.of.begun > turnBudgetNanos {
			clear(m.guards)
			return out
		}
	}
}

func (m *groupMachine) batch(b *group.Batch) machineBatch {
	records := make([]protocol.Record, len(b.Records))
	stamp := m.of.shard.core.Wall / 1e6
	for i, raw := range b.Records {
		records[i] = protocol.Record{Timestamp: stamp, Key: raw.Key, Value: raw.Value}
	}
	return machineBatch{
		seq: b.Seq, records: records, producerID: b.ProducerID, producerEpoch: b.ProducerEpoch, verified: m.guards[b.ProducerID],
	}
}

func (m *groupMachine) replay(r *loadedRecord) error {
	if r.marker {
		m.groups.ReplayMarker(r.offset, r.producerID, r.commit)
		return nil
	}
	return m.groups.Replay(r.offset, r.producerID, r.key, r.value)
}

func (m *groupMachine) loaded(now int64) { m.groups.Loaded(now) }
func (m *groupMachine) tick(now int64)   { m.groups.Tick(now) }
func (m *groupMachine) work(now int64)   { m.groups.Work(now) }
func (m *groupMachine) broken() bool     { return m.groups.Unfinished() }
func (m *groupMachine) resign(now int64) { m.groups.Unload(now) }

func (m *groupMachine) committed(now int64, seq uint64) { m.groups.Committed(now, seq) }

func (m *groupMachine) failed(now int64, seq uint64, code protocol.ErrorCode) {
	m.groups.Failed(now, seq, code)
}

func (m *groupMachine) endTransaction(now, producerID int64, commit bool) {
	m.groups.EndTransaction(now, producerID, commit)
}

func (m *groupMachine) topicsChanged(now int64, t *topicChanges) {
	m.groups.TopicsChanged(now, t.created, t.grown, t.removed)
}

// groupSettings are what a group itself sets (ConfigResource GROUP).
func (s *Shard) groupSettings(id string) (out group.GroupSettings, ok bool) {
	of := metadata.Resource{Type: metadata.ResourceGroup, Name: id}
	if len(s.image.Configs(of)) == 0 {
		return out, false
	}
	number := func(name string) int32 {
		text, _ := s.image.Config(of, name)
		n, _ := strconv.ParseInt(strings.TrimSpace(text), 10, 32) // checked when it was set
		return int32(n)
	}
	return group.GroupSettings{
		ConsumerSessionTimeoutMillis:     number("consumer.session.timeout.ms"),
		ConsumerHeartbeatIntervalMillis:  number("consumer.heartbeat.interval.ms"),
		ConsumerAssignmentIntervalMillis: number("consumer.assignment.interval.ms"),
		ShareSessionTimeoutMillis:        number("share.session.timeout.ms"),
		ShareHeartbeatIntervalMillis:     number("share.heartbeat.interval.ms"),
		ShareAssignmentMillis:            number("share.assignment.interval.ms"),
	}, true
}
