package clients

// adminScripts are the scripts of the keys that manage a cluster.
func adminScripts() map[string]func(*script) {
	return map[string]func(*script){
		"internal-topics":           scriptInternalTopics,
		"71-telemetry":              scriptTelemetry,
		"80-raft-voters":            scriptRaftVoters,
		"64-unregister-broker":      scriptUnregisterBroker,
		"57-update-features":        scriptUpdateFeatures,
		"55-describe-quorum":        scriptDescribeQuorum,
		"50-scram-credentials":      scriptSCRAM,
		"45-reassignments":          scriptReassignments,
		"43-elect-leaders":          scriptElectLeaders,
		"38-delegation-tokens":      scriptDelegationTokens,
		"35-describe-log-dirs":      scriptDescribeLogDirs,
		"34-alter-replica-log-dirs": scriptAlterReplicaLogDirs,
		"29-acls":                   scriptACLs,
		"21-delete-records":         scriptDeleteRecords,
		"17-sasl-handshake":         scriptSASL,
		"32-config-resources":       scriptConfigResources,
		"33-alter-configs":          scriptAlterConfigs,
		"44-broker-settings":        scriptBrokerSettings,
		"44-broker-loggers":         scriptBrokerLoggers,
		"44-client-metrics":         scriptClientMetrics,
		"44-groups":                 scriptGroupSettings,
		"74-list-config-resources":  scriptListConfigResources,
	}
}
