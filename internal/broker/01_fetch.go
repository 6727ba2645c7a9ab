package broker

import (
	"unsafe"

	"slipstream/protocol"
	"slipstream/reactor"
	"slipstream/storage"
)

// Fetch (1), versions 4-18: long poll that wakes on append, fetch sessions
// (KIP-227), diverging epochs (KIP-595's truncation detection for consumers), read_committed
// (fetch_committed.go).
//
// Departures from Kafka: no followers yet; a partition whose range would pass the response's
// size limit is left for the next fetch instead of being cut inside a batch; aborted transactions are those of the range that
// is sent, where Kafka looks as far as the next index entry.
//
// Nothing is copied: the response is a header in the arena and ranges of log
// files, which the reactor sends with sendfile.

func (s *Shard) serveFetch(r *reactor.Request, h protocol.Header, body []byte) reactor.Disposition {
	q := &s.fetchRequest
	if err := q.Decode(h.Version, body); err != nil {
		return s.refuse(r, "unreadable fetch request")
	}
	if s.tooManyPartitions(q.PartitionCount) {
		return s.refuse(r, "too many partitions in a fetch request")
	}
	op := s.takeFetch()
	op.req, op.version, op.corrID, op.clientID = r, h.Version, h.CorrelationID, h.ClientID
	s.fetching.add(op)
	op.maxWaitMillis, op.minBytes, op.maxBytes = q.MaxWaitMillis, q.MinBytes, min(q.MaxBytes, s.broker.fetchMaxBytes)
	if s.quotas != nil {
		op.maxBytes = s.quotas.fetchMost(r.Conn, h.ClientID, op.maxBytes)
		op.minBytes = min(op.minBytes, op.maxBytes)
	}
	op.readCommitted = q.IsolationLevel == 1
	op.follower = q.ReplicaID >= 0
	op.sessionCode = op.openSession(q)
	if op.sessionCode != protocol.NONE {
		op.respond()
		return reactor.Hold
	}
	op.resolve()
	op.assign()
	op.start()
	return reactor.Hold
}

// openSession finds out which partitions the fetch is for: the request's own
// (sessionless), or a session's, after the request's changes to it.
func (op *fetchOp) openSession(q *protocol.FetchRequest) protocol.ErrorCode {
	s := op.home
	byID := q.Version >= 13
	now := s.core.Now / 1e6
	op.full = true
	switch {
	case q.SessionEpoch == initialEpoch && q.Version >= 7:
		s.sessions.remove(q.SessionID)
		session := newFetchSession(byID)
		session.update(q, s)
		if s.sessions.admit(session, now) {
			op.session, op.sessionID = session, session.id
			return protocol.NONE
		}
	case q.SessionEpoch == finalEpoch || q.Version < 7:
		s.sessions.remove(q.SessionID)
	default:
		session, code := s.sessions.get(q.SessionID, q.SessionEpoch, byID, now)
		if code != protocol.NONE {
			return code
		}
		session.update(q, s)
		session.forgetAll(q, s)
		if s.tooManyPartitions(len(session.partitions)) {
			s.sessions.remove(session.id)
			return protocol.FETCH_SESSION_ID_NOT_FOUND
		}
		session.epoch = nextEpoch(session.epoch)
		op.session, op.sessionID, op.full = session, session.id, false
		if len(session.partitions) == 0 {
			s.sessions.remove(session.id)
			op.sessionID = noSession
		}
		return protocol.NONE
	}
	op.askSessionless(q)
	return protocol.NONE
}

