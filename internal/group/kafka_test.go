package group

import (
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"slipstream/protocol"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// kafka is a real Kafka as a script's backend: each request has a connection of
// its own, so that those that wait hold up nobody. A recording wants a fresh one.

type kafka struct {
	t       *testing.T
	addr    string
	prompt  int // requests under way that are answered at once
	arrived chan answered
	ids     map[string]protocol.UUID
	names   map[protocol.UUID]string
}

func newKafka(t *testing.T) backend {
	addr := os.Getenv("KAFKA_ADDR")
	if addr == "" {
		t.Fatal("-record wants KAFKA_ADDR")
	}
	k := &kafka{t: t, addr: addr, arrived: make(chan answered, 100),
		ids: map[string]protocol.UUID{}, names: map[protocol.UUID]string{}}
	t.Cleanup(func() {
		for name := range k.ids {
			k.drop(name)
		}
	})
	// The coordinator of the groups topic is there once someone has asked for it.
	find := kmsg.NewPtrFindCoordinatorRequest()
	find.Version, find.CoordinatorKeys = 4, []string{"x"}
	for range 100 {
		if r := k.call("warm-up", find).(*kmsg.FindCoordinatorResponse); r.Coordinators[0].ErrorCode == 0 && k.loaded() {
			return k
		}
		time.Sleep(200 * time.Millisecond)
	}
	t.Fatal("no coordinator")
	return nil
}

// loaded: every partition of the groups topic is served.
func (k *kafka) loaded() bool {
	req := kmsg.NewPtrDescribeGroupsRequest()
	req.Version = 5
	for i := range 200 {
		req.Groups = append(req.Groups, fmt.Sprint(i))
	}
	for _, g := range k.call("warm-up", req).(*kmsg.DescribeGroupsResponse).Groups {
		if g.ErrorCode != 0 {
			return false
		}
	}
	return true
}

// call sends a request and waits for its answer.
func (k *kafka) call(client string, req kmsg.Request) kmsg.Response {
	conn, err := net.Dial("tcp", k.addr)
	if err != nil {
		k.t.Error(err)
		return req.ResponseKind()
	}
	defer conn.Close()
	f := kmsg.NewRequestFormatter(kmsg.FormatterClientID(client))
	if _, err := conn.Write(f.AppendRequest(nil, req, 1)); err != nil {
		k.t.Error(err)
	}
	var size [4]byte
	if _, err := io.ReadFull(conn, size[:]); err != nil {
		k.t.Errorf("%s %T: %v", client, req, err)
		return req.ResponseKind()
	}
	body := make([]byte, binary.BigEndian.Uint32(size[:]))
	if _, err := io.ReadFull(conn, body); err != nil {
		k.t.Error(err)
	}
	body = body[4:]
	if req.IsFlexible() {
		body = body[1:]
	}
	resp := req.ResponseKind()
	resp.SetVersion(req.GetVersion())
	if err := resp.ReadFrom(body); err != nil {
		k.t.Error(err)
	}
	return resp
}

func (k *kafka) send(client string, req kmsg.Request) {
	switch req.(type) {
	case *kmsg.JoinGroupRequest, *kmsg.SyncGroupRequest:
	default:
		k.prompt++
	}
	go func() { k.arrived <- answered{client, req, k.call(client, req)} }()
}

// answers waits for every request that is answered at once, and then for a while
// for what else arrives.
func (k *kafka) answers() (got []answered) {
	for {
		patience := 400 * time.Millisecond
		if k.prompt > 0 {
			patience = 20 * time.Second
		}
		select {
		case a := <-k.arrived:
			got = append(got, a)
			switch a.req.(type) {
			case *kmsg.JoinGroupRequest, *kmsg.SyncGroupRequest:
			default:
				k.prompt--
			}
		case <-time.After(patience):
			return got
		}
	}
}

func (k *kafka) pass(millis int64) { time.Sleep(time.Duration(millis) * time.Millisecond) }

func (k *kafka) topic(name string, partitions int32) {
	if _, have := k.ids[name]; have {
		req := kmsg.NewPtrCreatePartitionsRequest()
		req.Version, req.TimeoutMillis = 3, 10_000
		req.Topics = []kmsg.CreatePartitionsRequestTopic{{Topic: name, Count: partitions}}
		k.call("admin", req)
		time.Sleep(300 * time.Millisecond)
		return
	}
	req := kmsg.NewPtrCreateTopicsRequest()
	req.Version, req.TimeoutMillis = 7, 10_000
	t := kmsg.NewCreateTopicsRequestTopic()
	t.Topic, t.NumPartitions, t.ReplicationFactor = name, partitions, 1
	req.Topics = append(req.Topics, t)
	r := k.call("admin", req).(*kmsg.CreateTopicsResponse)
	if r.Topics[0].ErrorCode != 0 {
		k.t.Fatalf("topic %s: %s", name, code(r.Topics[0].ErrorCode))
	}
	k.ids[name], k.names[r.Topics[0].TopicID] = r.Topics[0].TopicID, name
	time.Sleep(300 * time.Millisecond)
}

func (k *kafka) drop(name string) {
	req := kmsg.NewPtrDeleteTopicsRequest()
	req.Version, req.TimeoutMillis = 6, 10_000
	t := kmsg.NewDeleteTopicsRequestTopic()
	t.Topic = &name
	req.Topics = append(req.Topics, t)
	k.call("admin", req)
	delete(k.ids, name)
	time.Sleep(500 * time.Millisecond)
}

func (k *kafka) topicID(name string) protocol.UUID { return k.ids[name] }

func (k *kafka) topicName(id protocol.UUID) string {
	if name, ok := k.names[id]; ok {
		return name
	}
	return id.String()
}

func (k *kafka) other(words []string) (string, bool) { return "", strings.HasPrefix(words[0], "!") }
