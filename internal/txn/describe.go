package txn

import (
	"math"
	"regexp"
	"slices"

	"slipstream/protocol"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// Describe answers DescribeTransactions for one transactional id.
func (c *Coordinator) Describe(id string) kmsg.DescribeTransactionsResponseTransactionState {
	out := kmsg.NewDescribeTransactionsResponseTransactionState()
	out.TransactionalID = id
	t, code := c.lookUp(id)
	if code == protocol.INVALID_PRODUCER_ID_MAPPING {
		code = protocol.TRANSACTIONAL_ID_NOT_FOUND
	}
	if out.ErrorCode = int16(code); code != protocol.NONE {
		return out
	}
	out.State = t.state.String()
	out.TimeoutMillis, out.StartTimestamp = t.timeoutMillis, t.startMillis
	out.ProducerID, out.ProducerEpoch = t.producerID, t.producerEpoch
	for rest := t.partitions; len(rest) > 0; {
		topic := kmsg.NewDescribeTransactionsResponseTransactionStateTopic()
		topic.Topic = rest[0].Topic
		n := sameTopic(rest)
		for _, p := range rest[:n] {
			topic.Partitions = append(topic.Partitions, p.Partition)
		}
		out.Topics = append(out.Topics, topic)
		rest = rest[n:]
	}
	return out
}

// Filter says which transactions ListTransactions is about.
type Filter struct {
	producerIDs []int64 // in order; none: all
	states      uint16  // bits
	allStates   bool
	longer      int64 // ms that it has gone on for; -1: any
	pattern     *regexp.Regexp
}

// maxPattern is the longest pattern that is looked at, in bytes. A transactional id is not longer either.
const maxPattern = 32 << 10

// ParseFilter reads a ListTransactions request. unknown are the states that it names and that do not exist.
// Matching a pattern takes time that grows with the id's length and no faster; one that is too large to be
// prepared is INVALID_REGULAR_EXPRESSION like one that is wrong.
func ParseFilter(req *kmsg.ListTransactionsRequest) (f Filter, unknown []string, code protocol.ErrorCode) {
	f = Filter{producerIDs: slices.Clone(req.ProducerIDFilters), allStates: len(req.StateFilters) == 0, longer: -1}
	slices.Sort(f.producerIDs)
	if req.Version >= 1 {
		f.longer = req.DurationFilterMillis
	}
	for _, name := range req.StateFilters {
		if s, ok := ParseState(name); ok {
			f.states |= set(s)
		} else if !slices.Contains(unknown, name) {
			unknown = append(unknown, name)
		}
	}
	if p := req.TransactionalIDPattern; req.Version >= 2 && p != nil && *p != "" {
		if len(*p) > maxPattern {
			return f, unknown, protocol.INVALID_REGULAR_EXPRESSION
		}
		if _, err := regexp.Compile(*p); err != nil {
			return f, unknown, protocol.INVALID_REGULAR_EXPRESSION
		}
		var err error
		if f.pattern, err = regexp.Compile(`\A(?:` + *p + `)\z`); err != nil {
			return f, unknown, protocol.INVALID_REGULAR_EXPRESSION
		}
	}
	return f, unknown, protocol.NONE
}

func (f *Filter) passes(t *transaction, nowMillis int64) bool {
	if len(f.producerIDs) > 0 {
		if _, found := slices.BinarySearch(f.producerIDs, t.producerID); !found {
			return false
		}
	}
	return (f.allStates || f.states>>t.state&1 == 1) &&
		(f.longer < 0 || nowMillis-t.startMillis > f.longer) &&
		(f.pattern == nil || f.pattern.MatchString(t.id))
}

// ListAll is where List begins.
const ListAll = math.MaxInt

// List adds to dst what passes the filter among the transactional ids before a place, looking at no more than limit
// of them, and returns the place to go on from; 0: there is no more. Ids may come and go between two calls: one
// that is there all the while is listed, and perhaps twice.
func (c *Coordinator) List(nowMillis int64, f *Filter, before, limit int, dst []kmsg.ListTransactionsResponseTransactionState) ([]kmsg.ListTransactionsResponseTransactionState, int) {
	// Backwards: where an id is removed the last one takes its place, and that was seen by then.
	before = min(before, len(c.all))
	end := max(before-limit, 0)
	for i := before - 1; i >= end; i-- {
		t := c.all[i]
		if !f.passes(t, nowMillis) {
			continue
		}
		out := kmsg.NewListTransactionsResponseTransactionState()
		out.TransactionalID, out.ProducerID, out.TransactionState = t.id, t.producerID, t.state.String()
		dst = append(dst, out)
	}
	return dst, end
}

// Loading says whether the coordinator is still being loaded: ListTransactions is then answered
// COORDINATOR_LOAD_IN_PROGRESS.
func (c *Coordinator) Loading() bool { return !c.loaded }
