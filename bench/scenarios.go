package main

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
	"github.com/twmb/franz-go/pkg/kmsg"
	"golang.org/x/sys/unix"
)

// roundTrips times n round trips of one request on one connection into h.
func roundTrips(t *target, frame []byte, n int, h *hdrhistogram.Histogram) error {
	response := make([]byte, t.responseBytes)
	for range n {
		begun := nanotime()
		if err := t.c.write(frame); err != nil {
			return err
		}
		if err := t.receive(response); err != nil {
			return err
		}
		if h != nil {
			h.RecordValue(min(nanotime()-begun, maxLatency))
		}
	}
	return nil
}

const maxLatency = int64(10 * time.Second)

func newHistogram() *hdrhistogram.Histogram { return hdrhistogram.New(100, maxLatency, 3) }

func nanotime() int64 {
	var ts unix.Timespec
	unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts)
	return ts.Nano()
}

// receive reads one response and checks that it says what the first one said, up
// to and with the error code.
func (t *target) receive(response []byte) error {
	if err := t.c.readFull(response); err != nil {
		return err
	}
	if n := len(t.head); n > 0 && !bytes.Equal(response[:n], t.head) {
		return fmt.Errorf("%s answered % x, the first time % x", t.name, response[:n], t.head)
	}
	return nil
}

func (r *run) roundTrip() error {
	return r.roundTripUnder("rtt", "park", false, goal{atMost: 1.35}, goal{atMost: 2})
}

func (r *run) roundTripSpinning() error {
	return r.roundTripUnder("spin", "spin", true, goal{atMost: 1.6}, goal{atMost: 2})
}

// roundTripUnder measures the produce round trip of 1 KiB, one connection, one
// request in flight, beside an echo of the same sizes.
func (r *run) roundTripUnder(scenario, policy string, spin bool, p50, p999 goal) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	frame := produceFrame("rtt", batchOf(1, 1024))
	targets, stop, err := r.brokers("rtt", frame, "--set", "slipstream.wait.policy="+policy)
	if err != nil {
		return err
	}
	defer stop()
	args := []string{"-in", fmt.Sprint(len(frame)), "-out", fmt.Sprint(targets[0].responseBytes)}
	if spin {
		args = append(args, "-spin")
	}
	e, err := rawTarget("echo", targets[0].responseBytes, args...)
	if err != nil {
		return err
	}
	defer e.stop()
	return r.interleaveRoundTrips(scenario, append(targets, e), frame, p50, p999)
}

// target is one server under a comparison.
type target struct {
	name          string
	server        *server
	c             *client
	responseBytes int
	head          []byte // of every response
	all           *hdrhistogram.Histogram
	rounds        []*hdrhistogram.Histogram
}

// open makes a topic of one partition and produces to it.
func (t *target) open(topic string, frame []byte) error {
	if err := createTopic(t.server.port, topic, nil); err != nil {
		return err
	}
	return t.produceOnce(topic, frame)
}

// produceOnce connects and produces frame once: its answer must be without
// error, and is what later ones are held against.
func (t *target) produceOnce(topic string, frame []byte) (err error) {
	if t.c, err = dial(t.server.port); err != nil {
		return err
	}
	if err := t.c.write(frame); err != nil {
		return err
	}
	first := make([]byte, 4)
	if err := t.c.readFull(first); err != nil {
		return err
	}
	first = append(first, make([]byte, binary.BigEndian.Uint32(first))...)
	if err := t.c.readFull(first[4:]); err != nil {
		return err
	}
	resp := kmsg.NewPtrProduceResponse()
	resp.Version = produceVersion
	if err := resp.ReadFrom(first[9:]); err != nil {
		return err
	}
	if code := resp.Topics[0].Partitions[0].ErrorCode; code != 0 {
		return fmt.Errorf("produce: error %d", code)
	}
	// length, correlation id, tags, one topic, its name, one partition, index, error code
	t.responseBytes, t.head = len(first), first[:4+4+1+1+1+len(topic)+1+4+2]
	return nil
}

// brokers starts what is compared, slipstream first, each with a topic and a
// connection that has produced frame to it once.
func (r *run) brokers(topic string, frame []byte, args ...string) ([]*target, func(), error) {
	var targets []*target
	stop := func() {
		for _, t := range targets {
			t.stop()
		}
	}
	broker, _, err := r.startBroker("", args...)
	if err != nil {
		return nil, nil, err
	}
	targets = append(targets, &target{name: "slipstream", server: broker})
	if r.peer {
		peer, err := r.startKafka()
		if err != nil {
			stop()
			return nil, nil, err
		}
		targets = append(targets, &target{name: "kafka", server: peer})
	}
	for _, t := range targets {
		if err := t.open(topic, frame); err != nil {
			stop()
			return nil, nil, fmt.Errorf("%s: %w", t.name, err)
		}
	}
	return targets, stop, nil
}

