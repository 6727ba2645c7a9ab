package txn

import (
	"fmt"
	"testing"
)

// BenchmarkTransaction is one whole transaction of one partition: begin, commit, marker, complete; with a
// hundred thousand ids beside it.
func BenchmarkTransaction(b *testing.B) {
	for _, ids := range []int{1, 100_000} {
		b.Run(fmt.Sprintf("ids=%d", ids), func(b *testing.B) {
			c := New(DefaultConfig(), 1)
			c.Loaded(0)
			c.AddProducerIDs(0, 0, ids)
			for i := range ids {
				c.InitProducerID(0, nil, InitProducerID{TransactionalID: fmt.Sprint("id-", i), TimeoutMillis: 60000, ProducerID: -1, ProducerEpoch: -1})
				c.Committed(0, c.Ready().Append)
			}
			c.Ready()
			partitions := []TopicPartition{{"topic", 3}}
			producerID, epoch := int64(0), int16(0)
			now := int64(0)
			b.ReportAllocs()
			for b.Loop() {
				now++
				c.AddPartitions(now, nil, AddPartitions{TransactionalID: "id-0", ProducerID: producerID, ProducerEpoch: epoch, Partitions: partitions, Version: 2})
				c.Committed(now, c.Ready().Append)
				c.EndTxn(now, nil, EndTxn{TransactionalID: "id-0", ProducerID: producerID, ProducerEpoch: epoch, Commit: true, Version: 2})
				c.Committed(now, c.Ready().Append)
				r := c.Ready()
				for i := range r.Markers {
					c.MarkerDone(now, &r.Markers[i], r.Markers[i].Partitions[0])
				}
				for _, a := range r.Responses {
					if a.ProducerID != -1 {
						producerID, epoch = a.ProducerID, a.ProducerEpoch
					}
				}
				r = c.Ready()
				if len(r.Records) != 1 {
					b.Fatal("the transaction is not complete")
				}
				c.Committed(now, r.Append)
				if c.Tick(now); epoch == exhaustedEpoch {
					c.AddProducerIDs(now, 1<<30+now, 1)
				}
			}
		})
	}
}

// BenchmarkLoad is the replay of a log.
func BenchmarkLoad(b *testing.B) {
	m := meta{state: CompleteCommit, producerID: 7, previousProducerID: 7, nextProducerID: -1, timeoutMillis: 60000, clientVersion: 2}
	keys := make([][]byte, 10_000)
	for i := range keys {
		keys[i] = appendKey(nil, fmt.Sprint("id-", i))
	}
	value := m.appendValue(nil, 1)
	b.ReportAllocs()
	for b.Loop() {
		c := New(DefaultConfig(), 1)
		for _, key := range keys {
			if err := c.Load(key, value); err != nil {
				b.Fatal(err)
			}
		}
		c.Loaded(0)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(len(keys)), "ns/record")
}

// BenchmarkTick passes over the deadlines of many ongoing transactions, none of which is due.
func BenchmarkTick(b *testing.B) {
	c := New(DefaultConfig(), 1)
	for i := range 100_000 {
		m := meta{state: Ongoing, producerID: int64(i), timeoutMillis: 60000, startMillis: int64(i)}
		if err := c.Load(appendKey(nil, fmt.Sprint("id-", i)), m.appendValue(nil, 1)); err != nil {
			b.Fatal(err)
		}
	}
	c.Loaded(0)
	b.ReportAllocs()
	for b.Loop() {
		c.Tick(1000)
	}
}
