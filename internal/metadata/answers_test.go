package metadata

import (
	"os"
	"testing"

	"slipstream/internal/script"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// TestApacheAnswers replays what Apache Kafka 4.3.1 answered; see script_test.go.
func TestApacheAnswers(t *testing.T) {
	if *recordAnswers {
		script.Play(t, "apache", true, recordFromBroker)
		return
	}
	script.Play(t, "apache", false, answerFromController)
}

func answerFromController(t *testing.T) func([]string) string {
	n := startNode(t)
	seen := map[string]UUID{}
	return func(input []string) string {
		req := parseRequest(t, input, func(name string) UUID { return seen[name] })
		resp, records := n.decide(overWire(t, req).(kmsg.Request))
		n.commit(records)
		resp.SetVersion(req.GetVersion())
		remember(seen, resp)
		return printResponse(overWire(t, resp).(kmsg.Response))
	}
}

// overWire loses what a message's version cannot carry.
func overWire(t *testing.T, m interface {
	AppendTo([]byte) []byte
	GetVersion() int16
}) any {
	var copied interface {
		ReadFrom([]byte) error
		SetVersion(int16)
	}
	switch m := m.(type) {
	case kmsg.Request:
		copied = kmsg.RequestForKey(m.Key())
	case kmsg.Response:
		copied = kmsg.ResponseForKey(m.Key())
	}
	copied.SetVersion(m.GetVersion())
	if err := copied.ReadFrom(m.AppendTo(nil)); err != nil {
		t.Fatal(err)
	}
	return copied
}

func recordFromBroker(t *testing.T) func([]string) string {
	addr := os.Getenv("KAFKA_ADDR")
	if addr == "" {
		t.Fatal("-record needs KAFKA_ADDR, the address of an Apache Kafka 4.3.1 without topics")
	}
	b := dial(t, addr)
	b.deleteAll()
	seen := map[string]UUID{}
	t.Cleanup(func() { b.deleteAll() })
	return func(input []string) string {
		req := parseRequest(t, input, func(name string) UUID { return seen[name] })
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
