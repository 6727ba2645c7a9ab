package config_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"slipstream/internal/config"
)

func file(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "server.properties")
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestPrecedence(t *testing.T) {
	path := file(t, "num.partitions=3\nlog.retention.hours = 24\nsocket.request.max.bytes: 1000000\nslipstream.wait.policy=spin\n")
	c, err := config.Load(path, []string{"num.partitions=5", "log.dirs=/a=b", "num.partitions=6"})
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Set("slipstream.cores", "7"); err != nil { // as --cores does
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"num.partitions": "6", "log.retention.hours": "24", "socket.request.max.bytes": "1000000", "log.dirs": "/a=b",
		"fetch.max.bytes": "57671680", "slipstream.wait.policy": "spin", "slipstream.writer": "auto", "node.id": "",
	} {
		if got := c.Get(name); got != want {
			t.Errorf("%s=%q, want %q", name, got, want)
		}
	}
	if c.Cores() != 7 || c.Int("num.partitions") != 6 || !c.Bool("auto.create.topics.enable") {
		t.Errorf("cores %d, partitions %d, auto-creation %v", c.Cores(), c.Int("num.partitions"), c.Bool("auto.create.topics.enable"))
	}
	if _, set := c.Static("fetch.max.bytes"); set {
		t.Error("fetch.max.bytes is said to be set")
	}
}

// TestServerPropertiesOfKafka loads the file that Kafka's own distribution has
// for one node, with the names that it uses.
func TestServerPropertiesOfKafka(t *testing.T) {
	c, err := config.Load(file(t, `
process.roles=broker,controller
node.id=1
controller.quorum.bootstrap.servers=localhost:9093
listeners=PLAINTEXT://:9092,CONTROLLER://:9093
inter.broker.listener.name=PLAINTEXT
advertised.listeners=PLAINTEXT://localhost:9092,CONTROLLER://localhost:9093
controller.listener.names=CONTROLLER
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,SSL:SSL,SASL_PLAINTEXT:SASL_PLAINTEXT,SASL_SSL:SASL_SSL
num.network.threads=3
num.io.threads=8
socket.send.buffer.bytes=102400
socket.receive.buffer.bytes=102400
socket.request.max.bytes=104857600
log.dirs=/tmp/kraft-combined-logs
num.partitions=1
num.recovery.threads.per.data.dir=2
offsets.topic.replication.factor=1
share.coordinator.state.topic.replication.factor=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
#log.flush.interval.messages=10000
log.retention.hours=168
log.segment.bytes=1073741824
log.retention.check.interval.ms=300000
`), nil)
	if err != nil {
		t.Fatal(err)
	}
	listeners, err := c.Listeners()
	if err != nil || len(listeners) != 1 || listeners[0] != (config.Listener{Name: "PLAINTEXT", Protocol: "PLAINTEXT", Port: 9092}) {
		t.Errorf("listeners %+v, %v", listeners, err)
	}
	advertised, err := c.Advertised()
	if err != nil || len(advertised) != 1 || advertised[0].Host != "localhost" {
		t.Errorf("advertised %+v, %v", advertised, err)
	}
	want := "inter.broker.listener.name num.io.threads num.network.threads " +
		"offsets.topic.replication.factor share.coordinator.state.topic.replication.factor socket.receive.buffer.bytes socket.send.buffer.bytes " +
		"transaction.state.log.min.isr transaction.state.log.replication.factor"
	if got := strings.Join(c.Warnings(), " "); got != want {
		t.Errorf("ignored:\n%s\nwant\n%s", got, want)
	}
}

