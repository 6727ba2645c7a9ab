package config_test

import (
	"context"
	"os"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// refusal is one change of settings that a real Kafka was asked to consider, and
// what it said: testdata/refusals.json, recorded like the scenarios, with
// SLIPSTREAM_ORACLE=refusals. Resource is "topic", "broker" or "cluster".
type refusal struct {
	Resource string   `json:"resource"`
	Set      []string `json:"set"` // name=value, in the order of the request
	Code     int16    `json:"code"`
	Message  *string  `json:"message"`
}

var changes = map[string][]string{
	"topic": {"remote.storage.enable=true", "remote.log.copy.disable=true", "remote.log.delete.on.disable=true", "local.retention.ms=2000,retention.ms=1000",
		"internal.segment.bytes=2000", "min.insync.replicas=2", "segment.bytes=14", "no.such=1", "no.such=1,segment.bytes=x", "segment.bytes=x,no.such=1", "segment.bytes=x,flush.ms=y",
		"flush.ms=y,segment.bytes=x", "segment.bytes=x,flush.ms=y,retention.ms=z", "min.compaction.lag.ms=9,max.compaction.lag.ms=8", "max.compaction.lag.ms=8,min.compaction.lag.ms=9",
		"cleanup.policy=", "cleanup.policy=compact", "compression.type=none", "segment.ms=0", "retention.ms=-2", "log.retention.ms=5", "log.segment.bytes=1048576", "segment.jitter.ms=-1",
		"preallocate=yes", "message.timestamp.type=logappendtime", "max.message.bytes=-1", "max.message.bytes=0", "min.cleanable.dirty.ratio=2", "follower.replication.throttled.replicas=x"},
	"broker": {"listeners=PLAINTEXT://:1", "num.partitions=3", "no.such=3", "log.segment.bytes=3", "log.segment.bytes=x", "log.retention.hours=3", "num.io.threads=100", "num.io.threads=0",
		"num.partitions=3,no.such=4", "no.such=4,num.partitions=3", "num.partitions=3,node.id=4,log.dirs=x", "ssl.keystore.location=x", "log.roll.ms=5", "message.max.bytes=-1", "log.cleanup.policy=x",
		"sasl.jaas.config=x", "max.connections=-1", "log.message.timestamp.type=x", "unclean.leader.election.enable=maybe", "log.cleaner.threads=5",
		"min.insync.replicas=2", "log.local.retention.ms=100000000000", "leader.replication.throttled.rate=5", "leader.replication.throttled.rate=x", "retention.ms=5", "segment.bytes=x",
		"listener.name.x.ssl.keystore.location=y", "log.initial.task.delay.ms=1"},
	"cluster": {"listeners=PLAINTEXT://:1", "num.partitions=3", "no.such=3", "log.segment.bytes=3", "log.segment.bytes=x", "log.retention.hours=3", "num.io.threads=100",
		"ssl.keystore.location=x,listeners=y", "ssl.keystore.location=x,num.partitions=3", "num.partitions=3,ssl.keystore.location=x", "log.roll.ms=5", "min.insync.replicas=2", "log.cleanup.policy=",
		"max.connections.per.ip.overrides=x", "message.max.bytes=2000000", "metric.reporters=x", "compression.gzip.level=0", "log.cleaner.min.cleanable.ratio=7", "listener.name.x.ssl.keystore.location=y"},
}

func TestRecordRefusals(t *testing.T) {
	address := os.Getenv("SLIPSTREAM_KAFKA")
	if address == "" || os.Getenv("SLIPSTREAM_ORACLE") != "refusals" {
		t.Skip("records the answers of a real Kafka; SLIPSTREAM_KAFKA and SLIPSTREAM_ORACLE say which")
	}
	client, err := kgo.NewClient(kgo.SeedBrokers(address))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	createTopic(t, client, "refusals", nil)
	var out []refusal
	for _, resource := range []string{"topic", "broker", "cluster"} {
		for _, change := range changes[resource] {
			out = append(out, consider(t, client, refusal{Resource: resource, Set: splitPairs(change)}))
		}
	}
	write(t, "refusals.json", out)
}

// splitPairs cuts before each name, so that values may hold no comma here.
func splitPairs(s string) []string { return strings.Split(s, ",") }

func consider(t *testing.T, client *kgo.Client, r refusal) refusal {
	req := kmsg.NewPtrIncrementalAlterConfigsRequest()
	req.ValidateOnly = true
	rr := kmsg.NewIncrementalAlterConfigsRequestResource()
	switch r.Resource {
	case "topic":
		rr.ResourceType, rr.ResourceName = kmsg.ConfigResourceTypeTopic, "refusals"
	case "broker":
		rr.ResourceType, rr.ResourceName = kmsg.ConfigResourceTypeBroker, "1"
	case "cluster":
		rr.ResourceType, rr.ResourceName = kmsg.ConfigResourceTypeBroker, ""
	}
	for _, pair := range r.Set {
		name, value, _ := strings.Cut(pair, "=")
		c := kmsg.NewIncrementalAlterConfigsRequestResourceConfig()
		c.Name, c.Value = name, &value
		rr.Configs = append(rr.Configs, c)
	}
	req.Resources = append(req.Resources, rr)
	resp, err := req.RequestWith(context.Background(), client)
	if err != nil {
		t.Fatal(err)
	}
	r.Code, r.Message = resp.Resources[0].ErrorCode, resp.Resources[0].ErrorMessage
	return r
}
