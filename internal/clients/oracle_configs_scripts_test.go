package clients

import (
	"github.com/twmb/franz-go/pkg/kmsg"
)

// Kinds of resources that have settings.
const (
	ofTopic         kmsg.ConfigResourceType = 2
	ofBroker        kmsg.ConfigResourceType = 4
	ofLogger        kmsg.ConfigResourceType = 8
	ofClientMetrics kmsg.ConfigResourceType = 16
	ofGroup         kmsg.ConfigResourceType = 32
)

// Operations of IncrementalAlterConfigs.
const (
	opSet kmsg.IncrementalAlterConfigOp = iota
	opDelete
	opAppend
	opSubtract
)

// alteration is one setting of an IncrementalAlterConfigs request.
type alteration struct {
	op          kmsg.IncrementalAlterConfigOp
	name, value string
}

func incremental(kind kmsg.ConfigResourceType, name string, ops ...alteration) *kmsg.IncrementalAlterConfigsRequest {
	req := kmsg.NewPtrIncrementalAlterConfigsRequest()
	r := kmsg.NewIncrementalAlterConfigsRequestResource()
	r.ResourceType, r.ResourceName = kind, name
	for _, o := range ops {
		c := kmsg.NewIncrementalAlterConfigsRequestResourceConfig()
		c.Name, c.Op = o.name, o.op
		if o.op != opDelete {
			c.Value = &o.value
		}
		r.Configs = append(r.Configs, c)
	}
	req.Resources = append(req.Resources, r)
	return req
}

// alterTo is AlterConfigs: the settings, name and value by turns, are all that the resource is to have.
func alterTo(kind kmsg.ConfigResourceType, name string, settings ...string) *kmsg.AlterConfigsRequest {
	req := kmsg.NewPtrAlterConfigsRequest()
	r := kmsg.NewAlterConfigsRequestResource()
	r.ResourceType, r.ResourceName = kind, name
	for i := 0; i+1 < len(settings); i += 2 {
		c := kmsg.NewAlterConfigsRequestResourceConfig()
		c.Name, c.Value = settings[i], &settings[i+1]
		r.Configs = append(r.Configs, c)
	}
	req.Resources = append(req.Resources, r)
	return req
}

// describeOf asks for settings with their synonyms; without names, for all.
func describeOf(kind kmsg.ConfigResourceType, name string, names ...string) *kmsg.DescribeConfigsRequest {
	req := kmsg.NewPtrDescribeConfigsRequest()
	r := kmsg.NewDescribeConfigsRequestResource()
	r.ResourceType, r.ResourceName, r.ConfigNames = kind, name, names
	req.Resources = append(req.Resources, r)
	req.IncludeSynonyms = true
	return req
}

func scriptConfigResources(s *script) {
	s.norm.texts = true
	s.versions("the default of brokers", 1, 4, func(int16) kmsg.Request { return describeOf(ofBroker, "") })
	s.versions("no client metrics of that name", 1, 4, func(int16) kmsg.Request { return describeOf(ofClientMetrics, "none-such") })
	s.versions("no group of that name", 1, 4, func(int16) kmsg.Request { return describeOf(ofGroup, "none-such") })
	s.ask("client metrics without a name", 4, describeOf(ofClientMetrics, ""))
	s.ask("a group without a name", 4, describeOf(ofGroup, ""))
	s.ask("loggers of another broker", 4, describeOf(ofLogger, "77"))
	s.ask("loggers of no broker", 4, describeOf(ofLogger, ""))
	s.ask("loggers of a broker that is no number", 4, describeOf(ofLogger, "x"))
	s.ask("the level of the root", 1, incremental(ofLogger, "1", alteration{opSet, "root", "INFO"}))
	s.ask("a logger by name", 4, describeOf(ofLogger, "1", "root"))
	s.ask("a logger that is none", 4, describeOf(ofLogger, "1", "no.such.Logger"))
	for _, kind := range []kmsg.ConfigResourceType{0, 1, 3, 64, 127, -1} {
		s.ask("a kind that is none", 4, describeOf(kind, "x"))
	}
	twice := describeOf(ofGroup, "none-such", "share.isolation.level")
	twice.Resources = append(twice.Resources, twice.Resources[0])
	s.ask("one resource twice", 4, twice)
	s.ask("nothing", 4, kmsg.NewPtrDescribeConfigsRequest())
	some := describeOf(ofGroup, "none-such", "consumer.session.timeout.ms", "nonsense")
	s.ask("some settings of a group", 4, some)
	empty := describeOf(ofGroup, "none-such")
	empty.Resources[0].ConfigNames = []string{}
	s.ask("an empty list of settings", 4, empty)
}

