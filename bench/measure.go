package main

import (
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

var processBegan = time.Now()

// nanotime is a monotonic clock in nanoseconds, read without a system call.
func nanotime() int64 { return int64(time.Since(processBegan)) }

// role is what a contender is to the comparison.
type role int

const (
	ours role = iota // slipstream
	peer             // Apache Kafka
	raw              // the least that any server could do
)

// contender is one server under a comparison.
type contender struct {
	name   string
	role   role
	server *server
	gone   error // why it no longer takes part
}

// measurement is what one round found of one contender. The fields that a work
// does not know are left 0 or nil.
type measurement struct {
	latency *histogram // from the intended time of each operation
	service *histogram // from the time at which it was really sent
	late    *histogram // how late the generator was in sending it
	ops     int64
	bytes   int64
	lost    int64 // operations that were not answered in time
	extra   map[string]float64

	seconds   float64
	serverCPU float64 // seconds of user and system time
	loadCPU   float64 // the generator's
}

// trial is one contender's rounds of one work.
type trial struct {
	c      *contender
	what   string
	rounds []*measurement
	// counted is what slipstream counted in all rounds, the warm-up included. It is not
	// asked in between: answering is work too.
	counted counters
}

// work loads one contender for one round. Round -1 is a warm-up.
type work func(c *contender, round int) (*measurement, error)

// interleave lets each contender work in turn, rounds times after a warm-up, with
// the others stopped. A peer that fails leaves the comparison; if another fails,
// so does the comparison.
func (s *scene) interleave(what string, rounds int, contenders []*contender, w work) ([]*trial, error) {
	trials := make([]*trial, len(contenders))
	for i, c := range contenders {
		trials[i] = &trial{c: c, what: what, counted: c.counters()}
	}
	defer quietCollector()()
	for round := -1; round < rounds; round++ {
		for i := range trials {
			// Every other round goes backwards, so that what one leaves behind for the next (caches,
			// dirty pages, a device's queue) falls on both.
			t := trials[i]
			if round%2 != 0 {
				t = trials[len(trials)-1-i]
			}
			if t.c.gone != nil {
				continue
			}
			m, err := measure(t.c, round, w)
			if err != nil && t.c.role == peer {
				t.c.gone = err
				s.note("%s left the comparison: %s: %v", t.c.name, what, err)
				continue
			}
			if err != nil {
				return nil, fmt.Errorf("%s: %s: %w", t.c.name, what, err)
			}
			if round >= 0 {
				t.rounds = append(t.rounds, m)
			}
		}
	}
	for _, t := range trials {
		t.counted = t.c.counters().since(t.counted)
		s.keep(t)
	}
	return trials, nil
}

// measure runs one round. What the work does before it starts its stopwatch, and
// after it has stopped it, is not in the figures.
func measure(c *contender, round int, w work) (*measurement, error) {
	c.server.resume()
	defer c.server.pause()
	m, err := w(c, round)
	if err != nil {
		return nil, fmt.Errorf("%w%s", err, c.server.obituary())
	}
	return m, nil
}

// stopwatch measures time, and the processor time that both sides use in it.
type stopwatch struct {
	c           *contender
	begun       int64
	server, own float64
}

func (c *contender) stopwatch() stopwatch {
	return stopwatch{c, nanotime(), c.server.cpuSeconds(), ownCPUSeconds()}
}

// stop enters what was measured.
func (w stopwatch) stop(m *measurement) *measurement {
	m.seconds = float64(nanotime()-w.begun) / 1e9
	m.serverCPU, m.loadCPU = w.c.server.cpuSeconds()-w.server, ownCPUSeconds()-w.own
	return m
}

// ownCPUSeconds is the generator's user and system time so far.
func ownCPUSeconds() float64 {
	var u unix.Rusage
	if unix.Getrusage(unix.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return float64(u.Utime.Nano()+u.Stime.Nano()) / 1e9
}

// merged are the latencies of all rounds, picked by part.
func (t *trial) merged(part func(*measurement) *histogram) *histogram {
	all := newHistogram()
	for _, m := range t.rounds {
		all.merge(part(m))
	}
	return all
}

func latencyOf(m *measurement) *histogram { return m.latency }
func serviceOf(m *measurement) *histogram { return m.service }
func lateOf(m *measurement) *histogram    { return m.late }

// quantile is a percentile of the latencies, in microseconds. It is in doubt when
// more than half of it may be the generator's own lateness.
func (t *trial) quantile(percentile float64) series {
	v := series{who: t.c.name, all: t.merged(latencyOf).micros(percentile)}
	for _, m := range t.rounds {
		v.rounds = append(v.rounds, m.latency.micros(percentile))
	}
	if late := t.merged(lateOf).micros(percentile); late > v.all/2 {
		v.doubt = fmt.Sprintf("the generator itself was %s us late there", digits(late))
	}
	return v
}

// per is a quantity of each round divided by another, and the sums divided.
func (t *trial) per(over, under func(*measurement) float64) series {
	v := series{who: t.c.name}
	var a, b float64
	for _, m := range t.rounds {
		a, b = a+over(m), b+under(m)
		if under(m) != 0 {
			v.rounds = append(v.rounds, over(m)/under(m))
		}
	}
	if b != 0 {
		v.all = a / b
	}
	return v
}

func gigabytes(m *measurement) float64  { return float64(m.bytes) / 1e9 }
func operations(m *measurement) float64 { return float64(m.ops) }
func seconds(m *measurement) float64    { return m.seconds }
func serverCPU(m *measurement) float64  { return m.serverCPU }

// rate is in GB/s: the median of the rounds, since one slow round (a writeback, a
// neighbour) says nothing of the server.
func (t *trial) rate() series {
	v := t.per(gigabytes, seconds)
	v.all = median(v.rounds)
	return v
}

// opsRate is in operations a second.
func (t *trial) opsRate() series {
	v := t.per(operations, seconds)
	v.all = median(v.rounds)
	return v
}

// cpuPerGB is the server's processor seconds for each GB.
func (t *trial) cpuPerGB() series { return t.per(serverCPU, gigabytes) }

func (t *trial) sum(part func(*measurement) float64) (v float64) {
	for _, m := range t.rounds {
		v += part(m)
	}
	return v
}

// of finds the trial of a role; nil if it does not take part.
func of(trials []*trial, r role) *trial {
	for _, t := range trials {
		if t.c.role == r && t.c.gone == nil && len(t.rounds) > 0 {
			return t
		}
	}
	return nil
}

func sleepSeconds(v float64) { time.Sleep(time.Duration(v * float64(time.Second))) }
