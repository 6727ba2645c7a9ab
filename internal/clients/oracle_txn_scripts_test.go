package clients

import (
	"fmt"

	"slipstream/internal/clients/harness"
	"slipstream/protocol"

	"github.com/twmb/franz-go/pkg/kmsg"
)

func scriptInitTransactional(s *script) {
	s.topic("txn-init", 1)
	first := s.transactor("txn-init-a")
	for v := int16(0); v <= 5; v++ {
		name := fmt.Sprintf("txn-init-new-%d", v)
		s.ask("a new id", v, initTransactional(name, -1, -1))
		s.ask("once more", v, initTransactional(name, -1, -1))
	}
	for _, timeout := range []int32{0, -1, 900_000, 900_001, 1 << 30} {
		req := initTransactional("txn-init-timeout", -1, -1)
		req.TransactionTimeoutMillis = timeout
		s.ask(fmt.Sprintf("a timeout of %d", timeout), 4, req)
	}
	for v := int16(3); v <= 5; v++ {
		x := s.transactor(fmt.Sprintf("txn-init-known-%d", v))
		s.ask("with the current epoch", v, initTransactional(x.name, x.id, x.epoch))
		s.ask("with the epoch before, as after a lost answer", v, initTransactional(x.name, x.id, x.epoch))
		s.ask("with an epoch that never was", v, initTransactional(x.name, x.id, x.epoch+7))
		s.ask("with another producer's id", v, initTransactional(x.name, x.id+12345, x.epoch))
		s.ask("with an epoch only", v, initTransactional(x.name, -1, 3))
		s.ask("with an id only", v, initTransactional(x.name, x.id, -1))
		s.ask("a new id that claims a producer", v, initTransactional(fmt.Sprintf("txn-init-claims-%d", v), 77, 3))
		x.init()
		x.add("txn-init", 0)
		s.ask("while its transaction is open", v, initTransactional(x.name, -1, -1))
		x.settle()
		s.ask("after that one was aborted", v, initTransactional(x.name, -1, -1))
		s.ask("the fenced producer, which recovers", v, initTransactional(x.name, x.id, x.epoch))
		s.ask("the fenced producer ends", 4, x.ending(true))
	}
	s.ask("the first is as it was", 4, initTransactional(first.name, first.id, first.epoch))
}

func scriptAddPartitions(s *script) {
	s.topic("txn-add", 4)
	s.topic("txn-add-b", 1)
	for v := int16(0); v <= 3; v++ {
		x := s.transactor(fmt.Sprintf("txn-add-%d", v))
		s.ask("the first partition", v, x.adding("txn-add", 0))
		s.ask("the same again and others", v, x.adding("txn-add", 0, 2, 3))
		s.ask("one that there is not, among others", v, x.adding("txn-add", 1, 9, -1))
		s.ask("a topic that there is not", v, x.adding("txn-add-unknown", 0))
		s.ask("no partition", v, x.adding("txn-add"))
		wrong := *x
		wrong.epoch = x.epoch + 1
		s.ask("an epoch to come", v, wrong.adding("txn-add", 1))
		wrong.epoch = x.epoch - 1
		s.ask("an old epoch", v, wrong.adding("txn-add", 1))
		wrong = *x
		wrong.id = x.id + 54321
		s.ask("another producer", v, wrong.adding("txn-add", 1))
		wrong.name = "txn-add-nobody"
		s.ask("an id that nobody has initialized", v, wrong.adding("txn-add", 1))
		wrong.name = ""
		s.ask("an empty id", v, wrong.adding("txn-add", 1))
		x.end(4, true)
		s.ask("after the end, the next one", v, x.adding("txn-add-b", 0))
		x.end(4, false)
	}
	for v := int16(4); v <= 5; v++ {
		x := s.transactor(fmt.Sprintf("txn-add-%d", v))
		s.ask("verify before anything", v, x.addingAsBroker(true, "txn-add", 0))
		s.ask("add", v, x.addingAsBroker(false, "txn-add", 0, 1))
		s.ask("verify what is there and what is not", v, x.addingAsBroker(true, "txn-add", 0, 1, 2))
		s.sortPartitions()
		s.ask("verify what does not exist", v, x.addingAsBroker(true, "txn-add", 0, 8))
		y := s.transactor(fmt.Sprintf("txn-add-other-%d", v))
		two := x.addingAsBroker(false, "txn-add", 3)
		two.Transactions = append(two.Transactions, y.addingAsBroker(false, "txn-add", 9, 1).Transactions...)
		two.Transactions = append(two.Transactions, y.addingAsBroker(true, "txn-add", 1).Transactions...)
		two.Transactions[2].TransactionalID = "txn-add-nobody"
		s.ask("three at once, one good", v, two)
		s.sortPartitions()
		wrong := *x
		wrong.epoch++
		s.ask("verify with an epoch to come", v, wrong.addingAsBroker(true, "txn-add", 0))
		wrong = *x
		wrong.id += 54321
		s.ask("verify with another producer", v, wrong.addingAsBroker(true, "txn-add", 0))
		x.end(5, true)
		s.ask("verify after the end", v, x.addingAsBroker(true, "txn-add", 0))
	}
}

