package metadata

// Features and record versions at the level of Apache Kafka 4.3 (4.3-IV0), which
// is the level that a fresh directory is bootstrapped at.

// MetadataVersion is the feature that says which records a log may hold.
const MetadataVersion = "metadata.version"

// KRaftVersionFeature is the feature that the raft layer keeps in control records
// of the log and not as a FeatureLevelRecord.
const KRaftVersionFeature = "kraft.version"

// featureELR is the feature of eligible leader replicas (KIP-966).
const featureELR = "eligible.leader.replicas.version"

// MetadataLevel is 4.3-IV0.
const MetadataLevel = 30

// Versions of records written at MetadataLevel, as Kafka 4.3.1 was seen to.
const (
	registerBrokerVersion  = 4
	partitionVersion       = 2
	partitionChangeVersion = 2
	fenceVersion           = 0 // BrokerRegistrationChangeRecord that (un)fences
	shutdownVersion        = 1 // ... that begins a controlled shutdown
	directoriesVersion     = 2 // ... that says which log directories are left
	cordonVersion          = 3 // ... that says which log directories are cordoned
)

// bootstrapFeatures are the levels that Kafka 4.3.1's format finalizes, in the
// order of its records.
var bootstrapFeatures = []FeatureLevel{
	{MetadataVersion, MetadataLevel},
	{featureELR, 1},
	{"group.version", 1},
	{"share.version", 1},
	{"streams.version", 1},
	{"transaction.version", 2},
}

// SupportedFeatures are the levels that a node registers as supported: those of
// Kafka 4.3.1, by name. A node must support what is finalized.
func SupportedFeatures() []FeatureRange {
	return []FeatureRange{
		{Name: featureELR, MinSupportedVersion: 0, MaxSupportedVersion: 1},
		{Name: "group.version", MinSupportedVersion: 0, MaxSupportedVersion: 1},
		{Name: KRaftVersionFeature, MinSupportedVersion: 0, MaxSupportedVersion: 1},
		{Name: MetadataVersion, MinSupportedVersion: 7, MaxSupportedVersion: MetadataLevel},
		{Name: "share.version", MinSupportedVersion: 0, MaxSupportedVersion: 1},
		{Name: "streams.version", MinSupportedVersion: 0, MaxSupportedVersion: 1},
		{Name: "transaction.version", MinSupportedVersion: 0, MaxSupportedVersion: 2},
	}
}

// SupportedLevel is the highest level known of a feature, 0 for one that is not known.
func SupportedLevel(name string) int16 {
	for _, f := range SupportedFeatures() {
		if f.Name == name {
			return f.MaxSupportedVersion
		}
	}
	return 0
}