// askSessionless keeps the request's partitions in the op itself. One that is named
// again keeps its place and is asked for as it was named last, as in Kafka.
func (op *fetchOp) askSessionless(q *protocol.FetchRequest) {
	for cap(op.asked) < q.PartitionCount {
		op.asked = append(op.asked[:cap(op.asked)], fetchPartition{})
	}
	op.asked = op.asked[:0]
	var t protocol.FetchTopic
	var p protocol.FetchPartition
	q.Rewind()
	for q.NextTopic(&t) {
		for q.NextPartition(&p) {
			key := keyOf(t.ID, t.Name, p.Index)
			i := op.askedAt(&key)
			if i == len(op.asked) {
				op.asked = append(op.asked, fetchPartition{key: key})
			}
			op.asked[i].set(&p)
		}
	}
	switch n := len(op.home.askedAt); {
	case n > keptParts:
		op.home.askedAt = make(map[topicPartition]int32)
	case n > 0:
		clear(op.home.askedAt)
	}
}

// scannedPartitions is how many partitions a sessionless fetch may have asked for so
// far to be looked through one by one; more are kept in a map.
const scannedPartitions = 16

// askedAt is where in asked a partition is, or is to be put.
func (op *fetchOp) askedAt(key *topicPartition) int {
	n := len(op.asked)
	if n < scannedPartitions {
		for i := range op.asked {
			if op.asked[i].key == *key {
				return i
			}
		}
		return n
	}
	m := op.home.askedAt
	if n == scannedPartitions && len(m) == 0 {
		for i := range op.asked {
			m[op.asked[i].key] = int32(i)
		}
	}
	if i, ok := m[*key]; ok {
		return int(i)
	}
	m[*key] = int32(n)
	return n
}

// keyOf names a partition; the key's name aliases the request's frame.
func keyOf(id protocol.UUID, name []byte, partition int32) topicPartition {
	return topicPartition{id: id, name: unsafe.String(unsafe.SliceData(name), len(name)), partition: partition}
}

func (a *fetchPartition) set(p *protocol.FetchPartition) {
	a.want = fetchWant{
		currentLeaderEpoch: p.CurrentLeaderEpoch,
		fetchOffset:        p.FetchOffset,
		lastFetchedEpoch:   p.LastFetchedEpoch,
		logStartOffset:     p.LogStartOffset,
		maxBytes:           p.MaxBytes,
	}
}

func (f *fetchSession) update(q *protocol.FetchRequest, _ *Shard) {
	var t protocol.FetchTopic
	var p protocol.FetchPartition
	q.Rewind()
	for q.NextTopic(&t) {
		for q.NextPartition(&p) {
			f.upsert(keyOf(t.ID, t.Name, p.Index)).set(&p)
		}
	}
}

func (f *fetchSession) forgetAll(q *protocol.FetchRequest, _ *Shard) {
	var t protocol.ForgottenTopic
	for q.NextForgotten(&t) {
		for i := 0; i < t.Len(); i++ {
			f.forget(keyOf(t.ID, t.Name, t.Partition(i)))
		}
	}
}

// resolve makes a part of each partition asked for and finds its topic. Those that
// there are not are answered behind all others, as in Kafka.
func (op *fetchOp) resolve() {
	if op.eachAsked((*fetchOp).resolveKnown) > 0 {
		op.eachAsked((*fetchOp).resolveUnknown)
	}
}

// eachAsked calls f for each partition asked for and counts how often it is false.
func (op *fetchOp) eachAsked(f func(*fetchOp, *fetchPartition) bool) (not int) {
	if op.session == nil {
		for i := range op.asked {
			if !f(op, &op.asked[i]) {
				not++
			}
		}
		return not
	}
	for a := op.session.head; a != nil; a = a.next {
		if !f(op, a) {
			not++
		}
	}
	return not
}

// find is the topic of a partition asked for, or why there is no such partition.
func (op *fetchOp) find(a *fetchPartition) (*topicState, protocol.ErrorCode) {
	topic, code := op.home.findTopicByString(a.key.name, a.key.id, op.version >= 13)
	switch {
	case code == protocol.NONE:
		a.topicName = topic.name
	case a.topicName != "":
		// A session knew the topic by its id: Kafka goes by the name from then on.
		code = protocol.UNKNOWN_TOPIC_OR_PARTITION
		if op.version >= 13 && op.home.topicsByName[a.topicName] != nil {
			code = protocol.INCONSISTENT_TOPIC_ID
		}
	}
	if code == protocol.NONE && (a.key.partition < 0 || int(a.key.partition) >= topic.partitions) {
		code = protocol.UNKNOWN_TOPIC_OR_PARTITION
	}
	return topic, code
}

