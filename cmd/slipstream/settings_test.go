package main

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// connect gives a client of the running broker and a time limit.
func connect(t *testing.T, b *process) (context.Context, *kgo.Client) {
	t.Helper()
	client, err := kgo.NewClient(kgo.SeedBrokers(b.address))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	t.Cleanup(func() { cancel(); client.Close() })
	return ctx, client
}

// TestSettingsAreRefusedAsByKafka gives the running broker the changes that
// internal/config recorded of Apache Kafka, and wants the same codes and texts.
// Departure: Kafka lets thread pools grow to twice their size at a time.
func TestSettingsAreRefusedAsByKafka(t *testing.T) {
	text, err := os.ReadFile(filepath.Join("..", "..", "internal", "config", "testdata", "kafka_answers.json"))
	if err != nil {
		t.Fatal(err)
	}
	var answers []struct {
		Scope, Name, Value string
		Code               int16
		Message            string
	}
	if err := json.Unmarshal(text, &answers); err != nil {
		t.Fatal(err)
	}
	b := start(t, "--data-dir", filepath.Join(t.TempDir(), "data"))
	if r := slipstream(t, "topic", "create", "t", "--bootstrap", b.address); r.status != 0 {
		t.Fatal(r.errors)
	}
	ctx, client := connect(t, b)
	refused, wrong := 0, 0
	asked := map[string]int{} // of each setting and text some: internal/config asks for all, without a broker
	for _, a := range answers {
		kind := a.Scope + a.Name + strings.Replace(a.Message, a.Value, "", 1)
		if asked[kind]++; asked[kind] > 3 || strings.Contains(a.Message, "Dynamic thread count update validation failed") {
			continue
		}
		r := kmsg.NewIncrementalAlterConfigsRequestResource()
		r.ResourceType = kmsg.ConfigResourceTypeBroker
		if a.Scope == "topic" {
			r.ResourceType, r.ResourceName = kmsg.ConfigResourceTypeTopic, "t"
		}
		c := kmsg.NewIncrementalAlterConfigsRequestResourceConfig()
		c.Name, c.Value = a.Name, &a.Value
		r.Configs = append(r.Configs, c)
		req := kmsg.NewPtrIncrementalAlterConfigsRequest()
		req.ValidateOnly, req.Resources = true, append(req.Resources, r)
		resp, err := req.RequestWith(ctx, client)
		if err != nil {
			t.Fatal(err)
		}
		code, message := resp.Resources[0].ErrorCode, ""
		if m := resp.Resources[0].ErrorMessage; m != nil {
			message = *m
		}
		if code != 0 {
			refused++
		}
		if code != a.Code || message != a.Message {
			if wrong++; wrong <= 20 {
				t.Errorf("%s %s=%q\n  here: %d %s\n Kafka: %d %s", a.Scope, a.Name, a.Value, code, message, a.Code, a.Message)
			}
		}
	}
	if wrong > 20 {
		t.Errorf("... and %d more", wrong-20)
	}
	if refused < 150 {
		t.Errorf("only %d of %d changes were refused", refused, len(asked))
	}
}

// TestEveryTopicSettingHasDocumentation: DescribeConfigs gives a sentence for each.
func TestEveryTopicSettingHasDocumentation(t *testing.T) {
	b := start(t, "--data-dir", filepath.Join(t.TempDir(), "data"))
	if r := slipstream(t, "topic", "create", "t", "--bootstrap", b.address); r.status != 0 {
		t.Fatal(r.errors)
	}
	ctx, client := connect(t, b)
	r := kmsg.NewDescribeConfigsRequestResource()
	r.ResourceType, r.ResourceName = kmsg.ConfigResourceTypeTopic, "t"
	req := kmsg.NewPtrDescribeConfigsRequest()
	req.IncludeDocumentation, req.Resources = true, append(req.Resources, r)
	resp, err := req.RequestWith(ctx, client)
	if err != nil {
		t.Fatal(err)
	}
	if n := len(resp.Resources[0].Configs); n != 33 {
		t.Errorf("%d topic settings, Kafka 4.3 has 33", n)
	}
	for _, c := range resp.Resources[0].Configs {
		if c.Documentation == nil || !strings.HasSuffix(*c.Documentation, ".") {
			t.Errorf("%s has no documentation", c.Name)
		}
	}
}
