package simtest

import (
	"fmt"

	"slipstream/internal/guarantees"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// noise is an administrator who does not leave the cluster alone: one request after
// the other, each drawn. What changes what the others may rely on is told to those
// who check it.
type noise struct {
	run    *run
	data   link
	coord  link
	asked  bool
	next   int64
	made   int               // topics of its own
	there  []string          // of those, what exists
	idle   *guarantees.Group // a group without members, whose offsets it manages
	gone   bool              // and its offset was removed, and not committed since
	groups int
	done   map[string]int
	silent bool // it is not there
}

const (
	codeInvalidPartitions = 37
	codeOffsetRange       = 1
)

func (r *run) newNoise() *noise {
	n := &noise{run: r, data: link{run: r, kind: lookForNothing}, done: map[string]int{}}
	n.newGroup()
	return n
}

// newGroup begins with a group of another name: of the last one it is not known
// what was carried out.
func (n *noise) newGroup() {
	n.groups++
	name := fmt.Sprint("idle-", n.groups)
	n.idle, n.gone = guarantees.NewGroup(name), false
	if n.coord.conn != nil {
		n.coord.drop()
	}
	n.coord = link{run: n.run, kind: lookForGroup, key: name}
}

func (n *noise) step() error {
	data, err := n.data.step()
	if err != nil {
		return fmt.Errorf("noise: %w", err)
	}
	coord, err := n.coord.step()
	if err != nil {
		return fmt.Errorf("noise: %w", err)
	}
	if n.asked || n.run.now() < n.next || !data || !coord || n.run.quiet {
		return nil
	}
	n.next = n.run.now() + n.run.rand.Int64N(100e6)
	switch n.run.rand.IntN(10) {
	case 0:
		n.create()
	case 1:
		n.delete()
	case 2:
		n.grow()
	case 3:
		n.deleteRecords()
	case 4:
		n.configure()
	case 5:
		n.offsetDelete()
	case 6:
		n.deleteGroup()
	case 7:
		n.fetchOffset()
	default:
		n.commit()
	}
	return nil
}

// call sends one request; code takes the error out of the answer and does what
// follows from it. allowed are errors that are no failure.
func (n *noise) call(l *link, what string, req kmsg.Request, version int16, code func(kmsg.Response) int16, lost func(), allowed ...int16) {
	n.asked = true
	l.call(req, version, func(resp kmsg.Response) {
		n.asked = false
		c := code(resp)
		if c == codeNone {
			n.done[what]++
			return
		}
		for _, a := range allowed {
			if c == a {
				return
			}
		}
		if !l.astray(c) {
			n.run.fail(fmt.Errorf("noise: %s: error %d", what, c))
		}
	}, func() {
		n.asked = false
		if lost != nil {
			lost()
		}
	})
}

func (n *noise) create() {
	n.made++
	name := fmt.Sprint("noise-", n.made)
	req := kmsg.NewPtrCreateTopicsRequest()
	t := kmsg.NewCreateTopicsRequestTopic()
	t.Topic, t.NumPartitions, t.ReplicationFactor = name, int32(1+n.run.rand.IntN(3)), 1
	req.Topics = append(req.Topics, t)
	n.there = append(n.there, name)
	n.call(&n.data, "create", req, 7, func(resp kmsg.Response) int16 { return resp.(*kmsg.CreateTopicsResponse).Topics[0].ErrorCode }, nil)
}

func (n *noise) delete() {
	if len(n.there) == 0 {
		return
	}
	i := n.run.rand.IntN(len(n.there))
	name := n.there[i]
	n.there = append(n.there[:i:i], n.there[i+1:]...)
	req := kmsg.NewPtrDeleteTopicsRequest()
	t := kmsg.NewDeleteTopicsRequestTopic()
	t.Topic = &name
	req.Topics = append(req.Topics, t)
	n.call(&n.data, "delete", req, 6, func(resp kmsg.Response) int16 { return resp.(*kmsg.DeleteTopicsResponse).Topics[0].ErrorCode }, nil, codeUnknownTopic)
}

// grow adds a partition to the ledger, or goes on with what was not answered.
func (n *noise) grow() {
	t := n.run.truth.topics["ledger"]
	if len(t.parts) >= 6 || t.id == [16]byte{} {
		return
	}
	t.growing = true
	req := kmsg.NewPtrCreatePartitionsRequest()
	rt := kmsg.NewCreatePartitionsRequestTopic()
	rt.Topic, rt.Count = t.name, int32(len(t.parts)+1)
	req.Topics = append(req.Topics, rt)
	for _, c := range n.run.crews {
		c.group.Cause()
	}
	n.call(&n.data, "partitions", req, 3, func(resp kmsg.Response) int16 {
		code := resp.(*kmsg.CreatePartitionsResponse).Topics[0].ErrorCode
		if code == codeNone || code == codeInvalidPartitions { // it has them already
			t.grow(int(rt.Count))
			t.growing = false
		}
		return code
	}, nil, codeInvalidPartitions)
}

// deleteRecords moves the start of a log.
func (n *noise) deleteRecords() {
	t := n.run.truth.topics["events"]
	i := n.run.rand.IntN(len(t.parts))
	h := t.parts[i]
	if h.high == 0 {
		return
	}
	to := n.run.rand.Int64N(h.high + 1)
	h.deleted = max(h.deleted, to)
	req := kmsg.NewPtrDeleteRecordsRequest()
	rt := kmsg.NewDeleteRecordsRequestTopic()
	rt.Topic = t.name
	p := kmsg.NewDeleteRecordsRequestTopicPartition()
	p.Partition, p.Offset = int32(i), to
	rt.Partitions = append(rt.Partitions, p)
	req.Topics, req.TimeoutMillis = append(req.Topics, rt), 10_000
	n.call(&n.data, "records", req, 2, func(resp kmsg.Response) int16 {
		p := resp.(*kmsg.DeleteRecordsResponse).Topics[0].Partitions[0]
		if p.ErrorCode == codeNone {
			if p.LowWatermark < to || p.LowWatermark > h.deleted {
				n.run.fail(fmt.Errorf("%s: records below %d were deleted, of %d at most, and the log starts at %d", h.name, to, h.deleted, p.LowWatermark))
			}
			h.start = max(h.start, p.LowWatermark)
		}
		return p.ErrorCode
	}, nil, codeNotLeader, codeOffsetRange)
}

func (n *noise) configure() {
	req := kmsg.NewPtrIncrementalAlterConfigsRequest()
	res := kmsg.NewIncrementalAlterConfigsRequestResource()
	res.ResourceType, res.ResourceName = kmsg.ConfigResourceTypeTopic, []string{"orders", "events", "ledger", "results"}[n.run.rand.IntN(4)]
	c := kmsg.NewIncrementalAlterConfigsRequestResourceConfig()
	c.Name, c.Value = "message.timestamp.type", kmsg.StringPtr([]string{"CreateTime", "LogAppendTime"}[n.run.rand.IntN(2)])
	if n.run.rand.IntN(2) == 0 {
		c.Name, c.Value = "max.message.bytes", kmsg.StringPtr(fmt.Sprint(200_000+n.run.rand.IntN(100_000)))
	}
	res.Configs = append(res.Configs, c)
	req.Resources = append(req.Resources, res)
	n.call(&n.data, "configs", req, 1, func(resp kmsg.Response) int16 {
		return resp.(*kmsg.IncrementalAlterConfigsResponse).Resources[0].ErrorCode
	}, nil)
}

// The partition whose offset in the idle group it manages.
var idlePartition = guarantees.Partition{Topic: "orders", Number: 0}

func (n *noise) commit() {
	g, floor := n.idle, n.idle.Committable(idlePartition)
	offset := max(floor, 0) + 1 + n.run.rand.Int64N(3)
	req := kmsg.NewPtrOffsetCommitRequest()
	req.Group, req.Generation = n.coord.key, -1
	t := kmsg.NewOffsetCommitRequestTopic()
	t.Topic = idlePartition.Topic
	p := kmsg.NewOffsetCommitRequestTopicPartition()
	p.Offset, p.LeaderEpoch = offset, -1
	t.Partitions = append(t.Partitions, p)
	req.Topics = append(req.Topics, t)
	n.call(&n.coord, "commit", req, 8, func(resp kmsg.Response) int16 {
		code := resp.(*kmsg.OffsetCommitResponse).Topics[0].Partitions[0].ErrorCode
		if code == codeNone {
			n.check(g.Committed(idlePartition, offset, floor))
			n.gone = false
		}
		return code
	}, n.newGroup, codeUnknownTopic)
}

func (n *noise) check(err error) {
	if err != nil {
		n.run.fail(err)
	}
}

func (n *noise) fetchOffset() {
	g, floor := n.idle, n.idle.Committable(idlePartition)
	req := kmsg.NewPtrOffsetFetchRequest()
	req.Group = n.coord.key
	t := kmsg.NewOffsetFetchRequestTopic()
	t.Topic, t.Partitions = idlePartition.Topic, []int32{0}
	req.Topics = append(req.Topics, t)
	n.call(&n.coord, "fetch", req, 5, func(resp kmsg.Response) int16 {
		r := resp.(*kmsg.OffsetFetchResponse)
		if r.ErrorCode != codeNone {
			return r.ErrorCode
		}
		p := r.Topics[0].Partitions[0]
		if p.ErrorCode == codeNone {
			n.check(g.Fetched(idlePartition, p.Offset, floor))
			if floor < 0 && p.Offset >= 0 && n.gone {
				n.run.fail(fmt.Errorf("group %s: offset %d is there and was removed", n.coord.key, p.Offset))
			}
		}
		return p.ErrorCode
	}, nil, codeUnknownTopic)
}

func (n *noise) offsetDelete() {
	g := n.idle
	g.Removing(idlePartition)
	req := kmsg.NewPtrOffsetDeleteRequest()
	req.Group = n.coord.key
	t := kmsg.NewOffsetDeleteRequestTopic()
	t.Topic = idlePartition.Topic
	t.Partitions = append(t.Partitions, kmsg.NewOffsetDeleteRequestTopicPartition())
	req.Topics = append(req.Topics, t)
	n.call(&n.coord, "offsets", req, 0, func(resp kmsg.Response) int16 {
		g.Removed(idlePartition)
		r := resp.(*kmsg.OffsetDeleteResponse)
		n.gone = r.ErrorCode == codeNone
		return r.ErrorCode
	}, n.newGroup, codeGroupIDNotFound)
}

func (n *noise) deleteGroup() {
	g := n.idle
	g.Removing(idlePartition)
	req := kmsg.NewPtrDeleteGroupsRequest()
	req.Groups = []string{n.coord.key}
	n.call(&n.coord, "group", req, 2, func(resp kmsg.Response) int16 {
		g.Removed(idlePartition)
		code := resp.(*kmsg.DeleteGroupsResponse).Groups[0].ErrorCode
		n.gone = code == codeNone
		return code
	}, n.newGroup, codeGroupIDNotFound)
}