func scriptAlterConfigs(s *script) {
	s.norm.texts = true
	s.topic("alter-to", 1)
	now := func() {
		s.settled()
		s.ask("what it is now", 4, describeOf(ofTopic, "alter-to", "retention.ms", "max.message.bytes", "cleanup.policy"))
	}
	s.versions("set two", 0, 2, func(int16) kmsg.Request {
		return alterTo(ofTopic, "alter-to", "retention.ms", "5000", "max.message.bytes", "70000")
	})
	now()
	s.ask("set one: the other goes", 2, alterTo(ofTopic, "alter-to", "cleanup.policy", "compact"))
	now()
	only := alterTo(ofTopic, "alter-to", "retention.ms", "1")
	only.ValidateOnly = true
	s.ask("only validated", 2, only)
	now()
	null := alterTo(ofTopic, "alter-to", "retention.ms", "1", "max.message.bytes", "1")
	null.Resources[0].Configs[0].Value = nil
	s.ask("a null value", 2, null)
	s.ask("one name twice", 2, alterTo(ofTopic, "alter-to", "retention.ms", "1", "retention.ms", "2"))
	s.ask("an unknown setting", 2, alterTo(ofTopic, "alter-to", "nonsense", "7"))
	s.ask("a bad value", 2, alterTo(ofTopic, "alter-to", "retention.ms", "soon"))
	s.ask("an unknown topic", 2, alterTo(ofTopic, "alter-to-unknown", "retention.ms", "1"))
	s.ask("a bad topic name", 2, alterTo(ofTopic, "../x", "retention.ms", "1"))
	s.ask("no topic name", 2, alterTo(ofTopic, "", "retention.ms", "1"))
	two := alterTo(ofTopic, "alter-to", "retention.ms", "1")
	two.Resources = append(two.Resources, alterTo(ofTopic, "alter-to", "retention.ms", "2").Resources[0])
	s.ask("one resource twice", 2, two)
	mixed := alterTo(ofTopic, "alter-to", "retention.ms", "1")
	mixed.Resources = append(mixed.Resources, alterTo(ofTopic, "alter-to-unknown").Resources[0], alterTo(99, "x").Resources[0])
	s.ask("good and bad ones", 2, mixed)
	now()
	s.ask("nothing left", 2, alterTo(ofTopic, "alter-to"))
	now()
	s.ask("no resources", 2, kmsg.NewPtrAlterConfigsRequest())
	for _, kind := range []kmsg.ConfigResourceType{0, 1, 3, 64, 99} {
		s.ask("a kind that is none", 2, alterTo(kind, "x", "a", "b"))
	}
	s.ask("a logger", 2, alterTo(ofLogger, "1", "root", "DEBUG"))
	s.ask("a group", 2, alterTo(ofGroup, "alter-to-group", "consumer.session.timeout.ms", "50000"))
	s.settled()
	s.ask("the group", 4, describeOf(ofGroup, "alter-to-group", "consumer.session.timeout.ms", "consumer.heartbeat.interval.ms"))
	s.ask("the group, nothing left", 2, alterTo(ofGroup, "alter-to-group"))
	s.ask("client metrics", 2, alterTo(ofClientMetrics, "alter-to-metrics", "interval.ms", "1000"))
	s.settled()
	s.ask("the client metrics", 4, describeOf(ofClientMetrics, "alter-to-metrics"))
	s.ask("client metrics, nothing left", 2, alterTo(ofClientMetrics, "alter-to-metrics"))
	s.ask("broker 1", 2, alterTo(ofBroker, "1", "log.cleaner.threads", "1"))
	s.ask("another broker", 2, alterTo(ofBroker, "77", "log.cleaner.threads", "1"))
	s.ask("a broker that is no number", 2, alterTo(ofBroker, "x", "log.cleaner.threads", "1"))
	s.ask("broker 1, nothing left", 2, alterTo(ofBroker, "1"))
	s.ask("all brokers", 2, alterTo(ofBroker, "", "log.cleaner.threads", "1"))
	s.settled()
	s.ask("all brokers now", 4, describeOf(ofBroker, ""))
	s.ask("all brokers, nothing left", 2, alterTo(ofBroker, ""))
	s.settled()
	s.ask("all brokers at the end", 4, describeOf(ofBroker, ""))
	s.ask("back: all brokers", 1, incremental(ofBroker, "", alteration{opSet, "min.insync.replicas", "1"}))
}

