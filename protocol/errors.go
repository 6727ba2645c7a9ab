package protocol

import "strconv"

// ErrorCode is Kafka's error code, the 16-bit number that responses carry. The
// numbers, names and retriable flags are those of Apache Kafka 4.3's Errors.
//
// It implements error so that it can travel as one, but NONE is a non-nil
// error too: turn a code into an error with Err, never by assignment.
type ErrorCode int16

// Kafka's error codes, under Kafka's names.
const (
	UNKNOWN_SERVER_ERROR                  ErrorCode = -1
	NONE                                  ErrorCode = 0
	OFFSET_OUT_OF_RANGE                   ErrorCode = 1
	CORRUPT_MESSAGE                       ErrorCode = 2
	UNKNOWN_TOPIC_OR_PARTITION            ErrorCode = 3
	INVALID_FETCH_SIZE                    ErrorCode = 4
	LEADER_NOT_AVAILABLE                  ErrorCode = 5
	NOT_LEADER_OR_FOLLOWER                ErrorCode = 6
	REQUEST_TIMED_OUT                     ErrorCode = 7
	BROKER_NOT_AVAILABLE                  ErrorCode = 8
	REPLICA_NOT_AVAILABLE                 ErrorCode = 9
	MESSAGE_TOO_LARGE                     ErrorCode = 10
	STALE_CONTROLLER_EPOCH                ErrorCode = 11
	OFFSET_METADATA_TOO_LARGE             ErrorCode = 12
	NETWORK_EXCEPTION                     ErrorCode = 13
	COORDINATOR_LOAD_IN_PROGRESS          ErrorCode = 14
	COORDINATOR_NOT_AVAILABLE             ErrorCode = 15
	NOT_COORDINATOR                       ErrorCode = 16
	INVALID_TOPIC_EXCEPTION               ErrorCode = 17
	RECORD_LIST_TOO_LARGE                 ErrorCode = 18
	NOT_ENOUGH_REPLICAS                   ErrorCode = 19
	NOT_ENOUGH_REPLICAS_AFTER_APPEND      ErrorCode = 20
	INVALID_REQUIRED_ACKS                 ErrorCode = 21
	ILLEGAL_GENERATION                    ErrorCode = 22
	INCONSISTENT_GROUP_PROTOCOL           ErrorCode = 23
	INVALID_GROUP_ID                      ErrorCode = 24
	UNKNOWN_MEMBER_ID                     ErrorCode = 25
	INVALID_SESSION_TIMEOUT               ErrorCode = 26
	REBALANCE_IN_PROGRESS                 ErrorCode = 27
	INVALID_COMMIT_OFFSET_SIZE            ErrorCode = 28
	TOPIC_AUTHORIZATION_FAILED            ErrorCode = 29
	GROUP_AUTHORIZATION_FAILED            ErrorCode = 30
	CLUSTER_AUTHORIZATION_FAILED          ErrorCode = 31
	INVALID_TIMESTAMP                     ErrorCode = 32
	UNSUPPORTED_SASL_MECHANISM            ErrorCode = 33
	ILLEGAL_SASL_STATE                    ErrorCode = 34
	UNSUPPORTED_VERSION                   ErrorCode = 35
	TOPIC_ALREADY_EXISTS                  ErrorCode = 36
	INVALID_PARTITIONS                    ErrorCode = 37
	INVALID_REPLICATION_FACTOR            ErrorCode = 38
	INVALID_REPLICA_ASSIGNMENT            ErrorCode = 39
	INVALID_CONFIG                        ErrorCode = 40
	NOT_CONTROLLER                        ErrorCode = 41
	INVALID_REQUEST                       ErrorCode = 42
	UNSUPPORTED_FOR_MESSAGE_FORMAT        ErrorCode = 43
	POLICY_VIOLATION                      ErrorCode = 44
	OUT_OF_ORDER_SEQUENCE_NUMBER          ErrorCode = 45
	DUPLICATE_SEQUENCE_NUMBER             ErrorCode = 46
	INVALID_PRODUCER_EPOCH                ErrorCode = 47
	INVALID_TXN_STATE                     ErrorCode = 48
	INVALID_PRODUCER_ID_MAPPING           ErrorCode = 49
	INVALID_TRANSACTION_TIMEOUT           ErrorCode = 50
	CONCURRENT_TRANSACTIONS               ErrorCode = 51
	TRANSACTION_COORDINATOR_FENCED        ErrorCode = 52
	TRANSACTIONAL_ID_AUTHORIZATION_FAILED ErrorCode = 53
	SECURITY_DISABLED                     ErrorCode = 54
	OPERATION_NOT_ATTEMPTED               ErrorCode = 55
	KAFKA_STORAGE_ERROR                   ErrorCode = 56
	LOG_DIR_NOT_FOUND                     ErrorCode = 57
	SASL_AUTHENTICATION_FAILED            ErrorCode = 58
	UNKNOWN_PRODUCER_ID                   ErrorCode = 59
	REASSIGNMENT_IN_PROGRESS              ErrorCode = 60
	DELEGATION_TOKEN_AUTH_DISABLED        ErrorCode = 61
	DELEGATION_TOKEN_NOT_FOUND            ErrorCode = 62
	DELEGATION_TOKEN_OWNER_MISMATCH       ErrorCode = 63
	DELEGATION_TOKEN_REQUEST_NOT_ALLOWED  ErrorCode = 64
	DELEGATION_TOKEN_AUTHORIZATION_FAILED ErrorCode = 65
	DELEGATION_TOKEN_EXPIRED              ErrorCode = 66
	INVALID_PRINCIPAL_TYPE                ErrorCode = 67
	NON_EMPTY_GROUP                       ErrorCode = 68
	GROUP_ID_NOT_FOUND                    ErrorCode = 69
	FETCH_SESSION_ID_NOT_FOUND            ErrorCode = 70
	INVALID_FETCH_SESSION_EPOCH           ErrorCode = 71
	LISTENER_NOT_FOUND                    ErrorCode = 72
	TOPIC_DELETION_DISABLED               ErrorCode = 73
	FENCED_LEADER_EPOCH                   ErrorCode = 74
	UNKNOWN_LEADER_EPOCH                  ErrorCode = 75
	UNSUPPORTED_COMPRESSION_TYPE          ErrorCode = 76
	STALE_BROKER_EPOCH                    ErrorCode = 77
	OFFSET_NOT_AVAILABLE                  ErrorCode = 78
	MEMBER_ID_REQUIRED                    ErrorCode = 79
	PREFERRED_LEADER_NOT_AVAILABLE        ErrorCode = 80
	GROUP_MAX_SIZE_REACHED                ErrorCode = 81
	FENCED_INSTANCE_ID                    ErrorCode = 82
	ELIGIBLE_LEADERS_NOT_AVAILABLE        ErrorCode = 83
	ELECTION_NOT_NEEDED                   ErrorCode = 84
	NO_REASSIGNMENT_IN_PROGRESS           ErrorCode = 85
	GROUP_SUBSCRIBED_TO_TOPIC             ErrorCode = 86
	INVALID_RECORD                        ErrorCode = 87
	UNSTABLE_OFFSET_COMMIT                ErrorCode = 88
	THROTTLING_QUOTA_EXCEEDED             ErrorCode = 89
	PRODUCER_FENCED                       ErrorCode = 90
	RESOURCE_NOT_FOUND                    ErrorCode = 91
	DUPLICATE_RESOURCE                    ErrorCode = 92
	UNACCEPTABLE_CREDENTIAL               ErrorCode = 93
	INCONSISTENT_VOTER_SET                ErrorCode = 94
	INVALID_UPDATE_VERSION                ErrorCode = 95
	FEATURE_UPDATE_FAILED                 ErrorCode = 96
	PRINCIPAL_DESERIALIZATION_FAILURE     ErrorCode = 97
	SNAPSHOT_NOT_FOUND                    ErrorCode = 98
	POSITION_OUT_OF_RANGE                 ErrorCode = 99
	UNKNOWN_TOPIC_ID                      ErrorCode = 100
	DUPLICATE_BROKER_REGISTRATION         ErrorCode = 101
	BROKER_ID_NOT_REGISTERED              ErrorCode = 102
	INCONSISTENT_TOPIC_ID                 ErrorCode = 103
	INCONSISTENT_CLUSTER_ID               ErrorCode = 104
	TRANSACTIONAL_ID_NOT_FOUND            ErrorCode = 105
	FETCH_SESSION_TOPIC_ID_ERROR          ErrorCode = 106
	INELIGIBLE_REPLICA                    ErrorCode = 107
	NEW_LEADER_ELECTED                    ErrorCode = 108
	OFFSET_MOVED_TO_TIERED_STORAGE        ErrorCode = 109
	FENCED_MEMBER_EPOCH                   ErrorCode = 110
	UNRELEASED_INSTANCE_ID                ErrorCode = 111
	UNSUPPORTED_ASSIGNOR                  ErrorCode = 112
	STALE_MEMBER_EPOCH                    ErrorCode = 113
	MISMATCHED_ENDPOINT_TYPE              ErrorCode = 114
	UNSUPPORTED_ENDPOINT_TYPE             ErrorCode = 115
	UNKNOWN_CONTROLLER_ID                 ErrorCode = 116
	UNKNOWN_SUBSCRIPTION_ID               ErrorCode = 117
	TELEMETRY_TOO_LARGE                   ErrorCode = 118
	INVALID_REGISTRATION                  ErrorCode = 119
	TRANSACTION_ABORTABLE                 ErrorCode = 120
	INVALID_RECORD_STATE                  ErrorCode = 121
	SHARE_SESSION_NOT_FOUND               ErrorCode = 122
	INVALID_SHARE_SESSION_EPOCH           ErrorCode = 123
	FENCED_STATE_EPOCH                    ErrorCode = 124
	INVALID_VOTER_KEY                     ErrorCode = 125
	DUPLICATE_VOTER                       ErrorCode = 126
	VOTER_NOT_FOUND                       ErrorCode = 127
	INVALID_REGULAR_EXPRESSION            ErrorCode = 128
	REBOOTSTRAP_REQUIRED                  ErrorCode = 129
	STREAMS_INVALID_TOPOLOGY              ErrorCode = 130
	STREAMS_INVALID_TOPOLOGY_EPOCH        ErrorCode = 131
	STREAMS_TOPOLOGY_FENCED               ErrorCode = 132
	SHARE_SESSION_LIMIT_REACHED           ErrorCode = 133
)

