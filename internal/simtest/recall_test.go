package simtest

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"slipstream/internal/guarantees"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// recall compares what the coordinators say before the broker is killed and after:
// nobody else is heard in between, and what has no right to have moved is the same.
type recall struct {
	run   *run
	link  link
	told  map[string]string // by what it is about
	asks  []func()
	asked bool
}

// recollect asks for everything; it is there when the asks are gone.
func (r *run) newRecall() *recall {
	c := &recall{run: r, link: link{run: r, kind: lookForNothing}, told: map[string]string{}}
	for _, one := range r.crews {
		c.asks = append(c.asks, func() { c.offsets(one) })
		if one.kind == crewMixed {
			continue // which kind of group it is at the moment is not known
		}
		if one.kind == crewConsumer {
			c.asks = append(c.asks, func() { c.consumerGroup(one.name) })
		} else {
			c.asks = append(c.asks, func() { c.classicGroup(one.name) })
		}
	}
	for _, id := range slices.Sorted(maps.Keys(r.claims)) {
		c.asks = append(c.asks, func() { c.transaction(id) })
	}
	return c
}

func (c *recall) step() error {
	ready, err := c.link.step()
	if err != nil {
		return fmt.Errorf("recall: %w", err)
	}
	if ready && !c.asked && len(c.asks) > 0 && c.run.now() >= c.link.wait {
		c.asks[0]()
	}
	return nil
}

// ask sends a request; take puts what it tells into told and returns its error.
func (c *recall) ask(req kmsg.Request, version int16, take func(kmsg.Response) int16) {
	c.asked = true
	c.link.call(req, version, func(resp kmsg.Response) {
		c.asked = false
		switch code := take(resp); {
		case code == codeNone, code == codeGroupIDNotFound, code == codeUnknownTxnID:
			c.asks = c.asks[1:]
		case code == codeUnstableOffset:
			c.link.wait = c.run.now() + 10e6
		case !c.link.astray(code):
			c.run.fail(fmt.Errorf("recall: %T: error %d", resp, code))
		}
	}, func() { c.asked = false })
}

const codeUnknownTxnID = 105

func (c *recall) classicGroup(name string) {
	req := kmsg.NewPtrDescribeGroupsRequest()
	req.Groups = []string{name}
	c.ask(req, 5, func(resp kmsg.Response) int16 {
		g := resp.(*kmsg.DescribeGroupsResponse).Groups[0]
		if g.State != "Stable" {
			return g.ErrorCode // what is in the middle of a rebalance is not in the log
		}
		text := g.Protocol
		for _, m := range g.Members {
			text += fmt.Sprintf(" %s %x", m.MemberID, m.MemberAssignment)
		}
		c.told["group "+name] = text
		return g.ErrorCode
	})
}

func (c *recall) consumerGroup(name string) {
	req := kmsg.NewPtrConsumerGroupDescribeRequest()
	req.Groups = []string{name}
	c.ask(req, 1, func(resp kmsg.Response) int16 {
		g := resp.(*kmsg.ConsumerGroupDescribeResponse).Groups[0]
		text := fmt.Sprintf("%d %d %s", g.Epoch, g.AssignmentEpoch, g.State)
		for _, m := range g.Members {
			text += fmt.Sprintf(" %s %d %v %v", m.MemberID, m.MemberEpoch, m.Assignment, m.TargetAssignment)
		}
		c.told["group "+name] = text
		return g.ErrorCode
	})
}

// offsets need no comparing: they may not go back, that is all.
func (c *recall) offsets(one *crew) {
	req := kmsg.NewPtrOffsetFetchRequest()
	req.Group = one.name
	floors := map[guarantees.Partition]int64{}
	for _, name := range one.topics {
		for i := range c.run.truth.topics[name].parts {
			p := guarantees.Partition{Topic: name, Number: int32(i)}
			floors[p] = one.group.Committable(p)
		}
	}
	c.ask(req, 6, func(resp kmsg.Response) int16 {
		r := resp.(*kmsg.OffsetFetchResponse)
		if r.ErrorCode != codeNone {
			return r.ErrorCode
		}
		got := map[guarantees.Partition]int64{}
		for _, t := range r.Topics {
			for _, p := range t.Partitions {
				got[guarantees.Partition{Topic: t.Topic, Number: p.Partition}] = p.Offset
			}
		}
		for _, p := range slices.SortedFunc(maps.Keys(floors), comparePartitions) {
			offset, ok := got[p]
			if !ok {
				offset = -1
			}
			if err := one.group.Fetched(p, offset, floors[p]); err != nil {
				c.run.fail(err)
			}
		}
		return codeNone
	})
}

func (c *recall) transaction(id string) {
	req := kmsg.NewPtrDescribeTransactionsRequest()
	req.TransactionalIDs = []string{id}
	c.ask(req, 0, func(resp kmsg.Response) int16 {
		t := resp.(*kmsg.DescribeTransactionsResponse).TransactionStates[0]
		if strings.HasPrefix(t.State, "Complete") || t.State == "Empty" {
			c.told["transactional id "+id] = fmt.Sprint(t.State, t.ProducerID, t.ProducerEpoch)
		}
		return t.ErrorCode
	})
}

// recallAcross stops everybody, asks, kills the broker, asks again.
func (r *run) recallAcross(kill func() error) error {
	r.frozen = true
	defer func() { r.frozen = false }()
	if err := r.live(20e6); err != nil { // what is under way is carried out
		return err
	}
	before := r.newRecall()
	r.recalling = before
	if err := r.drive(60e9, func() bool { return len(before.asks) == 0 }); err != nil {
		return fmt.Errorf("asking the coordinators: %w", err)
	}
	before.link.drop()
	r.recalling = nil
	if err := kill(); err != nil {
		return err
	}
	after := r.newRecall()
	r.recalling = after
	if err := r.drive(60e9, func() bool { return len(after.asks) == 0 }); err != nil {
		return fmt.Errorf("asking the coordinators again: %w", err)
	}
	r.recalling = nil
	for _, about := range slices.Sorted(maps.Keys(before.told)) {
		was, is := before.told[about], after.told[about]
		r.recalled++
		if is != "" && is != was && !movedOn(was, is) {
			return fmt.Errorf("%s was %s and after a kill it is %s", about, was, is)
		}
		if is == "" && strings.HasPrefix(about, "group") && strings.Contains(was, " Stable") {
			return fmt.Errorf("%s was %s and after a kill it is gone", about, was)
		}
	}
	return nil
}

// remembered asks the coordinators after a restart, before anybody else does
// anything: what they had promised is there.
func (r *run) remembered() error {
	r.frozen = true
	defer func() { r.frozen, r.recalling = false, nil }()
	c := r.newRecall()
	r.recalling = c
	if err := r.drive(60e9, func() bool { return len(c.asks) == 0 }); err != nil {
		return fmt.Errorf("asking the coordinators after a restart: %w", err)
	}
	c.link.drop()
	return nil
}

// movedOn: a consumer group is at a higher epoch, because a member's session has
// ended meanwhile, or has the assignment that was due, and is not behind in either.
func movedOn(was, is string) bool {
	var before, after [2]int32
	n, _ := fmt.Sscan(was, &before[0], &before[1])
	m, _ := fmt.Sscan(is, &after[0], &after[1])
	return n == 2 && m == 2 && after != before && after[0] >= before[0] && after[1] >= before[1]
}
