// Package guarantees says what a Kafka broker promises its clients about consumer
// groups and transactions, and finds out when a promise is broken. It is fed with
// what clients have seen, as they see it; each method returns an error that says
// what cannot be. It has no clock, no I/O and no idea of how the broker works.
//
// What a client sees is later than what the broker did, and of a request whose
// answer was lost nobody knows whether it was carried out. So a promise is only held
// against the broker from an answer on, and until the first request that could
// change it is sent. Where a value may only grow, the client asks what is known of
// it when it sends its request (the floor), and the answer may not be below.
package guarantees

// Partition names a partition of a topic.
type Partition struct {
	Topic  string
	Number int32
}