func scriptBrokerSettings(s *script) {
	s.norm.texts = true
	names := []string{"log.retention.ms", "message.max.bytes", "max.connections.per.ip", "num.io.threads", "background.threads"}
	now := func() {
		s.settled()
		s.ask("of broker 1", 4, describeOf(ofBroker, "1", names...))
		s.ask("of all brokers", 4, describeOf(ofBroker, ""))
	}
	s.ask("of all", 1, incremental(ofBroker, "", alteration{opSet, "log.retention.ms", "1000"}, alteration{opSet, "message.max.bytes", "70000"}))
	s.ask("of one", 1, incremental(ofBroker, "1", alteration{opSet, "log.retention.ms", "2000"}, alteration{opSet, "background.threads", "9"}))
	now()
	for _, c := range []struct{ what, resource, name, value string }{
		{"read-only", "1", "node.id", "2"}, {"read-only", "", "log.dirs", "/x"}, {"read-only", "", "auto.create.topics.enable", "false"},
		{"read-only", "1", "num.partitions", "2"},
		{"per broker, for all", "", "ssl.keystore.location", "/x"}, {"per broker", "1", "ssl.keystore.location", "/x"},
		{"of a listener, for all", "", "listener.name.plaintext.ssl.keystore.location", "/x"},
		{"unknown", "", "nonsense", "7"}, {"unknown", "1", "nonsense", "7"},
		{"a bad value", "", "log.retention.ms", "soon"}, {"out of range", "", "message.max.bytes", "-1"}, {"out of range", "1", "log.cleaner.threads", "-1"},
		{"no connections", "", "max.connections", "0"}, {"addresses without numbers", "", "max.connections.per.ip.overrides", "127.0.0.1"},
		{"addresses with numbers", "", "max.connections.per.ip.overrides", "127.0.0.1:100"},
		{"a rate", "", "max.connection.creation.rate", "0"}, {"a rate", "", "max.connection.creation.rate", "100000"},
		{"another broker", "77", "log.retention.ms", "1"}, {"no number", "x", "log.retention.ms", "1"}, {"a negative number", "-1", "log.retention.ms", "1"},
		{"least in sync", "", "min.insync.replicas", "1"}, {"least in sync", "1", "min.insync.replicas", "1"},
		{"two policies", "", "log.cleanup.policy", "compact,delete"}, {"a policy that is none", "", "log.cleanup.policy", "burn"},
		{"a codec that is none", "", "compression.type", "rar"}, {"a boolean", "", "unclean.leader.election.enable", "perhaps"},
		{"too many threads", "1", "num.io.threads", "100"}, {"too few threads", "1", "num.io.threads", "1"}, {"twice the threads", "1", "num.io.threads", "16"},
		{"too many cleaners", "1", "log.cleaner.threads", "100"},
		{"segments of a byte", "", "log.segment.bytes", "1"}, {"lag", "", "log.cleaner.min.compaction.lag.ms", "5"},
		{"expiry", "", "producer.id.expiration.ms", "1000"}, {"verification", "", "transaction.partition.verification.enable", "false"},
	} {
		s.ask(c.what+": "+c.name+"="+c.value+" of "+c.resource, 1, incremental(ofBroker, c.resource, alteration{opSet, c.name, c.value}))
	}
	s.ask("append to a list", 1, incremental(ofBroker, "", alteration{opAppend, "log.cleanup.policy", "delete"}))
	s.ask("append to what is no list", 1, incremental(ofBroker, "", alteration{opAppend, "message.max.bytes", "1"}))
	s.ask("subtract from a list", 1, incremental(ofBroker, "", alteration{opSubtract, "log.cleanup.policy", "compact"}))
	now()
	s.ask("delete the least in sync", 1, incremental(ofBroker, "", alteration{opDelete, "min.insync.replicas", ""}))
	s.ask("delete what is not set", 1, incremental(ofBroker, "1", alteration{opDelete, "log.roll.ms", ""}))
	var all, one []alteration
	for _, name := range []string{"log.retention.ms", "message.max.bytes", "nonsense", "max.connections.per.ip.overrides", "max.connection.creation.rate",
		"log.cleanup.policy", "log.cleaner.min.compaction.lag.ms", "producer.id.expiration.ms", "transaction.partition.verification.enable"} {
		all = append(all, alteration{opDelete, name, ""})
	}
	for _, name := range []string{"log.retention.ms", "background.threads", "nonsense", "num.io.threads", "log.cleaner.threads"} {
		one = append(one, alteration{opDelete, name, ""})
	}
	s.ask("delete those of all", 1, incremental(ofBroker, "", all...))
	s.ask("delete those of one", 1, incremental(ofBroker, "1", one...))
	now()
}