func (op *fetchOp) resolveKnown(a *fetchPartition) bool {
	topic, code := op.find(a)
	if code != protocol.NONE {
		return false
	}
	p := op.addPart(a)
	p.topic = topic
	p.key = partitionKey{topic.id, a.key.partition}
	if op.follower {
		p.code = protocol.NOT_LEADER_OR_FOLLOWER // no broker has a replica here
	}
	return true
}

func (op *fetchOp) resolveUnknown(a *fetchPartition) bool {
	_, code := op.find(a)
	if code == protocol.NONE {
		return true
	}
	p := op.addPart(a)
	p.code = code
	if p.missing = code != protocol.INCONSISTENT_TOPIC_ID; p.missing {
		op.missed++
	}
	return false
}

// planPart finds the range of the log that answers a part, on its owner's core.
func (s *Shard) planPart(p *fetchPart) {
	p.code, p.diverging = protocol.NONE, false
	p.highWatermark, p.lastStable, p.logStart = -1, -1, -1
	hosted := s.hostedFor(p)
	if hosted == nil || s.diverges(p, hosted.log) {
		p.lookup = nil
		p.forgetAborted()
		return
	}
	q := storage.Query{
		Offset: p.want.fetchOffset, MaxBytes: int(max(min(p.want.maxBytes, p.visit.op.maxBytes), 0)), AtLeastOne: true,
		Committed: p.visit.op.readCommitted,
	}
	if p.planLog(hosted.log, q); p.code == protocol.NONE {
		p.behind = hosted.log.BytesFromEnd(p.at)
		p.tellOffsets(hosted.log)
	}
}

func (p *fetchPart) planLog(log *storage.Partition, q storage.Query) {
	if q.Committed {
		p.planCommitted(log, q)
		return
	}
	p.at, p.lookup, p.code = log.Plan(q, p.lookup)
}

// tellOffsets notes what the answer says of the log.
func (p *fetchPart) tellOffsets(log *storage.Partition) {
	offsets := log.Offsets()
	p.highWatermark, p.lastStable, p.logStart = offsets.HighWatermark, offsets.LastStable, offsets.LogStart
}

// looking says whether the plan waits for a helper.
func (p *fetchPart) looking() bool { return p.lookup != nil || p.aborted.lookup != nil }

// hostedFor is the partition of a part, or nil with the part's error.
func (s *Shard) hostedFor(p *fetchPart) *hosted {
	hosted := s.hosted[p.key]
	if hosted == nil || hosted.log == nil {
		p.code = hostless(hosted)
		if s.topics[p.key.topic] == nil { // deleted while the fetch waited
			p.code = protocol.UNKNOWN_TOPIC_OR_PARTITION
		}
		return nil
	}
	p.leaderEpoch = hosted.leaderEpoch
	if p.code = checkLeaderEpoch(p.want.currentLeaderEpoch, hosted.leaderEpoch); p.code != protocol.NONE {
		return nil
	}
	return hosted
}

// diverges says whether the log is not the one that the consumer read last, and
// tells in the part from where on, or that this is not known.
func (s *Shard) diverges(p *fetchPart, log *storage.Partition) bool {
	e := p.want.lastFetchedEpoch
	if e < 0 {
		return false
	}
	epoch, end := log.EndOffsetForEpoch(e)
	if epoch < 0 || end < 0 {
		p.code = protocol.OFFSET_OUT_OF_RANGE
		return true
	}
	if epoch == e && end >= p.want.fetchOffset {
		return false
	}
	p.diverging, p.divergeEpoch, p.divergeEnd = true, epoch, end
	p.tellOffsets(log)
	return true
}

