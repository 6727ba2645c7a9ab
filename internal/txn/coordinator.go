package txn

import (
	"fmt"

	"slipstream/protocol"
)

// Config are a coordinator's settings.
type Config struct {
	MaxTimeoutMillis int32 // transaction.max.timeout.ms: the longest timeout that a client may ask for
	ExpirationMillis int64 // transactional.id.expiration.ms: an id without transactions is forgotten after it
	Version          int16 // transaction.version: how the coordinator's own aborts go, and records are written
	// SettleMillis is how long an answer to EndTxn may wait for the transaction's
	// markers, so that the producer's next one is not met with
	// CONCURRENT_TRANSACTIONS; 0: not at all.
	SettleMillis int64
}

// DefaultConfig has Kafka's defaults.
func DefaultConfig() Config {
	return Config{MaxTimeoutMillis: 15 * 60 * 1000, ExpirationMillis: 7 * 24 * 3600 * 1000, Version: 2}
}

// retryMillis is how long the coordinator waits before it asks again for what has
// failed and must be done all the same: a marker, the record of a completion.
const retryMillis = 100

// ticked is the most transactional ids that one Tick looks at.
const ticked = 64

// workedOn is the most transactional ids that one Work looks at.
const workedOn = 256

// Coordinator is the coordinator of one partition of __transaction_state. It is
// used by one core at a time. Strings that it is given must not change or be
// reused: it keeps them.
type Coordinator struct {
	Stats Stats

	config Config
	epoch  int32 // of the leader: it is in every marker
	loaded bool
	byID   map[string]*transaction
	all    []*transaction // in no particular order, but in one that does not depend on chance
	due    dueHeap
	unseen int // of all, the first so many are still to be looked at by Work

	ids     []idRange // producer ids in store
	waiting []again   // who waits for one
	asked   int       // of waiting: for how many ids were asked

	out        [2]output // one is being gathered, the other was handed out last
	gathering  uint8
	nextAppend uint64
	inFlight   map[uint64][]*transaction // by append: whose records it holds
}

// Stats counts since the coordinator was made. Plain words: whoever drives the
// coordinator reads them.
type Stats struct {
	Begun, Committed, Aborted uint64 // transactions
	TimedOut                  uint64 // of Aborted: those that ran out of time
	Fenced                    uint64 // of Aborted: those whose producer another one took over from
	Expired                   uint64 // transactional ids forgotten
	FailedAppends             uint64
	MarkerRetries             uint64
}

// Add adds what another coordinator has counted.
func (s *Stats) Add(o *Stats) {
	s.Begun, s.Committed, s.Aborted = s.Begun+o.Begun, s.Committed+o.Committed, s.Aborted+o.Aborted
	s.TimedOut, s.Fenced, s.Expired = s.TimedOut+o.TimedOut, s.Fenced+o.Fenced, s.Expired+o.Expired
	s.FailedAppends, s.MarkerRetries = s.FailedAppends+o.FailedAppends, s.MarkerRetries+o.MarkerRetries
}

// Tag is what finds the caller of a request again: the coordinator hands it back
// with the answer and does not look at it.
type Tag any

// Record is a record for __transaction_state. A nil Value is a tombstone.
type Record struct {
	Key, Value      []byte
	TimestampMillis int64
}

// Response answers one request.
type Response struct {
	Tag  Tag
	Code protocol.ErrorCode

	// ProducerID and ProducerEpoch are for InitProducerId and for EndTxn of
	// transaction.version 2: what the producer is to use from now on. -1: none.
	ProducerID    int64
	ProducerEpoch int16

	// Codes answers VerifyOnly: one for each partition asked for, in their order.
	// nil: Code is true of all.
	Codes []protocol.ErrorCode
}

// Worst is an error that the answer has, for any of the partitions asked for; NONE: it has none.
func (r *Response) Worst() protocol.ErrorCode {
	for _, code := range r.Codes {
		if code != protocol.NONE {
			return code
		}
	}
	return r.Code
}