func scriptBrokerLoggers(s *script) {
	s.norm.texts = true
	now := func() { s.settled(); s.ask("the root logger", 4, describeOf(ofLogger, "1", "root")) }
	s.ask("set", 1, incremental(ofLogger, "1", alteration{opSet, "root", "WARN"}))
	now()
	for _, level := range []string{"FATAL", "ERROR", "INFO", "DEBUG", "TRACE", "warn", "LOUD", "", "OFF"} {
		s.ask("level "+level, 1, incremental(ofLogger, "1", alteration{opSet, "root", level}))
	}
	s.ask("back", 1, incremental(ofLogger, "1", alteration{opSet, "root", "INFO"}))
	s.ask("delete the root's", 1, incremental(ofLogger, "1", alteration{opDelete, "root", ""}))
	s.ask("append", 1, incremental(ofLogger, "1", alteration{opAppend, "root", "INFO"}))
	s.ask("subtract", 1, incremental(ofLogger, "1", alteration{opSubtract, "root", "INFO"}))
	s.ask("an unknown operation", 1, incremental(ofLogger, "1", alteration{9, "root", "INFO"}))
	s.ask("a logger that is none", 1, incremental(ofLogger, "1", alteration{opSet, "no.such.Logger", "INFO"}))
	s.ask("another broker", 1, incremental(ofLogger, "77", alteration{opSet, "root", "INFO"}))
	s.ask("no broker", 1, incremental(ofLogger, "", alteration{opSet, "root", "INFO"}))
	s.ask("no number", 1, incremental(ofLogger, "x", alteration{opSet, "root", "INFO"}))
	null := incremental(ofLogger, "1", alteration{opSet, "root", "INFO"})
	null.Resources[0].Configs[0].Value = nil
	s.ask("a null level", 1, null)
	only := incremental(ofLogger, "1", alteration{opSet, "root", "ERROR"})
	only.ValidateOnly = true
	s.ask("only validated", 1, only)
	s.ask("one name twice", 1, incremental(ofLogger, "1", alteration{opSet, "root", "INFO"}, alteration{opSet, "root", "WARN"}))
	now()
}

