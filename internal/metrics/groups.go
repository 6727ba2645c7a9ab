package metrics

import (
	"strings"

	"slipstream/internal/broker"
)

// Kafka's metrics of group coordinators: the gauges of GroupMetadataManager, which
// count classic groups, those of group-coordinator-metrics, and the loads.

const (
	groupManager = "kafka.coordinator.group:type=GroupMetadataManager,name="
	groupBean    = "kafka.server:type=group-coordinator-metrics"
)

var (
	numOffsets = kafkas(gauge, "kafka_coordinator_group_groupmetadatamanager_numoffsets", groupManager+"NumOffsets", "Committed offsets.")
	numGroups  = kafkas(gauge, "kafka_coordinator_group_groupmetadatamanager_numgroups", groupManager+"NumGroups", "Classic groups.")

	numGroupsIn = map[string]*family{
		"PreparingRebalance":  groupsIn("PreparingRebalance"),
		"CompletingRebalance": groupsIn("CompletingRebalance"),
		"Stable":              groupsIn("Stable"),
		"Dead":                groupsIn("Dead"),
		"Empty":               groupsIn("Empty"),
	}

	groupCount         = kafkas(gauge, "kafka_server_group_coordinator_metrics_group_count", groupBean+",protocol=*, group-count", "Groups by protocol.", "protocol")
	consumerGroupCount = kafkas(gauge, "kafka_server_group_coordinator_metrics_consumer_group_count", groupBean+",state=*, consumer-group-count", "Consumer groups (KIP-848) by state.", "state")
	shareGroupCount    = kafkas(gauge, "kafka_server_group_coordinator_metrics_share_group_count", groupBean+",state=*, share-group-count", "Share groups by state.", "state")

	offsetCommits      = groupCounter("offset_commit", "offset-commit-count", "Offsets committed, in transactions and without.")
	offsetExpirations  = groupCounter("offset_expiration", "offset-expiration-count", "Offsets that have expired.")
	offsetDeletions    = groupCounter("offset_deletion", "offset-deletion-count", "Offsets removed by OffsetDelete.")
	classicRebalances  = groupCounter("group_completed_rebalance", "group-completed-rebalance-count", "Rebalances of classic groups that were completed.")
	consumerRebalances = groupCounter("consumer_group_rebalance", "consumer-group-rebalance-count", "Rebalances of consumer groups: new epochs.")

	coordinatorPartitions = own(gauge, "slipstream_coordinator_partitions", "Partitions of an internal topic by the state of their coordinator: loading, active, failed.", "topic", "state")
	coordinatorLoads      = own(counter, "slipstream_coordinator_loads_total", "Coordinators that were loaded from their log.", "topic")
	coordinatorLoadFails  = own(counter, "slipstream_coordinator_load_failures_total", "Coordinators that could not be loaded, and are out of service.", "topic")
	coordinatorLoadTime   = own(counter, "slipstream_coordinator_load_seconds_total", "Time that loads took.", "topic")
	coordinatorLoadMax    = own(gauge, "slipstream_coordinator_load_seconds_max", "The longest load.", "topic")
	coordinatorRecords    = own(counter, "slipstream_coordinator_loaded_records_total", "Records replayed.", "topic")
	coordinatorAppendFail = own(counter, "slipstream_coordinator_append_failures_total", "Batches of coordinators that their log refused.", "topic")
)

func groupsIn(state string) *family {
	return kafkas(gauge, "kafka_coordinator_group_groupmetadatamanager_numgroups"+strings.ToLower(state), groupManager+"NumGroups"+state,
		"Classic groups in this state.")
}

func groupCounter(name, attribute, help string) *family {
	return kafkas(counter, "kafka_server_group_coordinator_metrics_"+name+"_count", groupBean+", "+attribute, help)
}

