package broker

import (
	"cmp"
	"slices"

	"slipstream/protocol"
	"slipstream/reactor"
)

// api is one row of the table of what this broker serves. Each handler lives in
// the file named for its key.
type api struct {
	key      int16
	min, max int16
	// advertisedMin is what ApiVersions says, where it differs from min: Produce
	// advertises 0 because librdkafka takes a higher minimum for an old broker.
	advertisedMin int16
	// hot decodes the body itself, without allocation. Everything else is decoded
	// by kmsg into a call.
	hot  func(s *Shard, r *reactor.Request, h protocol.Header, body []byte) reactor.Disposition
	cold func(s *Shard, c *call)
	// unlisted rows are served and not listed by ApiVersions.
	unlisted bool
	// maxBytes bounds the body of a request that kmsg decodes; 0: maxColdFrameBytes.
	maxBytes int

	place int // in apis
}

// apis is what is served, in the order in which ApiVersions lists it.
// The version ranges are Apache Kafka 4.3's.
var apis []api

// apiByKey finds a row by key; the keys are small.
var apiByKey [apiKeys]*api

// apiKeys is more than the highest API key there is.
const apiKeys = 128

func init() {
	apis = slices.Concat(dataAPIs(), groupAPIs(), transactionAPIs(), shareAPIs(), clusterAPIs())
	slices.SortFunc(apis, func(a, b api) int { return cmp.Compare(a.key, b.key) })
	for i := range apis {
		apis[i].place = i
		apiByKey[apis[i].key] = &apis[i]
	}
}

// dataAPIs are about records and the topics that they are in.
func dataAPIs() []api {
	return []api{
		{key: 0, min: 3, max: 13, advertisedMin: 0, hot: (*Shard).serveProduce},
		{key: 1, min: 4, max: 18, advertisedMin: 4, hot: (*Shard).serveFetch},
		{key: 2, min: 1, max: 11, advertisedMin: 1, cold: (*Shard).serveListOffsets},
		{key: 3, min: 0, max: 13, advertisedMin: 0, cold: (*Shard).serveMetadata},
		{key: 18, min: 0, max: 4, advertisedMin: 0, cold: (*Shard).serveAPIVersions},
		{key: 19, min: 2, max: 7, advertisedMin: 2, cold: (*Shard).serveCreateTopics},
		{key: 20, min: 1, max: 6, advertisedMin: 1, cold: (*Shard).serveDeleteTopics},
		{key: 21, min: 0, max: 2, advertisedMin: 0, cold: (*Shard).serveDeleteRecords},
		{key: 23, min: 2, max: 4, advertisedMin: 2, cold: (*Shard).serveOffsetForLeaderEpoch},
		{key: 37, min: 0, max: 3, advertisedMin: 0, cold: (*Shard).serveCreatePartitions},
		{key: 75, min: 0, max: 0, advertisedMin: 0, cold: (*Shard).serveDescribeTopicPartitions},
	}
}

// groupAPIs are about consumer groups and their offsets.
func groupAPIs() []api {
	return []api{
		{key: 8, min: 2, max: 10, advertisedMin: 2, cold: (*Shard).serveOffsetCommit, maxBytes: maxGroupFrameBytes},
		{key: 9, min: 1, max: 10, advertisedMin: 1, cold: (*Shard).serveOffsetFetch, maxBytes: maxGroupFrameBytes},
		{key: 10, min: 0, max: 6, advertisedMin: 0, cold: (*Shard).serveFindCoordinator},
		{key: 11, min: 0, max: 9, advertisedMin: 0, cold: (*Shard).serveJoinGroup, maxBytes: maxGroupFrameBytes},
		{key: 12, min: 0, max: 4, advertisedMin: 0, cold: (*Shard).serveHeartbeat},
		{key: 13, min: 0, max: 5, advertisedMin: 0, cold: (*Shard).serveLeaveGroup},
		{key: 14, min: 0, max: 5, advertisedMin: 0, cold: (*Shard).serveSyncGroup, maxBytes: maxGroupFrameBytes},
		{key: 15, min: 0, max: 6, advertisedMin: 0, cold: (*Shard).serveDescribeGroups},
		{key: 16, min: 0, max: 5, advertisedMin: 0, cold: (*Shard).serveListGroups},
		{key: 42, min: 0, max: 2, advertisedMin: 0, cold: (*Shard).serveDeleteGroups},
		{key: 47, min: 0, max: 0, advertisedMin: 0, cold: (*Shard).serveOffsetDelete},
		{key: 68, min: 0, max: 1, advertisedMin: 0, cold: (*Shard).serveConsumerGroupHeartbeat},
		{key: 69, min: 0, max: 1, advertisedMin: 0, cold: (*Shard).serveConsumerGroupDescribe},
	}
}

