package broker

import (
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"slipstream/protocol"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// alterOne sets one setting of a resource, or with a nil value deletes it.
func (w *wire) alterOne(kind kmsg.ConfigResourceType, resource, name string, value *string) {
	w.t.Helper()
	req := kmsg.NewPtrIncrementalAlterConfigsRequest()
	r := kmsg.NewIncrementalAlterConfigsRequestResource()
	r.ResourceType, r.ResourceName = kind, resource
	c := kmsg.NewIncrementalAlterConfigsRequestResourceConfig()
	c.Name, c.Value = name, value
	if value == nil {
		c.Op = kmsg.IncrementalAlterConfigOpDelete
	}
	r.Configs = append(r.Configs, c)
	req.Resources = append(req.Resources, r)
	if answer := w.ask(1, req).(*kmsg.IncrementalAlterConfigsResponse).Resources[0]; answer.ErrorCode != 0 {
		w.t.Fatalf("%s of %q: error %d", name, resource, answer.ErrorCode)
	}
}

// TestBrokerSettingsAreLive: when a change of the broker's settings is answered, it
// is in force for every topic on every core, for more topics than a turn takes, and
// for those that are made later; and it is there after a restart.
func TestBrokerSettingsAreLive(t *testing.T) {
	dir := t.TempDir()
	b := startTestBroker(t, dir, setCores(2))
	w := b.dial()
	const topics = 3*topicsPerTurn + 5
	for i := range topics {
		w.createTopic(fmt.Sprint("live-", i), 2)
	}
	large := testBatch(1, strings.Repeat("x", 3000))
	produce := func(topic string, want protocol.ErrorCode) {
		t.Helper()
		for p := range int32(2) {
			got := w.ask(9, produceRequest(topic, p, large)).(*kmsg.ProduceResponse).Topics[0].Partitions[0].ErrorCode
			if got != int16(want) {
				t.Fatalf("%s-%d: error %d, want %s", topic, p, got, want)
			}
		}
	}
	limit := "2000"
	w.alterOne(kmsg.ConfigResourceTypeBroker, "", "message.max.bytes", &limit)
	for i := range topics {
		produce(fmt.Sprint("live-", i), protocol.MESSAGE_TOO_LARGE)
	}
	w.createTopic("live-later", 2)
	produce("live-later", protocol.MESSAGE_TOO_LARGE)
	own := "10000"
	w.alterOne(kmsg.ConfigResourceTypeTopic, "live-7", "max.message.bytes", &own)
	produce("live-7", protocol.NONE)
	b.stop()
	b = startTestBroker(t, dir, setCores(2))
	w = b.dial()
	produce("live-3", protocol.MESSAGE_TOO_LARGE)
	produce("live-7", protocol.NONE)
	w.alterOne(kmsg.ConfigResourceTypeBroker, "", "message.max.bytes", nil)
	for i := range topics {
		produce(fmt.Sprint("live-", i), protocol.NONE)
	}
}

// TestLoggerLevelIsLive: what the broker logs follows the level that clients set.
func TestLoggerLevelIsLive(t *testing.T) {
	b := startTestBroker(t, "")
	w := b.dial()
	for _, step := range []struct {
		name string
		want slog.Level
	}{{"DEBUG", slog.LevelDebug}, {"ERROR", slog.LevelError}, {"TRACE", slog.LevelDebug - 4}, {"FATAL", slog.LevelError + 4}, {"INFO", slog.LevelInfo}} {
		w.alterOne(kmsg.ConfigResourceTypeBrokerLogger, "1", "root", &step.name)
		if b.level.Level() != step.want {
			t.Errorf("%s: the level is %s", step.name, b.level.Level())
		}
	}
}

// TestFeaturesAreKept: the levels of a fresh directory are those of Kafka's format,
// and a change of one is there after a restart.
func TestFeaturesAreKept(t *testing.T) {
	dir := t.TempDir()
	b := startTestBroker(t, dir)
	finalized := func(w *wire) string {
		req := kmsg.NewPtrApiVersionsRequest()
		req.ClientSoftwareName, req.ClientSoftwareVersion = "test", "1"
		var out []string
		for _, f := range w.ask(4, req).(*kmsg.ApiVersionsResponse).FinalizedFeatures {
			out = append(out, fmt.Sprintf("%s=%d", f.Name, f.MaxVersionLevel))
		}
		return strings.Join(out, " ")
	}
	const fresh = "eligible.leader.replicas.version=1 group.version=1 metadata.version=30 share.version=1 streams.version=1 transaction.version=2 kraft.version=1"
	w := b.dial()
	if got := finalized(w); got != fresh {
		t.Errorf("a fresh directory has %s", got)
	}
	req := kmsg.NewPtrUpdateFeaturesRequest()
	f := kmsg.NewUpdateFeaturesRequestFeatureUpdate()
	f.Feature, f.MaxVersionLevel, f.UpgradeType = "transaction.version", 0, 2
	req.FeatureUpdates = append(req.FeatureUpdates, f)
	if code := w.ask(2, req).(*kmsg.UpdateFeaturesResponse).ErrorCode; code != 0 {
		t.Fatalf("downgrade: error %d", code)
	}
	want := strings.Replace(fresh, " transaction.version=2", "", 1)
	if got := finalized(w); got != want {
		t.Errorf("after a downgrade: %s", got)
	}
	b.stop()
	w = startTestBroker(t, dir).dial()
	if got := finalized(w); got != want {
		t.Errorf("after a restart: %s", got)
	}
}