func scriptClientMetrics(s *script) {
	s.norm.texts = true
	const name = "settings-of-metrics"
	now := func() { s.settled(); s.ask("what it is now", 4, describeOf(ofClientMetrics, name)) }
	s.versions("set", 0, 1, func(int16) kmsg.Request {
		return incremental(ofClientMetrics, name, alteration{opSet, "interval.ms", "5000"}, alteration{opSet, "metrics", "org.apache.kafka.producer."},
			alteration{opSet, "match", "client_id=app-.*,client_software_name=test"})
	})
	now()
	s.ask("append", 1, incremental(ofClientMetrics, name, alteration{opAppend, "metrics", "org.apache.kafka.consumer."}))
	s.ask("subtract", 1, incremental(ofClientMetrics, name, alteration{opSubtract, "metrics", "org.apache.kafka.producer."}))
	now()
	for _, c := range [][2]string{{"interval.ms", "99"}, {"interval.ms", "100"}, {"interval.ms", "3600000"}, {"interval.ms", "3600001"}, {"interval.ms", "0"}, {"interval.ms", "soon"},
		{"match", "client_id"}, {"match", "nonsense=1"}, {"match", "client_id=[a"}, {"match", "client_id=a=b"}, {"match", ""}, {"match", "client_source_port=1.*"},
		{"metrics", ""}, {"metrics", "*"}, {"metrics", "a,,b"}, {"nonsense", "1"}} {
		s.ask(c[0]+"="+c[1], 1, incremental(ofClientMetrics, name, alteration{opSet, c[0], c[1]}))
	}
	s.ask("append to what is no list", 1, incremental(ofClientMetrics, name, alteration{opAppend, "interval.ms", "1"}))
	s.ask("no name", 1, incremental(ofClientMetrics, "", alteration{opSet, "interval.ms", "1000"}))
	now()
	s.ask("delete", 1, incremental(ofClientMetrics, name, alteration{opDelete, "interval.ms", ""}, alteration{opDelete, "metrics", ""}, alteration{opDelete, "match", ""}))
	now()
}