// rawTarget starts one of raw.go's servers and connects to it.
func rawTarget(name string, responseBytes int, args ...string) (*target, error) {
	s, err := startRaw(args...)
	if err != nil {
		return nil, err
	}
	t := &target{name: name, server: s, responseBytes: responseBytes}
	if t.c, err = dial(s.port); err != nil {
		s.stop()
		return nil, err
	}
	return t, nil
}

func (t *target) stop() {
	if t.c != nil {
		t.c.close()
	}
	t.server.stop()
}

// interleaveRoundTrips measures the targets in turn, the last being the echo, and
// reports the medians of the rounds' ratios.
func (r *run) interleaveRoundTrips(scenario string, targets []*target, frame []byte, p50, p999 goal) error {
	const perRound = 4000
	for round := -1; round < r.rounds; round++ {
		for _, t := range targets {
			h := newHistogram()
			if err := roundTrips(t, frame, perRound, h); err != nil {
				return fmt.Errorf("%s: %w", t.name, err)
			}
			if round < 0 {
				t.all = newHistogram()
				continue // a warm-up
			}
			t.all.Merge(h)
			t.rounds = append(t.rounds, h)
		}
	}
	echo := targets[len(targets)-1]
	for i, t := range targets[:len(targets)-1] {
		for _, q := range []struct {
			percentile float64
			name       string
			goal       goal
		}{{50, "p50", p50}, {99, "p99", goal{}}, {99.9, "p99.9", p999}} {
			var ratios []float64
			for k := range t.rounds {
				ratios = append(ratios, float64(t.rounds[k].ValueAtPercentile(q.percentile))/
					float64(echo.rounds[k].ValueAtPercentile(q.percentile)))
			}
			g := q.goal
			if i > 0 {
				g = goal{} // the peer's
			}
			r.reportRatio(scenario, t.name+" 1 KiB "+q.name, micros(t.all, q.percentile), "echo",
				micros(echo.all, q.percentile), median(ratios), "us", g)
		}
	}
	return nil
}

func micros(h *hdrhistogram.Histogram, p float64) float64 {
	return float64(h.ValueAtPercentile(p)) / 1e3
}

func median(v []float64) float64 {
	if len(v) == 0 {
		return 0
	}
	s := slices.Clone(v)
	slices.Sort(s)
	return s[len(s)/2]
}

// throughput measures one connection with 8 requests of a 16 KiB batch in flight.
func (r *run) throughput() error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	const inFlight, total = 8, 256 << 20
	frame := produceFrame("throughput", batchOf(16, 1000))
	targets, stop, err := r.brokers("throughput", frame)
	if err != nil {
		return err
	}
	defer stop()
	raw, err := rawTarget("raw sink", targets[0].responseBytes, "-kind", "sink", "-in", fmt.Sprint(len(frame)),
		"-out", fmt.Sprint(targets[0].responseBytes), "-file", filepath.Join(r.dir, "sink"))
	if err != nil {
		return err
	}
	defer raw.stop()
	targets = append(targets, raw)
	rate, cpu := r.interleaveRates(targets, func(t *target) (int, error) {
		share := total / r.rounds
		return share / len(frame) * len(frame), pipeline(t, frame, share/len(frame), inFlight)
	})
	r.reportRates("throughput", targets, rate, cpu, goal{}, goal{atLeast: 6}, goal{atMost: 1.0 / 6})
	return nil
}

// pipeline sends n frames with inFlight of them unanswered at most.
func pipeline(t *target, frame []byte, n, inFlight int) error {
	response := make([]byte, t.responseBytes)
	for i := range n + inFlight {
		if i >= inFlight {
			if err := t.receive(response); err != nil {
				return err
			}
		}
		if i < n {
			if err := t.c.write(frame); err != nil {
				return err
			}
		}
	}
	return nil
}

// interleaveRates runs work for each target in turn and returns, per target and
// round, GB/s and server CPU seconds per GB.
func (r *run) interleaveRates(targets []*target, work func(*target) (int, error)) (rate, cpu [][]float64) {
	rate, cpu = make([][]float64, len(targets)), make([][]float64, len(targets))
	for round := -1; round < r.rounds; round++ {
		for i, t := range targets {
			begun, used := time.Now(), t.server.cpuSeconds()
			bytes, err := work(t)
			if err != nil {
				fmt.Fprintf(os.Stderr, "%s: %v\n", t.name, err)
				continue
			}
			if round < 0 {
				continue
			}
			gb := float64(bytes) / 1e9
			rate[i] = append(rate[i], gb/time.Since(begun).Seconds())
			cpu[i] = append(cpu[i], (t.server.cpuSeconds()-used)/gb)
		}
	}
	return rate, cpu
}

