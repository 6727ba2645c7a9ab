package clients

import (
	"context"
	"fmt"
	"testing"
	"time"

	"slipstream/internal/clients/harness"

	"github.com/twmb/franz-go/pkg/kgo"
)

// TestRegexAfterRestart subscribes with KIP-848 to an expression that the broker resolves, restarts the broker, and makes one
// more topic that matches: the member must get it, though what the expression means was last written down by the broker before.
func TestRegexAfterRestart(t *testing.T) {
	if testing.Short() {
		t.Skip("waits ten seconds; not with -short")
	}
	harness.OwnBroker(t)
	t.Parallel()
	b := harness.StartT(t, harness.Options{Set: groupSettings})
	prefix := topicName(t, "match")
	for i := range 5 {
		createTopic(t, b, fmt.Sprint(prefix, "-", i), 1)
	}
	got := make(chan string, 100)
	cl, err := kgo.NewClient(kgo.SeedBrokers(b.Addr), kgo.ConsumerGroup("by-regex"), kgo.ConsumeRegex(), kgo.ConsumeTopics("^"+prefix+".*"),
		kgo.ServerSideBalancer(), kgo.Balancers(kgo.StickyBalancer()), kgo.AlwaysRetryEOF(), kgo.MetadataMinAge(100*time.Millisecond), kgo.MetadataMaxAge(time.Second),
		kgo.OnPartitionsAssigned(func(_ context.Context, _ *kgo.Client, added map[string][]int32) {
			for topic := range added {
				got <- topic
			}
		}))
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	for range 5 {
		select {
		case <-got:
		case <-time.After(20 * time.Second):
			t.Fatal("not all topics were assigned within 20 s")
		}
	}
	b.Kill()
	b = harness.RestartT(t, b)
	last := prefix + "-last"
	createTopic(t, b, last, 1)
	// An expression is looked at again ten seconds after the last time at the earliest.
	for deadline := time.After(40 * time.Second); ; {
		select {
		case topic := <-got:
			if topic == last {
				return
			}
		case <-deadline:
			t.Fatalf("%s was not assigned within 40 s", last)
		}
	}
}
