// Package clients holds tests of the real slipstream binary by clients that nobody here wrote: kcat, Kafka's own Java
// programs, franz-go and its test suite, and raw bytes over TCP. See package harness for the environment variables
// that choose the broker; every test here also passes against Apache Kafka unless it says why not.
package clients
