package main

import (
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/twmb/franz-go/pkg/kmsg"
	"golang.org/x/sys/unix"
)

// What groups holds open: half the groups speak the classic protocol, half that of
// KIP-848. Kafka's clients heartbeat every 3 and every 5 seconds.
const (
	groupCount          = 5000
	membersPerGroup     = 4
	heartbeatSeconds    = 3
	groupsAtOnce        = 1000
	besideGroupsASecond = 1000 // single-record batches
)

// groups measures a producer beside the heartbeats of many members, and without
// them: the members are there all the while, with sessions that outlive the silence.
func groups(s *scene) error {
	beating, err := s.broker("--set", "group.initial.rebalance.delay.ms=1000", "--set", "group.consumer.session.timeout.ms=600000",
		"--set", "group.consumer.max.session.timeout.ms=600000", "--set", "group.consumer.assignment.interval.ms=0")
	if err != nil {
		return err
	}
	defer func() {
		if err := beating.server.stop(); err != nil {
			s.note("slipstream did not end well: %v: %s", err, beating.server.said)
		}
	}()
	t := newTopic("groups", 1, 1024)
	l, err := beating.lane(t)
	if err != nil {
		return err
	}
	m, err := s.gather(beating, "groups")
	if err != nil {
		return err
	}
	defer closeAll(m.connections)
	beating.server.pause()
	silent := &contender{name: "the same, members silent", role: raw, server: beating.server}
	if err := s.apart(beating); err != nil {
		return err
	}
	what := fmt.Sprintf("one producer, %d batches/s of 1 KiB, beside %d members of %d groups", besideGroupsASecond, len(m.frames), m.groups)
	trials, err := s.interleave(what, s.openRounds(), []*contender{beating, silent}, func(c *contender, _ int) (*measurement, error) {
		o := openLoop{perSecond: besideGroupsASecond, seconds: s.r.seconds}
		if c == beating {
			o.beside = m
		}
		return l.stream(o)
	})
	if err != nil {
		return err
	}
	if m.unanswered > len(m.frames)/100 {
		return fmt.Errorf("%d heartbeats were not answered", m.unanswered)
	}
	with, without := of(trials, ours), of(trials, raw)
	for _, p := range percentiles {
		var g goal
		if p.name == "p99" {
			g = atMost(1.25)
		}
		s.versus("acknowledgement "+p.name, "us", with.quantile(p.value), without.quantile(p.value), g)
	}
	s.versus("processor share of the broker", "", with.per(serverCPU, seconds), without.per(serverCPU, seconds), goal{})
	s.alone("heartbeats a second", "", series{all: float64(len(m.frames)) / heartbeatSeconds}, goal{})
	s.plotTrials("Acknowledgement beside heartbeats", trials)
	return nil
}

// members are the members of many groups, and how each says that it is alive.
type members struct {
	groups      int
	joining     []*client // one for each that joins; a member is not bound to it
	connections []*client
	frames      [][]byte // by member: the heartbeat, always the same
	beat        int      // the next member
	interval    int64    // nanoseconds from one member's heartbeat to the next one's
	unanswered  int
	buffer      [4096]byte
	partial     [][]byte // by connection: what has come of an answer
}

// gather makes the groups, as many at once as one initial rebalance takes in.
func (s *scene) gather(c *contender, topic string) (*members, error) {
	m := &members{groups: max(s.r.amount(groupCount), 4)}
	n := m.groups * membersPerGroup
	m.interval = int64(heartbeatSeconds * 1e9 / n)
	connections := n
	var limit unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_NOFILE, &limit) == nil && int(limit.Cur) < n+500 {
		connections = n / 4
		s.note("four members share a connection: the limit of open files is %d", limit.Cur)
	}
	find := kmsg.NewPtrFindCoordinatorRequest()
	find.CoordinatorKeys, find.Version = []string{"any"}, 4
	first, err := dial(c.server.port)
	if err != nil {
		return nil, err
	}
	defer first.close()
	if _, err := first.call(find); err != nil {
		return nil, err
	}
	if m.connections, err = dialMany(c.server.port, connections); err != nil {
		return nil, err
	}
	if m.joining, err = dialMany(c.server.port, min(m.groups, groupsAtOnce)*membersPerGroup); err != nil {
		return nil, err
	}
	defer closeAll(m.joining)
	for from := 0; from < m.groups; from += groupsAtOnce {
		to := min(from+groupsAtOnce, m.groups)
		if err := m.joinClassic(from, to); err != nil {
			return nil, fmt.Errorf("classic groups %d to %d: %w", from, to, err)
		}
		if err := m.joinConsumers(from, to, topic); err != nil {
			return nil, fmt.Errorf("consumer groups %d to %d: %w", from, to, err)
		}
	}
	m.partial = make([][]byte, len(m.connections))
	return m, nil
}

// joiner is a member that is about to join, on a connection of the setup's.
type joiner struct {
	group, id  string
	generation int32
	leader     bool
	c          *client
}

// joiners are those groups from one to another whose number is odd or even.
func joiners(c []*client, from, to, odd int) (all []*joiner) {
	for g := from; g < to; g++ {
		if g%2 != odd {
			continue
		}
		for i := range membersPerGroup {
			all = append(all, &joiner{group: fmt.Sprintf("group-%d", g), id: fmt.Sprintf("member-%d-%d", g, i), c: c[len(all)]})
		}
	}
	return all
}

// ask sends a request for every joiner, then takes the answers.
func ask(all []*joiner, request func(j *joiner) kmsg.Request, take func(j *joiner, resp kmsg.Response) error) error {
	for _, j := range all {
		if err := j.c.write(kmsg.NewRequestFormatter().AppendRequest(nil, request(j), 1)); err != nil {
			return err
		}
	}
	for _, j := range all {
		resp, err := j.c.answer(request(j))
		if err != nil {
			return err
		}
		if err := take(j, resp); err != nil {
			return fmt.Errorf("%s: %w", j.group, err)
		}
	}
	return nil
}

