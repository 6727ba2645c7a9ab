package clients

// adminScripts are the scripts of the keys that manage a cluster.
func adminScripts() map[string]func(*script) {
	return map[string]func(*script){
		"32-config-resources":      scriptConfigResources,
		"33-alter-configs":         scriptAlterConfigs,
		"44-broker-settings":       scriptBrokerSettings,
		"44-broker-loggers":        scriptBrokerLoggers,
		"44-client-metrics":        scriptClientMetrics,
		"44-groups":                scriptGroupSettings,
		"74-list-config-resources": scriptListConfigResources,
	}
}