// Marker says which control batches are to be written: one in each partition.
type Marker struct {
	TransactionalID  string
	ProducerID       int64
	ProducerEpoch    int16
	CoordinatorEpoch int32
	Version          int16 // transaction.version of the transaction: from 2 on the epoch must be a new one
	Commit           bool
	Partitions       []TopicPartition // ordered by topic and number; the receiver's to keep
}

// Ready is what is to be done. The slices of Records and Responses and the bytes of
// Records are the coordinator's and last until its next Ready.
type Ready struct {
	Append      uint64 // names Records in Committed and Failed; not given twice
	Records     []Record
	Responses   []Response
	Markers     []Marker
	ProducerIDs int // fresh producer ids that are waited for
}

// transaction is what is known of a transactional id.
type transaction struct {
	meta
	id      string
	place   int // in Coordinator.all
	pending State
	// failedFence: an epoch was bumped to fence a producer, and the record of it was
	// not written: the next attempt does not bump it again (transaction.version < 2).
	failedFence bool
	fencing     bool // the record in flight is of that
	to          meta // what it becomes when the record in flight is committed
	answer      answer

	held      *Response // an answer to EndTxn that waits for the markers
	heldUntil int64

	retry      int64            // when to ask for failed markers again, or write the record of the completion; 0: no
	retrying   []TopicPartition // the failed markers'
	notBefore  int64            // an attempt to end or forget it has failed: when to try again
	waitsForID bool             // its end waits for a producer id

	due       int64 // when Tick looks at it
	heapPlace int   // -1: it does not
}

// answer says what to tell whom when a record is committed.
type answer struct {
	tag  Tag
	kind answerKind
}

type answerKind uint8

const (
	toNobody         answerKind = iota
	withProducer                // InitProducerId
	plainly                     // AddPartitions
	toEndTxn                    // EndTxn before version 5: no producer in it
	toEndTxnWithNext            // EndTxn from version 5 on: the producer to go on with
	tryAgainLater               // InitProducerId that had to abort a transaction first
)

// New makes the coordinator of a partition that is led at an epoch. It answers
// COORDINATOR_LOAD_IN_PROGRESS until Loaded.
func New(config Config, leaderEpoch int32) *Coordinator {
	return &Coordinator{config: config, epoch: leaderEpoch, byID: map[string]*transaction{}, inFlight: map[uint64][]*transaction{}}
}

// SetConfig changes the settings. Deadlines that move forward with them do so as Work gets to them.
func (c *Coordinator) SetConfig(config Config) {
	c.config = config
	loading := c.unseen > 0
	c.unseen = len(c.all)
	if !loading {
		c.Work(0) // all that are ending are under way: the time is of no account
	}
}

// Epoch is the leader epoch, which the partition's markers carry.
func (c *Coordinator) Epoch() int32 { return c.epoch }

// Count is the number of transactional ids.
func (c *Coordinator) Count() int { return len(c.all) }

// Load takes in a record of the log, from its beginning on. A nil value is a
// tombstone. A record of a version that is not known is ErrVersion and may be
// passed over; any other error means that the log is damaged.
func (c *Coordinator) Load(key, value []byte) error {
	if c.loaded {
		panic("txn: Load after Loaded")
	}
	id, err := decodeKey(key)
	if err != nil {
		return err
	}
	if value == nil {
		if t := c.byID[id]; t != nil {
			c.remove(t)
		}
		return nil
	}
	m, err := decodeValue(value)
	if err != nil {
		return fmt.Errorf("transactional id %q: %w", id, err)
	}
	t := c.byID[id]
	if t == nil {
		t = c.add(id)
	}
	t.meta = m
	return nil
}

// Loaded ends loading. Transactions that were ending get their markers, those that
// have run out of time are aborted by the next Tick: some at once, the rest as Work gets to them.
func (c *Coordinator) Loaded(nowMillis int64) {
	c.loaded = true
	c.unseen = len(c.all)
	c.Work(nowMillis)
}

// HasWork says whether Work has anything to do.
func (c *Coordinator) HasWork() bool { return c.unseen > 0 }

