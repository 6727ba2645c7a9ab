package main

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/twmb/franz-go/pkg/kmsg"

	"slipstream/protocol"
)

// session is a consumer of all of a topic's partitions by one fetch session, as
// Kafka's clients hold it: each request names only what has changed.
type session struct {
	c       *client
	t       *topic
	next    []int64 // by partition
	id      int32
	epoch   int32
	changed []int32 // partitions whose offset the broker does not know yet

	buffer []byte
	have   int
	size   int // of the response with its length: 4 until that is known
}

// arrival is one batch that a session's fetch brought.
type arrival struct {
	partition int32
	offset    int64
}

// openSession connects, and asks for everything behind next.
func (t *topic) openSession(port int, next []int64) (*session, error) {
	c, err := dial(port)
	if err != nil {
		return nil, err
	}
	k := &session{c: c, t: t, next: next, buffer: make([]byte, 1<<20)}
	for p := range next {
		k.changed = append(k.changed, int32(p))
	}
	return k, nil
}

// ask sends the next fetch.
func (k *session) ask() error {
	req := kmsg.NewPtrFetchRequest()
	req.Version, req.MaxWaitMillis, req.MinBytes, req.MaxBytes = fetchVersion, fetchMaxWait, 1, 512<<10
	req.SessionID, req.SessionEpoch = k.id, k.epoch
	if len(k.changed) > 0 {
		t := kmsg.NewFetchRequestTopic()
		t.Topic = k.t.name
		for _, partition := range k.changed {
			p := kmsg.NewFetchRequestTopicPartition()
			p.Partition, p.FetchOffset, p.PartitionMaxBytes = partition, k.next[partition], 64<<10
			t.Partitions = append(t.Partitions, p)
		}
		req.Topics = append(req.Topics, t)
	}
	k.changed = k.changed[:0]
	k.epoch++
	k.have, k.size = 0, 4
	return k.c.write(formatter.AppendRequest(nil, req, correlation))
}

// receive reads the response, if it is whole, and says what it brought.
func (k *session) receive(arrived []arrival) ([]arrival, error) {
	for k.have < k.size {
		n, err := k.c.receive(k.buffer[k.have:], 0)
		if err != nil {
			return arrived, err
		}
		if k.have += n; k.size == 4 && k.have >= 4 {
			if k.size = 4 + int(binary.BigEndian.Uint32(k.buffer)); k.size > len(k.buffer) {
				k.buffer = append(k.buffer, make([]byte, k.size)...)
			}
		}
	}
	if k.size < 9 {
		return arrived, errors.New("a fetch response that is too short")
	}
	resp := kmsg.NewPtrFetchResponse()
	resp.Version = fetchVersion
	if err := resp.ReadFrom(k.buffer[9:k.size]); err != nil {
		return arrived, err
	}
	if resp.ErrorCode != 0 {
		return arrived, fmt.Errorf("fetch session: error %d", resp.ErrorCode)
	}
	k.id = resp.SessionID
	for _, t := range resp.Topics {
		for _, p := range t.Partitions {
			if p.ErrorCode != 0 {
				return arrived, fmt.Errorf("partition %d: error %d", p.Partition, p.ErrorCode)
			}
			var err error
			if arrived, err = k.take(arrived, p.Partition, p.RecordBatches); err != nil {
				return arrived, err
			}
		}
	}
	return arrived, nil
}

// take goes through the batches of one partition.
func (k *session) take(arrived []arrival, partition int32, records []byte) ([]arrival, error) {
	if len(records) == 0 {
		return arrived, nil
	}
	for len(records) > 0 {
		batch, rest, err := protocol.NextBatch(records)
		if err == protocol.ErrIncomplete {
			break
		}
		if err != nil {
			return arrived, fmt.Errorf("partition %d: %w", partition, err)
		}
		if batch.BaseOffset() != k.next[partition] {
			return arrived, fmt.Errorf("partition %d: offset %d where %d should be", partition, batch.BaseOffset(), k.next[partition])
		}
		arrived = append(arrived, arrival{partition, batch.BaseOffset()})
		k.next[partition] = batch.NextOffset()
		records = rest
	}
	k.changed = append(k.changed, partition)
	return arrived, nil
}
