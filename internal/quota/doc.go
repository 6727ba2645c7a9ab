// Package quota decides how long a client that has used too much is kept waiting. It is pure: values and times in,
// delays out; no clock, no lock, no goroutine.
//
//	who asks       Limits.Find    which bound is in force for it, and which clients share it (its Scope)
//	what it used   Window         Kafka's rate over sliding windows of samples (bytes, processor time, connections)
//	               Bucket         tokens, for changes of the cluster's metadata (KIP-599)
//	how long       Delay          until the rate is back at the bound
//	               pace           until it has taken as long as the bound says
//	several cores  Account, Home  one window for a scope, copies of it with whoever uses it
//
// But for the pace, the arithmetic is Apache Kafka's, to the millisecond: testdata/apache holds what its ClientQuotaManager and
// ControllerMutationQuotaManager 4.3.1 said for the same sequences.
package quota