func addingOffsets(x *transactor, group string) *kmsg.AddOffsetsToTxnRequest {
	req := kmsg.NewPtrAddOffsetsToTxnRequest()
	req.TransactionalID, req.ProducerID, req.ProducerEpoch, req.Group = x.name, x.id, x.epoch, group
	return req
}

func scriptAddOffsets(s *script) {
	for v := int16(0); v <= 4; v++ {
		x := s.transactor(fmt.Sprintf("txn-offsets-%d", v))
		s.ask("a group", v, addingOffsets(x, "txn-group"))
		s.ask("the same again", v, addingOffsets(x, "txn-group"))
		s.ask("another", v, addingOffsets(x, "txn-group-b"))
		s.ask("no group", v, addingOffsets(x, ""))
		wrong := *x
		wrong.epoch++
		s.ask("an epoch to come", v, addingOffsets(&wrong, "txn-group"))
		wrong = *x
		wrong.id += 4321
		s.ask("another producer", v, addingOffsets(&wrong, "txn-group"))
		wrong.name = "txn-offsets-nobody"
		s.ask("an id that nobody has initialized", v, addingOffsets(&wrong, "txn-group"))
		wrong.name = ""
		s.ask("an empty id", v, addingOffsets(&wrong, "txn-group"))
		x.end(4, false)
	}
}

func scriptEndTxn(s *script) {
	s.topic("txn-end", 2)
	for v := int16(0); v <= 5; v++ {
		for _, commit := range []bool{true, false} {
			x := s.transactor(fmt.Sprintf("txn-end-%d-%v", v, commit))
			s.ask("commit, nothing begun", v, x.ending(true))
			s.ask("abort, nothing begun", v, x.ending(false))
			x.settle()
			x.init()
			wrong := *x
			wrong.epoch++
			s.ask("an epoch to come", v, wrong.ending(commit))
			wrong = *x
			wrong.id += 4321
			s.ask("another producer", v, wrong.ending(commit))
			wrong.name = "txn-end-nobody"
			s.ask("an id that nobody has initialized", v, wrong.ending(commit))
			wrong.name = ""
			s.ask("an empty id", v, wrong.ending(commit))
			x.add("txn-end", 0)
			x.add("txn-end", 1)
			before := *x
			resp, _ := s.ask(fmt.Sprintf("commit %v", commit), v, x.ending(commit)).(*kmsg.EndTxnResponse)
			x.settle()
			s.ask("the same again, as after a lost answer", v, before.ending(commit))
			s.ask("the other way", v, before.ending(!commit))
			if v >= 5 && resp != nil {
				x.epoch = resp.ProducerEpoch
				s.ask("the next one, nothing begun, commit", v, x.ending(true))
				s.ask("the next one, nothing begun, abort", v, x.ending(false))
				x.settle()
			}
		}
	}
}

