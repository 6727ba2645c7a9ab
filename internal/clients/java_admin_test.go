package clients

import (
	"fmt"
	"regexp"
	"strings"
	"testing"

	"slipstream/internal/clients/harness"
)

// More of Kafka's programs.
const (
	clusterTool         = "org.apache.kafka.tools.ClusterTool"
	clientMetricsTool   = "org.apache.kafka.tools.ClientMetricsCommand"
	leaderElectionTool  = "org.apache.kafka.tools.LeaderElectionCommand"
	reassignTool        = "org.apache.kafka.tools.reassign.ReassignPartitionsCommand"
	delegationTokenTool = "org.apache.kafka.tools.DelegationTokenCommand"
	aclTool             = "org.apache.kafka.tools.AclCommand"
)

// toolStep is one command and what it must print, a pattern. fails is what a failure must say.
type toolStep struct {
	main  string
	args  string // ADDRESS, TOPIC, and DIR, a directory for files, are filled in
	want  string
	fails string
}

// TestJavaClusterTools runs Kafka's tools that manage a cluster, one after the other on one broker.
func TestJavaClusterTools(t *testing.T) {
	b := harness.StartT(t, harness.Options{})
	topic, dir := topicName(t, "cluster"), t.TempDir()
	createTopic(t, b, topic, 2)
	produceLines(t, b, topic, 50)
	writeFile(t, dir+"/plan.json", fmt.Sprintf(`{"version":1,"partitions":[{"topic":%q,"partition":0,"replicas":[1]}]}`, topic))
	writeFile(t, dir+"/nowhere.json", fmt.Sprintf(`{"version":1,"partitions":[{"topic":%q,"partition":0,"replicas":[7]}]}`, topic))
	fill := strings.NewReplacer("ADDRESS", b.Addr, "TOPIC", topic, "DIR", dir)
	for _, s := range clusterSteps {
		args := strings.Fields(fill.Replace(s.args))
		r, err := harness.Tool(nil, s.main, args...)
		harness.Need(t, err)
		switch {
		case s.fails != "" && !strings.Contains(r.Both(), s.fails):
			t.Errorf("%s %q: want a failure that says %q, got status %d and\n%s", s.main, args, s.fails, r.Status, r.Both())
		case s.fails == "" && (r.Status != 0 || !regexp.MustCompile(fill.Replace(s.want)).MatchString(strings.ReplaceAll(r.Out, "\t", " "))):
			t.Errorf("%s %q: status %d, want %q in\n%s", s.main, args, r.Status, s.want, r.Both())
		}
	}
}

