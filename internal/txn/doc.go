// Package txn decides what becomes of transactions: it is the transaction
// coordinator of one partition of __transaction_state, as a state machine. It is
// pure: requests, notices and the time go in, records, answers and markers to be
// written come out; no file, no clock, no goroutine.
//
// A [Coordinator] is driven by the core that leads its partition:
//
//	c := New(config, leader epoch)
//	for each record of the log, in order { c.Load(key, value) }
//	c.Loaded(now)                                // from here on it answers; transactions that were ending go on
//
//	c.InitProducerID(now, tag, request), c.AddPartitions(...), c.EndTxn(...), c.Tick(now)
//	for c.HasReady() {
//		ready := c.Ready()
//		append ready.Records to the partition as one batch, wait until it is committed:
//			c.Committed(now, ready.Append), or c.Failed(now, ready.Append, code)
//		answer ready.Responses
//		write ready.Markers into the partitions that they name, then for each partition:
//			c.MarkerDone(now, marker, partition), or c.MarkerFailed(...)
//		give it ready.ProducerIDs fresh producer ids: c.AddProducerIDs(now, first, count)
//	}
//	call c.Tick(now) no later than c.Deadline(), and c.Work(now) again and again while c.HasWork()
//
// The way of one transaction, as transaction.version 2 has it:
//
//	InitProducerId   Empty            producer id and epoch are the client's, others are fenced
//	AddPartitions    Ongoing          the first partition starts the clock of transaction.timeout.ms
//	EndTxn           PrepareCommit    from here on nothing can stop it; the client is answered
//	(markers)        CompleteCommit   every partition has its marker; the epoch is already the next one's
//
// Every step is a record of __transaction_state, and a state only takes effect
// once its record is committed. Until then the transactional id is busy: whoever
// else asks for it is answered CONCURRENT_TRANSACTIONS, and comes back. So there is
// at most one record in flight for an id, and a record that fails leaves nothing
// behind.
//
// Behaviour, formats and the versions' error codes are those of Apache Kafka 4.3.1;
// what a running one answered is in testdata/apache. Where this differs:
//   - A transaction is ended when its timeout has passed, and an id forgotten when
//     it has expired, not at the next sweep (Kafka: every 10 s and every hour).
//   - A request that needs a new producer id waits for one; Kafka answers
//     COORDINATOR_LOAD_IN_PROGRESS.
//   - The answer to EndTxn may wait for the markers, at most Config.SettleMillis:
//     the producer's next transaction then finds its way clear.
//   - A marker that a partition refuses because it has seen a newer epoch counts as
//     written: Kafka leaves such a transaction in its Prepare state for good.
package txn
