// Package crash is a mixed load on a broker that is killed, or loses its power, again and again on one data directory,
// and the ledger of what that broker has acknowledged. The ledger lives with the clients, so it survives what the broker
// does not.
//
//	l := crash.New(options)
//	broker starts; l.Setup(addr)
//	for each round:
//	  load := l.Load(addr); ... the broker is killed ...; load.Stop()
//	  broker starts; findings := l.Check(addr, whole)
//
// What Check requires, of every partition and in every round:
//   - a record that was acknowledged is at the offset that was acknowledged, with the bytes that were sent;
//   - what was sent and never answered is there or is not, in the order in which it was sent; from an idempotent producer
//     once; once it has been read, it stays;
//   - where a topic's appends do not wait for the disk and the power went, the acknowledged records that are there are a
//     prefix: a suffix may be missing, and never comes back;
//   - of a compacted topic the last value of each key is there;
//   - a transaction that was committed is there whole, with the offsets that it committed, an aborted one not at all, and
//     one whose end was not answered either way, but in all partitions the same;
//   - offsets that a group has committed, topics that were created or deleted, settings that were changed, are as last
//     acknowledged, or as last asked for;
//   - a log begins no later than DeleteRecords has asked for and retention allows.
package crash
