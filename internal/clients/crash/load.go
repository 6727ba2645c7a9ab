package crash

import (
	"context"
	"math/rand"
	"sync"
	"time"

	"slipstream/internal/clients/harness"

	"github.com/twmb/franz-go/pkg/kgo"
)

// Load is the clients of one round.
type Load struct {
	l    *Ledger
	addr string
	ctx  context.Context
	stop context.CancelFunc
	done sync.WaitGroup
}

// Load starts the clients. They end when the broker is gone and Stop is called.
func (l *Ledger) Load(addr string) *Load {
	ld := &Load{l: l, addr: addr}
	ld.ctx, ld.stop = context.WithCancel(context.Background())
	for _, w := range l.all {
		switch w.kind {
		case 'i', 'p':
			seed := l.rng.Int63()
			ld.done.Go(func() { ld.produce(w, rand.New(rand.NewSource(seed))) })
		case 'a':
			ld.done.Go(func() { w.again.run(ld) })
		}
	}
	for _, w := range l.txns.writers {
		seed := l.rng.Int63()
		ld.done.Go(func() { w.run(ld, rand.New(rand.NewSource(seed))) })
	}
	seed := l.rng.Int63()
	ld.done.Go(func() { l.admin.run(ld, rand.New(rand.NewSource(seed))) })
	ld.done.Go(func() { l.group.run(ld) })
	return ld
}

// Stop ends the clients, whether the broker is there or not, and returns when none of them will enter anything any more.
func (ld *Load) Stop() {
	ld.stop()
	ld.done.Wait()
}

// pause waits, and says whether the load goes on.
func (ld *Load) pause(d time.Duration) bool {
	select {
	case <-ld.ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}

// client options for a broker that is going to die: nothing is tried for long.
func options(addr string, more ...kgo.Opt) []kgo.Opt {
	return append([]kgo.Opt{
		kgo.SeedBrokers(addr), kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.MetadataMinAge(20 * time.Millisecond),
		kgo.RetryBackoffFn(func(int) time.Duration { return 20 * time.Millisecond }), kgo.RetryTimeout(20 * time.Second),
		kgo.DialTimeout(10 * time.Second),
	}, more...)
}

// burst is how many records are handed to a client at a time.
const burst = 10

// produce sends a writer's records until the load ends.
func (ld *Load) produce(w *writer, rng *rand.Rand) {
	l := ld.l
	opts := options(ld.addr, kgo.DefaultProduceTopic(w.of.name), kgo.ProducerLinger(time.Millisecond), kgo.MaxBufferedRecords(400), kgo.ProducerBatchMaxBytes(16<<10),
		kgo.ProducerBatchCompression(harness.KgoCodec(harness.Codecs[rng.Intn(len(harness.Codecs))])))
	if w.kind == 'p' {
		opts = append(opts, kgo.RequiredAcks(kgo.LeaderAck()), kgo.DisableIdempotentWrite(), kgo.MaxProduceRequestsInflightPerBroker(1))
	} else {
		opts = append(opts, kgo.StopProducerOnDataLossDetected())
	}
	cl, err := kgo.NewClient(opts...)
	if err != nil {
		l.finding("%v, producer %d: %v", w.log, w.id, err)
		return
	}
	var answers sync.WaitGroup
	for ld.pause(time.Duration(float64(time.Second) * burst / float64(l.o.PerSecond) * (0.5 + rng.Float64()))) {
		for range burst {
			answers.Add(1)
			ld.send(cl, w, &answers)
		}
	}
	cl.Close() // what is not answered by now is looked for in the log
	answers.Wait()
}

// send produces a writer's next record.
func (ld *Load) send(cl *kgo.Client, w *writer, answers *sync.WaitGroup) {
	l := ld.l
	l.mu.Lock()
	number := w.next()
	l.mu.Unlock()
	r := &kgo.Record{Partition: w.log.partition, Value: w.value(number)}
	if w.of.cleanup == compacts {
		r.Key, r.Headers = w.key(number), w.headers(number)
	}
	cl.Produce(ld.ctx, r, func(r *kgo.Record, err error) {
		defer answers.Done()
		if err == nil {
			l.acknowledged(w, number, r.Offset)
		}
	})
}
