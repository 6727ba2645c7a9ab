package config

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// probes are given to every setting, bad for most and good for some.
var probes = []string{
	"", " ", "abc", "-4", "-3", "-2", "-1", "0", "1", " 2 ", "+3", "6", "9", "10", "13", "14", "17", "18", "22", "23", "-131073",
	"1048575", "1048576", "2147483647", "2147483648", "9223372036854775807", "9223372036854775808",
	"0.5", "1.5", "1e3", "5f", "0x10", "NaN", "true", "TRUE", " false ", "yes",
	"producer", "Producer", "gzip", "none", "uncompressed", " lz4 ", "CreateTime", "createtime", "LogAppendTime",
	"delete", "compact,delete", " compact , delete ", "delete,delete", "compact,", ",", "none,delete", "Compact", "*", "0:1,1:2", "0:1,0:1",
}

// answer is what Kafka said when a setting was to be changed.
type answer struct {
	Scope   string // "topic" or "broker"
	Name    string
	Value   string
	Code    int16  // of the response; 0: accepted
	Message string `json:",omitempty"`
}

const answersFile = "kafka_answers.json"

// TestKafkasAnswers holds CheckTopic and CheckBroker against what Apache Kafka
// 4.3.1 answered to the same changes. Departure: Kafka lets its thread pools grow
// to twice their size at a time. SLIPSTREAM_CONFIG_ORACLE=host:port records them anew.
func TestKafkasAnswers(t *testing.T) {
	if address := os.Getenv("SLIPSTREAM_CONFIG_ORACLE"); address != "" {
		record(t, address)
	}
	b, err := os.ReadFile(filepath.Join("testdata", answersFile))
	if err != nil {
		t.Fatal(err)
	}
	var answers []answer
	if err := json.Unmarshal(b, &answers); err != nil {
		t.Fatal(err)
	}
	if len(answers) < 1000 {
		t.Fatalf("only %d answers are recorded", len(answers))
	}
	wrong := 0
	for _, a := range answers {
		err := CheckTopic(map[string]string{a.Name: a.Value})
		if a.Scope == "broker" {
			err = CheckBroker(map[string]string{a.Name: a.Value}, true)
		}
		got := ""
		if err != nil {
			got = err.Error()
		}
		if got != a.Message && !strings.Contains(a.Message, "Dynamic thread count update validation failed") {
			if wrong++; wrong < 400 {
				t.Errorf("%s %s=%q\n   we say: %s\nKafka says: %s", a.Scope, a.Name, a.Value, got, a.Message)
			}
		}
	}
}

// record asks a Kafka, and writes what it answers. Changes are validated only.
func record(t *testing.T, address string) {
	client, err := kgo.NewClient(kgo.SeedBrokers(address))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	admin := kadm.NewClient(client)
	topic := "config-answers-" + strconv.FormatInt(time.Now().UnixNano(), 10)
	if _, err := admin.CreateTopic(ctx, 1, 1, nil, topic); err != nil {
		t.Fatal(err)
	}
	defer admin.DeleteTopic(ctx, topic)
	var answers []answer
	for _, s := range Topics() {
		for _, v := range probes {
			answers = append(answers, ask(t, ctx, client, kmsg.ConfigResourceTypeTopic, topic, s.Name, v))
		}
	}
	for _, s := range Brokers() {
		if s.ReadOnly || s.Use != Served {
			continue
		}
		for _, v := range probes {
			answers = append(answers, ask(t, ctx, client, kmsg.ConfigResourceTypeBroker, "", s.Name, v))
		}
	}
	var text []byte
	for i, a := range answers {
		line, err := json.Marshal(a)
		if err != nil {
			t.Fatal(err)
		}
		text = append(append(text, "[,"[min(i, 1)], '\n'), line...)
	}
	if err := os.WriteFile(filepath.Join("testdata", answersFile), append(text, "\n]\n"...), 0o644); err != nil {
		t.Fatal(err)
	}
}

func ask(t *testing.T, ctx context.Context, client *kgo.Client, kind kmsg.ConfigResourceType, resource, name, value string) answer {
	req := kmsg.NewPtrIncrementalAlterConfigsRequest()
	req.ValidateOnly = true
	r := kmsg.NewIncrementalAlterConfigsRequestResource()
	r.ResourceType, r.ResourceName = kind, resource
	c := kmsg.NewIncrementalAlterConfigsRequestResourceConfig()
	c.Name, c.Value = name, &value
	r.Configs = append(r.Configs, c)
	req.Resources = append(req.Resources, r)
	resp, err := req.RequestWith(ctx, client)
	if err != nil {
		t.Fatal(err)
	}
	a := answer{Scope: "topic", Name: name, Value: value, Code: resp.Resources[0].ErrorCode}
	if kind == kmsg.ConfigResourceTypeBroker {
		a.Scope = "broker"
	}
	if m := resp.Resources[0].ErrorMessage; m != nil {
		a.Message = *m
	}
	return a
}