func (m *members) joinClassic(from, to int) error {
	all := joiners(m.joining, from, to, 0)
	err := ask(all, func(j *joiner) kmsg.Request {
		req := kmsg.NewPtrJoinGroupRequest()
		req.Version, req.Group, req.ProtocolType = 3, j.group, "consumer"
		req.SessionTimeoutMillis, req.RebalanceTimeoutMillis = 600_000, 60_000
		p := kmsg.NewJoinGroupRequestProtocol()
		p.Name, p.Metadata = "range", make([]byte, 60)
		req.Protocols = append(req.Protocols, p)
		return req
	}, func(j *joiner, resp kmsg.Response) error {
		r := resp.(*kmsg.JoinGroupResponse)
		j.id, j.generation, j.leader = r.MemberID, r.Generation, r.MemberID == r.LeaderID
		return code(r.ErrorCode)
	})
	if err != nil {
		return err
	}
	byGroup := map[string][]string{}
	for _, j := range all {
		byGroup[j.group] = append(byGroup[j.group], j.id)
	}
	err = ask(all, func(j *joiner) kmsg.Request {
		req := kmsg.NewPtrSyncGroupRequest()
		req.Version, req.Group, req.MemberID, req.Generation = 3, j.group, j.id, j.generation
		for _, id := range byGroup[j.group] {
			if j.leader {
				a := kmsg.NewSyncGroupRequestGroupAssignment()
				a.MemberID, a.MemberAssignment = id, make([]byte, 60)
				req.GroupAssignment = append(req.GroupAssignment, a)
			}
		}
		return req
	}, func(_ *joiner, resp kmsg.Response) error { return code(resp.(*kmsg.SyncGroupResponse).ErrorCode) })
	for _, j := range all {
		req := kmsg.NewPtrHeartbeatRequest()
		req.Version, req.Group, req.MemberID, req.Generation = 4, j.group, j.id, j.generation
		m.frames = append(m.frames, formatter.AppendRequest(nil, req, correlation))
	}
	return err
}

// consumerRounds is how often members of a new consumer group heartbeat until every
// one has what it is to have.
const consumerRounds = 12

func (m *members) joinConsumers(from, to int, topic string) error {
	all := joiners(m.joining, from, to, 1)
	beat := func(j *joiner) *kmsg.ConsumerGroupHeartbeatRequest {
		req := kmsg.NewPtrConsumerGroupHeartbeatRequest()
		req.Version, req.Group, req.MemberID, req.MemberEpoch, req.RebalanceTimeoutMillis = 1, j.group, j.id, j.generation, -1
		return req
	}
	settled := false
	for round := 0; round < consumerRounds && !settled; round++ {
		settled = true
		epochs := map[string][]int32{}
		err := ask(all, func(j *joiner) kmsg.Request {
			req := beat(j)
			if j.generation == 0 {
				req.RebalanceTimeoutMillis, req.SubscribedTopicNames = 600_000, []string{topic}
				req.Topics = []kmsg.ConsumerGroupHeartbeatRequestTopic{}
			}
			return req
		}, func(j *joiner, resp kmsg.Response) error {
			r := resp.(*kmsg.ConsumerGroupHeartbeatResponse)
			j.generation = r.MemberEpoch
			epochs[j.group] = append(epochs[j.group], r.MemberEpoch)
			return code(r.ErrorCode)
		})
		if err != nil {
			return err
		}
		for _, of := range epochs {
			settled = settled && slices.Min(of) == slices.Max(of)
		}
		if !settled {
			sleepSeconds(0.3) // group.consumer.assignment.interval.ms is a second
		}
	}
	if !settled {
		return fmt.Errorf("members have not the same epoch after %d heartbeats", consumerRounds)
	}
	for _, j := range all {
		m.frames = append(m.frames, formatter.AppendRequest(nil, beat(j), correlation))
	}
	return nil
}

func code(e int16) error {
	if e != 0 {
		return fmt.Errorf("error %d", e)
	}
	return nil
}

// join has the members heartbeat in a stream's loop, as long as that lasts.
func (m *members) join(st *stream) error {
	m.beat, m.unanswered = 0, 0
	for i, c := range m.connections {
		m.partial[i] = m.partial[i][:0]
		if err := st.loop.add(c, func() error { return m.answered(i) }); err != nil {
			return err
		}
	}
	end := st.dueAt(st.count)
	due := func() int64 {
		if at := st.begun + int64(m.beat)*m.interval; at < end {
			return at
		}
		return never
	}
	st.loop.due = func() int64 { return min(st.due(), due()) }
	st.loop.tick = func() error {
		if st.due() <= due() {
			return st.send()
		}
		i := m.beat % len(m.frames)
		m.beat++
		m.unanswered++
		return m.connections[i%len(m.connections)].write(m.frames[i])
	}
	return nil
}

// answered takes what has come on a connection.
func (m *members) answered(i int) error {
	n, err := m.connections[i].receive(m.buffer[:], 0)
	if err != nil {
		return err
	}
	p := append(m.partial[i], m.buffer[:n]...)
	for len(p) >= 4 {
		size := 4 + int(binary.BigEndian.Uint32(p))
		if len(p) < size {
			break
		}
		// Both kinds: length, correlation id, tags, throttle time, error code.
		if size < 15 || p[13] != 0 || p[14] != 0 {
			return fmt.Errorf("a heartbeat was answered %x", p[:size])
		}
		m.unanswered--
		p = p[size:]
	}
	m.partial[i] = append(m.partial[i][:0], p...)
	return nil
}