func markersOf(x *transactor, coordinatorEpoch int32, commit bool, topic string, partitions ...int32) *kmsg.WriteTxnMarkersRequest {
	req := kmsg.NewPtrWriteTxnMarkersRequest()
	m := kmsg.NewWriteTxnMarkersRequestMarker()
	m.ProducerID, m.ProducerEpoch, m.Committed, m.CoordinatorEpoch = x.id, x.epoch, commit, coordinatorEpoch
	m.Topics = []kmsg.WriteTxnMarkersRequestMarkerTopic{{Topic: topic, Partitions: partitions}}
	req.Markers = append(req.Markers, m)
	return req
}

func scriptWriteTxnMarkers(s *script) {
	id := s.topic("txn-markers", 2, "retention.ms", "-1")
	for v := int16(1); v <= 2; v++ {
		x := s.transactor(fmt.Sprintf("txn-markers-%d", v))
		s.ask("for a producer that has written nothing", v, markersOf(x, 0, true, "txn-markers", 1))
		x.add("txn-markers", 0)
		x.produce(11, "txn-markers", 0, "a", "b")
		s.ask("partitions and topics that there are not", v, func() *kmsg.WriteTxnMarkersRequest {
			req := markersOf(x, 0, false, "txn-markers", 7, -1)
			req.Markers[0].Topics = append(req.Markers[0].Topics, kmsg.WriteTxnMarkersRequestMarkerTopic{Topic: "txn-markers-unknown", Partitions: []int32{0}})
			return req
		}())
		old := *x
		old.epoch--
		s.ask("an old epoch", v, markersOf(&old, 0, false, "txn-markers", 0))
		s.ask("abort", v, markersOf(x, 3, false, "txn-markers", 0))
		s.ask("abort again", v, markersOf(x, 3, false, "txn-markers", 0))
		s.ask("an older coordinator", v, markersOf(x, 2, false, "txn-markers", 0))
		s.ask("the next coordinator, the next epoch", v, func() *kmsg.WriteTxnMarkersRequest {
			next := *x
			next.epoch++
			return markersOf(&next, 4, true, "txn-markers", 0)
		}())
		s.ask("none at all", v, kmsg.NewPtrWriteTxnMarkersRequest())
		s.askBatches("what is in the log", 12, fetchRequest(12, "txn-markers", id, 0, 0))
	}
}

func committingOffsets(x *transactor, group, topic string, offset int64) *kmsg.TxnOffsetCommitRequest {
	req := kmsg.NewPtrTxnOffsetCommitRequest()
	req.TransactionalID, req.Group, req.ProducerID, req.ProducerEpoch, req.Generation = x.name, group, x.id, x.epoch, -1
	t := kmsg.NewTxnOffsetCommitRequestTopic()
	t.Topic = topic
	p := kmsg.NewTxnOffsetCommitRequestTopicPartition()
	p.Offset = offset
	t.Partitions = append(t.Partitions, p)
	req.Topics = append(req.Topics, t)
	return req
}

