package metadata

// Features and record versions at the level of Apache Kafka 4.3 (4.3-IV0), which
// is the level that a fresh directory is bootstrapped at.

// MetadataVersion is the feature that says which records a log may hold.
const MetadataVersion = "metadata.version"

// MetadataLevel is 4.3-IV0.
const MetadataLevel = 30

// Versions of records written at MetadataLevel.
const (
	registerBrokerVersion     = 4
	partitionVersion          = 2
	partitionChangeVersion    = 2
	registrationChangeVersion = 3
)
