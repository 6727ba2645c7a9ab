package main

import (
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"slipstream/protocol"
)

// topic is what the generator produces to and consumes from: partitions of batches
// that are all of one shape. Batch i of a partition has the bytes of
// batches[i mod len(batches)], so that a consumer can tell a wrong page.
type topic struct {
	name       string
	partitions int
	records    int      // of a batch
	batches    [][]byte // as they are sent
	frames     [][]byte // whole Produce requests of them, acks=1, to partition 0
	batchBytes int
}

// variants is how many different batches a topic has: a prime, so that no power of
// two of pages or batches comes out alike.
const variants = 7

// newTopic makes the batches of a topic of one partition, of records of valueBytes
// random bytes each.
func newTopic(name string, records, valueBytes int) *topic {
	t := &topic{name: name, partitions: 1, records: records}
	random := rand.New(rand.NewPCG(1, 2))
	for range variants {
		b := batchOf(random, records, valueBytes)
		t.batches = append(t.batches, b)
		t.frames = append(t.frames, produceFrame(name, 0, b))
	}
	t.batchBytes = len(t.batches[0])
	return t
}

func (t *topic) frame(i int) []byte { return t.frames[i%len(t.frames)] }

// batchOf is one record batch of random bytes.
func batchOf(random *rand.Rand, records, valueBytes int) []byte {
	var b protocol.Builder
	b.Begin(nil, protocol.NewBatchInfo(0, -1))
	now := time.Now().UnixMilli() // one for all, so that all batches are of one size
	value := make([]byte, valueBytes)
	for range records {
		for i := range value {
			value[i] = byte(random.Uint32())
		}
		b.Append(&protocol.Record{Timestamp: now, Value: value})
	}
	_, batch := b.Finish()
	return batch
}

// produceVersion and fetchVersion are those of the requests measured: the last
// fetch that names topics instead of their ids.
const (
	produceVersion = 9
	fetchVersion   = 12
	correlation    = 7
)

var formatter = kmsg.NewRequestFormatter(kmsg.FormatterClientID("bench"))

// produceFrame is a whole Produce request of one batch, acks=1.
func produceFrame(topic string, partition int32, batch []byte) []byte {
	req := kmsg.NewPtrProduceRequest()
	req.Version, req.Acks, req.TimeoutMillis = produceVersion, 1, 30000
	t := kmsg.NewProduceRequestTopic()
	t.Topic = topic
	p := kmsg.NewProduceRequestTopicPartition()
	p.Partition, p.Records = partition, batch
	t.Partitions = append(t.Partitions, p)
	req.Topics = append(req.Topics, t)
	return formatter.AppendRequest(nil, req, correlation)
}

// fetchMaxWait is how long a fetch with nothing to send waits, in milliseconds.
const fetchMaxWait = 500

// fetchFrame is a whole Fetch request without a session, for up to maxBytes of
// partition 0; offsetAt is where in the frame the offset stands.
func fetchFrame(client, topic string, maxBytes int32) (frame []byte, offsetAt int) {
	build := func(offset int64) []byte {
		req := kmsg.NewPtrFetchRequest()
		req.Version, req.MaxWaitMillis, req.MinBytes, req.MaxBytes = fetchVersion, fetchMaxWait, 1, maxBytes
		req.SessionEpoch = -1
		t := kmsg.NewFetchRequestTopic()
		t.Topic = topic
		p := kmsg.NewFetchRequestTopicPartition()
		p.FetchOffset, p.PartitionMaxBytes = offset, maxBytes
		t.Partitions = append(t.Partitions, p)
		req.Topics = append(req.Topics, t)
		return kmsg.NewRequestFormatter(kmsg.FormatterClientID(client)).AppendRequest(nil, req, correlation)
	}
	a, b := build(0), build(1)
	for i := range a {
		if a[i] != b[i] {
			offsetAt = i - 7
		}
	}
	return a, offsetAt
}

// create makes the topic and waits until it can be used. A new topic's files go as
// soon as it is deleted: the next round should not find the disk busy with them.
func (t *topic) create(port int, configs ...string) error {
	c, err := dial(port)
	if err != nil {
		return err
	}
	defer c.close()
	req := kmsg.NewPtrCreateTopicsRequest()
	req.Version, req.TimeoutMillis = 6, 30000
	rt := kmsg.NewCreateTopicsRequestTopic()
	rt.Topic, rt.NumPartitions, rt.ReplicationFactor = t.name, int32(t.partitions), 1
	configs = append(configs, "file.delete.delay.ms", "100")
	for i := 0; i < len(configs); i += 2 {
		config := kmsg.NewCreateTopicsRequestTopicConfig()
		config.Name, config.Value = configs[i], kmsg.StringPtr(configs[i+1])
		rt.Configs = append(rt.Configs, config)
	}
	req.Topics = append(req.Topics, rt)
	resp, err := c.call(req)
	if err != nil {
		return err
	}
	if code := resp.(*kmsg.CreateTopicsResponse).Topics[0].ErrorCode; code != 0 {
		return fmt.Errorf("create topic %s: error %d", t.name, code)
	}
	for range 500 {
		if _, err = t.ends(c); err == nil {
			return nil
		}
		time.Sleep(20 * time.Millisecond)
	}
	return fmt.Errorf("topic %s has no leader after 10 s: %w", t.name, err)
}

// delete removes the topic, and waits for a while until its files are gone, so that
// nobody pays for that later.
func (t *topic) delete(s *server) error {
	c, err := dial(s.port)
	if err != nil {
		return err
	}
	defer c.close()
	req := kmsg.NewPtrDeleteTopicsRequest()
	req.Version, req.TimeoutMillis, req.TopicNames = 5, 30000, []string{t.name}
	resp, err := c.call(req)
	if err != nil {
		return err
	}
	if code := resp.(*kmsg.DeleteTopicsResponse).Topics[0].ErrorCode; code != 0 {
		return fmt.Errorf("delete topic %s: error %d", t.name, code)
	}
	for range 150 {
		if left, _ := filepath.Glob(filepath.Join(s.dir, t.name+"*")); len(left) == 0 {
			break
		}
		time.Sleep(20 * time.Millisecond)
	}
	return nil
}

// ends asks for the log end offset of each partition.
func (t *topic) ends(c *client) ([]int64, error) {
	req := kmsg.NewPtrListOffsetsRequest()
	req.Version, req.ReplicaID = 5, -1
	rt := kmsg.NewListOffsetsRequestTopic()
	rt.Topic = t.name
	for i := range t.partitions {
		p := kmsg.NewListOffsetsRequestTopicPartition()
		p.Partition, p.Timestamp = int32(i), -1
		rt.Partitions = append(rt.Partitions, p)
	}
	req.Topics = append(req.Topics, rt)
	resp, err := c.call(req)
	if err != nil {
		return nil, err
	}
	ends := make([]int64, t.partitions)
	for _, rt := range resp.(*kmsg.ListOffsetsResponse).Topics {
		for _, p := range rt.Partitions {
			if p.ErrorCode != 0 {
				return nil, fmt.Errorf("partition %d: error %d", p.Partition, p.ErrorCode)
			}
			if int(p.Partition) < len(ends) {
				ends[p.Partition] = p.Offset
			}
		}
	}
	return ends, nil
}
