package group

import (
	"slices"
	"strings"

	"slipstream/protocol"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// Topics is what a coordinator knows of the cluster: an image that the driver
// keeps and moves on between inputs, telling the coordinator by TopicsChanged.
type Topics interface {
	// TopicByName and TopicByID find a topic; ok is false if there is none.
	TopicByName(name string) (t Topic, ok bool)
	TopicByID(id protocol.UUID) (t Topic, ok bool)
	// NamesAfter appends to dst the names that follow after, in order, at most n.
	NamesAfter(dst []string, after string, n int) []string
	// Version grows with every change.
	Version() int64
}

// Topic is a topic as far as groups care.
type Topic struct {
	Name       string
	ID         protocol.UUID
	Partitions int32
}

// Options are what a Coordinator is made of.
type Options struct {
	Settings Settings
	Topics   Topics
	// Memory bounds what members make this coordinator keep, with others that share
	// it; nil: nothing does.
	Memory *Memory
	// RandomID returns 16 random bytes, of which member ids are made.
	RandomID func() protocol.UUID
	// Stats is counted in; nil: in one of its own.
	Stats *Stats
}

// Request is a client's request for a group of this coordinator.
type Request struct {
	Token      uint64 // the driver's; comes back with the response
	ClientID   string
	ClientHost string // as Kafka writes it: "/" and the address
	// Body is the decoded request. A request that names several groups (OffsetFetch
	// v8+, DescribeGroups, DeleteGroups, ConsumerGroupDescribe, ListGroups) goes to
	// each coordinator with those of its groups, and the driver puts the answers
	// together. Of Body only strings, which are immutable, and copies of bytes are
	// kept; a SyncGroup's bytes may be read until it is answered.
	Body kmsg.Request
}

// Response is an answer that may be sent now.
type Response struct {
	Token uint64
	Body  kmsg.Response
}

// RawRecord is one record of a batch; Value nil: a tombstone.
type RawRecord struct{ Key, Value []byte }

// Batch is records that are to be appended to the partition as one batch. Its
// memory is valid until Committed or Failed is told of it.
type Batch struct {
	Seq     uint64 // what Committed and Failed call it; rises by one
	Records []RawRecord

	// A transactional batch (TxnOffsetCommit) carries its producer; ProducerID is -1
	// in any other. It has no sequence number.
	ProducerID    int64
	ProducerEpoch int16
}

// Ready is what there is to do after an input. Its slices are valid until the
// next call of Ready.
type Ready struct {
	Batches   []Batch
	Responses []Response

	// DeadlineMillis is when Tick is to be called at the latest; 0: no need.
	DeadlineMillis int64
	// Errands is what is to be done with the kept states of share-partitions; each is
	// reported by ErrandDone. Left are members that have left share groups.
	Errands []ShareErrand
	Left    []ShareMember
	// More: there is work (Work) or there are responses beyond the limit; come back
	// soon, after others have had their turn.
	More bool
}

// Coordinator serves the groups of one partition of __consumer_offsets. It
// belongs to one core. See the package's comment for how it is driven.
type Coordinator struct {
	settings Settings
	topics   Topics
	stats    *Stats
	random   func() protocol.UUID

	now    int64 // milliseconds, of the latest input
	phase  phase
	failed protocol.ErrorCode

	groups   map[string]*group
	sorted   []*group // by id
	ending   groupEnd // while loading
	position int64    // the place in the log of the next record: orders offsets against each other
	txns     transactions
	shares   shareGroups

	timers  timers
	jobs    jobs
	out     outbox
	account account

	expiry   timer
	byTopic  map[string]map[string]*group // which consumer groups are subscribed to a topic
	newTopic int64                        // the version of the image that last had a new topic
}

type phase int8

const (
	loading phase = iota
	active
	failedPhase
	unloaded
)

// New is a coordinator that is loading: it answers requests with
// COORDINATOR_LOAD_IN_PROGRESS until Loaded.
func New(o Options) *Coordinator {
	c := &Coordinator{
		settings: o.Settings, topics: o.Topics, random: o.RandomID,
		groups: map[string]*group{}, byTopic: map[string]map[string]*group{},
		newTopic: -1, account: newAccount(o.Memory),
	}
	if c.stats = o.Stats; c.stats == nil {
		c.stats = &Stats{}
	}
	c.txns.init()
	c.shares.byID = map[string]*shareGroup{}
	c.out.init()
	c.expiry.fire = (*Coordinator).startExpiry
	return c
}

// SetSettings changes the settings, for what happens from now on.
func (c *Coordinator) SetSettings(s Settings) { c.settings = s }

// group is a group of any kind, with its offsets. It has at most one of classic
// and consumer; with neither it is no group to anyone, but still has offsets or a
// transaction that speaks of it.
type group struct {
	id       string
	batch    uint64 // the newest batch with records of it: what answers about it wait for
	classic  *classicGroup
	consumer *consumerGroup
	offsets  groupOffsets
}

func (g *group) exists() bool { return g.classic != nil || g.consumer != nil }

func (g *group) empty() bool {
	if g.classic != nil {
		return g.classic.state == classicEmpty
	}
	return len(g.consumer.members) == 0
}

// find gives a group that exists, or nil.
func (c *Coordinator) find(id string) *group {
	if g := c.groups[id]; g != nil && g.exists() {
		return g
	}
	return nil
}

// place gives the group's place, made if need be; it may not exist as a group yet.
func (c *Coordinator) place(id string) *group {
	if g := c.groups[id]; g != nil {
		return g
	}
	g := &group{id: id}
	c.groups[id] = g
	at, _ := c.search(id)
	c.sorted = slices.Insert(c.sorted, at, g)
	return g
}

func (c *Coordinator) search(id string) (int, bool) {
	return slices.BinarySearchFunc(c.sorted, id, func(g *group, id string) int { return strings.Compare(g.id, id) })
}

// sweep tidies a place up after something has gone from it. Offsets without a
// group are a simple one's, as they are when they are read from the log; a simple
// group without offsets is none; and a place without either is given up.
func (c *Coordinator) sweep(g *group) {
	if c.groups[g.id] != g {
		return
	}
	if !g.offsets.none() {
		if !g.exists() {
			c.adopt(g, newClassicGroup(c, g))
		}
		return
	}
	if cg := g.classic; cg != nil && !cg.recorded && cg.state == classicEmpty && len(cg.pending.byID) == 0 {
		c.dropClassic(g)
	}
	if g.exists() {
		return
	}
	delete(c.groups, g.id)
	if at, ok := c.search(g.id); ok {
		c.sorted = slices.Delete(c.sorted, at, at+1)
	}
}

// Step takes a request. Its answer comes by Ready, at once or when what it waits
// for has happened.
func (c *Coordinator) Step(nowMillis int64, r Request) {
	c.advance(nowMillis)
	if code := c.refusing(); code != protocol.NONE {
		c.respond(nil, &r, refusedResponse(r.Body, code))
		return
	}
	if c.stepShare(&r) {
		return
	}
	switch body := r.Body.(type) {
	case *kmsg.JoinGroupRequest:
		c.joinGroup(&r, body)
	case *kmsg.SyncGroupRequest:
		c.syncGroup(&r, body)
	case *kmsg.HeartbeatRequest:
		c.heartbeat(&r, body)
	case *kmsg.LeaveGroupRequest:
		c.leaveGroup(&r, body)
	case *kmsg.OffsetCommitRequest:
		c.offsetCommit(&r, body)
	case *kmsg.TxnOffsetCommitRequest:
		c.txnOffsetCommit(&r, body)
	case *kmsg.OffsetFetchRequest:
		c.offsetFetch(&r, body)
	case *kmsg.OffsetDeleteRequest:
		c.offsetDelete(&r, body)
	case *kmsg.ConsumerGroupHeartbeatRequest:
		c.consumerHeartbeat(&r, body)
	case *kmsg.ConsumerGroupDescribeRequest:
		c.consumerDescribe(&r, body)
	case *kmsg.DescribeGroupsRequest:
		c.describeGroups(&r, body)
	case *kmsg.ListGroupsRequest:
		c.listGroups(&r, body)
	case *kmsg.DeleteGroupsRequest:
		c.deleteGroups(&r, body)
	default:
		c.respond(nil, &r, refusedResponse(r.Body, protocol.UNSUPPORTED_VERSION))
	}
}

// refusing says with which error requests are turned away; NONE: they are not.
func (c *Coordinator) refusing() protocol.ErrorCode {
	switch c.phase {
	case loading:
		return protocol.COORDINATOR_LOAD_IN_PROGRESS
	case active:
		return protocol.NONE
	}
	return protocol.NOT_COORDINATOR
}

func (c *Coordinator) advance(nowMillis int64) {
	c.now = max(c.now, nowMillis) // a clock that is set back does not undo what has happened
}

// Tick lets timers expire that are due, at most a few dozen: the deadline of the
// next Ready says whether there are more.
func (c *Coordinator) Tick(nowMillis int64) {
	c.advance(nowMillis)
	if c.phase != active {
		return
	}
	for range timersATick {
		t := c.timers.expired(c.now)
		if t == nil {
			return
		}
		t.fire(c)
	}
}

// Loaded ends the replay: the coordinator serves from now on. Its members have
// their whole session timeout from now.
func (c *Coordinator) Loaded(nowMillis int64) {
	c.advance(nowMillis)
	if c.phase != loading {
		return
	}
	c.phase = active
	c.newTopic = c.topics.Version()
	c.jobs.add(&wakeUp{})
	c.jobs.add(&wakeShares{})
	c.shares.left = nil // those who left before
	c.timers.arm(&c.expiry, c.now+c.settings.OffsetsRetentionCheckMillis)
}

// Unload ends the coordinator's life: who waits for something is told
// NOT_COORDINATOR, and so is everyone else from now on. Batches in flight are
// still to be reported.
func (c *Coordinator) Unload(nowMillis int64) {
	c.advance(nowMillis)
	if c.phase == active {
		c.answerAllWaiting(protocol.NOT_COORDINATOR)
		c.abandon(protocol.NOT_COORDINATOR)
	}
	c.phase = unloaded
	c.account.settle()
}

// Unfinished: the coordinator cannot go on and is to be loaded anew, because a
// batch has failed.
func (c *Coordinator) Unfinished() bool { return c.phase == failedPhase }

// newMemberID is an id for a member that the coordinator names (KIP-394): Java's
// form of a UUID after a prefix.
func (c *Coordinator) newMemberID(prefix string) string {
	const hex = "0123456789abcdef"
	id := c.random()
	id[6] = id[6]&0x0f | 0x40
	id[8] = id[8]&0x3f | 0x80
	b := make([]byte, 0, len(prefix)+37)
	b = append(append(b, prefix...), '-')
	for i, v := range id {
		if i == 4 || i == 6 || i == 8 || i == 10 {
			b = append(b, '-')
		}
		b = append(b, hex[v>>4], hex[v&15])
	}
	return string(b)
}
