// Package protocol is Kafka on the wire: framing and headers, error codes, the
// record batch, its validation, and the two hot requests, Produce and Fetch,
// decoded and encoded without allocating. Everything else on the wire is kmsg's.
//
// Two rules hold everywhere here. Every length is checked against the bytes that
// are there before it is believed. And decoded fields alias the bytes they were
// decoded from: they live as long as those do, and nobody else copies them.
//
// Sources: the message schemas inside Apache Kafka 4.3's clients jar, and the
// answers of a running Kafka 4.3.1 (testdata).
package protocol
