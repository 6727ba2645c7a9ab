// Package sim is a simulated Linux behind [ring.Kernel]: io_uring, TCP, files and
// a clock in plain memory, every choice of which comes from one seed. The whole
// broker runs on it in an ordinary test, and a run is replayed by its seed.
//
// A [World] is a machine, its disk, the network around it and the clock. It is
// driven from outside, on one goroutine: nothing in it waits, sleeps or starts
// anything. Time stands still until [World.Advance]; what is due by then happens
// in the order of its time. A [Driver] turns cores, runs helper jobs and moves the
// clock.
//
//	        Driver: which core turns, which job runs, when time moves
//	          |                     |                      |
//	   reactor.Core           reactor.Job               Client
//	          | SQEs, CQEs, Now     | Files                | bytes
//	+---------v---------------------v----------------------v-------+
//	| kernel: descriptors, rings, requests, workers                |
//	|   disk: pages and names,         network: streams of bytes   |
//	|   written | durable              with delay and little room  |
//	+--------------------------------------------------------------+
//
// What the simulation does is what Linux does, as far as a program can tell: which
// errors, when an entry completes at once and when later, what a short count does
// to a link, when completions are deferred, what a provided buffer costs. The
// conformance test runs the same operations against the running kernel and
// compares. Where Linux leaves something open (how many bytes a receive gives, how
// long an fsync takes, what a power cut leaves), the seed decides.
package sim
