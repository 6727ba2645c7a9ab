package main

import (
	"encoding/binary"
	"fmt"
	"io"
	"math/rand/v2"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
	"golang.org/x/sys/unix"

	"slipstream/protocol"
)

// client is a blocking TCP connection without Go's network poller: what is
// measured should be the server and the kernel.
type client struct{ fd int }

func dial(port int) (*client, error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1)
	if err := unix.Connect(fd, &unix.SockaddrInet4{Port: port, Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		unix.Close(fd)
		return nil, err
	}
	tv := unix.Timeval{Sec: 30}
	unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &tv)
	return &client{fd}, nil
}

func (c *client) close() { unix.Close(c.fd) }

func (c *client) write(b []byte) error {
	for len(b) > 0 {
		n, err := unix.Write(c.fd, b)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return err
		}
		b = b[n:]
	}
	return nil
}

func (c *client) readFull(b []byte) error {
	for len(b) > 0 {
		n, err := unix.Read(c.fd, b)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return err
		}
		if n == 0 {
			return io.ErrUnexpectedEOF
		}
		b = b[n:]
	}
	return nil
}

// discard reads n bytes and throws them away in the kernel.
func (c *client) discard(n int, scratch []byte) error {
	for n > 0 {
		got, _, err := unix.Recvfrom(c.fd, scratch[:min(n, len(scratch))], unix.MSG_TRUNC)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return err
		}
		if got == 0 {
			return io.ErrUnexpectedEOF
		}
		n -= got
	}
	return nil
}

// call sends a kmsg request and decodes the answer into its response.
func (c *client) call(req kmsg.Request) (kmsg.Response, error) {
	if err := c.write(kmsg.NewRequestFormatter().AppendRequest(nil, req, 1)); err != nil {
		return nil, err
	}
	var size [4]byte
	if err := c.readFull(size[:]); err != nil {
		return nil, err
	}
	b := make([]byte, binary.BigEndian.Uint32(size[:]))
	if err := c.readFull(b); err != nil {
		return nil, err
	}
	resp := req.ResponseKind()
	skip := 4
	if resp.IsFlexible() && resp.Key() != 18 {
		skip = 5
	}
	return resp, resp.ReadFrom(b[skip:])
}

// createTopic makes a topic of one partition and waits until it can be used.
func createTopic(port int, name string, configs map[string]string) error {
	c, err := dial(port)
	if err != nil {
		return err
	}
	defer c.close()
	req := kmsg.NewPtrCreateTopicsRequest()
	req.Version, req.TimeoutMillis = 6, 30000
	t := kmsg.NewCreateTopicsRequestTopic()
	t.Topic, t.NumPartitions, t.ReplicationFactor = name, 1, 1
	for k, v := range configs {
		config := kmsg.NewCreateTopicsRequestTopicConfig()
		config.Name, config.Value = k, kmsg.StringPtr(v)
		t.Configs = append(t.Configs, config)
	}
	req.Topics = append(req.Topics, t)
	resp, err := c.call(req)
	if err != nil {
		return err
	}
	if code := resp.(*kmsg.CreateTopicsResponse).Topics[0].ErrorCode; code != 0 {
		return fmt.Errorf("create topic %s: error %d", name, code)
	}
	for range 200 {
		if err := probeTopic(c, name); err == nil {
			return nil
		}
		time.Sleep(20 * time.Millisecond)
	}
	return fmt.Errorf("topic %s has no leader after 4 s", name)
}

func probeTopic(c *client, name string) error {
	req := kmsg.NewPtrListOffsetsRequest()
	req.Version, req.ReplicaID = 5, -1
	t := kmsg.NewListOffsetsRequestTopic()
	t.Topic = name
	p := kmsg.NewListOffsetsRequestTopicPartition()
	p.Timestamp = -1
	t.Partitions = append(t.Partitions, p)
	req.Topics = append(req.Topics, t)
	resp, err := c.call(req)
	if err != nil {
		return err
	}
	if code := resp.(*kmsg.ListOffsetsResponse).Topics[0].Partitions[0].ErrorCode; code != 0 {
		return fmt.Errorf("error %d", code)
	}
	return nil
}

// batchOf is one record batch of records of valueBytes random bytes each.
func batchOf(records, valueBytes int) []byte {
	var b protocol.Builder
	info := protocol.NewBatchInfo(0, -1)
	b.Begin(nil, info)
	random := rand.New(rand.NewPCG(1, 2))
	for range records {
		value := make([]byte, valueBytes)
		for i := range value {
			value[i] = byte(random.Uint32())
		}
		b.Append(&protocol.Record{Timestamp: time.Now().UnixMilli(), Value: value})
	}
	_, batch := b.Finish()
	return batch
}

// produceVersion is the version of the requests measured.
const produceVersion = 9

// produceFrame is a whole Produce request of one batch, acks=1.
func produceFrame(topic string, batch []byte) []byte {
	req := kmsg.NewPtrProduceRequest()
	req.Version, req.Acks, req.TimeoutMillis = produceVersion, 1, 30000
	t := kmsg.NewProduceRequestTopic()
	t.Topic = topic
	p := kmsg.NewProduceRequestTopicPartition()
	p.Records = batch
	t.Partitions = append(t.Partitions, p)
	req.Topics = append(req.Topics, t)
	return kmsg.NewRequestFormatter(kmsg.FormatterClientID("bench")).AppendRequest(nil, req, 7)
}

// fetchFrame is a whole Fetch v12 request without session, for up to maxBytes
// from offset; offsetAt is where in the frame the offset stands.
func fetchFrame(topic string, offset int64, maxBytes int32) (frame []byte, offsetAt int) {
	build := func(offset int64) []byte {
		req := kmsg.NewPtrFetchRequest()
		req.Version, req.MaxWaitMillis, req.MinBytes, req.MaxBytes = 12, 500, 1, maxBytes
		req.SessionEpoch = -1
		t := kmsg.NewFetchRequestTopic()
		t.Topic = topic
		p := kmsg.NewFetchRequestTopicPartition()
		p.FetchOffset, p.PartitionMaxBytes = offset, maxBytes
		t.Partitions = append(t.Partitions, p)
		req.Topics = append(req.Topics, t)
		return kmsg.NewRequestFormatter(kmsg.FormatterClientID("bench")).AppendRequest(nil, req, 7)
	}
	a, b := build(0), build(1)
	for i := range a {
		if a[i] != b[i] {
			offsetAt = i - 7
		}
	}
	return build(offset), offsetAt
}
