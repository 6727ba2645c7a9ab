package txn_test

import (
	"fmt"

	"slipstream/internal/txn"
)

// A driver: it appends records, writes markers and answers, here all in memory.
type driver struct {
	c   *txn.Coordinator
	log []txn.Record
	now int64
}

// work does what the coordinator wants done until it wants nothing more.
func (d *driver) work() {
	for d.c.HasReady() {
		ready := d.c.Ready()
		if ready.ProducerIDs > 0 {
			d.c.AddProducerIDs(d.now, 1000, ready.ProducerIDs) // from the cluster's metadata
		}
		if len(ready.Records) > 0 {
			batch := txn.AppendBatch(nil, int64(len(d.log)), d.c.Epoch(), ready.Records)
			fmt.Printf("append %d record(s), %d bytes\n", len(ready.Records), len(batch))
			d.log = append(d.log, ready.Records...)
			d.c.Committed(d.now, ready.Append)
		}
		for i := range ready.Markers {
			m := &ready.Markers[i]
			for _, p := range m.Partitions {
				fmt.Printf("write a marker into %s-%d: producer %d epoch %d, commit %v\n", p.Topic, p.Partition, m.ProducerID, m.ProducerEpoch, m.Commit)
				d.c.MarkerDone(d.now, m, p)
			}
		}
		for _, r := range ready.Responses {
			fmt.Printf("answer %v: %v producer %d epoch %d\n", r.Tag, r.Code, r.ProducerID, r.ProducerEpoch)
		}
	}
}

func Example() {
	d := driver{c: txn.New(txn.DefaultConfig(), 1), now: 1_700_000_000_000}
	d.c.Loaded(d.now) // the log is empty

	d.c.InitProducerID(d.now, "init", txn.InitProducerID{TransactionalID: "orders", TimeoutMillis: 60000, ProducerID: -1, ProducerEpoch: -1})
	d.work()
	d.c.AddPartitions(d.now, "add", txn.AddPartitions{TransactionalID: "orders", ProducerID: 1000, Partitions: []txn.TopicPartition{{Topic: "t", Partition: 3}}, Version: 2})
	d.work()
	fmt.Printf("Tick in %d ms\n", d.c.Deadline()-d.now)
	d.c.EndTxn(d.now, "end", txn.EndTxn{TransactionalID: "orders", ProducerID: 1000, Commit: true, Version: 2})
	d.work()

	// Output:
	// append 1 record(s), 123 bytes
	// answer init: NONE producer 1000 epoch 0
	// append 1 record(s), 136 bytes
	// answer add: NONE producer -1 epoch -1
	// Tick in 60001 ms
	// append 1 record(s), 136 bytes
	// write a marker into t-3: producer 1000 epoch 1, commit true
	// answer end: NONE producer 1000 epoch 1
	// append 1 record(s), 128 bytes
}