func scriptTxnOffsetCommit(s *script) {
	s.topic("txn-commit", 1)
	for v := int16(0); v <= 5; v++ {
		group := fmt.Sprintf("txn-commit-group-%d", v)
		find := kmsg.NewPtrFindCoordinatorRequest()
		find.CoordinatorKey = group
		s.must(2, find, func(r kmsg.Response) int16 { return r.(*kmsg.FindCoordinatorResponse).ErrorCode })
		x := s.transactor(fmt.Sprintf("txn-commit-%d", v))
		fetched := func(name string, stable bool) {
			req := kmsg.NewPtrOffsetFetchRequest()
			req.Group, req.RequireStable = group, stable
			req.Topics = []kmsg.OffsetFetchRequestTopic{{Topic: "txn-commit", Partitions: []int32{0}}}
			s.ask(name, 7, req)
		}
		s.must(7, func() kmsg.Request {
			req := kmsg.NewPtrOffsetFetchRequest()
			req.Group, req.Topics = group, []kmsg.OffsetFetchRequestTopic{{Topic: "txn-commit", Partitions: []int32{0}}}
			return req
		}(), func(r kmsg.Response) int16 { return r.(*kmsg.OffsetFetchResponse).ErrorCode })
		if v < 5 {
			s.ask("before the group was added", v, committingOffsets(x, group, "txn-commit", 3))
			s.must(3, addingOffsets(x, group), func(r kmsg.Response) int16 { return r.(*kmsg.AddOffsetsToTxnResponse).ErrorCode })
		}
		s.ask("within the transaction", v, committingOffsets(x, group, "txn-commit", 4))
		fetched("while it is open", false)
		fetched("while it is open, only what is stable", true)
		wrong := *x
		wrong.epoch--
		s.ask("an old epoch", v, committingOffsets(&wrong, group, "txn-commit", 5))
		wrong = *x
		wrong.id += 4321
		s.ask("another producer", v, committingOffsets(&wrong, group, "txn-commit", 5))
		if v >= 3 {
			member := committingOffsets(x, group, "txn-commit", 5)
			member.Generation, member.MemberID = 4, "nobody"
			s.ask("a member that there is not", v, member)
		}
		long := committingOffsets(x, group, "txn-commit", 5)
		text := string(make([]byte, 5000))
		long.Topics[0].Partitions[0].Metadata = &text
		s.ask("metadata too long", v, long)
		s.ask("a topic that there is not", v, committingOffsets(x, group, "txn-commit-unknown", 5))
		x.end(int16(3+v/5*2), true)
		fetched("after the commit", true)
		if v == 5 {
			s.ask("the next transaction", v, committingOffsets(x, group, "txn-commit", 9))
			x.end(5, false)
			fetched("after the abort", true)
		}
	}
}

func scriptDescribeProducers(s *script) {
	s.topic("txn-producers", 2)
	ask := func(name, topic string, partitions ...int32) {
		req := kmsg.NewPtrDescribeProducersRequest()
		req.Topics = []kmsg.DescribeProducersRequestTopic{{Topic: topic, Partitions: partitions}}
		s.ask(name, 0, req)
	}
	ask("nobody", "txn-producers", 0, 1)
	x := s.transactor("txn-producers-a")
	x.produce(12, "txn-producers", 0, "a", "b", "c")
	ask("an open transaction", "txn-producers", 0, 1)
	x.end(5, true)
	ask("after its end", "txn-producers", 0)
	x.produce(12, "txn-producers", 0, "d")
	ask("the next one", "txn-producers", 0)
	x.end(5, false)
	b := harness.NewBatch("i", "j")
	b.ProducerID, b.Epoch, b.Sequence = s.producer(), 0, 0
	s.fill("txn-producers", 1, b)
	ask("an idempotent one", "txn-producers", 1)
	ask("partitions that there are not", "txn-producers", 5, -1)
	ask("a topic that there is not", "txn-producers-unknown", 0)
	s.ask("nothing", 0, kmsg.NewPtrDescribeProducersRequest())
}

func scriptDescribeTransactions(s *script) {
	s.topic("txn-desc", 3)
	s.topic("txn-desc-b", 1)
	ask := func(name string, ids ...string) {
		req := kmsg.NewPtrDescribeTransactionsRequest()
		req.TransactionalIDs = ids
		s.ask(name, 0, req)
		s.sortPartitions()
	}
	x, y := s.transactor("txn-desc-x"), s.transactor("txn-desc-y")
	ask("empty", x.name)
	x.add("txn-desc", 2)
	x.add("txn-desc", 0)
	x.add("txn-desc-b", 0)
	ask("ongoing, and others", x.name, y.name, "txn-desc-nobody", "")
	x.end(4, true)
	ask("committed", x.name)
	x.add("txn-desc", 1)
	x.end(5, false)
	ask("aborted", x.name)
	ask("one id twice", y.name, y.name)
	ask("none")
}

