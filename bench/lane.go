package main

import (
	"fmt"
	"path/filepath"
	"time"
)

// tailClient is the client id of the consumers that wait at a log's end.
const tailClient = "tail"

// lane is one contender with a topic of its own on it, or what a raw limit has for
// one.
type lane struct {
	c      *contender
	t      *topic
	answer answer
	// batches is how many the topic has: the next one's number in its partition.
	batches int
}

// lanes makes the topic on each broker.
func lanes(cs []*contender, t *topic, configs ...string) (map[*contender]*lane, error) {
	made := map[*contender]*lane{}
	return made, each(cs, func(c *contender) error {
		l, err := c.lane(t, configs...)
		made[c] = l
		return err
	})
}

// lane makes the topic on a broker, and produces its first batch.
func (c *contender) lane(t *topic, configs ...string) (*lane, error) {
	if err := t.create(c.server.port, configs...); err != nil {
		return nil, err
	}
	p, err := t.firstProduce(c.server.port)
	if err != nil {
		return nil, err
	}
	p.c.close()
	return &lane{c: c, t: t, answer: p.answer, batches: 1}, nil
}

// rawEcho starts an echo of the topic's produce requests and their answers.
func (s *scene) rawEcho(name string, t *topic, a answer, args ...string) (*lane, error) {
	c, err := s.rawLimit(name, append([]string{"-in", itoa(len(t.frames[0])), "-out", itoa(a.bytes)}, args...)...)
	if err != nil {
		return nil, err
	}
	return &lane{c: c, t: t, answer: answer{bytes: a.bytes}}, nil
}

// rawFanout starts the sendfile loop that delivers the topic's batches to all.
func (s *scene) rawFanout(name string, t *topic, a answer) (*lane, error) {
	_, offsetAt := fetchFrame(tailClient, t.name, 1<<20)
	c, err := s.rawLimit(name, "-kind", "fanout", "-offset-at", itoa(offsetAt), "-in", itoa(t.batchBytes), "-out", itoa(a.bytes),
		"-topic", t.name, "-records", itoa(t.records), "-file", filepath.Join(s.dir, "fanout"))
	if err != nil {
		return nil, err
	}
	return &lane{c: c, t: t, answer: answer{bytes: a.bytes}}, nil
}

// producers connects producers.
func (l *lane) producers(n int) ([]*producer, error) {
	clients, err := dialMany(l.c.server.port, n)
	return producersOf(clients, l.answer), err
}

// producer connects one.
func (l *lane) producer() (*producer, error) {
	all, err := l.producers(1)
	if err != nil {
		return nil, err
	}
	return all[0], nil
}

func (l *lane) nextOffset() int64 { return int64(l.batches * l.t.records) }

// consumer connects a consumer that begins behind what the topic has.
func (l *lane) consumer(client string, maxBytes int32, check bool) (*consumer, error) {
	return l.t.consume(l.c.server.port, client, l.nextOffset(), maxBytes, check)
}

// openLoop is a stream's shape.
type openLoop struct {
	perSecond  float64 // batches
	seconds    float64
	producers  int
	consumers  int
	fetchBytes int32
	check      bool
	beside     *members // heartbeat meanwhile; nil: nobody does
}

// stream plays an open loop on fresh connections.
func (l *lane) stream(o openLoop) (*measurement, error) {
	st := &stream{t: l.t, interval: int64(1e9 / o.perSecond), count: int(o.perSecond * o.seconds), first: l.nextOffset(), beside: o.beside}
	producers, err := l.producers(max(o.producers, 1))
	if err != nil {
		return nil, err
	}
	defer func() {
		for _, p := range producers {
			p.c.close()
		}
		for _, k := range st.readers {
			k.c.close()
		}
	}()
	for range o.consumers {
		k, err := l.consumer(tailClient, max(o.fetchBytes, 1<<20), o.check)
		if err != nil {
			return nil, err
		}
		st.readers = append(st.readers, k)
	}
	watch := l.c.stopwatch()
	err = st.run(producers)
	l.batches += st.count
	if err != nil {
		return nil, err
	}
	return watch.stop(&measurement{latency: st.latency, service: st.service, late: st.late, ops: int64(st.count), bytes: st.bytes}), nil
}

// roundTrips times n produce round trips, one at a time, after a few that are not
// counted: a process that was stopped has to come back first.
func (l *lane) roundTrips(n int) (*measurement, error) {
	p, err := l.producer()
	if err != nil {
		return nil, err
	}
	defer p.c.close()
	defer onThread()()
	m := &measurement{latency: newHistogram(), ops: int64(n), bytes: int64(n * l.t.batchBytes)}
	const uncounted = 200
	watch := l.c.stopwatch()
	for i := range n + uncounted {
		if i == uncounted {
			watch = l.c.stopwatch()
		}
		begun := nanotime()
		if err := p.c.write(l.t.frame(l.batches)); err != nil {
			return nil, err
		}
		if err := p.acknowledged(); err != nil {
			return nil, err
		}
		if i >= uncounted {
			m.latency.record(nanotime() - begun)
		}
		l.batches++
	}
	return watch.stop(m), nil
}

// roundTripsToConsumer times, n times, a batch from its sending to its arrival at a
// consumer that waits for it.
func (l *lane) roundTripsToConsumer(n int, check bool) (*measurement, error) {
	p, err := l.producer()
	if err != nil {
		return nil, err
	}
	defer p.c.close()
	k, err := l.consumer(tailClient, 1<<20, check)
	if err != nil {
		return nil, err
	}
	defer k.c.close()
	defer onThread()()
	if err := k.ask(); err != nil {
		return nil, err
	}
	time.Sleep(5 * time.Millisecond)
	m := &measurement{latency: newHistogram(), ops: int64(n)}
	const uncounted = 200
	watch := l.c.stopwatch()
	for i := range n + uncounted {
		if i == uncounted {
			watch = l.c.stopwatch()
		}
		begun := nanotime()
		if err := p.c.write(l.t.frame(l.batches)); err != nil {
			return nil, err
		}
		d, err := k.receive()
		for err == nil && d.batches == 0 { // a long poll that ended just before
			if err = k.ask(); err == nil {
				d, err = k.receive()
			}
		}
		if err != nil {
			return nil, err
		}
		if i >= uncounted {
			m.latency.record(nanotime() - begun)
			m.bytes += int64(d.bytes)
		}
		// The next fetch is on its way before the acknowledgement is read: the consumer waits.
		if err := k.ask(); err != nil {
			return nil, err
		}
		if err := p.acknowledged(); err != nil {
			return nil, err
		}
		l.batches++
		if d.batches != 1 {
			return nil, fmt.Errorf("%d batches came of one", d.batches)
		}
	}
	return watch.stop(m), nil
}
