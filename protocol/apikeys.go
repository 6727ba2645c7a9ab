package protocol

// Kafka's API keys: the first two bytes of every request.
const (
	KeyProduce                      int16 = 0
	KeyFetch                        int16 = 1
	KeyListOffsets                  int16 = 2
	KeyMetadata                     int16 = 3
	KeyLeaderAndISR                 int16 = 4
	KeyStopReplica                  int16 = 5
	KeyUpdateMetadata               int16 = 6
	KeyControlledShutdown           int16 = 7
	KeyOffsetCommit                 int16 = 8
	KeyOffsetFetch                  int16 = 9
	KeyFindCoordinator              int16 = 10
	KeyJoinGroup                    int16 = 11
	KeyHeartbeat                    int16 = 12
	KeyLeaveGroup                   int16 = 13
	KeySyncGroup                    int16 = 14
	KeyDescribeGroups               int16 = 15
	KeyListGroups                   int16 = 16
	KeySaslHandshake                int16 = 17
	KeyAPIVersions                  int16 = 18
	KeyCreateTopics                 int16 = 19
	KeyDeleteTopics                 int16 = 20
	KeyDeleteRecords                int16 = 21
	KeyInitProducerID               int16 = 22
	KeyOffsetForLeaderEpoch         int16 = 23
	KeyAddPartitionsToTxn           int16 = 24
	KeyAddOffsetsToTxn              int16 = 25
	KeyEndTxn                       int16 = 26
	KeyWriteTxnMarkers              int16 = 27
	KeyTxnOffsetCommit              int16 = 28
	KeyDescribeACLs                 int16 = 29
	KeyCreateACLs                   int16 = 30
	KeyDeleteACLs                   int16 = 31
	KeyDescribeConfigs              int16 = 32
	KeyAlterConfigs                 int16 = 33
	KeyAlterReplicaLogDirs          int16 = 34
	KeyDescribeLogDirs              int16 = 35
	KeySaslAuthenticate             int16 = 36
	KeyCreatePartitions             int16 = 37
	KeyCreateDelegationToken        int16 = 38
	KeyRenewDelegationToken         int16 = 39
	KeyExpireDelegationToken        int16 = 40
	KeyDescribeDelegationToken      int16 = 41
	KeyDeleteGroups                 int16 = 42
	KeyElectLeaders                 int16 = 43
	KeyIncrementalAlterConfigs      int16 = 44
	KeyAlterPartitionReassignments  int16 = 45
	KeyListPartitionReassignments   int16 = 46
	KeyOffsetDelete                 int16 = 47
	KeyDescribeClientQuotas         int16 = 48
	KeyAlterClientQuotas            int16 = 49
	KeyDescribeUserScramCredentials int16 = 50
	KeyAlterUserScramCredentials    int16 = 51
	KeyVote                         int16 = 52
	KeyBeginQuorumEpoch             int16 = 53
	KeyEndQuorumEpoch               int16 = 54
	KeyDescribeQuorum               int16 = 55
	KeyAlterPartition               int16 = 56
	KeyUpdateFeatures               int16 = 57
	KeyEnvelope                     int16 = 58
	KeyFetchSnapshot                int16 = 59
	KeyDescribeCluster              int16 = 60
	KeyDescribeProducers            int16 = 61
	KeyBrokerRegistration           int16 = 62
	KeyBrokerHeartbeat              int16 = 63
	KeyUnregisterBroker             int16 = 64
	KeyDescribeTransactions         int16 = 65
	KeyListTransactions             int16 = 66
	KeyAllocateProducerIDs          int16 = 67
	KeyConsumerGroupHeartbeat       int16 = 68
	KeyConsumerGroupDescribe        int16 = 69
	KeyControllerRegistration       int16 = 70
	KeyGetTelemetrySubscriptions    int16 = 71
	KeyPushTelemetry                int16 = 72
	KeyAssignReplicasToDirs         int16 = 73
	KeyListConfigResources          int16 = 74
	KeyDescribeTopicPartitions      int16 = 75
	KeyShareGroupHeartbeat          int16 = 76
	KeyShareGroupDescribe           int16 = 77
	KeyShareFetch                   int16 = 78
	KeyShareAcknowledge             int16 = 79
	KeyAddRaftVoter                 int16 = 80
	KeyRemoveRaftVoter              int16 = 81
	KeyUpdateRaftVoter              int16 = 82
	KeyInitializeShareGroupState    int16 = 83
	KeyReadShareGroupState          int16 = 84
	KeyWriteShareGroupState         int16 = 85
	KeyDeleteShareGroupState        int16 = 86
	KeyReadShareGroupStateSummary   int16 = 87
	KeyStreamsGroupHeartbeat        int16 = 88
	KeyStreamsGroupDescribe         int16 = 89
	KeyDescribeShareGroupOffsets    int16 = 90
	KeyAlterShareGroupOffsets       int16 = 91
	KeyDeleteShareGroupOffsets      int16 = 92
)

// apiInfo says from which version on a message is in the flexible form: compact
// lengths and tagged fields. never stands for "not yet".
type apiInfo struct {
	name             string
	flexibleRequest  int16
	flexibleResponse int16 // of the response's header; its body follows the request
}