var clusterSteps = []toolStep{
	{clusterTool, "cluster-id --bootstrap-server ADDRESS", `^Cluster ID: [\w-]{22}\n`, ""},
	{clusterTool, "list-endpoints --bootstrap-server ADDRESS", `(?m)^1 +127\.0\.0\.1 +\d+ `, ""},
	{clusterTool, "unregister --bootstrap-server ADDRESS --id 77", "", "Broker ID 77 is not currently registered"},
	{harness.MetadataQuorum, "--bootstrap-server ADDRESS describe --status", `LeaderId: +1\n(?s).*MaxFollowerLag: +0\n.*CurrentVoters: +\[\{"id": 1, "directoryId": "[\w-]{22}", "endpoints": \["CONTROLLER://`, ""},
	{harness.MetadataQuorum, "--bootstrap-server ADDRESS describe --replication", `(?m)^1 +[\w-]{22} +\d+ +0 +\d+ +\d+ +Leader`, ""},
	{harness.FeatureCommand, "--bootstrap-server ADDRESS downgrade --feature transaction.version=1 --dry-run", `transaction.version can be downgraded to 1`, ""},
	{harness.FeatureCommand, "--bootstrap-server ADDRESS downgrade --feature transaction.version=1", `transaction.version was downgraded to 1`, ""},
	{harness.FeatureCommand, "--bootstrap-server ADDRESS describe", `transaction.version .* FinalizedVersionLevel: 1 `, ""},
	{harness.FeatureCommand, "--bootstrap-server ADDRESS upgrade --feature transaction.version=2", `transaction.version was upgraded to 2`, ""},
	{harness.FeatureCommand, "--bootstrap-server ADDRESS upgrade --feature transaction.version=3", "", "Local controller 1 only supports versions 0-2"},
	{harness.FeatureCommand, "--bootstrap-server ADDRESS downgrade --release-version 4.0", "", "Refusing to perform the requested downgrade"},
	{leaderElectionTool, "--bootstrap-server ADDRESS --election-type preferred --topic TOPIC --partition 0", `Valid replica already elected for partitions TOPIC-0`, ""},
	{leaderElectionTool, "--bootstrap-server ADDRESS --election-type preferred --all-topic-partitions", `^\s*$`, ""},
	{leaderElectionTool, "--bootstrap-server ADDRESS --election-type unclean --topic none --partition 0", "", "No such topic as none"},
	{reassignTool, "--bootstrap-server ADDRESS --list", `No partition reassignments found`, ""},
	{reassignTool, "--bootstrap-server ADDRESS --reassignment-json-file DIR/plan.json --execute", `Successfully started partition reassignment for TOPIC-0`, ""},
	{reassignTool, "--bootstrap-server ADDRESS --reassignment-json-file DIR/plan.json --verify", `Reassignment of partition TOPIC-0 is completed`, ""},
	{reassignTool, "--bootstrap-server ADDRESS --reassignment-json-file DIR/plan.json --cancel", `None of the specified partition moves are active`, ""},
	{reassignTool, "--bootstrap-server ADDRESS --reassignment-json-file DIR/nowhere.json --execute", "", "Unknown broker id 7"},
	{harness.LogDirs, "--bootstrap-server ADDRESS --describe", `"broker":1,"logDirs":\[\{.*"partition":"TOPIC-1"`, ""},
	{harness.TopicCommand, "--bootstrap-server ADDRESS --describe --topic TOPIC", `PartitionCount: 2 ReplicationFactor: 1 (?s).*Partition: 1 Leader: 1 Replicas: 1 Isr: 1 Elr: *LastKnownElr:`, ""},
	{harness.TopicCommand, "--bootstrap-server ADDRESS --describe --under-replicated-partitions", `^\s*$`, ""},
	{harness.GetOffsetShell, "--bootstrap-server ADDRESS --topic TOPIC --time earliest", `TOPIC:0:0\nTOPIC:1:0\n`, ""},
	{harness.GetOffsetShell, "--bootstrap-server ADDRESS --topic TOPIC --time max-timestamp", `TOPIC:0:\d+\n`, ""},
	{clientMetricsTool, "--bootstrap-server ADDRESS --alter --name some-metrics --metrics org.apache.kafka.producer. --interval 10000 --match client_id=app.*", `Altered client metrics config for some-metrics`, ""},
	{clientMetricsTool, "--bootstrap-server ADDRESS --list", `(?m)^some-metrics$`, ""},
	{clientMetricsTool, "--bootstrap-server ADDRESS --describe --name some-metrics", `interval.ms=10000\n(?s).*match=client_id=app`, ""},
	{clientMetricsTool, "--bootstrap-server ADDRESS --alter --name some-metrics --interval 1", "", "Invalid value 1 for interval.ms, interval must be between 100 and 3600000 (1 hour)"},
	{harness.ConfigCommand, "--bootstrap-server ADDRESS --entity-type client-metrics --describe", `some-metrics are:\n(?s).*interval.ms=10000 `, ""},
	{clientMetricsTool, "--bootstrap-server ADDRESS --delete --name some-metrics", `Deleted client metrics config for some-metrics`, ""},
	{harness.ConfigCommand, "--bootstrap-server ADDRESS --entity-type brokers --entity-default --alter --add-config message.max.bytes=2000000", `Completed updating default config for brokers`, ""},
	{harness.ConfigCommand, "--bootstrap-server ADDRESS --entity-type brokers --entity-default --describe", `message.max.bytes=2000000 sensitive=false synonyms=\{DYNAMIC_DEFAULT_BROKER_CONFIG:message.max.bytes=2000000\}`, ""},
	{harness.ConfigCommand, "--bootstrap-server ADDRESS --entity-type topics --entity-name TOPIC --describe --all", `max.message.bytes=2000000 sensitive=false synonyms=\{DYNAMIC_DEFAULT_BROKER_CONFIG:message.max.bytes=2000000`, ""},
	{harness.ConfigCommand, "--bootstrap-server ADDRESS --entity-type brokers --entity-default --alter --delete-config message.max.bytes", `Completed updating default config for brokers`, ""},
	{harness.ConfigCommand, "--bootstrap-server ADDRESS --entity-type brokers --entity-name 1 --alter --add-config num.partitions=9", "", "Cannot update these configs dynamically: [num.partitions]"},
	{harness.ConfigCommand, "--bootstrap-server ADDRESS --entity-type broker-loggers --entity-name 1 --alter --add-config root=WARN", `Completed updating config for broker-logger 1`, ""},
	{harness.ConfigCommand, "--bootstrap-server ADDRESS --entity-type broker-loggers --entity-name 1 --describe", `root=WARN sensitive=false`, ""},
	{harness.ConfigCommand, "--bootstrap-server ADDRESS --entity-type broker-loggers --entity-name 1 --alter --add-config root=INFO", `Completed updating config for broker-logger 1`, ""},
	{harness.ConfigCommand, "--bootstrap-server ADDRESS --entity-type groups --entity-name some-group --describe --all", `consumer.session.timeout.ms=45000 sensitive=false`, ""},
	{harness.ConfigCommand, "--bootstrap-server ADDRESS --entity-type users --entity-name someone --alter --add-config SCRAM-SHA-256=[iterations=8192,password=secret]", `Completed updating config for user someone`, ""},
	{harness.ConfigCommand, "--bootstrap-server ADDRESS --entity-type users --entity-name someone --describe", `SCRAM credential configs for user-principal 'someone' are SCRAM-SHA-256=iterations=8192`, ""},
	{harness.ConfigCommand, "--bootstrap-server ADDRESS --entity-type users --entity-name someone --alter --delete-config SCRAM-SHA-256", `Completed updating config for user someone`, ""},
	{aclTool, "--bootstrap-server ADDRESS --list", "", "No Authorizer is configured"},
	{delegationTokenTool, "--bootstrap-server ADDRESS --describe --command-config DIR/plan.json", "", "Delegation Token requests are not allowed"},
}
