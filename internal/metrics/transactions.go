package metrics

import (
	"strconv"

	"slipstream/internal/broker"
)

// Kafka's metrics of transactions: the lag of the last stable offset, the producers that partitions remember, the
// verification of transactions (KIP-890), the loads of coordinators; and what became of transactions, which Kafka does not count.
var (
	stableLag = kafkas(gauge, "kafka_cluster_partition_laststableoffsetlag", "kafka.cluster:type=Partition,name=LastStableOffsetLag",
		"Offsets that readers of committed records do not see yet, for transactions that are open.", "topic", "partition")
	producerIDCount = kafkas(gauge, "kafka_server_replicamanager_produceridcount", replicaBean+"ProducerIdCount",
		"Idempotent and transactional producers that partitions remember, one in two partitions counted twice.")
	verificationFailures = kafkas(counter, "kafka_server_addpartitionstotxnmanager_verificationfailurerate_total",
		"kafka.server:type=AddPartitionsToTxnManager,name=VerificationFailureRate, Count", "Verifications of a transaction that its coordinator refused.")
	txnLoadMax = kafkas(gauge, "kafka_server_transaction_coordinator_metrics_partition_load_time_max",
		"kafka.server:type=transaction-coordinator-metrics, partition-load-time-max", "The longest load of a partition of __transaction_state, in ms, since the start.")

	verifications = own(counter, "slipstream_transaction_verifications_total", "Questions to coordinators whether partitions are in a transaction, each request once.")
	txnIDs        = own(gauge, "slipstream_transactional_ids", "Transactional ids that coordinators know.")
	txnsTotal     = own(counter, "slipstream_transactions_total", "Transactions: begun, committed, aborted; of the aborted those that timed_out and those that were fenced by the next user of their id.", "what")
	idsExpired    = own(counter, "slipstream_transactional_ids_expired_total", "Transactional ids forgotten after transactional.id.expiration.ms.")
	markerRetries = own(counter, "slipstream_transaction_marker_retries_total", "Markers that a partition's log refused, and that are written again.")
)

func (c *collector) putTransactions(out *output) {
	var sum broker.TransactionFigures
	longest := int64(0)
	for _, s := range c.view.cores {
		if s == nil {
			continue
		}
		f := &s.Transactions
		sum.IDs += f.IDs
		sum.Stats.Add(&f.Stats)
		sum.Verifications, sum.FailedVerifications = sum.Verifications+f.Verifications, sum.FailedVerifications+f.FailedVerifications
		for i := range s.Coordinators {
			if s.Coordinators[i].Topic == "__transaction_state" {
				longest = max(longest, s.Coordinators[i].LongestLoadNanos)
			}
		}
	}
	producers := 0
	for _, p := range c.view.partitions {
		producers += p.Producers
		labels := out.label(stableLag, p.ID.Topic, strconv.Itoa(int(p.ID.Partition)))
		out.add(stableLag, float64(p.Offsets.HighWatermark-p.Offsets.LastStable), labels)
	}
	out.put(producerIDCount, float64(producers))
	out.count(verificationFailures, sum.FailedVerifications)
	out.put(txnLoadMax, float64(longest)/1e6)
	out.count(verifications, sum.Verifications)
	out.put(txnIDs, float64(sum.IDs))
	for _, of := range []struct {
		what string
		n    uint64
	}{{"begun", sum.Begun}, {"committed", sum.Committed}, {"aborted", sum.Aborted}, {"timed_out", sum.TimedOut}, {"fenced", sum.Fenced}} {
		out.count(txnsTotal, of.n, of.what)
	}
	out.count(idsExpired, sum.Expired)
	out.count(markerRetries, sum.MarkerRetries)
}
