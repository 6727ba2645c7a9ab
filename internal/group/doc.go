// Package group is Kafka's group coordinator as a pure state machine: classic
// groups (JoinGroup to LeaveGroup), consumer groups (KIP-848) and committed
// offsets, of one partition of __consumer_offsets. It is values in, values out:
// no file, no socket, no clock, no goroutine. Time comes in with every input, ids
// are drawn from a source that the driver gives, and no order of a Go map shows,
// so the same inputs give the same outputs.
//
// The driver is the core that leads the partition. For each partition it keeps a
// [Coordinator]:
//
//	c := New(options)
//	for each batch of the log { c.Replay(...) or c.ReplayMarker(...) }    // load
//	c.Loaded(now)
//
//	c.Step(now, request)        a request for one of its groups, decoded
//	c.TopicsChanged(now, ...)   the cluster's image has moved
//	c.EndTransaction(...)       a transaction's marker is in the log
//	c.Tick(now)                 at Ready's deadline, or at any time
//	c.Work(now)                 when Ready says that there is work
//
// and after any of them, once a turn:
//
//	r := c.Ready(max)
//	append r.Batches to the log, in order
//	c.Committed(seq) or c.Failed(seq, code), in the same order, when they are in it or not
//	send r.Responses
//
// A response is handed out once the records that it rests on are committed, and
// never before. The state runs ahead of the log by the batches in flight: if one
// of them fails, everything that rests on it is answered with an error and the
// coordinator has failed; the driver makes a new one and loads it from the log,
// as a new leader would. (A transactional batch that is refused fails alone.)
//
// One step is bounded in time. What could take long is split: the assignment of a
// large group, the resolution of regular expressions, the answers to a thousand
// members, the expiry of offsets and arming the timers of a loaded partition are
// done piece by piece in [Coordinator.Work] and [Coordinator.Ready].
//
// Where it parts from Kafka 4.3.1, which testdata/apache and testdata/story show: a
// JoinGroup that is refused makes no group; a group that only was there for its
// offsets goes with them; a target assignment that had to wait for
// group.consumer.assignment.interval.ms is computed when that ends and not with the
// next heartbeat, and a JoinGroup waits for it; the hash of the subscribed topics is
// our own, so that a group that is taken over from a Kafka has one more epoch; the
// eldest member leads after a leader; `uniform` gives the odd partitions to whoever
// has them already; regular expressions are bounded (limits.go); ids that were given
// out and not used are bounded; so is what members' protocols and subscriptions may
// take ([Memory]: one more is told GROUP_MAX_SIZE_REACHED); a group that was downgraded
// because a member left, and not rebalanced before a restart, is rebalanced then; so is, at once, one that a
// static member made classic while others waited for partitions; an upgraded group
// knows what its members are still giving up; a static member that was away and
// claims what others were given meanwhile is not known any more (claims.go). Reasons (KIP-800) are read and not kept.
//
// Sources: the schemas in Apache Kafka 4.3's kafka-group-coordinator and
// kafka-clients jars, KIP-848 and the other KIPs named where they are served, and
// the answers and logs of a running Kafka 4.3.1 (testdata).
package group
