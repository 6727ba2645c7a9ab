// Package logtool reads data directories, ours or Apache Kafka's, as they lie on the disk: it shows what is in their
// files (Dump), checks that they agree with each other (Verify), says how much there is (Stat), and puts right what it can
// (Repair, which alone changes anything). It needs no broker, and believes no length before it has checked it. The formats are described
// in storage and protocol, whose readers it uses.
package logtool
