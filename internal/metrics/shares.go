package metrics

import "slipstream/internal/broker"

// Kafka's metrics of share groups: their sessions and what members say of records. (Groups by state are with the other
// groups', requests by topic with BrokerTopicMetrics.)

const shareCacheBean = "kafka.server:type=ShareSessionCache,name="

var (
	shareSessions          = kafkas(gauge, "kafka_server_sharesessioncache_sharesessionscount", shareCacheBean+"ShareSessionsCount", "Share sessions.")
	shareSessionPartitions = kafkas(gauge, "kafka_server_sharesessioncache_sharepartitionscount", shareCacheBean+"SharePartitionsCount", "Partitions of all share sessions.")
	shareAcknowledged      = kafkas(counter, "kafka_server_sharegroupmetrics_recordacknowledgements_total",
		"kafka.server:type=ShareGroupMetrics,name=RecordAcknowledgementsPerSec,ackType=*, Count", "Records by what members have said of them; refused acknowledgements are not counted.", "ackType")

	shareAcquired   = own(counter, "slipstream_share_records_acquired_total", "Records given to members of share groups, each delivery counted.")
	sharePartitions = own(gauge, "slipstream_share_partitions", "Share-partitions in memory: a group's view of a partition.")
)

// acknowledgeTypes are Kafka's names, by number; offsets without a record have none.
var acknowledgeTypes = []string{1: "Accept", "Release", "Reject", "Renew"}

func (c *collector) putShares(out *output) {
	var sum broker.ShareFigures
	for _, s := range c.view.cores {
		if s == nil {
			continue
		}
		f := &s.Shares
		sum.Partitions += f.Partitions
		sum.Sessions += f.Sessions
		sum.SessionPartitions += f.SessionPartitions
		sum.Acquired += f.Acquired
		for t, n := range f.Acknowledged {
			sum.Acknowledged[t] += n
		}
	}
	out.put(shareSessions, float64(sum.Sessions))
	out.put(shareSessionPartitions, float64(sum.SessionPartitions))
	for t, name := range acknowledgeTypes {
		if name != "" {
			out.count(shareAcknowledged, sum.Acknowledged[t], name)
		}
	}
	out.count(shareAcquired, sum.Acquired)
	out.put(sharePartitions, float64(sum.Partitions))
}
