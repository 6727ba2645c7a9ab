package group

import (
	"strings"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// options are the words of a command: NAME=VALUE, and others.
type options struct {
	s     *stage
	named map[string]string
	plain []string
}

func (s *stage) options(words []string) *options {
	o := &options{s: s, named: map[string]string{}}
	for _, w := range words {
		if k, v, ok := strings.Cut(w, "="); ok && !strings.Contains(k, "-") {
			o.named[k] = v
		} else {
			o.plain = append(o.plain, w)
		}
	}
	return o
}

func (o *options) number(name string, otherwise int64) int64 {
	if v, ok := o.named[name]; ok {
		return o.s.number(v)
	}
	return otherwise
}

func (o *options) text(name, otherwise string) string {
	if v, ok := o.named[name]; ok {
		return v
	}
	return otherwise
}

func (o *options) pointer(name string) *string {
	if v, ok := o.named[name]; ok {
		return &v
	}
	return nil
}

// member is a client's id, "" unless it has one; MEMBER=NAME is another's, ? is none.
func (o *options) member(c *actor) string {
	switch v, ok := o.named["member"]; {
	case !ok:
		return c.member
	case v == "?":
		return ""
	case o.s.clients[v] != nil && o.s.clients[v].member != "":
		return o.s.clients[v].member
	default:
		for id, alias := range o.s.ids {
			if alias == v {
				return id
			}
		}
		return v
	}
}

// request makes a client's request of a command:
//
//	join GROUP session= rebalance= type= protocols=NAME:TOPIC,TOPIC;... instance=
//	sync GROUP assign=CLIENT:TOPIC-P,TOPIC-P;... type= protocol=
//	heartbeat GROUP        leave GROUP [members=CLIENT,/INSTANCE,...]
//	commit GROUP TOPIC-P=OFFSET[:METADATA]...      txncommit GROUP pid= pe= TOPIC-P=OFFSET
//	fetch GROUP [TOPIC-P...] [stable]              odelete GROUP TOPIC-P...
//	beat GROUP epoch= topics=A,B regex= own=TOPIC-P,.. rebalance= assignor= instance= rack=
//	describe GROUP  cdescribe GROUP  delete GROUP  list [states=] [types=]
//
// gen= (or epoch=) is what the client was last told, member= its id, v= the version.
func (s *stage) request(c *actor, verb string, words []string) kmsg.Request {
	o := s.options(words)
	group := ""
	if verb != "list" && len(o.plain) > 0 {
		group, o.plain = o.plain[0], o.plain[1:]
	}
	var req kmsg.Request
	switch verb {
	case "join":
		req = o.join(c, group)
	case "sync":
		req = o.sync(c, group)
	case "heartbeat":
		r := kmsg.NewPtrHeartbeatRequest()
		r.Group, r.MemberID, r.Generation, r.InstanceID = group, o.member(c), int32(o.number("gen", int64(c.epoch))), o.pointer("instance")
		req = r
	case "leave":
		req = o.leave(c, group)
	case "commit":
		req = o.commit(c, group)
	case "txncommit":
		req = o.txnCommit(c, group)
	case "fetch":
		req = o.fetch(c, group)
	case "odelete":
		r := kmsg.NewPtrOffsetDeleteRequest()
		r.Group = group
		for _, tp := range o.plain {
			topic, p := s.partition(tp)
			r.Topics = append(r.Topics, kmsg.OffsetDeleteRequestTopic{Topic: topic, Partitions: []kmsg.OffsetDeleteRequestTopicPartition{{Partition: p}}})
		}
		req = r
	case "beat":
		req = o.beat(c, group)
	case "describe":
		r := kmsg.NewPtrDescribeGroupsRequest()
		r.Groups = []string{group}
		req = r
	case "cdescribe":
		r := kmsg.NewPtrConsumerGroupDescribeRequest()
		r.Groups = []string{group}
		req = r
	case "delete":
		r := kmsg.NewPtrDeleteGroupsRequest()
		r.Groups = []string{group}
		req = r
	case "list":
		r := kmsg.NewPtrListGroupsRequest()
		r.StatesFilter, r.TypesFilter = list(o.text("states", "")), list(o.text("types", ""))
		req = r
	default:
		s.t.Fatalf("what is %q?", verb)
	}
	req.SetVersion(int16(o.number("v", int64(newest(req)))))
	return req
}

// newest is the newest version of Kafka 4.3 (the library knows newer ones).
func newest(req kmsg.Request) int16 {
	switch req.(type) {
	case *kmsg.TxnOffsetCommitRequest:
		return 5
	case *kmsg.DeleteGroupsRequest:
		return 2
	}
	return req.MaxVersion()
}

func list(text string) []string {
	if text == "" {
		return nil
	}
	return strings.Split(text, ",")
}

func (s *stage) partition(text string) (topic string, partition int32) {
	i := strings.LastIndexByte(text, '-')
	if i < 0 {
		s.t.Fatalf("%q is no TOPIC-PARTITION", text)
	}
	return text[:i], int32(s.number(text[i+1:]))
}

func (s *stage) topicLists(text string) (lists []topicList) {
	for _, tp := range list(text) {
		topic, p := s.partition(tp)
		if n := len(lists); n > 0 && lists[n-1].topic == topic {
			lists[n-1].partitions = append(lists[n-1].partitions, p)
		} else {
			lists = append(lists, topicList{topic, []int32{p}})
		}
	}
	return lists
}

func (o *options) join(c *actor, group string) kmsg.Request {
	r := kmsg.NewPtrJoinGroupRequest()
	r.Group, r.MemberID, r.InstanceID = group, o.member(c), o.pointer("instance")
	r.SessionTimeoutMillis, r.RebalanceTimeoutMillis = int32(o.number("session", 300_000)), int32(o.number("rebalance", 60_000))
	r.ProtocolType = o.text("type", consumerProtocolType)
	for _, p := range strings.Split(o.text("protocols", "range:orders"), ";") {
		name, topics, _ := strings.Cut(p, ":")
		if p == "" {
			continue
		}
		metadata := subscriptionBytes(1, list(topics), o.s.topicLists(o.text("owned", "")))
		if raw, ok := o.named["metadata"]; ok {
			metadata = []byte(raw)
		}
		r.Protocols = append(r.Protocols, kmsg.JoinGroupRequestProtocol{Name: name, Metadata: metadata})
	}
	return r
}

func (o *options) sync(c *actor, group string) kmsg.Request {
	r := kmsg.NewPtrSyncGroupRequest()
	r.Group, r.MemberID, r.Generation, r.InstanceID = group, o.member(c), int32(o.number("gen", int64(c.epoch))), o.pointer("instance")
	kind, protocol := o.text("type", consumerProtocolType), o.text("protocol", "range")
	r.ProtocolType, r.Protocol = &kind, &protocol
	if kind == "null" {
		r.ProtocolType = nil
	}
	for _, part := range strings.Split(o.text("assign", ""), ";") {
		if part == "" {
			continue
		}
		who, partitions, _ := strings.Cut(part, ":")
		lists := o.s.topicLists(partitions)
		enc := codec{buf: []byte{0, 1}}
		array(&enc, &lists, 6, (*codec).topicList)
		enc.buf = append(enc.buf, 0xff, 0xff, 0xff, 0xff)
		r.GroupAssignment = append(r.GroupAssignment, kmsg.SyncGroupRequestGroupAssignment{MemberID: o.s.actor(who).member, MemberAssignment: enc.buf})
	}
	return r
}

func (o *options) leave(c *actor, group string) kmsg.Request {
	r := kmsg.NewPtrLeaveGroupRequest()
	r.Group, r.MemberID = group, o.member(c)
	if _, ok := o.named["members"]; !ok {
		r.Members = []kmsg.LeaveGroupRequestMember{{MemberID: r.MemberID, InstanceID: o.pointer("instance"), Reason: o.pointer("reason")}}
		return r
	}
	for _, m := range list(o.named["members"]) {
		who, instance, static := strings.Cut(m, "/")
		member := kmsg.LeaveGroupRequestMember{MemberID: who}
		if o.s.clients[who] != nil {
			member.MemberID = o.s.clients[who].member
		}
		if static {
			member.InstanceID = &instance
		}
		r.Members = append(r.Members, member)
	}
	return r
}

func (o *options) commit(c *actor, group string) kmsg.Request {
	r := kmsg.NewPtrOffsetCommitRequest()
	r.Group, r.MemberID, r.Generation, r.InstanceID = group, o.member(c), int32(o.number("gen", int64(c.epoch))), o.pointer("instance")
	r.RetentionTimeMillis = o.number("retention", -1)
	for _, w := range o.plain {
		tp, value, _ := strings.Cut(w, "=")
		topic, p := o.s.partition(tp)
		offset, metadata, _ := strings.Cut(value, ":")
		part := kmsg.OffsetCommitRequestTopicPartition{Partition: p, Offset: o.s.number(offset), LeaderEpoch: int32(o.number("le", -1)), Metadata: &metadata}
		r.Topics = append(r.Topics, kmsg.OffsetCommitRequestTopic{Topic: topic, TopicID: o.s.to.topicID(topic), Partitions: []kmsg.OffsetCommitRequestTopicPartition{part}})
	}
	return r
}

func (o *options) txnCommit(c *actor, group string) kmsg.Request {
	r := kmsg.NewPtrTxnOffsetCommitRequest()
	r.Group, r.MemberID, r.Generation, r.InstanceID = group, o.member(c), int32(o.number("gen", int64(c.epoch))), o.pointer("instance")
	if r.MemberID == "" && o.number("gen", 0) == 0 {
		r.Generation = -1
	}
	r.TransactionalID, r.ProducerID, r.ProducerEpoch = "tx", o.number("pid", 1), int16(o.number("pe", 0))
	for _, w := range o.plain {
		tp, value, _ := strings.Cut(w, "=")
		topic, p := o.s.partition(tp)
		metadata := ""
		part := kmsg.TxnOffsetCommitRequestTopicPartition{Partition: p, Offset: o.s.number(value), LeaderEpoch: -1, Metadata: &metadata}
		r.Topics = append(r.Topics, kmsg.TxnOffsetCommitRequestTopic{Topic: topic, Partitions: []kmsg.TxnOffsetCommitRequestTopicPartition{part}})
	}
	return r
}

func (o *options) fetch(c *actor, group string) kmsg.Request {
	r := kmsg.NewPtrOffsetFetchRequest()
	one := kmsg.NewOffsetFetchRequestGroup()
	one.Group, one.MemberEpoch = group, int32(o.number("epoch", -1))
	if _, ok := o.named["member"]; ok {
		id := o.member(c)
		one.MemberID = &id
	}
	for _, w := range o.plain {
		if w == "stable" {
			r.RequireStable = true
			continue
		}
		topic, p := o.s.partition(w)
		one.Topics = append(one.Topics, kmsg.OffsetFetchRequestGroupTopic{Topic: topic, TopicID: o.s.to.topicID(topic), Partitions: []int32{p}})
	}
	r.Groups, r.Group = []kmsg.OffsetFetchRequestGroup{one}, group
	for _, t := range one.Topics {
		r.Topics = append(r.Topics, kmsg.OffsetFetchRequestTopic{Topic: t.Topic, Partitions: t.Partitions})
	}
	return r
}

func (o *options) beat(c *actor, group string) kmsg.Request {
	r := kmsg.NewPtrConsumerGroupHeartbeatRequest()
	r.Group, r.MemberID, r.MemberEpoch = group, o.member(c), int32(o.number("epoch", int64(c.epoch)))
	if r.MemberID == "" && o.named["member"] != "?" {
		r.MemberID = c.name
	}
	r.InstanceID, r.RackID, r.ServerAssignor, r.SubscribedTopicRegex = o.pointer("instance"), o.pointer("rack"), o.pointer("assignor"), o.pointer("regex")
	r.RebalanceTimeoutMillis = int32(o.number("rebalance", -1))
	if topics, ok := o.named["topics"]; ok {
		if r.SubscribedTopicNames = list(topics); topics == "" {
			r.SubscribedTopicNames = []string{}
		}
	}
	own, says := o.named["own"]
	if r.MemberEpoch == 0 {
		says = own != "null"
		if _, ok := o.named["rebalance"]; !ok {
			r.RebalanceTimeoutMillis = 60_000
		}
	}
	if says {
		r.Topics = []kmsg.ConsumerGroupHeartbeatRequestTopic{}
		if own == "all" { // what it was last told
			for _, t := range c.has {
				r.Topics = append(r.Topics, kmsg.ConsumerGroupHeartbeatRequestTopic{TopicID: t.topic, Partitions: t.partitions})
			}
			own = ""
		}
		for _, l := range o.s.topicLists(own) {
			r.Topics = append(r.Topics, kmsg.ConsumerGroupHeartbeatRequestTopic{TopicID: o.s.to.topicID(l.topic), Partitions: l.partitions})
		}
	}
	return r
}