func scriptListTransactions(s *script) {
	s.topic("txn-list", 1)
	x, y, z := s.transactor("txn-list-x"), s.transactor("txn-list-y"), s.transactor("txn-list-z")
	x.add("txn-list", 0)
	y.add("txn-list", 0)
	y.end(4, true)
	for v := int16(0); v <= 2; v++ {
		ask := func(name string, change func(*kmsg.ListTransactionsRequest)) {
			req := kmsg.NewPtrListTransactionsRequest()
			req.ProducerIDFilters = []int64{x.id, y.id, z.id}
			req.DurationFilterMillis = -1
			change(req)
			s.ask(name, v, req)
		}
		ask("all three", func(*kmsg.ListTransactionsRequest) {})
		ask("the ongoing", func(r *kmsg.ListTransactionsRequest) { r.StateFilters = []string{"Ongoing"} })
		ask("two states", func(r *kmsg.ListTransactionsRequest) { r.StateFilters = []string{"Empty", "CompleteCommit"} })
		ask("a state that there is not", func(r *kmsg.ListTransactionsRequest) { r.StateFilters = []string{"Ongoing", "Sleeping"} })
		ask("a producer that there is not", func(r *kmsg.ListTransactionsRequest) { r.ProducerIDFilters = []int64{1 << 40} })
		if v >= 1 {
			ask("those of hours", func(r *kmsg.ListTransactionsRequest) { r.DurationFilterMillis = 3_600_000 })
		}
		if v >= 2 {
			for _, pattern := range []string{"txn-list-.*", "txn-list", ".*-[xy]", "", "[", "(?<=a)b"} {
				ask("the pattern "+pattern, func(r *kmsg.ListTransactionsRequest) { r.TransactionalIDPattern = &pattern })
			}
		}
	}
	x.end(4, false)
}

// scriptTransactionalProduce is what can go right and wrong with a batch within a transaction.
func scriptTransactionalProduce(s *script) {
	s.topic("txn-produce", 3)
	for _, v := range []int16{3, 8, 9, 10, 11, 12} {
		x := s.transactor(fmt.Sprintf("txn-produce-%d", v))
		send := func(name string, as *transactor, partition int32, batch []byte) {
			s.ask(name, v, as.producing(v, "txn-produce", partition, batch))
		}
		send("the first, not added", x, 0, x.batch("txn-produce", 0, "a"))
		if v < 12 {
			x.sequence["txn-produce-0"] = 0
			x.add("txn-produce", 0)
			send("the first, added", x, 0, x.batch("txn-produce", 0, "a"))
		}
		send("the second", x, 0, x.batch("txn-produce", 0, "b", "c"))
		x.sequence["txn-produce-0"] += 3
		send("a gap", x, 0, x.batch("txn-produce", 0, "d"))
		nobody := *x
		nobody.name = "txn-produce-nobody"
		nobody.sequence = map[string]int32{}
		send("an id that nobody has initialized", &nobody, 1, nobody.batch("txn-produce", 1, "x"))
		other := *x
		other.id += 54321
		other.sequence = map[string]int32{}
		send("another producer under the id", &other, 1, other.batch("txn-produce", 1, "x"))
		late := *x
		late.epoch++
		late.sequence = map[string]int32{}
		send("an epoch to come", &late, 1, late.batch("txn-produce", 1, "x"))
		none := x.producing(v, "txn-produce", 2, late.batch("txn-produce", 2, "x"))
		none.TransactionID = nil
		s.ask("no transactional id", v, none)
		plain := harness.NewBatch("not of the transaction")
		send("a batch without a producer under a transactional id", x, 2, plain.Bytes())
		mixed := x.producing(v, "txn-produce", 2, late.batch("txn-produce", 2, "x"))
		one := kmsg.NewProduceRequestTopicPartition()
		one.Partition, one.Records = 1, other.batch("txn-produce", 1, "y")
		mixed.Topics[0].Partitions = append(mixed.Topics[0].Partitions, one)
		s.ask("two producers at once", v, mixed)
		idempotent := harness.NewBatch("z")
		idempotent.ProducerID, idempotent.Epoch, idempotent.Sequence = x.id, x.epoch, 3
		send("within the transaction, but not transactional", x, 0, idempotent.Bytes())
		before := *x
		before.sequence = map[string]int32{}
		x.end(int16(4+v/12), true)
		before.sequence["txn-produce-0"] = 3
		send("after the end, the old producer", &before, 0, before.batch("txn-produce", 0, "e"))
		control := harness.NewBatch("q")
		control.ProducerID, control.Epoch, control.Sequence = x.id, x.epoch, 0
		control.Attributes = int16(protocol.AttrTransactional | protocol.AttrControl)
		send("a control batch", x, 0, control.Bytes())
	}
}