// parkPart makes a part wait for its partition to grow, or for its lookup. It
// returns false if there is news already.
func (s *Shard) parkPart(p *fetchPart) bool {
	if p.lookup != nil {
		if p.lookup.Done() {
			return false
		}
		p.lookup.Wait(p)
		return true
	}
	if l := p.aborted.lookup; l != nil {
		if l.Done() {
			return false
		}
		l.Wait(p)
		return true
	}
	hosted := s.hosted[p.key]
	if hosted == nil || hosted.log == nil || p.outdated(hosted.log.Offsets()) {
		return false
	}
	p.waiter.Owner, p.waiter.Committed = p, p.visit.op.readCommitted
	p.parked = hosted.log
	hosted.log.Wait(&p.waiter)
	return true
}

// outdated says whether a partition has more to give than the plan knew of.
func (p *fetchPart) outdated(o storage.Offsets) bool {
	if p.visit.op.readCommitted {
		return o.LastStable != p.lastStable
	}
	return o.HighWatermark != p.highWatermark
}

// limit keeps the response within its size: parts are served in order, the first
// with data always, later ones while they fit.
func (op *fetchOp) limit() {
	left, first := int(op.maxBytes), true
	for i := range op.parts {
		p := &op.parts[i]
		if p.at.Len == 0 {
			continue
		}
		size := p.at.Len + p.abortedBytes()
		if !first && (size > left || p.at.Len > int(p.want.maxBytes)) {
			p.at.Release()
			p.aborted.list = p.aborted.list[:0]
			continue
		}
		first = false
		left -= size
	}
}

// select decides which parts the response names and returns the room its
// header needs.
func (op *fetchOp) choose() (bytes int) {
	bytes = protocol.FetchFixedBytes
	op.topicGroups = 0
	if op.throttleMillis > 0 {
		return bytes
	}
	var last *fetchPart
	for i := range op.parts {
		p := &op.parts[i]
		p.included = p.asked.worthTelling(p.code, p.highWatermark, p.logStart, p.at.Len) || p.diverging || op.full
		if !p.included {
			continue
		}
		if last == nil || !sameTopic(last.asked, p.asked) {
			op.topicGroups++
			bytes += protocol.FetchTopicBytes + len(p.asked.key.name)
		}
		bytes += protocol.FetchPartitionBytes + p.abortedBytes()
		last = p
	}
	return bytes
}

func sameTopic(a, b *fetchPartition) bool {
	return a.key.id == b.key.id && a.key.name == b.key.name
}

// respond sends the answer and gives the op back.
func (op *fetchOp) respond() {
	s := op.home
	if op.timer.Armed() {
		s.core.Cancel(&op.timer)
	}
	if !op.chosen {
		op.limit()
		if s.quotas != nil {
			op.throttle(s.quotas)
		}
		op.headerBytes = op.choose()
		op.chosen = true
		for i := range op.parts {
			s.countFetch(&op.parts[i])
		}
	} else {
		op.req.Spent(reactor.StageQueue, s.core.Clock) // it found no memory before
	}
	if op.headerBytes > s.core.Arena.Limit()/2 {
		s.refuse(op.req, "response too large for a core's memory") // it would wait for room that there never is
		s.putFetch(op)
		return
	}
	block := s.core.Arena.Alloc(op.headerBytes)
	if block == nil {
		s.unansweredFetch.push(op)
		return
	}
	op.encode(block)
	op.req.Spent(reactor.StageLocal, s.core.ReadClock())
	if op.session != nil {
		op.rotate()
	}
	op.req.Finish()
	s.putFetch(op)
}

// rotate moves the partitions that returned data to the end of their session, and
// keeps the lookups of those that had to do without for their next fetch.
func (op *fetchOp) rotate() {
	for i := range op.parts {
		p := &op.parts[i]
		p.asked.lookup = p.lookup
		if p.sent {
			op.session.moveToEnd(p.asked)
		}
	}
}