func TestRefusedSettings(t *testing.T) {
	for _, c := range []struct{ set, says string }{
		{"num.partition=3", "there is no setting num.partition; the nearest is num.partitions"},
		{"slipstream.core=3", "there is no setting slipstream.core; the nearest is slipstream.cores"},
		{"lgo.segment.bytes=3", "the nearest is log.segment.bytes"},
		{"retention.ms=3", "retention.ms is a setting of topics; its default for all topics is the broker's log.retention.ms"},
		{"zookeeper.connect=h:2181", "the setting zookeeper.connect was removed from Kafka"},
		{"num.partitions=x", "Invalid value x for configuration num.partitions: Not a number of type INT"},
		{"num.partitions=0", "Invalid value 0 for configuration num.partitions: Value must be at least 1"},
		{"slipstream.cores=2000", "Invalid value 2000 for configuration slipstream.cores: Value must be no more than 1024"},
		{"slipstream.writer=fast", "String must be one of: auto, ring, inline"},
		{"slipstream.ring.level=5.10", "String must be one of: auto, 5.15, 6.1, native"},
		{"authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer", "lets everybody in"},
		{"process.roles=broker", "process.roles=broker is refused: A node is its own controller"},
		{"controller.quorum.voters=1@a:9093,2@b:9093", "A node is its own controller"},
		{"delete.topic.enable=false", "Topics can always be deleted"},
		{"create.topic.policy.class.name=com.acme.Policy", "Class com.acme.Policy could not be found."},
		{"listeners=SSL://:9093", "only PLAINTEXT is served yet"},
		{"listeners=PLAINTEXT://:99999", `"99999" is not a port`},
		{"listeners=:9092", "is not NAME://host:port"},
		{"log.roll.ms=0", "log.roll.ms must be greater than or equal to 1"},
		{"num.partitions", "want name=value"},
		{"listener.name.x.ssl.keystore.locatoin=y", "there is no setting listener.name.x.ssl.keystore.locatoin"},
		{"log.cleaner.max.compaction.lag.ms=5", ""},
		{"listener.name.internal.ssl.keystore.location=y", ""},
		{"create.topic.policy.class.name=", "Class  could not be found."},
		{"authorizer.class.name=", ""},
		{"slipstream.cpu.pin=TRUE", ""},
	} {
		_, err := config.Load("", []string{c.set})
		if (err == nil) != (c.says == "") || err != nil && !strings.Contains(err.Error(), c.says) {
			t.Errorf("--set %s: %v, want %q", c.set, err, c.says)
		}
	}
	if _, err := config.Load("", []string{"log.cleaner.max.compaction.lag.ms=5", "log.cleaner.min.compaction.lag.ms=6"}); err == nil {
		t.Error("a least lag above the most is accepted")
	}
}

func TestFileErrorsNameTheLine(t *testing.T) {
	path := file(t, "# a comment\n\nnum.partitions = 4\nnum.io.thread\\\n  s2 = 5\n")
	_, err := config.Load(path, nil)
	if err == nil || !strings.Contains(err.Error(), path+", line 4: there is no setting num.io.threads2; the nearest is num.io.threads") {
		t.Errorf("%v", err)
	}
	if _, err := config.Load(path+".none", nil); err == nil || !strings.Contains(err.Error(), "no such file") {
		t.Errorf("%v", err)
	}
	if _, err := config.Load(file(t, "node.id=1\nbroker.id=2\n"), nil); err == nil || !strings.Contains(err.Error(), "two names of one setting") {
		t.Errorf("%v", err)
	}
	c, err := config.Load(file(t, "broker.id=4\n"), nil)
	if err != nil || c.Int("node.id") != 4 {
		t.Errorf("node.id %d, %v", c.Int("node.id"), err)
	}
}

func TestListeners(t *testing.T) {
	for _, c := range []struct {
		text string
		want config.Listener
		ok   bool
	}{
		{"PLAINTEXT://127.0.0.1:9092", config.Listener{Name: "PLAINTEXT", Host: "127.0.0.1", Port: 9092}, true},
		{"plaintext://:0", config.Listener{Name: "PLAINTEXT"}, true},
		{"A://[::1]:9", config.Listener{Name: "A", Host: "::1", Port: 9}, true},
		{"A://host.example-1:9", config.Listener{Name: "A", Host: "host.example-1", Port: 9}, true},
		{"://h:1", config.Listener{}, false},
		{"A://h", config.Listener{}, false},
		{"A://[::1]", config.Listener{}, false},
		{"A://[::1:9", config.Listener{}, false},
		{"A://h:-1", config.Listener{}, false},
		{"A://h:65536", config.Listener{}, false},
		{"A:h:1", config.Listener{}, false},
	} {
		got, err := config.ParseListener(c.text)
		if (err == nil) != c.ok || c.ok && got != c.want {
			t.Errorf("%s: %+v, %v", c.text, got, err)
		}
	}
	if _, err := config.Load("", []string{"listeners=PLAINTEXT://:1,plaintext://:2"}); err == nil {
		t.Error("one name for two listeners is accepted")
	}
}
