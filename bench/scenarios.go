package main

// scenarios in the order in which they run.
var scenarios = []scenario{
	{"echo", "The machine: a bare TCP echo", "What a round trip costs here before any broker does anything, and how exact the generator is.", echo},
	{"rtt", "Produce round trip, core parked", "One connection, one 1 KiB record in flight, acks=1, beside a blocking echo of the same sizes.", roundTripParked},
	{"spin", "Produce round trip, core spinning", "The same with a core that never sleeps, beside an echo that never sleeps.", roundTripSpinning},
	{"e2e", "Produce to a waiting consumer", "From the moment at which a batch should be sent to its arrival at a consumer that waits for it, beside the echo's round trip.", endToEnd},
	{"throughput", "Produce throughput", "One connection with several requests in flight: small batches, and large ones.", throughput},
	{"consume", "Consume from the page cache", "1 MiB fetches of a resident log on one connection, beside a loop that does nothing but sendfile.", consume},
	{"rungs", "The rungs of the fetch ladder", "A resident log read by each way that the reactor has to send a file, alone and beside a producer; a dropped log, beside a loop that only reads it.", rungs},
	{"probes", "What attribution costs", "The same consumption with and without the BPF programs that attribute the page cache.", probes},
	{"fanout", "Fan-out", "64 tail consumers of one partition, beside a loop that appends and sends each of them the same bytes by sendfile.", fanOut},
	{"lag", "A hot topic beside lagging consumers", "1,000 batches a second of 16 x 1 KiB, produced and tailed, while two consumers read a topic ten times larger than the page cache that a memory cgroup leaves the broker.", lag},
	{"compaction", "Compaction", "A log of 500-byte records whose keys are drawn at random, compacted with nothing else to do; and a hot topic's tail, 1,000 batches a second of 16 x 1 KiB, while another log is compacted and while none is.", compaction},
	{"flush", "A flush for every batch", "64 producers whose acknowledgements wait for the disk, beside one loop of write and fdatasync.", flush},
	{"partitions", "A thousand partitions", "One producer that goes round 1,000 partitions, 500 records a second, and one consumer of all of them by a fetch session.", partitions},
	{"connections", "Many connections", "1,000 producers on connections of their own, and 10,000 connections that say nothing.", connections},
	{"groups", "Groups", "20,000 members of 5,000 groups of both protocols that heartbeat every 3 seconds: what they cost the broker, and a producer beside them.", groups},
	{"quota", "Quotas", "What clients with a quota of 10 MB/s get through in their first ten seconds, and a neighbour without one beside 200 connections that are throttled all the time.", quotas},
	{"recovery", "Start against the size of the log", "One partition of 10 to 10,000 closed segments, whose files the generator makes, opened after a clean stop and after kill -9: from exec to the first right answer of ListOffsets. Every contender opens the same directory, from the page cache.", recoverLogs},
	{"start", "Start", "From exec to the first request that can be answered, and what an idle broker holds.", startUp},
}
