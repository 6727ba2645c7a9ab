// Package simtest runs the whole broker on the simulated kernel, with producers,
// consumers and an administrator around it, and stops the machine under it at any
// moment: by kill -9, by a power cut that keeps, drops or tears what was not
// synced, in the middle of a system call, while it starts, while it stops. One seed
// decides everything, and is all it takes to see a failure again:
//
//	SEED=1234 go test -v -run Seeds ./internal/simtest
//
// What must hold (history_test.go): a record that was acknowledged is there, where
// the acknowledgement said; to a topic that syncs every batch (flush.messages=1)
// after a power cut too. What a consumer has read of such a topic stays as it was,
// and no offset goes back. An idempotent producer's records are there once, in
// order. A topic that was acknowledged exists. The log opens, always.
//
// The seeds of TestSocietySeeds have clients that need coordinators (society_test.go):
// members of groups of both protocols who join, leave, crash, pause beyond their
// session and come back as zombies; transactional producers who abort, stall beyond
// their timeout, die in the middle and are replaced while they live; pipelines of
// consume, transform and produce; readers of what is committed; and an administrator
// who makes and deletes topics, groups, offsets and records, adds partitions and
// changes settings. Now and then everybody falls silent, and what the coordinators say
// is compared before and after a kill. What must hold there is internal/guarantees; and
// each coordinator looks for contradictions in its own state after each turn. Where
// every batch is synced the power is cut, too: then a coordinator's answer is as good
// as a producer's acknowledgement.
//
//	SEED=1234 TELL=1 go test -v -run SocietySeeds ./internal/simtest
//
// The seeds of TestFaultSeeds have a plan of faults (faults_test.go says what each entitles
// the broker to): a disk that fails, lies, fills up or is slow, sockets that break, clocks
// that jump. A story that fails is cut down to what it takes, and what is left replays with
// SEED, PLAN and CUT:
//
//	make sim-shrink SEED=1234 STORY=TestFaultSeeds
//
// That all of this finds anything is shown by bugs that are planted (testdata/mutants,
// make sim-mutants): a seed has to find each within a minute of processor time.
//
// The rest of the package is its tests.
package simtest
