// Package share has the state machines of share groups (KIP-932): queues over the
// partitions of topics, whose records are delivered to any member of a group, locked
// for as long as a member has them, acknowledged one by one, and delivered again if
// they are not. It is values in, values out: no file, no socket, no clock, no
// goroutine.
//
//	[Partition]    a group's view of one partition of a topic: which records are with
//	               whom, until when, how often delivered. It is driven by the core that
//	               leads the topic's partition.
//	[Coordinator]  the states of the share-partitions that are kept in one partition of
//	               __share_group_state, in Kafka's record formats. It is driven by the
//	               core that leads that partition.
//	[Sessions]     what each member fetches, from request to request.
//
// A share-partition loads its state from the coordinator once, and sends it what has
// changed from then on; who acknowledges is answered when that is in the log. Who is a
// member of a group, and of what, is decided elsewhere (internal/group).
//
// Sources: the schemas in Apache Kafka 4.3's kafka-share-coordinator and kafka-clients
// jars, KIP-932, 1206, 1222 and 1226, and the answers and logs of a running Kafka 4.3.1.
package share
