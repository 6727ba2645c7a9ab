package metadata

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"slipstream/protocol"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// kafkaJava is the program and the class path of Apache Kafka 4.3.1, from the
// environment: KAFKA_LIBS is the directory of its jars.
func kafkaJava(t *testing.T) (java, classPath string) {
	libs := os.Getenv("KAFKA_LIBS")
	if libs == "" {
		t.Skip("KAFKA_LIBS, the directory with the jars of Apache Kafka 4.3.1, is not set")
	}
	java, err := exec.LookPath("java")
	if err != nil {
		t.Skip("there is no java")
	}
	return java, libs + "/*"
}

// write makes the directory of a node, as a broker would leave it.
func (n *node) write(dir string) {
	n.t.Helper()
	metadataDir := filepath.Join(dir, fmt.Sprintf("%s-%d", MetadataTopic, MetadataPartition))
	if err := os.MkdirAll(metadataDir, 0o755); err != nil {
		n.t.Fatal(err)
	}
	voters := VotersAlone(1, testDirectory, []VoterEndpoint{{Name: "CONTROLLER", Host: "127.0.0.1", Port: 9093}})
	epochs := fmt.Sprintf("0\n%d\n", n.epoch)
	for at, epoch := 0, int32(0); at < len(n.log); {
		batch, _, err := protocol.NextBatch(n.log[at:])
		if err != nil {
			n.t.Fatal(err)
		}
		if batch.LeaderEpoch() != epoch {
			epoch = batch.LeaderEpoch()
			epochs += fmt.Sprintf("%d %d\n", epoch, batch.BaseOffset())
		}
		at += len(batch)
	}
	for name, content := range map[string][]byte{
		"../meta.properties":                         fmt.Appendf(nil, "node.id=1\ndirectory.id=%s\nversion=1\ncluster.id=%s\n", testDirectory, UUID{1, 2, 3}),
		"../bootstrap.checkpoint":                    AppendSnapshot(nil, Snapshot{TimestampMillis: n.clock}, BootstrapFeatures()),
		"00000000000000000000-0000000000.checkpoint": AppendSnapshot(nil, Snapshot{TimestampMillis: n.clock, KRaftVersion: &KRaftVersion{KRaftVersion: 1}, Voters: voters}, nil),
		"00000000000000000000.log":                   n.log,
		"quorum-state":                               QuorumState{LeaderID: 1, LeaderEpoch: n.epoch, VotedID: -1}.Append(nil),
		"partition.metadata":                         fmt.Appendf(nil, "version: 0\ntopic_id: %s", MetadataTopicID),
		"leader-epoch-checkpoint":                    []byte(epochs),
	} {
		if err := os.WriteFile(filepath.Join(metadataDir, name), content, 0o644); err != nil {
			n.t.Fatal(err)
		}
	}
}

// lived is a node that has done a little of everything, and been killed once.
func lived(t *testing.T) *node {
	n := startNode(t)
	for _, input := range [][]string{
		{"CreateTopics", "orders partitions=3 rf=1 config.retention.ms=100000", "gone partitions=1 rf=1", "trades partitions=1 rf=1"},
		{"CreatePartitions", "orders count=5"},
		{"DeleteTopics", "gone"},
		{"IncrementalAlterConfigs", "topic orders set segment.ms=60000 delete retention.ms", "broker 1 set log.cleaner.threads=2"},
	} {
		n.decideAndCommit(parseRequest(t, input, nil))
	}
	_, _, records, _ := n.c.AllocateProducerIDs()
	n.commit(records)
	n.start()
	return n
}

// TestKafkaDumpsOurLog: Kafka's own DumpLogSegments reads what we write, batch
// by batch and record by record.
func TestKafkaDumpsOurLog(t *testing.T) {
	java, classPath := kafkaJava(t)
	n := lived(t)
	n.commit(n.c.Shutdown())
	dir := t.TempDir()
	n.write(dir)
	snapshot := filepath.Join(dir, "00000000000000000099-0000000002.checkpoint")
	if err := os.WriteFile(snapshot, AppendSnapshot(nil, Snapshot{LastContainedMillis: n.clock, TimestampMillis: n.clock}, n.c.Image.Records()), 0o644); err != nil {
		t.Fatal(err)
	}
	files, _ := filepath.Glob(filepath.Join(dir, MetadataTopic+"-0", "0*"))
	files = append(files, filepath.Join(dir, "bootstrap.checkpoint"), snapshot)
	for _, file := range files {
		out, err := exec.Command(java, "-cp", classPath, "org.apache.kafka.tools.DumpLogSegments", "--cluster-metadata-decoder", "--deep-iteration", "--files", file).CombinedOutput()
		text := string(out)
		for _, complaint := range []string{"Could not decode", "isvalid: false", "Exception", "invalid", "Mismatches", "unreadable"} {
			if strings.Contains(text, complaint) {
				err = fmt.Errorf("it says %q", complaint)
			}
		}
		if err != nil {
			t.Errorf("%s: %v\n%s", filepath.Base(file), err, text)
		}
		if filepath.Ext(file) == ".log" {
			if records := strings.Count(text, "\n| offset: "); int64(records) != n.next {
				t.Errorf("Kafka sees %d records, there are %d:\n%s", records, n.next, text)
			}
		}
	}
}