// scriptReadCommitted reads transactions that are open, committed and aborted.
func scriptReadCommitted(s *script) {
	id := s.topic("txn-fetch", 2, "retention.ms", "-1")
	ask := func(name string, version int16, partition int32, offset int64, committed bool) {
		req := fetchRequest(version, "txn-fetch", id, partition, offset)
		if committed {
			req.IsolationLevel = 1
		}
		s.askBatches(name, version, req)
	}
	a, b, c := s.transactor("txn-fetch-a"), s.transactor("txn-fetch-b"), s.transactor("txn-fetch-c")
	s.fill("txn-fetch", 0, harness.NewBatch("plain"))
	a.produce(12, "txn-fetch", 0, "a1", "a2")
	b.produce(12, "txn-fetch", 0, "b1")
	s.fill("txn-fetch", 0, harness.NewBatch("between"))
	a.end(5, false)
	ask("one aborted, one open, uncommitted", 12, 0, 0, false)
	for v := int16(4); v <= 18; v++ {
		ask("one aborted, one open, committed", v, 0, 0, true)
	}
	for _, offset := range []int64{1, 2, 3, 4, 5, 6, 7} {
		ask(fmt.Sprintf("from %d", offset), 12, 0, offset, true)
	}
	c.produce(12, "txn-fetch", 0, "c1")
	b.end(5, true)
	ask("the committed one", 12, 0, 0, true)
	c.end(5, false)
	a.produce(12, "txn-fetch", 0, "a3")
	a.end(5, true)
	ask("all over", 12, 0, 0, true)
	for _, offset := range []int64{2, 4, 7, 8, 9, 11} {
		ask(fmt.Sprintf("from %d of all", offset), 12, 0, offset, true)
	}
	ask("nothing there", 12, 1, 0, true)
	ask("no such partition", 12, 7, 0, true)
	b.produce(12, "txn-fetch", 1, "open")
	for _, ts := range []int64{-1, -2, -3, 0, 1_700_000_000_000} {
		for partition := range int32(2) {
			if ts == -3 && partition == 0 {
				continue // the latest records are markers, and which of them is of the last millisecond depends on the broker
			}
			req := listOffsets("txn-fetch", -1, ts, partition)
			req.IsolationLevel = 1
			s.ask(fmt.Sprintf("list offsets committed %d", ts), 8, req)
			s.ask(fmt.Sprintf("list offsets uncommitted %d", ts), 8, listOffsets("txn-fetch", -1, ts, partition))
		}
	}
	b.end(5, false)
}