func scriptGroupSettings(s *script) {
	s.norm.texts = true
	const name = "settings-of-group"
	now := func() { s.settled(); s.ask("what it is now", 4, describeOf(ofGroup, name)) }
	s.versions("set", 0, 1, func(int16) kmsg.Request {
		return incremental(ofGroup, name, alteration{opSet, "consumer.session.timeout.ms", "50000"}, alteration{opSet, "share.auto.offset.reset", "earliest"})
	})
	now()
	for _, c := range [][2]string{{"consumer.session.timeout.ms", "1"}, {"consumer.session.timeout.ms", "44999"}, {"consumer.session.timeout.ms", "60001"}, {"consumer.session.timeout.ms", "x"},
		{"consumer.heartbeat.interval.ms", "1"}, {"consumer.heartbeat.interval.ms", "5000"}, {"consumer.heartbeat.interval.ms", "15001"}, {"consumer.heartbeat.interval.ms", "60000"},
		{"consumer.assignment.interval.ms", "-1"}, {"consumer.assignment.interval.ms", "0"}, {"consumer.assignment.interval.ms", "20000"},
		{"share.session.timeout.ms", "1"}, {"share.session.timeout.ms", "60001"}, {"share.heartbeat.interval.ms", "1"}, {"share.heartbeat.interval.ms", "15001"},
		{"share.record.lock.duration.ms", "1"}, {"share.record.lock.duration.ms", "14999"}, {"share.record.lock.duration.ms", "60001"}, {"share.record.lock.duration.ms", "20000"},
		{"share.delivery.count.limit", "1"}, {"share.delivery.count.limit", "11"}, {"share.delivery.count.limit", "4"},
		{"share.partition.max.record.locks", "1"}, {"share.partition.max.record.locks", "99"}, {"share.partition.max.record.locks", "10001"}, {"share.partition.max.record.locks", "500"},
		{"share.auto.offset.reset", "latest"}, {"share.auto.offset.reset", "none"}, {"share.auto.offset.reset", "by_duration:PT1H"}, {"share.auto.offset.reset", "by_duration:x"},
		{"share.auto.offset.reset", "by_duration:-PT1H"}, {"share.auto.offset.reset", "by_duration:"}, {"share.auto.offset.reset", "LATEST"}, {"share.auto.offset.reset", "by_duration:P2DT3H4M5.6S"},
		{"share.isolation.level", "read_committed"}, {"share.isolation.level", "READ_COMMITTED"}, {"share.isolation.level", "dirty"}, {"share.renew.acknowledge.enable", "no"},
		{"streams.session.timeout.ms", "1"}, {"streams.session.timeout.ms", "60001"}, {"streams.heartbeat.interval.ms", "1"}, {"streams.heartbeat.interval.ms", "15001"},
		{"streams.num.standby.replicas", "-1"}, {"streams.num.standby.replicas", "3"}, {"streams.num.standby.replicas", "2"}, {"streams.initial.rebalance.delay.ms", "-1"}, {"streams.initial.rebalance.delay.ms", "100"},
		{"nonsense", "1"}} {
		s.ask(c[0]+"="+c[1], 1, incremental(ofGroup, name, alteration{opSet, c[0], c[1]}))
	}
	s.ask("a heartbeat as long as the session", 1, incremental(ofGroup, name, alteration{opSet, "consumer.session.timeout.ms", "45000"}, alteration{opSet, "consumer.heartbeat.interval.ms", "45000"}))
	s.ask("append to what is no list", 1, incremental(ofGroup, name, alteration{opAppend, "consumer.session.timeout.ms", "1"}))
	s.ask("no name", 1, incremental(ofGroup, "", alteration{opSet, "consumer.session.timeout.ms", "50000"}))
	now()
	var all []alteration
	for _, n := range []string{"consumer.session.timeout.ms", "consumer.heartbeat.interval.ms", "consumer.assignment.interval.ms", "share.auto.offset.reset", "share.record.lock.duration.ms",
		"share.delivery.count.limit", "share.partition.max.record.locks", "share.isolation.level", "streams.num.standby.replicas", "streams.initial.rebalance.delay.ms"} {
		all = append(all, alteration{opDelete, n, ""})
	}
	s.ask("delete all", 1, incremental(ofGroup, name, all...))
	now()
}

func scriptListConfigResources(s *script) {
	s.norm.texts = true
	list := func(kinds ...int8) *kmsg.ListConfigResourcesRequest {
		req := kmsg.NewPtrListConfigResourcesRequest()
		req.ResourceTypes = kinds
		return req
	}
	s.ask("settings of client metrics", 1, incremental(ofClientMetrics, "listed-metrics", alteration{opSet, "interval.ms", "1000"}))
	s.ask("settings of a group", 1, incremental(ofGroup, "listed-group", alteration{opSet, "consumer.session.timeout.ms", "50000"}))
	s.settled()
	s.versions("client metrics", 0, 1, func(v int16) kmsg.Request {
		if v == 0 {
			return list()
		}
		return list(16)
	})
	s.ask("groups", 1, list(32))
	s.ask("brokers", 1, list(4))
	s.ask("loggers", 1, list(8))
	s.ask("both, twice", 1, list(32, 16, 32))
	for _, kind := range []int8{0, 1, 3, 64, -1} {
		s.ask("a kind that is none", 1, list(kind))
	}
	s.ask("a good and a bad kind", 1, list(32, 99))
	s.ask("back: client metrics", 1, incremental(ofClientMetrics, "listed-metrics", alteration{opDelete, "interval.ms", ""}))
	s.ask("back: the group", 1, incremental(ofGroup, "listed-group", alteration{opDelete, "consumer.session.timeout.ms", ""}))
	s.settled()
	s.ask("none left", 1, list(16, 32))
}