// firstErrorCode and lastErrorCode bound the table below.
const (
	firstErrorCode = UNKNOWN_SERVER_ERROR
	lastErrorCode  = SHARE_SESSION_LIMIT_REACHED
)

type errorInfo struct {
	name      string
	retriable bool
}

// errorInfos is indexed by code - firstErrorCode.
var errorInfos = [lastErrorCode - firstErrorCode + 1]errorInfo{
	UNKNOWN_SERVER_ERROR - firstErrorCode:                  {"UNKNOWN_SERVER_ERROR", false},
	NONE - firstErrorCode:                                  {"NONE", false},
	OFFSET_OUT_OF_RANGE - firstErrorCode:                   {"OFFSET_OUT_OF_RANGE", false},
	CORRUPT_MESSAGE - firstErrorCode:                       {"CORRUPT_MESSAGE", true},
	UNKNOWN_TOPIC_OR_PARTITION - firstErrorCode:            {"UNKNOWN_TOPIC_OR_PARTITION", true},
	INVALID_FETCH_SIZE - firstErrorCode:                    {"INVALID_FETCH_SIZE", false},
	LEADER_NOT_AVAILABLE - firstErrorCode:                  {"LEADER_NOT_AVAILABLE", true},
	NOT_LEADER_OR_FOLLOWER - firstErrorCode:                {"NOT_LEADER_OR_FOLLOWER", true},
	REQUEST_TIMED_OUT - firstErrorCode:                     {"REQUEST_TIMED_OUT", true},
	BROKER_NOT_AVAILABLE - firstErrorCode:                  {"BROKER_NOT_AVAILABLE", false},
	REPLICA_NOT_AVAILABLE - firstErrorCode:                 {"REPLICA_NOT_AVAILABLE", true},
	MESSAGE_TOO_LARGE - firstErrorCode:                     {"MESSAGE_TOO_LARGE", false},
	STALE_CONTROLLER_EPOCH - firstErrorCode:                {"STALE_CONTROLLER_EPOCH", false},
	OFFSET_METADATA_TOO_LARGE - firstErrorCode:             {"OFFSET_METADATA_TOO_LARGE", false},
	NETWORK_EXCEPTION - firstErrorCode:                     {"NETWORK_EXCEPTION", true},
	COORDINATOR_LOAD_IN_PROGRESS - firstErrorCode:          {"COORDINATOR_LOAD_IN_PROGRESS", true},
	COORDINATOR_NOT_AVAILABLE - firstErrorCode:             {"COORDINATOR_NOT_AVAILABLE", true},
	NOT_COORDINATOR - firstErrorCode:                       {"NOT_COORDINATOR", true},
	INVALID_TOPIC_EXCEPTION - firstErrorCode:               {"INVALID_TOPIC_EXCEPTION", false},
	RECORD_LIST_TOO_LARGE - firstErrorCode:                 {"RECORD_LIST_TOO_LARGE", false},
	NOT_ENOUGH_REPLICAS - firstErrorCode:                   {"NOT_ENOUGH_REPLICAS", true},
	NOT_ENOUGH_REPLICAS_AFTER_APPEND - firstErrorCode:      {"NOT_ENOUGH_REPLICAS_AFTER_APPEND", true},
	INVALID_REQUIRED_ACKS - firstErrorCode:                 {"INVALID_REQUIRED_ACKS", false},
	ILLEGAL_GENERATION - firstErrorCode:                    {"ILLEGAL_GENERATION", false},
	INCONSISTENT_GROUP_PROTOCOL - firstErrorCode:           {"INCONSISTENT_GROUP_PROTOCOL", false},
	INVALID_GROUP_ID - firstErrorCode:                      {"INVALID_GROUP_ID", false},
	UNKNOWN_MEMBER_ID - firstErrorCode:                     {"UNKNOWN_MEMBER_ID", false},
	INVALID_SESSION_TIMEOUT - firstErrorCode:               {"INVALID_SESSION_TIMEOUT", false},
	REBALANCE_IN_PROGRESS - firstErrorCode:                 {"REBALANCE_IN_PROGRESS", false},
	INVALID_COMMIT_OFFSET_SIZE - firstErrorCode:            {"INVALID_COMMIT_OFFSET_SIZE", false},
	TOPIC_AUTHORIZATION_FAILED - firstErrorCode:            {"TOPIC_AUTHORIZATION_FAILED", false},
	GROUP_AUTHORIZATION_FAILED - firstErrorCode:            {"GROUP_AUTHORIZATION_FAILED", false},
	CLUSTER_AUTHORIZATION_FAILED - firstErrorCode:          {"CLUSTER_AUTHORIZATION_FAILED", false},
	INVALID_TIMESTAMP - firstErrorCode:                     {"INVALID_TIMESTAMP", false},
	UNSUPPORTED_SASL_MECHANISM - firstErrorCode:            {"UNSUPPORTED_SASL_MECHANISM", false},
	ILLEGAL_SASL_STATE - firstErrorCode:                    {"ILLEGAL_SASL_STATE", false},
	UNSUPPORTED_VERSION - firstErrorCode:                   {"UNSUPPORTED_VERSION", false},
	TOPIC_ALREADY_EXISTS - firstErrorCode:                  {"TOPIC_ALREADY_EXISTS", false},
	INVALID_PARTITIONS - firstErrorCode:                    {"INVALID_PARTITIONS", false},
	INVALID_REPLICATION_FACTOR - firstErrorCode:            {"INVALID_REPLICATION_FACTOR", false},
	INVALID_REPLICA_ASSIGNMENT - firstErrorCode:            {"INVALID_REPLICA_ASSIGNMENT", false},
	INVALID_CONFIG - firstErrorCode:                        {"INVALID_CONFIG", false},
	NOT_CONTROLLER - firstErrorCode:                        {"NOT_CONTROLLER", true},
	INVALID_REQUEST - firstErrorCode:                       {"INVALID_REQUEST", false},
	UNSUPPORTED_FOR_MESSAGE_FORMAT - firstErrorCode:        {"UNSUPPORTED_FOR_MESSAGE_FORMAT", false},
	POLICY_VIOLATION - firstErrorCode:                      {"POLICY_VIOLATION", false},
	OUT_OF_ORDER_SEQUENCE_NUMBER - firstErrorCode:          {"OUT_OF_ORDER_SEQUENCE_NUMBER", false},
	DUPLICATE_SEQUENCE_NUMBER - firstErrorCode:             {"DUPLICATE_SEQUENCE_NUMBER", false},
	INVALID_PRODUCER_EPOCH - firstErrorCode:                {"INVALID_PRODUCER_EPOCH", false},
	INVALID_TXN_STATE - firstErrorCode:                     {"INVALID_TXN_STATE", false},
	INVALID_PRODUCER_ID_MAPPING - firstErrorCode:           {"INVALID_PRODUCER_ID_MAPPING", false},
	INVALID_TRANSACTION_TIMEOUT - firstErrorCode:           {"INVALID_TRANSACTION_TIMEOUT", false},
	CONCURRENT_TRANSACTIONS - firstErrorCode:               {"CONCURRENT_TRANSACTIONS", true},
	TRANSACTION_COORDINATOR_FENCED - firstErrorCode:        {"TRANSACTION_COORDINATOR_FENCED", false},
	TRANSACTIONAL_ID_AUTHORIZATION_FAILED - firstErrorCode: {"TRANSACTIONAL_ID_AUTHORIZATION_FAILED", false},
	SECURITY_DISABLED - firstErrorCode:                     {"SECURITY_DISABLED", false},
	OPERATION_NOT_ATTEMPTED - firstErrorCode:               {"OPERATION_NOT_ATTEMPTED", false},
	KAFKA_STORAGE_ERROR - firstErrorCode:                   {"KAFKA_STORAGE_ERROR", true},
	LOG_DIR_NOT_FOUND - firstErrorCode:                     {"LOG_DIR_NOT_FOUND", false},
	SASL_AUTHENTICATION_FAILED - firstErrorCode:            {"SASL_AUTHENTICATION_FAILED", false},
	UNKNOWN_PRODUCER_ID - firstErrorCode:                   {"UNKNOWN_PRODUCER_ID", false},
	REASSIGNMENT_IN_PROGRESS - firstErrorCode:              {"REASSIGNMENT_IN_PROGRESS", false},
	DELEGATION_TOKEN_AUTH_DISABLED - firstErrorCode:        {"DELEGATION_TOKEN_AUTH_DISABLED", false},
	DELEGATION_TOKEN_NOT_FOUND - firstErrorCode:            {"DELEGATION_TOKEN_NOT_FOUND", false},
	DELEGATION_TOKEN_OWNER_MISMATCH - firstErrorCode:       {"DELEGATION_TOKEN_OWNER_MISMATCH", false},
	DELEGATION_TOKEN_REQUEST_NOT_ALLOWED - firstErrorCode:  {"DELEGATION_TOKEN_REQUEST_NOT_ALLOWED", false},
	DELEGATION_TOKEN_AUTHORIZATION_FAILED - firstErrorCode: {"DELEGATION_TOKEN_AUTHORIZATION_FAILED", false},
	DELEGATION_TOKEN_EXPIRED - firstErrorCode:              {"DELEGATION_TOKEN_EXPIRED", false},
	INVALID_PRINCIPAL_TYPE - firstErrorCode:                {"INVALID_PRINCIPAL_TYPE", false},
	NON_EMPTY_GROUP - firstErrorCode:                       {"NON_EMPTY_GROUP", false},
	GROUP_ID_NOT_FOUND - firstErrorCode:                    {"GROUP_ID_NOT_FOUND", false},
	FETCH_SESSION_ID_NOT_FOUND - firstErrorCode:            {"FETCH_SESSION_ID_NOT_FOUND", true},
	INVALID_FETCH_SESSION_EPOCH - firstErrorCode:           {"INVALID_FETCH_SESSION_EPOCH", true},
	LISTENER_NOT_FOUND - firstErrorCode:                    {"LISTENER_NOT_FOUND", true},
	TOPIC_DELETION_DISABLED - firstErrorCode:               {"TOPIC_DELETION_DISABLED", false},
	FENCED_LEADER_EPOCH - firstErrorCode:                   {"FENCED_LEADER_EPOCH", true},
	UNKNOWN_LEADER_EPOCH - firstErrorCode:                  {"UNKNOWN_LEADER_EPOCH", true},
	UNSUPPORTED_COMPRESSION_TYPE - firstErrorCode:          {"UNSUPPORTED_COMPRESSION_TYPE", false},
	STALE_BROKER_EPOCH - firstErrorCode:                    {"STALE_BROKER_EPOCH", false},
	OFFSET_NOT_AVAILABLE - firstErrorCode:                  {"OFFSET_NOT_AVAILABLE", true},
	MEMBER_ID_REQUIRED - firstErrorCode:                    {"MEMBER_ID_REQUIRED", false},
	PREFERRED_LEADER_NOT_AVAILABLE - firstErrorCode:        {"PREFERRED_LEADER_NOT_AVAILABLE", true},
	GROUP_MAX_SIZE_REACHED - firstErrorCode:                {"GROUP_MAX_SIZE_REACHED", false},
	FENCED_INSTANCE_ID - firstErrorCode:                    {"FENCED_INSTANCE_ID", false},
	ELIGIBLE_LEADERS_NOT_AVAILABLE - firstErrorCode:        {"ELIGIBLE_LEADERS_NOT_AVAILABLE", true},
	ELECTION_NOT_NEEDED - firstErrorCode:                   {"ELECTION_NOT_NEEDED", true},
	NO_REASSIGNMENT_IN_PROGRESS - firstErrorCode:           {"NO_REASSIGNMENT_IN_PROGRESS", false},
	GROUP_SUBSCRIBED_TO_TOPIC - firstErrorCode:             {"GROUP_SUBSCRIBED_TO_TOPIC", false},
	INVALID_RECORD - firstErrorCode:                        {"INVALID_RECORD", false},
	UNSTABLE_OFFSET_COMMIT - firstErrorCode:                {"UNSTABLE_OFFSET_COMMIT", true},
	THROTTLING_QUOTA_EXCEEDED - firstErrorCode:             {"THROTTLING_QUOTA_EXCEEDED", true},
	PRODUCER_FENCED - firstErrorCode:                       {"PRODUCER_FENCED", false},
	RESOURCE_NOT_FOUND - firstErrorCode:                    {"RESOURCE_NOT_FOUND", false},
	DUPLICATE_RESOURCE - firstErrorCode:                    {"DUPLICATE_RESOURCE", false},
	UNACCEPTABLE_CREDENTIAL - firstErrorCode:               {"UNACCEPTABLE_CREDENTIAL", false},
	INCONSISTENT_VOTER_SET - firstErrorCode:                {"INCONSISTENT_VOTER_SET", false},
	INVALID_UPDATE_VERSION - firstErrorCode:                {"INVALID_UPDATE_VERSION", false},
	FEATURE_UPDATE_FAILED - firstErrorCode:                 {"FEATURE_UPDATE_FAILED", false},
	PRINCIPAL_DESERIALIZATION_FAILURE - firstErrorCode:     {"PRINCIPAL_DESERIALIZATION_FAILURE", false},
	SNAPSHOT_NOT_FOUND - firstErrorCode:                    {"SNAPSHOT_NOT_FOUND", false},
	POSITION_OUT_OF_RANGE - firstErrorCode:                 {"POSITION_OUT_OF_RANGE", false},
	UNKNOWN_TOPIC_ID - firstErrorCode:                      {"UNKNOWN_TOPIC_ID", true},
	DUPLICATE_BROKER_REGISTRATION - firstErrorCode:         {"DUPLICATE_BROKER_REGISTRATION", false},
	BROKER_ID_NOT_REGISTERED - firstErrorCode:              {"BROKER_ID_NOT_REGISTERED", false},
	INCONSISTENT_TOPIC_ID - firstErrorCode:                 {"INCONSISTENT_TOPIC_ID", true},
	INCONSISTENT_CLUSTER_ID - firstErrorCode:               {"INCONSISTENT_CLUSTER_ID", false},
	TRANSACTIONAL_ID_NOT_FOUND - firstErrorCode:            {"TRANSACTIONAL_ID_NOT_FOUND", false},
	FETCH_SESSION_TOPIC_ID_ERROR - firstErrorCode:          {"FETCH_SESSION_TOPIC_ID_ERROR", true},
	INELIGIBLE_REPLICA - firstErrorCode:                    {"INELIGIBLE_REPLICA", false},
	NEW_LEADER_ELECTED - firstErrorCode:                    {"NEW_LEADER_ELECTED", false},
	OFFSET_MOVED_TO_TIERED_STORAGE - firstErrorCode:        {"OFFSET_MOVED_TO_TIERED_STORAGE", false},
	FENCED_MEMBER_EPOCH - firstErrorCode:                   {"FENCED_MEMBER_EPOCH", false},
	UNRELEASED_INSTANCE_ID - firstErrorCode:                {"UNRELEASED_INSTANCE_ID", false},
	UNSUPPORTED_ASSIGNOR - firstErrorCode:                  {"UNSUPPORTED_ASSIGNOR", false},
	STALE_MEMBER_EPOCH - firstErrorCode:                    {"STALE_MEMBER_EPOCH", false},
	MISMATCHED_ENDPOINT_TYPE - firstErrorCode:              {"MISMATCHED_ENDPOINT_TYPE", false},
	UNSUPPORTED_ENDPOINT_TYPE - firstErrorCode:             {"UNSUPPORTED_ENDPOINT_TYPE", false},
	UNKNOWN_CONTROLLER_ID - firstErrorCode:                 {"UNKNOWN_CONTROLLER_ID", false},
	UNKNOWN_SUBSCRIPTION_ID - firstErrorCode:               {"UNKNOWN_SUBSCRIPTION_ID", false},
	TELEMETRY_TOO_LARGE - firstErrorCode:                   {"TELEMETRY_TOO_LARGE", false},
	INVALID_REGISTRATION - firstErrorCode:                  {"INVALID_REGISTRATION", false},
	TRANSACTION_ABORTABLE - firstErrorCode:                 {"TRANSACTION_ABORTABLE", false},
	INVALID_RECORD_STATE - firstErrorCode:                  {"INVALID_RECORD_STATE", false},
	SHARE_SESSION_NOT_FOUND - firstErrorCode:               {"SHARE_SESSION_NOT_FOUND", true},
	INVALID_SHARE_SESSION_EPOCH - firstErrorCode:           {"INVALID_SHARE_SESSION_EPOCH", true},
	FENCED_STATE_EPOCH - firstErrorCode:                    {"FENCED_STATE_EPOCH", false},
	INVALID_VOTER_KEY - firstErrorCode:                     {"INVALID_VOTER_KEY", false},
	DUPLICATE_VOTER - firstErrorCode:                       {"DUPLICATE_VOTER", false},
	VOTER_NOT_FOUND - firstErrorCode:                       {"VOTER_NOT_FOUND", false},
	INVALID_REGULAR_EXPRESSION - firstErrorCode:            {"INVALID_REGULAR_EXPRESSION", false},
	REBOOTSTRAP_REQUIRED - firstErrorCode:                  {"REBOOTSTRAP_REQUIRED", false},
	STREAMS_INVALID_TOPOLOGY - firstErrorCode:              {"STREAMS_INVALID_TOPOLOGY", false},
	STREAMS_INVALID_TOPOLOGY_EPOCH - firstErrorCode:        {"STREAMS_INVALID_TOPOLOGY_EPOCH", false},
	STREAMS_TOPOLOGY_FENCED - firstErrorCode:               {"STREAMS_TOPOLOGY_FENCED", false},
	SHARE_SESSION_LIMIT_REACHED - firstErrorCode:           {"SHARE_SESSION_LIMIT_REACHED", true},
}

// Known reports whether Kafka 4.3 has an error with this code.
func (e ErrorCode) Known() bool { return e >= firstErrorCode && e <= lastErrorCode }

// String returns Kafka's name, as in UNKNOWN_TOPIC_OR_PARTITION, or the number
// of a code that Kafka does not have.
func (e ErrorCode) String() string {
	if !e.Known() {
		return "error code " + strconv.Itoa(int(e))
	}
	return errorInfos[e-firstErrorCode].name
}

// Error is String.
func (e ErrorCode) Error() string { return e.String() }

// Retriable reports whether a client may succeed by sending the same request
// again, as Kafka's clients judge it.
func (e ErrorCode) Retriable() bool { return e.Known() && errorInfos[e-firstErrorCode].retriable }

// Err returns e as an error, and nil for NONE.
func (e ErrorCode) Err() error {
	if e == NONE {
		return nil
	}
	return e
}
