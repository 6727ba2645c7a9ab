package main

import (
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// quotaClients are connections of one client that produce or fetch as fast as they
// are answered, as throttled clients do. They share one event loop, Go's own: what is
// measured of them is how much they get through, not how fast.
type quotaClients struct {
	l       *lane
	id      string
	frame   []byte
	fetches bool

	connections []net.Conn
	stopped     atomic.Bool
	bytes       atomic.Int64
	throttled   atomic.Int64 // answers that told to wait
	wg          sync.WaitGroup
	mu          sync.Mutex
	err         error
}

// newQuotaClients makes n connections' worth of a client that produces the lane's
// batches, or fetches from the beginning of its topic.
func newQuotaClients(l *lane, id string, fetches bool) *quotaClients {
	q := &quotaClients{l: l, id: id, fetches: fetches}
	if fetches {
		q.frame, _ = fetchFrame(id, l.t.name, fetchBytes)
		return q
	}
	req := kmsg.NewPtrProduceRequest()
	req.Version, req.Acks, req.TimeoutMillis = produceVersion, 1, 30000
	topic := kmsg.NewProduceRequestTopic()
	topic.Topic = l.t.name
	p := kmsg.NewProduceRequestTopicPartition()
	p.Records = l.t.batches[0]
	topic.Partitions = append(topic.Partitions, p)
	req.Topics = append(req.Topics, topic)
	q.frame = kmsg.NewRequestFormatter(kmsg.FormatterClientID(id)).AppendRequest(nil, req, correlation)
	return q
}

// start lets n connections work.
func (q *quotaClients) start(n int) error {
	for range n {
		c, err := net.Dial("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(q.l.c.server.port)))
		if err != nil {
			q.stop()
			return err
		}
		q.connections = append(q.connections, c)
	}
	for _, c := range q.connections {
		q.wg.Go(func() {
			if err := q.work(c); err != nil && !q.stopped.Load() {
				q.mu.Lock()
				q.err = err
				q.mu.Unlock()
			}
		})
	}
	return nil
}

// work goes on until the connection is closed.
func (q *quotaClients) work(c net.Conn) error {
	header := make([]byte, 4)
	body := make([]byte, 2*fetchBytes)
	for !q.stopped.Load() {
		if _, err := c.Write(q.frame); err != nil {
			return err
		}
		if _, err := io.ReadFull(c, header); err != nil {
			return err
		}
		n := int(binary.BigEndian.Uint32(header))
		if n > len(body) {
			return fmt.Errorf("an answer of %d bytes", n)
		}
		if _, err := io.ReadFull(c, body[:n]); err != nil {
			return err
		}
		switch {
		case !q.fetches:
			q.bytes.Add(int64(len(q.frame)))
		case n > q.l.t.batchBytes: // else it was throttled, and empty
			q.bytes.Add(int64(n))
		default:
			q.throttled.Add(1)
		}
	}
	return nil
}

// stop ends them.
func (q *quotaClients) stop() error {
	q.stopped.Store(true)
	for _, c := range q.connections {
		c.Close()
	}
	q.wg.Wait()
	return q.err
}

// rate is what n connections get through a second, from their first request on for so long.
func (q *quotaClients) rate(n int, seconds float64) (*measurement, error) {
	watch := q.l.c.stopwatch()
	if err := q.start(n); err != nil {
		return nil, err
	}
	time.Sleep(time.Duration(seconds * float64(time.Second)))
	m := watch.stop(&measurement{bytes: q.bytes.Load()})
	return m, q.stop()
}

// setQuota bounds a client id; a value of 0 frees it.
func (c *contender) setQuota(id, key string, value float64) error {
	k, err := dial(c.server.port)
	if err != nil {
		return err
	}
	defer k.close()
	req := kmsg.NewPtrAlterClientQuotasRequest()
	req.Version = 1
	e := kmsg.NewAlterClientQuotasRequestEntry()
	e.Entity = append(e.Entity, kmsg.AlterClientQuotasRequestEntryEntity{Type: "client-id", Name: &id})
	e.Ops = append(e.Ops, kmsg.AlterClientQuotasRequestEntryOp{Key: key, Value: value, Remove: value == 0})
	req.Entries = append(req.Entries, e)
	resp, err := k.call(req)
	if err != nil {
		return err
	}
	if code := resp.(*kmsg.AlterClientQuotasResponse).Entries[0].ErrorCode; code != 0 {
		return fmt.Errorf("setting a quota: error %d", code)
	}
	return nil
}