// Work looks at some of the ids that have not been seen to since Loaded or SetConfig.
func (c *Coordinator) Work(nowMillis int64) {
	if !c.loaded {
		return
	}
	// Backwards: where an id is removed the last one takes its place, and that was seen by then.
	c.unseen = min(c.unseen, len(c.all))
	for n := 0; n < workedOn && c.unseen > 0; n++ {
		c.unseen--
		t := c.all[c.unseen]
		c.schedule(t)
		if t.state.ending() && t.pending == noState {
			c.complete(nowMillis, t)
		}
	}
}

func (c *Coordinator) add(id string) *transaction {
	t := &transaction{id: id, place: len(c.all), pending: noState, heapPlace: -1}
	t.meta = meta{previousProducerID: -1, nextProducerID: -1, producerID: -1, producerEpoch: -1, lastProducerEpoch: -1, startMillis: -1}
	c.byID[id] = t
	c.all = append(c.all, t)
	return t
}

func (c *Coordinator) remove(t *transaction) {
	c.due.remove(t)
	delete(c.byID, t.id)
	last := len(c.all) - 1
	c.all[t.place] = c.all[last]
	c.all[t.place].place = t.place
	c.all[last] = nil
	c.all = c.all[:last]
}

// output is a Ready and the memory of its records.
type output struct {
	Ready
	bytes []byte
}

func (c *Coordinator) output() *output { return &c.out[c.gathering] }

// HasReady says whether Ready has anything to be done.
func (c *Coordinator) HasReady() bool {
	o := c.output()
	return len(o.Records) > 0 || len(o.Responses) > 0 || len(o.Markers) > 0 || len(c.waiting) > c.asked
}

// Ready hands out what is to be done since the last call.
func (c *Coordinator) Ready() Ready {
	r := c.output().Ready
	r.ProducerIDs, c.asked = len(c.waiting)-c.asked, len(c.waiting)
	c.gathering ^= 1
	o := c.output()
	clear(o.Responses) // they keep their callers alive
	o.Records, o.Responses, o.bytes = o.Records[:0], o.Responses[:0], o.bytes[:0]
	o.Append, o.Markers = 0, nil
	return r
}

// respond answers a request.
func (c *Coordinator) respond(r Response) {
	o := c.output()
	o.Responses = append(o.Responses, r)
}

// refuse answers with an error, or with success and nothing more.
func (c *Coordinator) refuse(tag Tag, code protocol.ErrorCode) {
	c.respond(Response{Tag: tag, Code: code, ProducerID: -1, ProducerEpoch: -1})
}

// write has t become to once the record of that is committed; then a is answered.
func (c *Coordinator) write(nowMillis int64, t *transaction, to meta, a answer) {
	if !to.state.follows(t.state) {
		panic("txn: " + to.state.String() + " after " + t.state.String())
	}
	t.to, t.answer, t.pending = to, a, to.state
	o := c.output()
	keyAt := len(o.bytes)
	o.bytes = appendKey(o.bytes, t.id)
	valueAt := len(o.bytes)
	r := Record{TimestampMillis: nowMillis}
	if to.state != Dead {
		o.bytes = to.appendValue(o.bytes, min(c.config.Version, recordValueVersion))
		r.Value = o.bytes[valueAt:len(o.bytes):len(o.bytes)]
	}
	r.Key = o.bytes[keyAt:valueAt:valueAt]
	if len(o.Records) == 0 {
		c.nextAppend++
		o.Append = c.nextAppend
	}
	o.Records = append(o.Records, r)
	c.inFlight[o.Append] = append(c.inFlight[o.Append], t)
}

// Resign ends the coordinator: its partition is led elsewhere, or closed. Whoever waits is answered
// NOT_COORDINATOR; what is in flight makes no difference any more.
func (c *Coordinator) Resign() {
	for _, t := range c.all {
		if t.answer.kind != toNobody {
			c.refuse(t.answer.tag, protocol.NOT_COORDINATOR)
		}
		c.release(t)
	}
	waiting := c.waiting
	c.unseen = 0
	c.loaded, c.byID, c.all, c.due, c.waiting, c.asked = false, map[string]*transaction{}, nil, nil, nil, 0
	clear(c.inFlight)
	for _, w := range waiting {
		w(0, protocol.NOT_COORDINATOR)
	}
}
