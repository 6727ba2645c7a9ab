package txn

import (
	"fmt"
	"testing"
)

// TestWorkAfterLoading: however many transactional ids there are, loading ends in bounded pieces, and none is forgotten:
// what was ending gets its markers, what has run out of time is aborted, and what is asked for meanwhile is answered.
func TestWorkAfterLoading(t *testing.T) {
	const ids = 3*workedOn + 7
	log := New(DefaultConfig(), 1)
	log.Loaded(0)
	records := map[string][2][]byte{}
	drain := func(c *Coordinator, now int64) (markers int) {
		for c.HasReady() {
			r := c.Ready()
			for _, x := range r.Records {
				records[string(x.Key)] = [2][]byte{append([]byte(nil), x.Key...), append([]byte(nil), x.Value...)}
			}
			if r.ProducerIDs > 0 {
				c.AddProducerIDs(now, int64(len(records))*1000, r.ProducerIDs)
			}
			if r.Append != 0 {
				c.Committed(now, r.Append)
			}
			markers += len(r.Markers)
		}
		return markers
	}
	for i := range ids {
		id := fmt.Sprint("id-", i)
		log.InitProducerID(0, nil, InitProducerID{TransactionalID: id, TimeoutMillis: 1000, ProducerID: -1, ProducerEpoch: -1})
		drain(log, 0)
		x := log.byID[id]
		log.AddPartitions(0, nil, AddPartitions{TransactionalID: id, ProducerID: x.producerID, ProducerEpoch: x.producerEpoch, Partitions: []TopicPartition{{"t", 0}}})
		drain(log, 0)
		if i%2 == 0 {
			log.EndTxn(0, nil, EndTxn{TransactionalID: id, ProducerID: x.producerID, ProducerEpoch: x.producerEpoch, Commit: true})
			drain(log, 0) // its marker is never reported
		}
	}
	c := New(DefaultConfig(), 2)
	for _, r := range records {
		if err := c.Load(r[0], r[1]); err != nil {
			t.Fatal(err)
		}
	}
	c.Loaded(10)
	if !c.HasWork() || len(c.due) > workedOn {
		t.Fatalf("%d ids were looked at in one piece", len(c.due))
	}
	markers, pieces := drain(c, 10), 1
	for ; c.HasWork(); pieces++ {
		c.Work(10)
		markers += drain(c, 10)
	}
	if markers != ids/2+1 || pieces != 4 {
		t.Errorf("%d markers in %d pieces, want %d in 4", markers, pieces, ids/2+1)
	}
	for now := int64(2000); c.Deadline() <= now; {
		c.Tick(now)
		markers += drain(c, now)
	}
	if markers != ids || c.Stats.TimedOut != ids/2 {
		t.Errorf("%d markers and %d timed out after the timeout, want %d and %d", markers, c.Stats.TimedOut, ids, ids/2)
	}
}
