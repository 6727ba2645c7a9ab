package config_test

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// scenario is what a real Kafka said of its settings under some overrides:
// testdata/described-*.json. They are recorded, one Kafka each, by
//
//	SLIPSTREAM_KAFKA=127.0.0.1:9092 SLIPSTREAM_ORACLE=NAME go test ./internal/config -run TestRecordDescribed
//
// where NAME is one of stages. The static settings are read from the answer.
type scenario struct {
	Static  map[string]string `json:"static"`
	Cluster map[string]string `json:"cluster,omitempty"`
	Broker  map[string]string `json:"broker,omitempty"`
	Topic   map[string]string `json:"topic,omitempty"`

	TopicSettings  []described `json:"topicSettings"`
	BrokerSettings []described `json:"brokerSettings"`
}

type described struct {
	Name      string   `json:"name"`
	Value     *string  `json:"value"`
	Source    int8     `json:"source"`
	Kind      string   `json:"kind"`
	ReadOnly  bool     `json:"readOnly,omitempty"`
	Sensitive bool     `json:"sensitive,omitempty"`
	Synonyms  []synony `json:"synonyms,omitempty"`
}

type synony struct {
	Name   string  `json:"name"`
	Value  *string `json:"value"`
	Source int8    `json:"source"`
}

// stages are the overrides of the scenarios; "units" wants a Kafka whose
// server.properties has testdata/units.properties in it.
var stages = map[string]scenario{
	"plain": {},
	"units": {},
	"dynamic": {
		Cluster: map[string]string{"log.retention.bytes": "999", "log.segment.bytes": "2097152", "log.retention.ms": "1111111", "message.max.bytes": "3000000"},
		Broker:  map[string]string{"log.retention.ms": "7777777", "log.roll.ms": "8888888", "log.cleaner.threads": "1", "num.io.threads": "7"},
		Topic:   map[string]string{"segment.ms": "100000", "retention.bytes": "55555", "cleanup.policy": "compact,delete"},
	},
}

func TestRecordDescribed(t *testing.T) {
	address, name := os.Getenv("SLIPSTREAM_KAFKA"), os.Getenv("SLIPSTREAM_ORACLE")
	stage, ok := stages[name]
	if address == "" || !ok {
		t.Skip("records the answers of a real Kafka; SLIPSTREAM_KAFKA and SLIPSTREAM_ORACLE say which")
	}
	client, err := kgo.NewClient(kgo.SeedBrokers(address))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	topic := "described-" + name
	createTopic(t, client, topic, stage.Topic)
	alterBroker(t, client, "", stage.Cluster)
	alterBroker(t, client, "1", stage.Broker)
	time.Sleep(time.Second) // dynamic settings reach a broker by its metadata log
	stage.TopicSettings = describe(t, client, kmsg.ConfigResourceTypeTopic, topic)
	stage.BrokerSettings = describe(t, client, kmsg.ConfigResourceTypeBroker, "1")
	stage.Static = map[string]string{}
	for _, d := range stage.BrokerSettings {
		for _, s := range d.Synonyms {
			if s.Source == 4 && s.Value != nil {
				stage.Static[s.Name] = *s.Value
			}
		}
	}
	write(t, "described-"+name+".json", stage)
}

// write keeps JSON with a line for each setting.
func write(t *testing.T, name string, v any) {
	text, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	text = bytes.ReplaceAll(text, []byte("},{\"name\":"), []byte("},\n{\"name\":"))
	text = bytes.ReplaceAll(text, []byte("},{\"resource\":"), []byte("},\n{\"resource\":"))
	if err := os.WriteFile(filepath.Join("testdata", name), append(text, '\n'), 0o644); err != nil {
		t.Fatal(err)
	}
}

func createTopic(t *testing.T, client *kgo.Client, topic string, configs map[string]string) {
	req := kmsg.NewPtrCreateTopicsRequest()
	rt := kmsg.NewCreateTopicsRequestTopic()
	rt.Topic, rt.NumPartitions, rt.ReplicationFactor = topic, 1, 1
	for name, value := range configs {
		c := kmsg.NewCreateTopicsRequestTopicConfig()
		c.Name, c.Value = name, &value
		rt.Configs = append(rt.Configs, c)
	}
	req.Topics = append(req.Topics, rt)
	resp, err := req.RequestWith(context.Background(), client)
	if err != nil || resp.Topics[0].ErrorCode != 0 {
		t.Fatal(err, resp)
	}
}

func alterBroker(t *testing.T, client *kgo.Client, name string, configs map[string]string) {
	if len(configs) == 0 {
		return
	}
	req := kmsg.NewPtrIncrementalAlterConfigsRequest()
	r := kmsg.NewIncrementalAlterConfigsRequestResource()
	r.ResourceType, r.ResourceName = kmsg.ConfigResourceTypeBroker, name
	for n, v := range configs {
		c := kmsg.NewIncrementalAlterConfigsRequestResourceConfig()
		c.Name, c.Value = n, &v
		r.Configs = append(r.Configs, c)
	}
	req.Resources = append(req.Resources, r)
	resp, err := req.RequestWith(context.Background(), client)
	if err != nil || resp.Resources[0].ErrorCode != 0 {
		t.Fatal(err, *resp.Resources[0].ErrorMessage)
	}
}

func describe(t *testing.T, client *kgo.Client, kind kmsg.ConfigResourceType, name string) (out []described) {
	req := kmsg.NewPtrDescribeConfigsRequest()
	r := kmsg.NewDescribeConfigsRequestResource()
	r.ResourceType, r.ResourceName = kind, name
	req.Resources, req.IncludeSynonyms = append(req.Resources, r), true
	resp, err := req.RequestWith(context.Background(), client)
	if err != nil || resp.Resources[0].ErrorCode != 0 {
		t.Fatal(err, resp)
	}
	for _, c := range resp.Resources[0].Configs {
		d := described{Name: c.Name, Value: c.Value, Source: int8(c.Source), Kind: c.ConfigType.String(), ReadOnly: c.ReadOnly, Sensitive: c.IsSensitive}
		for _, s := range c.ConfigSynonyms {
			d.Synonyms = append(d.Synonyms, synony{s.Name, s.Value, int8(s.Source)})
		}
		out = append(out, d)
	}
	slices.SortFunc(out, func(a, b described) int { return strings.Compare(a.Name, b.Name) })
	return out
}
