package simtest

import (
	"fmt"
	"maps"
	"slices"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// topic is one that was created, with what is known of its partitions.
type topic struct {
	name    string
	id      [16]byte
	durable bool
	parts   []*history

	transactional bool // written in transactions
	growing       bool // a partition may have been added
	keyed         bool // compacted: each record has one of a few keys, and the last of each counts
	trimmed       bool // retention and DeleteRecords take records from its beginning
	configs       map[string]string
}

// admin creates topics and looks whether those that exist still do.
type admin struct {
	run    *run
	conn   *conn
	wait   int64
	asking bool
	wanted []*topic // to be created, in order
	known  []*topic // acknowledged
	cuts   *topic   // whose records it deletes now and then; may be nil
}

func (a *admin) step() error {
	now := a.run.node.world.Now()
	if a.conn == nil {
		if now < a.wait {
			return nil
		}
		a.conn, a.asking = dial(a.run.node.world), false
	}
	if err := a.conn.receive(); err != nil {
		return fmt.Errorf("admin: %w", err)
	}
	if a.conn.gone() {
		a.conn = nil
		a.wait = now + a.run.rand.Int64N(5e6)
		return nil
	}
	if a.asking || now < a.wait {
		return nil
	}
	a.asking = true
	switch {
	case len(a.wanted) > 0:
		a.create(a.wanted[0])
	case a.cuts != nil && !a.run.quiet && a.run.rand.IntN(3) == 0:
		a.deleteRecords(a.cuts.parts[0])
	default:
		a.look()
	}
	return nil
}

// deleteRecords moves the beginning of a log, or asks for one that it has long passed.
func (a *admin) deleteRecords(h *history) {
	to := a.run.rand.Int64N(h.high + 1)
	h.deleted = max(h.deleted, to)
	req := kmsg.NewPtrDeleteRecordsRequest()
	t := kmsg.NewDeleteRecordsRequestTopic()
	t.Topic = a.cuts.name
	p := kmsg.NewDeleteRecordsRequestTopicPartition()
	p.Offset = to
	t.Partitions = append(t.Partitions, p)
	req.Topics, req.TimeoutMillis = append(req.Topics, t), 30_000
	floor, life := h.start, a.run.life
	a.conn.send(req, 2, func(resp kmsg.Response) {
		a.asking = false
		a.wait = a.run.now() + 1e6
		switch p := &resp.(*kmsg.DeleteRecordsResponse).Topics[0].Partitions[0]; p.ErrorCode {
		case codeNone:
			if p.LowWatermark < to {
				a.run.fail(fmt.Errorf("%s: records below %d were deleted, and the low watermark is %d", h.name, to, p.LowWatermark))
			}
			if life != a.run.life {
				return
			}
			if err := h.begins(p.LowWatermark, floor); err != nil {
				a.run.fail(err)
			}
		case codeStorageError, codeNotLeader, codeUnknownTopic:
		default:
			a.run.fail(fmt.Errorf("DeleteRecords of %s below %d: error %d", h.name, to, p.ErrorCode))
		}
	})
}

func (a *admin) create(t *topic) {
	req := kmsg.NewPtrCreateTopicsRequest()
	rt := kmsg.NewCreateTopicsRequestTopic()
	rt.Topic, rt.NumPartitions, rt.ReplicationFactor = t.name, int32(len(t.parts)), 1
	if t.durable {
		c := kmsg.NewCreateTopicsRequestTopicConfig()
		c.Name, c.Value = "flush.messages", kmsg.StringPtr("1")
		rt.Configs = append(rt.Configs, c)
	}
	for _, name := range slices.Sorted(maps.Keys(t.configs)) {
		c := kmsg.NewCreateTopicsRequestTopicConfig()
		c.Name, c.Value = name, kmsg.StringPtr(t.configs[name])
		rt.Configs = append(rt.Configs, c)
	}
	req.Topics, req.TimeoutMillis = append(req.Topics, rt), 30_000
	a.conn.send(req, 7, func(resp kmsg.Response) {
		a.asking = false
		r := resp.(*kmsg.CreateTopicsResponse)
		if len(r.Topics) != 1 {
			a.run.fail(fmt.Errorf("create: %d topics in the response", len(r.Topics)))
			return
		}
		switch r.Topics[0].ErrorCode {
		case codeNone:
			t.id = r.Topics[0].TopicID
		case codeTopicExists: // the answer to an earlier try was lost: look gives its id
		case codeStorageError:
			if a.run.faulty() {
				a.wait = a.run.now() + 5e6
				return
			}
			fallthrough
		default:
			a.run.fail(fmt.Errorf("create %s: error %d", t.name, r.Topics[0].ErrorCode))
			return
		}
		a.known = append(a.known, t)
		a.wanted = a.wanted[1:]
	})
}

// look asks for the metadata of the topics that were acknowledged.
func (a *admin) look() {
	req := kmsg.NewPtrMetadataRequest()
	asked := append([]*topic(nil), a.known...)
	counts := map[*topic]int{}
	for _, t := range asked {
		counts[t] = len(t.parts)
		rt := kmsg.NewMetadataRequestTopic()
		rt.Topic = kmsg.StringPtr(t.name)
		req.Topics = append(req.Topics, rt)
	}
	req.AllowAutoTopicCreation = false
	a.conn.send(req, 12, func(resp kmsg.Response) {
		a.asking = false
		a.wait = a.run.node.world.Now() + 3e6
		r := resp.(*kmsg.MetadataResponse)
		if len(r.Topics) != len(asked) {
			a.run.fail(fmt.Errorf("metadata: %d topics, asked for %d", len(r.Topics), len(asked)))
			return
		}
		for i, t := range asked {
			got := &r.Topics[i]
			if t.id == [16]byte{} {
				t.id = got.TopicID
			}
			if got.ErrorCode != codeNone || got.Topic == nil || *got.Topic != t.name || got.TopicID != t.id || len(got.Partitions) < counts[t] || len(got.Partitions) > len(t.parts) && !t.growing {
				a.run.fail(fmt.Errorf("topic %s was created with id %x and %d partitions; the metadata says error %d, id %x, %d partitions",
					t.name, t.id, len(t.parts), got.ErrorCode, got.TopicID, len(got.Partitions)))
				return
			}
			for _, p := range got.Partitions {
				if (p.ErrorCode != codeNone || p.Leader != 1) && !a.run.faulty() {
					a.run.fail(fmt.Errorf("%s-%d: error %d, leader %d", t.name, p.Partition, p.ErrorCode, p.Leader))
				}
			}
		}
		a.run.looks++
	})
}

// grow takes in that the topic has more partitions now.
func (t *topic) grow(to int) {
	for len(t.parts) < to {
		t.parts = append(t.parts, newHistory(fmt.Sprint(t.name, "-", len(t.parts)), t.durable))
	}
}

func newTopic(name string, partitions int, durable bool) *topic {
	t := &topic{name: name, durable: durable}
	t.grow(partitions)
	return t
}
