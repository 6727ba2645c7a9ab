package crash

import (
	"context"
	"fmt"
	"math/rand"
	"strings"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

const (
	txnTopic      = "transactional"
	txnPartitions = 2
)

// end is how a transaction ended.
type end uint8

const (
	undecided end = iota // its commit was asked for and not answered
	committed
	aborted
)

// transaction is one: how many records it wrote to each partition, and whether it committed its own number as the offset of
// its producer's group.
type transaction struct {
	records [txnPartitions]int
	offsets bool
	end     end
}

// transactions are those of all producers.
type transactions struct {
	l       *Ledger
	writers []*txnWriter
}

// txnWriter is a transactional producer over all rounds.
type txnWriter struct {
	l       *Ledger
	id      int
	list    []transaction
	checked int // those before are decided
}

func newTransactions(l *Ledger) *transactions {
	x := &transactions{l: l}
	for i := range 3 {
		x.writers = append(x.writers, &txnWriter{l: l, id: i})
	}
	return x
}

func (w *txnWriter) name() string { return fmt.Sprintf("teller-%d", w.id) }

func (w *txnWriter) client(addr string) (*kgo.Client, error) {
	return kgo.NewClient(options(addr, kgo.TransactionalID(w.name()), kgo.TransactionTimeout(time.Minute), kgo.DefaultProduceTopic(txnTopic))...)
}

// run writes transactions until the load ends.
func (w *txnWriter) run(ld *Load, rng *rand.Rand) {
	cl, err := w.client(ld.addr)
	if err != nil {
		w.l.finding("%s: %v", w.name(), err)
		return
	}
	defer cl.Close()
	for ld.pause(time.Duration(rng.Int63n(int64(30 * time.Millisecond)))) {
		x := transaction{offsets: rng.Intn(3) == 0}
		number := len(w.list)
		ok := w.one(ld.ctx, cl, rng, number, &x)
		w.l.mu.Lock()
		w.list = append(w.list, x)
		if x.end == committed {
			w.l.counts.Committed++
			for _, n := range x.records {
				w.l.counts.Acknowledged += int64(n)
				w.l.counts.Flushed += int64(n)
			}
		} else if x.end == aborted {
			w.l.counts.Aborted++
		}
		w.l.mu.Unlock()
		if !ok {
			return // the next round's client ends what this one has left
		}
	}
}

// one writes a transaction and ends it. It is false when the client is of no use any more.
func (w *txnWriter) one(ctx context.Context, cl *kgo.Client, rng *rand.Rand, number int, x *transaction) bool {
	x.end = aborted
	if err := cl.BeginTransaction(); err != nil {
		return false
	}
	var failed atomic.Bool
	for p := range x.records {
		x.records[p] = rng.Intn(4)
		if p == 0 {
			x.records[p]++
		}
		for i := range x.records[p] {
			r := &kgo.Record{Partition: int32(p), Value: fmt.Appendf(nil, "txn %d %d %d %s", w.id, number, i, pad[:rng.Intn(200)])}
			cl.Produce(ctx, r, func(_ *kgo.Record, err error) {
				if err != nil {
					failed.Store(true)
				}
			})
		}
	}
	if err := cl.Flush(ctx); err != nil || failed.Load() {
		return false
	}
	if x.offsets {
		if err := w.commitOffset(ctx, cl, number); err != nil {
			return false
		}
	}
	if rng.Intn(4) == 0 && ctx.Err() == nil {
		return cl.EndTransaction(ctx, kgo.TryAbort) == nil
	}
	x.end = undecided
	if err := cl.EndTransaction(ctx, kgo.TryCommit); err != nil {
		return false
	}
	x.end = committed
	return true
}

// commitOffset commits the transaction's number, as an offset of partition 0, within the transaction.
func (w *txnWriter) commitOffset(ctx context.Context, cl *kgo.Client, number int) error {
	id, epoch, err := cl.ProducerID(ctx)
	if err != nil {
		return err
	}
	add := kmsg.NewPtrAddOffsetsToTxnRequest()
	add.TransactionalID, add.ProducerID, add.ProducerEpoch, add.Group = w.name(), id, epoch, w.name()
	added, err := add.RequestWith(ctx, cl)
	if err != nil {
		return err
	}
	if err := kerr.ErrorForCode(added.ErrorCode); err != nil {
		return err
	}
	req := kmsg.NewPtrTxnOffsetCommitRequest()
	req.TransactionalID, req.ProducerID, req.ProducerEpoch, req.Group, req.Generation = w.name(), id, epoch, w.name(), -1
	t := kmsg.NewTxnOffsetCommitRequestTopic()
	t.Topic = txnTopic
	p := kmsg.NewTxnOffsetCommitRequestTopicPartition()
	p.Offset = int64(number)
	t.Partitions = append(t.Partitions, p)
	req.Topics = append(req.Topics, t)
	resp, err := req.RequestWith(ctx, cl)
	if err != nil {
		return err
	}
	return kerr.ErrorForCode(resp.Topics[0].Partitions[0].ErrorCode)
}

// settle has the coordinator end what was open: afterwards nothing holds readers back.
func (x *transactions) settle(ctx context.Context, addr string) error {
	for _, w := range x.writers {
		cl, err := w.client(addr)
		if err != nil {
			return err
		}
		_, _, err = cl.ProducerID(ctx)
		cl.Close()
		if err != nil {
			return fmt.Errorf("%s: ending what the crash has left open: %w", w.name(), err)
		}
	}
	return nil
}

// compare holds what a read_committed consumer was shown against what the producers know.
func (x *transactions) compare(reads map[*log][]*kgo.Record, whole bool) {
	shown := make([][][txnPartitions]int, len(x.writers))
	for i, w := range x.writers {
		shown[i] = make([][txnPartitions]int, len(w.list))
	}
	for g, read := range reads {
		last := make([]int, len(x.writers))
		for _, r := range read {
			if !strings.HasPrefix(string(r.Value), "txn ") {
				continue // a fence
			}
			var id, n, i int
			if _, err := fmt.Sscanf(string(r.Value), "txn %d %d %d", &id, &n, &i); err != nil || id >= len(x.writers) || n >= len(x.writers[id].list) {
				x.l.finding("%v: offset %d holds what nobody has sent: %.60q", g, r.Offset, r.Value)
				continue
			}
			if n < last[id] || i != shown[id][n][g.partition] && (whole || n >= x.writers[id].checked) {
				x.l.finding("%v: record %d of transaction %d of %s at offset %d comes after %d of its records and after transaction %d", g, i, n, x.writers[id].name(), r.Offset, shown[id][n][g.partition], last[id])
			}
			last[id] = n
			shown[id][n][g.partition]++
		}
	}
	for i, w := range x.writers {
		from := w.checked
		if whole {
			from = 0
		}
		for n := from; n < len(w.list); n++ {
			w.judge(n, shown[i][n])
		}
		w.checked = len(w.list)
	}
}

// judge holds one transaction against what was shown of it.
func (w *txnWriter) judge(n int, shown [txnPartitions]int) {
	t := &w.list[n]
	all, none := shown == t.records, shown == [txnPartitions]int{}
	switch {
	case t.end == committed && !all, t.end == aborted && !none, !all && !none:
		w.l.finding("%s: transaction %d wrote %v records, its end is %d (0 undecided, 1 committed, 2 aborted), shown are %v", w.name(), n, t.records, t.end, shown)
	case t.end == undecided:
		w.l.mu.Lock()
		w.l.counts.Undecided++
		w.l.mu.Unlock()
		t.end = aborted
		if all {
			t.end = committed
		}
	}
}

// checkOffsets requires, for each producer's group, the offset that the last committed transaction with one has set.
func (x *transactions) checkOffsets(ctx context.Context, admin *kadm.Client) error {
	for _, w := range x.writers {
		want := int64(-1)
		for n, t := range w.list {
			if t.end == committed && t.offsets {
				want = int64(n)
			}
		}
		got, err := committedOffset(ctx, admin, w.name(), txnTopic, 0)
		if err != nil {
			return err
		}
		if got != want {
			x.l.finding("group %s: the committed offset is %d, and the last transaction that was committed with one has set %d", w.name(), got, want)
		}
	}
	return nil
}

// committedOffset is a group's, -1 if it has none.
func committedOffset(ctx context.Context, admin *kadm.Client, group, topic string, partition int32) (int64, error) {
	resp, err := admin.FetchOffsets(ctx, group)
	if err != nil {
		return 0, fmt.Errorf("fetching the offsets of group %s: %w", group, err)
	}
	o, ok := resp.Lookup(topic, partition)
	if !ok {
		return -1, nil
	}
	return o.At, o.Err
}