// TestKafkaOpensOurDirectory: a real Kafka starts on our directory, serves our
// topics and adds its own; then the log is ours again.
func TestKafkaOpensOurDirectory(t *testing.T) {
	java, classPath := kafkaJava(t)
	for _, how := range []string{"stopped", "killed"} {
		t.Run(how, func(t *testing.T) {
			n := lived(t)
			if how == "stopped" {
				n.commit(n.c.Shutdown())
			}
			dir := t.TempDir()
			n.write(dir)
			addr, stop := runKafka(t, java, classPath, dir)
			b := dial(t, addr)
			b.waitForLeaders("orders", 5)
			ids := b.topicIDs()
			if len(ids) != 2 || ids["orders"] != n.c.Image.TopicByName("orders").ID || ids["trades"] != n.c.Image.TopicByName("trades").ID {
				t.Errorf("Kafka has %v", ids)
			}
			made, err := b.do(parseRequest(t, []string{"CreateTopics", "kafkas partitions=2 rf=1"}, nil))
			if err != nil || made.(*kmsg.CreateTopicsResponse).Topics[0].ErrorCode != 0 {
				t.Errorf("a topic made by Kafka: %+v, %v", made, err)
			}
			stop()
			n.takeBack(dir)
			orders := n.c.Image.TopicByName("orders").Partition(4)
			if n.c.Image.TopicByName("kafkas") == nil || orders.Leader != 1 || orders.LeaderEpoch < 4 {
				t.Errorf("after Kafka: %+v", *orders)
			}
			if v, _ := n.c.Image.Config(Resource{ResourceTopic, "orders"}, "segment.ms"); v != "60000" {
				t.Errorf("segment.ms is %q", v)
			}
		})
	}
}

// takeBack starts the node on the log that Kafka has left.
func (n *node) takeBack(dir string) {
	segments, _ := filepath.Glob(filepath.Join(dir, MetadataTopic+"-0", "*.log")) // sorted; Kafka rolled: our records are old
	var log []byte
	for _, segment := range segments {
		b, err := os.ReadFile(segment)
		if err != nil {
			n.t.Fatal(err)
		}
		log = append(log, b...)
	}
	state, err := os.ReadFile(filepath.Join(dir, MetadataTopic+"-0", "quorum-state"))
	if err != nil {
		n.t.Fatal(err)
	}
	q, err := ParseQuorumState(state)
	if err != nil {
		n.t.Fatal(err)
	}
	n.log, n.epoch = log, q.LeaderEpoch
	if _, n.next, _, err = NewImage().Replay(log, 0); err != nil {
		n.t.Fatal(err)
	}
	n.start()
}

func runKafka(t *testing.T, java, classPath, dir string) (addr string, stop func()) {
	port, controller := freePort(t), freePort(t)
	properties := fmt.Sprintf(`process.roles=broker,controller
node.id=1
controller.quorum.bootstrap.servers=127.0.0.1:%[2]d
listeners=PLAINTEXT://127.0.0.1:%[1]d,CONTROLLER://127.0.0.1:%[2]d
controller.listener.names=CONTROLLER
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT
log.dirs=%[3]s
`, port, controller, dir)
	file := filepath.Join(t.TempDir(), "server.properties")
	if err := os.WriteFile(file, []byte(properties), 0o644); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(java, "-Xmx512m", "-cp", classPath, "kafka.Kafka", file)
	var out strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	stopped := false
	stop = func() {
		if stopped {
			return
		}
		stopped = true
		cmd.Process.Signal(syscall.SIGTERM)
		select {
		case <-ended:
		case <-time.After(30 * time.Second):
			cmd.Process.Kill()
			t.Error("Kafka did not stop")
		}
		if t.Failed() {
			t.Log(out.String())
		}
	}
	t.Cleanup(stop)
	addr = fmt.Sprintf("127.0.0.1:%d", port)
	for range 300 {
		select {
		case <-ended:
			stopped = true
			t.Fatalf("Kafka ended:\n%s", out.String())
		case <-time.After(100 * time.Millisecond):
		}
		if conn, err := net.Dial("tcp", addr); err == nil {
			conn.Close()
			return addr, stop
		}
	}
	t.Fatal("Kafka did not start")
	return
}

func freePort(t *testing.T) int {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

// waitForLeaders waits until every partition of a topic has a leader: after a
// kill Kafka first lets the old session expire.
func (b *broker) waitForLeaders(topic string, partitions int) {
	b.t.Helper()
	req := kmsg.NewPtrMetadataRequest()
	req.Version = 12
	req.Topics = []kmsg.MetadataRequestTopic{{Topic: &topic}}
	var last kmsg.Response
	for range 300 {
		resp, err := b.do(req)
		if err != nil {
			b.t.Fatal(err)
		}
		last = resp
		led := 0
		for _, p := range resp.(*kmsg.MetadataResponse).Topics[0].Partitions {
			if p.ErrorCode == 0 && p.Leader == 1 {
				led++
			}
		}
		if led == partitions {
			return
		}
		time.Sleep(100 * time.Millisecond)
	}
	b.t.Fatalf("%s has no leaders: %+v", topic, last)
}