func (c *collector) putGroups(out *output) {
	var sum broker.GroupFigures
	byType := map[string]int{"classic": 0, "consumer": 0, "share": 0}
	byState := map[[2]string]int{}
	for _, s := range c.view.cores {
		if s == nil {
			continue
		}
		for _, n := range s.Groups.Counts {
			byType[n.Type] += n.Groups
			byState[[2]string{n.Type, n.State}] += n.Groups
		}
		sum.Offsets += s.Groups.Offsets
		sum.OffsetsCommitted += s.Groups.OffsetsCommitted
		sum.OffsetsExpired += s.Groups.OffsetsExpired
		sum.OffsetsDeleted += s.Groups.OffsetsDeleted
		sum.ClassicRebalances += s.Groups.ClassicRebalances
		sum.ConsumerRebalances += s.Groups.ConsumerRebalances
	}
	out.put(numOffsets, float64(sum.Offsets))
	out.put(numGroups, float64(byType["classic"]))
	for _, state := range []string{"PreparingRebalance", "CompletingRebalance", "Stable", "Dead", "Empty"} {
		out.put(numGroupsIn[state], float64(byState[[2]string{"classic", state}]))
	}
	for _, kind := range []string{"classic", "consumer", "share"} {
		out.put(groupCount, float64(byType[kind]), kind)
	}
	for _, state := range []string{"empty", "assigning", "reconciling", "stable", "dead"} {
		name := strings.ToUpper(state[:1]) + state[1:]
		out.put(consumerGroupCount, float64(byState[[2]string{"consumer", name}]), state)
	}
	for _, state := range []string{"empty", "stable", "dead"} {
		name := strings.ToUpper(state[:1]) + state[1:]
		out.put(shareGroupCount, float64(byState[[2]string{"share", name}]), state)
	}
	out.count(offsetCommits, sum.OffsetsCommitted)
	out.count(offsetExpirations, sum.OffsetsExpired)
	out.count(offsetDeletions, sum.OffsetsDeleted)
	out.count(classicRebalances, sum.ClassicRebalances)
	out.count(consumerRebalances, sum.ConsumerRebalances)
	c.putCoordinators(out)
}

// putCoordinators tells of the coordinators of all internal topics.
func (c *collector) putCoordinators(out *output) {
	var all []broker.CoordinatorFigures
	for _, s := range c.view.cores {
		if s == nil {
			continue
		}
		for i, f := range s.Coordinators {
			if len(all) <= i {
				all = append(all, broker.CoordinatorFigures{Topic: f.Topic})
			}
			sum := &all[i]
			sum.Loading, sum.Active, sum.Failed = sum.Loading+f.Loading, sum.Active+f.Active, sum.Failed+f.Failed
			sum.Loads, sum.FailedLoads = sum.Loads+f.Loads, sum.FailedLoads+f.FailedLoads
			sum.LoadedRecords, sum.FailedAppends = sum.LoadedRecords+f.LoadedRecords, sum.FailedAppends+f.FailedAppends
			sum.LoadNanos += f.LoadNanos
			sum.LongestLoadNanos = max(sum.LongestLoadNanos, f.LongestLoadNanos)
		}
	}
	for i := range all {
		f := &all[i]
		out.put(coordinatorPartitions, float64(f.Loading), f.Topic, "loading")
		out.put(coordinatorPartitions, float64(f.Active), f.Topic, "active")
		out.put(coordinatorPartitions, float64(f.Failed), f.Topic, "failed")
		out.count(coordinatorLoads, f.Loads, f.Topic)
		out.count(coordinatorLoadFails, f.FailedLoads, f.Topic)
		out.put(coordinatorLoadTime, float64(f.LoadNanos)/1e9, f.Topic)
		out.put(coordinatorLoadMax, float64(f.LongestLoadNanos)/1e9, f.Topic)
		out.count(coordinatorRecords, f.LoadedRecords, f.Topic)
		out.count(coordinatorAppendFail, f.FailedAppends, f.Topic)
	}
}
