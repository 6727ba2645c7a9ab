package protocol

import (
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// oracle is a connection to a real Kafka, one request at a time.
type oracle struct {
	addr string
	conn net.Conn
	next int32
}

func dialOracle(t *testing.T, addr string) *oracle {
	t.Helper()
	o := &oracle{addr: addr}
	o.redial(t)
	t.Cleanup(func() { o.conn.Close() })
	return o
}

func (o *oracle) redial(t *testing.T) {
	t.Helper()
	if o.conn != nil {
		o.conn.Close()
	}
	conn, err := net.DialTimeout("tcp", o.addr, 5*time.Second)
	if err != nil {
		t.Fatalf("connecting to the real Kafka at %s: %v", o.addr, err)
	}
	o.conn = conn
}

// exchange sends a frame and returns the answer's frame, or an error if there was none: the broker
// closed the connection or kept silent for two seconds.
func (o *oracle) exchange(frame []byte) ([]byte, error) {
	o.conn.SetDeadline(time.Now().Add(2 * time.Second))
	if _, err := o.conn.Write(append(binary.BigEndian.AppendUint32(nil, uint32(len(frame))), frame...)); err != nil {
		return nil, err
	}
	var prefix [4]byte
	if _, err := io.ReadFull(o.conn, prefix[:]); err != nil {
		return nil, err
	}
	answer := make([]byte, binary.BigEndian.Uint32(prefix[:]))
	_, err := io.ReadFull(o.conn, answer)
	return answer, err
}

// request sends a kmsg request and decodes the answer.
func (o *oracle) request(req kmsg.Request) (kmsg.Response, error) {
	o.next++
	answer, err := o.exchange(requestFrame(req, o.next))
	if err != nil {
		return nil, err
	}
	resp := req.ResponseKind()
	resp.SetVersion(req.GetVersion())
	skip := 4
	if ResponseHeaderFlexible(req.Key(), req.GetVersion()) {
		skip = 5
	}
	if len(answer) < skip {
		return nil, fmt.Errorf("answer of %d bytes", len(answer))
	}
	return resp, resp.ReadFrom(answer[skip:])
}

// requestFrame is a kmsg request with its header, without the length.
func requestFrame(req kmsg.Request, correlationID int32) []byte {
	return new(kmsg.RequestFormatter).AppendRequest(nil, req, correlationID)[4:]
}

// createTopic makes a topic with one partition and returns its id; a topic left from before is deleted first.
func (o *oracle) createTopic(t *testing.T, name string, configs map[string]string) [16]byte {
	t.Helper()
	del := kmsg.NewPtrDeleteTopicsRequest()
	del.SetVersion(6)
	dt := kmsg.NewDeleteTopicsRequestTopic()
	dt.Topic = &name
	del.Topics = append(del.Topics, dt)
	del.TimeoutMillis = 5000
	if _, err := o.request(del); err != nil {
		t.Fatal(err)
	}
	req := kmsg.NewPtrCreateTopicsRequest()
	req.SetVersion(7)
	req.TimeoutMillis = 5000
	topic := kmsg.NewCreateTopicsRequestTopic()
	topic.Topic, topic.NumPartitions, topic.ReplicationFactor = name, 1, 1
	for k, v := range configs {
		c := kmsg.NewCreateTopicsRequestTopicConfig()
		c.Name, c.Value = k, &v
		topic.Configs = append(topic.Configs, c)
	}
	req.Topics = append(req.Topics, topic)
	for try := 0; ; try++ {
		resp, err := o.request(req)
		if err != nil {
			t.Fatal(err)
		}
		created := resp.(*kmsg.CreateTopicsResponse).Topics[0]
		if created.ErrorCode == 0 {
			time.Sleep(300 * time.Millisecond)
			return created.TopicID
		}
		if try == 20 {
			t.Fatalf("creating %s: %v", name, ErrorCode(created.ErrorCode))
		}
		time.Sleep(100 * time.Millisecond)
	}
}