// encode writes the header into block and adds it, interleaved with the ranges
// of the log, to the request.
func (op *fetchOp) encode(block *reactor.Block) {
	e := protocol.FetchEncoder{Version: op.version}
	b := block.Bytes()[:0]
	b = e.Begin(b, op.corrID, op.throttleMillis, op.sessionCode, op.sessionID, op.topicGroups)
	outside, from, relayed := 0, 0, 0
	var result protocol.FetchResult
	for i := 0; i < len(op.parts); {
		first := op.nextIncluded(i)
		if first == len(op.parts) {
			break
		}
		end, count := op.groupEnd(first)
		key := &op.parts[first].asked.key
		b = e.Topic(b, unsafe.Slice(unsafe.StringData(key.name), len(key.name)), key.id, count)
		for i = first; i < end; i++ {
			p := &op.parts[i]
			if !p.included {
				continue
			}
			op.result(p, &result)
			b = e.Partition(b, &result)
			if p.at.Len > 0 {
				block.Retain()
				op.req.AddBlock(block, from, len(b))
				from = len(b)
				outside += p.at.Len
				op.addRecords(p, &relayed)
			}
			b = e.EndPartition(b, &result)
		}
		b = e.EndTopic(b)
	}
	b = e.End(b, 0, outside, nil)
	op.req.AddBlock(block, from, len(b))
}

// tailBytes is how near the end of the log a range begins that counts as a tail
// reader's: a consumer that is that far behind is still meant to find its pages
// in the cache.
const tailBytes = 8 << 20

func (p *fetchPart) atTail() bool { return p.behind <= tailBytes }

// addRecords adds a part's range of the log to the response: from the blocks that
// it was received in, if it came in this turn and is not much, else from its file.
func (op *fetchOp) addRecords(p *fetchPart, relayed *int) {
	r, why := &p.at, reactor.Purpose{Reader: op.home.readerOf(p), Tail: p.atTail(), Sent: &p.topic.counters.Sent}
	if p.visit.owner == op.home && *relayed+r.Len <= storage.RelayBytes {
		at := r.Pos
		for _, piece := range op.home.store.Relayed(r) {
			r.File.Retain()
			op.req.AddRelay(piece, r.File, at, why)
			at += int64(piece.To - piece.From)
		}
		if at > r.Pos {
			*relayed += r.Len
			r.Release()
			p.sent = true
			return
		}
	}
	op.req.AddFile(r.File, r.Pos, r.Len, why)
	*r = storage.Range{}
	p.sent = true
}

func (op *fetchOp) nextIncluded(i int) int {
	for i < len(op.parts) && !op.parts[i].included {
		i++
	}
	return i
}

// groupEnd finds where the topic of parts[first] ends and how many of its parts
// are included.
func (op *fetchOp) groupEnd(first int) (end, count int) {
	for end = first; end < len(op.parts); end++ {
		if !op.parts[end].included {
			continue
		}
		if !sameTopic(op.parts[first].asked, op.parts[end].asked) {
			break
		}
		count++
	}
	return end, count
}

func (op *fetchOp) result(p *fetchPart, r *protocol.FetchResult) {
	*r = protocol.FetchResult{
		Index: p.asked.key.partition, Code: p.code,
		HighWatermark: p.highWatermark, LastStableOffset: p.lastStable, LogStartOffset: p.logStart,
		AbortedKnown: op.readCommitted && p.code == protocol.NONE || p.visit == nil, PreferredReadReplica: -1,
		RecordsBytes: p.at.Len, Aborted: p.aborted.list,
	}
	if p.diverging {
		r.DivergingEpoch = protocol.EpochOffset{Epoch: p.divergeEpoch, Offset: p.divergeEnd, Present: true}
	}
	if p.code == protocol.FENCED_LEADER_EPOCH || p.code == protocol.NOT_LEADER_OR_FOLLOWER {
		r.CurrentLeader = protocol.Leader{ID: op.home.broker.nodeID, Epoch: p.leaderEpoch, Known: p.leaderEpoch >= 0}
	}
}