// transactionAPIs are about producers' ids and transactions.
func transactionAPIs() []api {
	return []api{
		{key: 22, min: 0, max: 5, advertisedMin: 0, cold: (*Shard).serveInitProducerID},
		{key: 24, min: 0, max: 5, advertisedMin: 0, cold: (*Shard).serveAddPartitionsToTxn},
		{key: 25, min: 0, max: 4, advertisedMin: 0, cold: (*Shard).serveAddOffsetsToTxn},
		{key: 26, min: 0, max: 5, advertisedMin: 0, cold: (*Shard).serveEndTxn},
		{key: 27, min: 1, max: 2, advertisedMin: 1, cold: (*Shard).serveWriteTxnMarkers},
		{key: 28, min: 0, max: 5, advertisedMin: 0, cold: (*Shard).serveTxnOffsetCommit, maxBytes: maxGroupFrameBytes},
		{key: 61, min: 0, max: 0, advertisedMin: 0, cold: (*Shard).serveDescribeProducers},
		{key: 65, min: 0, max: 0, advertisedMin: 0, cold: (*Shard).serveDescribeTransactions},
		{key: 66, min: 0, max: 2, advertisedMin: 0, cold: (*Shard).serveListTransactions},
	}
}

// clusterAPIs are about settings, quotas, and what else is managed.
func clusterAPIs() []api {
	return []api{
		{key: 17, min: 0, max: 1, advertisedMin: 0, cold: (*Shard).serveSaslHandshake},
		{key: 29, min: 1, max: 3, advertisedMin: 1, cold: (*Shard).serveDescribeAcls},
		{key: 30, min: 1, max: 3, advertisedMin: 1, cold: (*Shard).serveCreateAcls},
		{key: 31, min: 1, max: 3, advertisedMin: 1, cold: (*Shard).serveDeleteAcls},
		{key: 32, min: 1, max: 4, advertisedMin: 1, cold: (*Shard).serveDescribeConfigs},
		{key: 33, min: 0, max: 2, advertisedMin: 0, cold: (*Shard).serveAlterConfigs},
		{key: 34, min: 1, max: 2, advertisedMin: 1, cold: (*Shard).serveAlterReplicaLogDirs},
		{key: 35, min: 1, max: 5, advertisedMin: 1, cold: (*Shard).serveDescribeLogDirs},
		{key: 36, min: 0, max: 2, advertisedMin: 0, cold: (*Shard).serveSaslAuthenticate},
		{key: 38, min: 1, max: 3, advertisedMin: 1, cold: (*Shard).serveCreateDelegationToken},
		{key: 39, min: 1, max: 2, advertisedMin: 1, cold: (*Shard).serveRenewDelegationToken},
		{key: 40, min: 1, max: 2, advertisedMin: 1, cold: (*Shard).serveExpireDelegationToken},
		{key: 41, min: 1, max: 3, advertisedMin: 1, cold: (*Shard).serveDescribeDelegationToken},
		{key: 43, min: 0, max: 2, advertisedMin: 0, cold: (*Shard).serveElectLeaders},
		{key: 44, min: 0, max: 1, advertisedMin: 0, cold: (*Shard).serveIncrementalAlterConfigs},
		{key: 45, min: 0, max: 1, advertisedMin: 0, cold: (*Shard).serveAlterPartitionReassignments},
		{key: 46, min: 0, max: 0, advertisedMin: 0, cold: (*Shard).serveListPartitionReassignments},
		{key: 48, min: 0, max: 1, advertisedMin: 0, cold: (*Shard).serveDescribeClientQuotas},
		{key: 49, min: 0, max: 1, advertisedMin: 0, cold: (*Shard).serveAlterClientQuotas},
		{key: 50, min: 0, max: 0, advertisedMin: 0, cold: (*Shard).serveDescribeUserScramCredentials},
		{key: 51, min: 0, max: 0, advertisedMin: 0, cold: (*Shard).serveAlterUserScramCredentials},
		{key: 55, min: 0, max: 2, advertisedMin: 0, cold: (*Shard).serveDescribeQuorum},
		{key: 57, min: 0, max: 2, advertisedMin: 0, cold: (*Shard).serveUpdateFeatures},
		{key: 60, min: 0, max: 2, advertisedMin: 0, cold: (*Shard).serveDescribeCluster},
		{key: 64, min: 0, max: 0, advertisedMin: 0, cold: (*Shard).serveUnregisterBroker},
		{key: 71, min: 0, max: 0, advertisedMin: 0, cold: (*Shard).serveGetTelemetrySubscriptions, unlisted: true},
		{key: 72, min: 0, max: 0, advertisedMin: 0, cold: (*Shard).servePushTelemetry, maxBytes: maxTelemetryBytes + 1<<16, unlisted: true},
		{key: 74, min: 0, max: 1, advertisedMin: 0, cold: (*Shard).serveListConfigResources},
		{key: 80, min: 0, max: 1, advertisedMin: 0, cold: (*Shard).serveAddRaftVoter},
		{key: 81, min: 0, max: 0, advertisedMin: 0, cold: (*Shard).serveRemoveRaftVoter},
	}
}