// reportRates reports ours beside each of the others; rawRate is the goal beside
// the last target, peerRate and peerCPU those beside Apache Kafka.
func (r *run) reportRates(scenario string, targets []*target, rate, cpu [][]float64, rawRate, peerRate, peerCPU goal) {
	for i := 1; i < len(targets); i++ {
		g, gc := peerRate, peerCPU
		if i == len(targets)-1 {
			g, gc = rawRate, goal{}
		}
		r.reportRatio(scenario, "rate", median(rate[0]), targets[i].name, median(rate[i]), median(pairwise(rate[0], rate[i])), "GB/s", g)
		// CPU comes in hundredths of a second: sums over the rounds, not medians.
		r.report(scenario, "server CPU", mean(cpu[0]), targets[i].name, mean(cpu[i]), "s/GB", gc)
	}
}

func pairwise(a, b []float64) (ratios []float64) {
	for i := range min(len(a), len(b)) {
		ratios = append(ratios, a[i]/b[i])
	}
	return ratios
}

func mean(v []float64) (sum float64) {
	for _, x := range v {
		sum += x
	}
	return sum / float64(max(len(v), 1))
}

// consume measures 1 MiB fetches of a log that is in the page cache, on one
// connection, the bytes discarded in the receiver's kernel.
func (r *run) consume() error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	const fetchBytes, logBytes = 1 << 20, 256 << 20
	frame := produceFrame("consume", batchOf(250, 1000))
	targets, stop, err := r.brokers("consume", frame)
	if err != nil {
		return err
	}
	defer stop()
	for _, t := range targets {
		if err := pipeline(t, frame, logBytes/len(frame), 4); err != nil {
			return err
		}
	}
	fetch, offsetAt := fetchFrame("consume", 0, fetchBytes)
	segments := segmentFiles(targets[0].server.dir, "consume")
	if len(segments) == 0 {
		return fmt.Errorf("no segment of topic consume in %s", targets[0].server.dir)
	}
	raw, err := rawTarget("raw sendfile", 0, "-kind", "sendfile", "-in", fmt.Sprint(len(fetch)), "-out", fmt.Sprint(fetchBytes), "-file", segments[0])
	if err != nil {
		return err
	}
	defer raw.stop()
	targets = append(targets, raw)
	scratch := make([]byte, 1<<20)
	rate, cpu := r.interleaveRates(targets, func(t *target) (int, error) {
		if t == raw {
			return logBytes, fetchRaw(t.c, fetch, fetchBytes, logBytes/fetchBytes, scratch)
		}
		return fetchLog(t.c, fetch, offsetAt, logBytes/len(frame)*250, scratch)
	})
	r.reportRates("consume", targets, rate, cpu, goal{atLeast: 0.7}, goal{}, goal{})
	return nil
}

func fetchRaw(c *client, request []byte, bytes, n int, scratch []byte) error {
	for range n {
		if err := c.write(request); err != nil {
			return err
		}
		if err := c.discard(bytes, scratch); err != nil {
			return err
		}
	}
	return nil
}

// fetchLog reads a log from offset 0 to end, fetch by fetch. It reads the fixed
// head of each response, counts how many whole batches the records are from
// their size (every batch is alike), and discards the rest.
func fetchLog(c *client, request []byte, offsetAt int, end int, scratch []byte) (bytes int, err error) {
	const batchRecords = 250
	batchBytes := len(batchOf(batchRecords, 1000))
	for offset := 0; offset < end; {
		binary.BigEndian.PutUint64(request[offsetAt:], uint64(offset))
		if err := c.write(request); err != nil {
			return bytes, err
		}
		var size [4]byte
		if err := c.readFull(size[:]); err != nil {
			return bytes, err
		}
		n := int(binary.BigEndian.Uint32(size[:]))
		if err := c.discard(n, scratch); err != nil {
			return bytes, err
		}
		whole := n / batchBytes
		if whole == 0 {
			return bytes, fmt.Errorf("a fetch at offset %d of %d returned %d bytes: no whole batch", offset, end, n)
		}
		offset += whole * batchRecords
		bytes += n
	}
	return bytes, nil
}
