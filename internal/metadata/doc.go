// Package metadata is the cluster's state as Apache Kafka keeps it: the records
// of the metadata log, the image that is a fold over them, and the decisions of a
// controller. It is pure: bytes and values in, bytes and values out; no file, no
// clock, no goroutine. Who drives it is said at [Controller], what the files of a
// metadata directory hold in batches.go, what a start and a stop write in start.go.
//
// A start, in the caller's steps:
//
//	im := NewImage(); im.ReadSnapshot(newest checkpoint, if any); im.Replay(log, from its offset)
//	epoch = 1 + the larger of quorum-state's and the log's; write quorum-state, durably
//	append AppendControlBatch(Elect(...)) (with the voters only if the log is empty)
//	first, then := controller.Activate(node); append each as a batch, apply
//	append AppendBatches(controller.Register(node, log end)), apply
//
// Sources: the schemas in Apache Kafka 4.3's kafka-metadata, kafka-clients and
// kafka-raft jars, and the files and answers of a running Kafka 4.3.1 (testdata).
package metadata