const never = 0x7fff

// apiInfos is indexed by API key. Kafka 4.x removed keys 4 to 7 but keeps their numbers.
var apiInfos = [...]apiInfo{
	KeyProduce:                      {"PRODUCE", 9, 9},
	KeyFetch:                        {"FETCH", 12, 12},
	KeyListOffsets:                  {"LIST_OFFSETS", 6, 6},
	KeyMetadata:                     {"METADATA", 9, 9},
	KeyLeaderAndISR:                 {"LEADER_AND_ISR", never, never},
	KeyStopReplica:                  {"STOP_REPLICA", never, never},
	KeyUpdateMetadata:               {"UPDATE_METADATA", never, never},
	KeyControlledShutdown:           {"CONTROLLED_SHUTDOWN", never, never},
	KeyOffsetCommit:                 {"OFFSET_COMMIT", 8, 8},
	KeyOffsetFetch:                  {"OFFSET_FETCH", 6, 6},
	KeyFindCoordinator:              {"FIND_COORDINATOR", 3, 3},
	KeyJoinGroup:                    {"JOIN_GROUP", 6, 6},
	KeyHeartbeat:                    {"HEARTBEAT", 4, 4},
	KeyLeaveGroup:                   {"LEAVE_GROUP", 4, 4},
	KeySyncGroup:                    {"SYNC_GROUP", 4, 4},
	KeyDescribeGroups:               {"DESCRIBE_GROUPS", 5, 5},
	KeyListGroups:                   {"LIST_GROUPS", 3, 3},
	KeySaslHandshake:                {"SASL_HANDSHAKE", never, never},
	KeyAPIVersions:                  {"API_VERSIONS", 3, never},
	KeyCreateTopics:                 {"CREATE_TOPICS", 5, 5},
	KeyDeleteTopics:                 {"DELETE_TOPICS", 4, 4},
	KeyDeleteRecords:                {"DELETE_RECORDS", 2, 2},
	KeyInitProducerID:               {"INIT_PRODUCER_ID", 2, 2},
	KeyOffsetForLeaderEpoch:         {"OFFSET_FOR_LEADER_EPOCH", 4, 4},
	KeyAddPartitionsToTxn:           {"ADD_PARTITIONS_TO_TXN", 3, 3},
	KeyAddOffsetsToTxn:              {"ADD_OFFSETS_TO_TXN", 3, 3},
	KeyEndTxn:                       {"END_TXN", 3, 3},
	KeyWriteTxnMarkers:              {"WRITE_TXN_MARKERS", 1, 1},
	KeyTxnOffsetCommit:              {"TXN_OFFSET_COMMIT", 3, 3},
	KeyDescribeACLs:                 {"DESCRIBE_ACLS", 2, 2},
	KeyCreateACLs:                   {"CREATE_ACLS", 2, 2},
	KeyDeleteACLs:                   {"DELETE_ACLS", 2, 2},
	KeyDescribeConfigs:              {"DESCRIBE_CONFIGS", 4, 4},
	KeyAlterConfigs:                 {"ALTER_CONFIGS", 2, 2},
	KeyAlterReplicaLogDirs:          {"ALTER_REPLICA_LOG_DIRS", 2, 2},
	KeyDescribeLogDirs:              {"DESCRIBE_LOG_DIRS", 2, 2},
	KeySaslAuthenticate:             {"SASL_AUTHENTICATE", 2, 2},
	KeyCreatePartitions:             {"CREATE_PARTITIONS", 2, 2},
	KeyCreateDelegationToken:        {"CREATE_DELEGATION_TOKEN", 2, 2},
	KeyRenewDelegationToken:         {"RENEW_DELEGATION_TOKEN", 2, 2},
	KeyExpireDelegationToken:        {"EXPIRE_DELEGATION_TOKEN", 2, 2},
	KeyDescribeDelegationToken:      {"DESCRIBE_DELEGATION_TOKEN", 2, 2},
	KeyDeleteGroups:                 {"DELETE_GROUPS", 2, 2},
	KeyElectLeaders:                 {"ELECT_LEADERS", 2, 2},
	KeyIncrementalAlterConfigs:      {"INCREMENTAL_ALTER_CONFIGS", 1, 1},
	KeyAlterPartitionReassignments:  {"ALTER_PARTITION_REASSIGNMENTS", 0, 0},
	KeyListPartitionReassignments:   {"LIST_PARTITION_REASSIGNMENTS", 0, 0},
	KeyOffsetDelete:                 {"OFFSET_DELETE", never, never},
	KeyDescribeClientQuotas:         {"DESCRIBE_CLIENT_QUOTAS", 1, 1},
	KeyAlterClientQuotas:            {"ALTER_CLIENT_QUOTAS", 1, 1},
	KeyDescribeUserScramCredentials: {"DESCRIBE_USER_SCRAM_CREDENTIALS", 0, 0},
	KeyAlterUserScramCredentials:    {"ALTER_USER_SCRAM_CREDENTIALS", 0, 0},
	KeyVote:                         {"VOTE", 0, 0},
	KeyBeginQuorumEpoch:             {"BEGIN_QUORUM_EPOCH", 1, 1},
	KeyEndQuorumEpoch:               {"END_QUORUM_EPOCH", 1, 1},
	KeyDescribeQuorum:               {"DESCRIBE_QUORUM", 0, 0},
	KeyAlterPartition:               {"ALTER_PARTITION", 0, 0},
	KeyUpdateFeatures:               {"UPDATE_FEATURES", 0, 0},
	KeyEnvelope:                     {"ENVELOPE", 0, 0},
	KeyFetchSnapshot:                {"FETCH_SNAPSHOT", 0, 0},
	KeyDescribeCluster:              {"DESCRIBE_CLUSTER", 0, 0},
	KeyDescribeProducers:            {"DESCRIBE_PRODUCERS", 0, 0},
	KeyBrokerRegistration:           {"BROKER_REGISTRATION", 0, 0},
	KeyBrokerHeartbeat:              {"BROKER_HEARTBEAT", 0, 0},
	KeyUnregisterBroker:             {"UNREGISTER_BROKER", 0, 0},
	KeyDescribeTransactions:         {"DESCRIBE_TRANSACTIONS", 0, 0},
	KeyListTransactions:             {"LIST_TRANSACTIONS", 0, 0},
	KeyAllocateProducerIDs:          {"ALLOCATE_PRODUCER_IDS", 0, 0},
	KeyConsumerGroupHeartbeat:       {"CONSUMER_GROUP_HEARTBEAT", 0, 0},
	KeyConsumerGroupDescribe:        {"CONSUMER_GROUP_DESCRIBE", 0, 0},
	KeyControllerRegistration:       {"CONTROLLER_REGISTRATION", 0, 0},
	KeyGetTelemetrySubscriptions:    {"GET_TELEMETRY_SUBSCRIPTIONS", 0, 0},
	KeyPushTelemetry:                {"PUSH_TELEMETRY", 0, 0},
	KeyAssignReplicasToDirs:         {"ASSIGN_REPLICAS_TO_DIRS", 0, 0},
	KeyListConfigResources:          {"LIST_CONFIG_RESOURCES", 0, 0},
	KeyDescribeTopicPartitions:      {"DESCRIBE_TOPIC_PARTITIONS", 0, 0},
	KeyShareGroupHeartbeat:          {"SHARE_GROUP_HEARTBEAT", 0, 0},
	KeyShareGroupDescribe:           {"SHARE_GROUP_DESCRIBE", 0, 0},
	KeyShareFetch:                   {"SHARE_FETCH", 0, 0},
	KeyShareAcknowledge:             {"SHARE_ACKNOWLEDGE", 0, 0},
	KeyAddRaftVoter:                 {"ADD_RAFT_VOTER", 0, 0},
	KeyRemoveRaftVoter:              {"REMOVE_RAFT_VOTER", 0, 0},
	KeyUpdateRaftVoter:              {"UPDATE_RAFT_VOTER", 0, 0},
	KeyInitializeShareGroupState:    {"INITIALIZE_SHARE_GROUP_STATE", 0, 0},
	KeyReadShareGroupState:          {"READ_SHARE_GROUP_STATE", 0, 0},
	KeyWriteShareGroupState:         {"WRITE_SHARE_GROUP_STATE", 0, 0},
	KeyDeleteShareGroupState:        {"DELETE_SHARE_GROUP_STATE", 0, 0},
	KeyReadShareGroupStateSummary:   {"READ_SHARE_GROUP_STATE_SUMMARY", 0, 0},
	KeyStreamsGroupHeartbeat:        {"STREAMS_GROUP_HEARTBEAT", 0, 0},
	KeyStreamsGroupDescribe:         {"STREAMS_GROUP_DESCRIBE", 0, 0},
	KeyDescribeShareGroupOffsets:    {"DESCRIBE_SHARE_GROUP_OFFSETS", 0, 0},
	KeyAlterShareGroupOffsets:       {"ALTER_SHARE_GROUP_OFFSETS", 0, 0},
	KeyDeleteShareGroupOffsets:      {"DELETE_SHARE_GROUP_OFFSETS", 0, 0},
}

// APIName returns Kafka's name of an API key, or "" for a number Kafka has not given out.
func APIName(key int16) string {
	if key < 0 || int(key) >= len(apiInfos) {
		return ""
	}
	return apiInfos[key].name
}

// RequestFlexible reports whether a request of this key and version is in the flexible
// form (its header then has version 2). It judges versions that do not exist yet by the
// newest one, as Kafka does, so that the correlation id of such a request can be read.
func RequestFlexible(key, version int16) bool {
	return key >= 0 && int(key) < len(apiInfos) && version >= apiInfos[key].flexibleRequest
}

// ResponseHeaderFlexible reports whether the header of the response ends in tagged fields
// (response header version 1). Never for ApiVersions: a client that does not know which versions
// the broker speaks must be able to read that answer.
func ResponseHeaderFlexible(key, version int16) bool {
	return key >= 0 && int(key) < len(apiInfos) && version >= apiInfos[key].flexibleResponse
}
