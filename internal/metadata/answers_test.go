package metadata

import (
	"os"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// TestApacheAnswers replays what Apache Kafka 4.3.1 answered; see script_test.go.
func TestApacheAnswers(t *testing.T) {
	if *recordAnswers {
		forEachScript(t, "apache", true, recordFromBroker)
		return
	}
	t.Skip("no controller yet")
}

func recordFromBroker(t *testing.T) func(block) string {
	addr := os.Getenv("KAFKA_ADDR")
	if addr == "" {
		t.Fatal("-record needs KAFKA_ADDR, the address of an Apache Kafka 4.3.1 without topics")
	}
	b := dial(t, addr)
	b.deleteAll()
	seen := map[string]UUID{}
	t.Cleanup(func() { b.deleteAll() })
	return func(bl block) string {
		req := parseRequest(t, bl.input, func(name string) UUID { return seen[name] })
		resp, err := b.do(req)
		if err != nil {
			b = dial(t, addr)
			return err.Error()
		}
		remember(seen, resp)
		return printResponse(resp)
	}
}

// remember notes the ids of created topics, for later blocks.
func remember(seen map[string]UUID, resp kmsg.Response) {
	if r, ok := resp.(*kmsg.CreateTopicsResponse); ok {
		for _, topic := range r.Topics {
			if topic.ErrorCode == 0 {
				seen[topic.Topic] = topic.TopicID
			}
		}
	}
}
