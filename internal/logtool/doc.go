// Package logtool reads data directories, ours or Apache Kafka's, as they lie on the disk: it shows what is in their
// files (Dump), checks that they agree with each other (Verify) and says how much there is (Stat). It changes nothing,
// needs no broker, and believes no length before it has checked it. The formats are described in storage and protocol,
// whose readers it uses.
package logtool
