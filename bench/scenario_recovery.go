package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"slipstream/protocol"
)

// grownLog is a partition whose segments the generator writes, as a broker leaves them: a directory that Apache Kafka has made, if it is there, else
// slipstream, with a topic of one partition. Whoever opens it must find the log's end.
type grownLog struct {
	r        *run
	dir      string // with Kafka's configuration, if it is one
	data     string
	topic    string
	config   string
	port     int // Kafka's
	clean    []byte
	closed   []byte // the batch of a closed segment
	dirty    []byte // one of the last segment's
	baseTime int64  // ms, of all records
	base     int64  // of the last segment
	end      int64
}

const grownRecords = 10 // of a batch

// recoverLogs measures the start of both brokers against the number of closed segments, after a clean stop and after kill -9, and against what the
// last segment holds.
func recoverLogs(s *scene) error {
	g, err := s.newGrownLog()
	if err != nil {
		return err
	}
	counts, dirty, fixed := []int{10, 100, 1000, 10000}, []int{64, 256, 1024}, 64
	if s.r.quick {
		counts, dirty, fixed = []int{10, 200}, []int{1, 4}, 1
	}
	roles := []role{ours}
	if s.r.peer {
		roles = append(roles, peer)
	}
	bySegments := graph{Title: "Time to start, by closed segments", Unit: "segments"}
	for _, clean := range []bool{true, false} {
		what, mb := "clean", 0
		if !clean {
			what, mb = fmt.Sprintf("killed, %d MiB", fixed), fixed
		}
		lines, err := s.starts(g, roles, what, counts, func(n int) error { return g.make(n, mb<<20, clean) })
		if err != nil {
			return err
		}
		bySegments.Lines = append(bySegments.Lines, lines...)
		for i, n := range counts {
			bound := goal{}
			if clean && n == 10000 {
				bound = oursBelow(1000)
			}
			s.versusLines(fmt.Sprintf("start with %d closed segments, %s", n, what), lines, i, bound)
		}
	}
	byBytes := graph{Title: "Time to start after kill -9, by what the last segment holds", Unit: "MiB"}
	closed := counts[len(counts)-2]
	lines, err := s.starts(g, roles, "killed", dirty, func(mb int) error { return g.make(closed, mb<<20, false) })
	if err != nil {
		return err
	}
	byBytes.Lines = lines
	for i, mb := range dirty {
		s.versusLines(fmt.Sprintf("start after kill -9, %d MiB to validate", mb), lines, i, goal{})
	}
	s.recoveryRates(lines)
	s.Graphs = append(s.Graphs, bySegments, byBytes)
	return nil
}

// starts measures starts of each contender against sizes.
func (s *scene) starts(g *grownLog, roles []role, what string, sizes []int, lay func(size int) error) ([]line, error) {
	lines := make([]line, len(roles))
	for i, who := range roles {
		lines[i] = line{Name: []string{ours: "slipstream", peer: "Apache Kafka"}[who] + ", " + what, Role: who}
	}
	for _, size := range sizes {
		for i, who := range roles {
			rounds := 3
			if who == peer || s.r.quick {
				rounds = 1
			}
			var millis []float64
			for range rounds {
				if err := lay(size); err != nil {
					return nil, err
				}
				took, err := g.open(who)
				if err != nil {
					return nil, fmt.Errorf("%s, %d: %w", lines[i].Name, size, err)
				}
				millis = append(millis, took.Seconds()*1e3)
			}
			lines[i].Sizes = append(lines[i].Sizes, float64(size))
			lines[i].Micros = append(lines[i].Micros, median(millis)*1e3)
		}
	}
	return lines, nil
}

// versusLines reports the i-th point of the lines.
func (s *scene) versusLines(name string, lines []line, i int, bound goal) {
	if len(lines) == 1 {
		if bound.OnOurs {
			bound.OnOurs = false
		}
		s.alone(name, "ms", series{all: lines[0].Micros[i] / 1e3}, bound)
		return
	}
	s.report(name, lines[0].Micros[i]/1e3, "Apache Kafka", lines[1].Micros[i]/1e3, "ms", bound)
}

// recoveryRates reports how fast bytes are validated: by how much a start takes longer with more of them.
func (s *scene) recoveryRates(lines []line) {
	var rates []float64
	for _, l := range lines {
		n := len(l.Sizes) - 1
		rates = append(rates, (l.Sizes[n]-l.Sizes[0])*(1<<20)/max(l.Micros[n]-l.Micros[0], 1))
	}
	if len(rates) == 1 {
		s.alone("validation of one segment", "MB/s", series{all: rates[0]}, goal{})
		return
	}
	s.report("validation of one segment", rates[0], "Apache Kafka", rates[1], "MB/s", goal{})
}

// newGrownLog makes the directory and the topic, with Apache Kafka if there is one.
func (s *scene) newGrownLog() (*grownLog, error) {
	g := &grownLog{r: s.r, dir: filepath.Join(s.dir, "log"), topic: "grown", baseTime: time.Now().UnixMilli()}
	g.closed = newTopic(g.topic, grownRecords, 100).batches[0]
	g.dirty = newTopic(g.topic, grownRecords, 1600).batches[0]
	g.data = g.dir
	var sv *server
	var err error
	if s.r.peer {
		if sv, err = s.r.startKafka(g.dir, nil); err == nil {
			g.data, g.config, g.port = sv.dir, filepath.Join(g.dir, "server.properties"), sv.port
		}
	} else {
		sv, err = s.r.startBroker(g.dir, nil)
	}
	if err != nil {
		return nil, err
	}
	t := newTopic(g.topic, 1, 10)
	if err := t.create(sv.port, "retention.ms", "-1"); err != nil {
		return nil, err
	}
	p, err := t.firstProduce(sv.port)
	if err != nil {
		return nil, err
	}
	p.c.close()
	if err := sv.stop(); err != nil && !s.r.peer {
		return nil, err
	}
	if g.clean, err = os.ReadFile(filepath.Join(g.data, ".kafka_cleanshutdown")); err != nil {
		return nil, fmt.Errorf("the first stop was not clean: %w", err)
	}
	return g, nil
}

// open starts a broker on the directory, waits for its answer, and ends it. The directory is to be made anew for the next.
func (g *grownLog) open(who role) (time.Duration, error) {
	begun := time.Now()
	var sv *server
	var err error
	if who == peer {
		sv, err = g.r.runKafka(g.dir, g.config, g.port, nil)
	} else {
		sv, err = g.r.startBroker(g.data, nil)
	}
	if err != nil {
		return 0, err
	}
	took, err := g.answered(sv, begun)
	if stopped := sv.stop(); err == nil && stopped != nil && who == ours {
		err = stopped
	}
	return took, err
}

// answered waits until a server says where the log ends.
func (g *grownLog) answered(sv *server, begun time.Time) (time.Duration, error) {
	for time.Since(begun) < 5*time.Minute {
		end, err := g.ask(sv)
		took := time.Since(begun)
		if err == nil && end == g.end {
			return took, nil
		}
		if err == nil {
			return took, fmt.Errorf("the log ends at %d, and should at %d: %s", end, g.end, sv.said)
		}
		if dead := sv.obituary(); dead != "" {
			return took, errors.New(dead)
		}
		time.Sleep(2 * time.Millisecond)
	}
	return 0, fmt.Errorf("no answer in five minutes: %s", sv.said)
}

// ask asks for the log's end.
func (g *grownLog) ask(sv *server) (int64, error) {
	c, err := dial(sv.port)
	if err != nil {
		return 0, err
	}
	defer c.close()
	req := kmsg.NewPtrListOffsetsRequest()
	req.SetVersion(7)
	req.ReplicaID = -1
	t := kmsg.NewListOffsetsRequestTopic()
	t.Topic = g.topic
	p := kmsg.NewListOffsetsRequestTopicPartition()
	p.Timestamp = -1
	t.Partitions = append(t.Partitions, p)
	req.Topics = append(req.Topics, t)
	resp, err := c.call(req)
	if err != nil {
		return 0, err
	}
	topics := resp.(*kmsg.ListOffsetsResponse).Topics
	if len(topics) != 1 || len(topics[0].Partitions) != 1 {
		return 0, errUnanswered
	}
	if code := topics[0].Partitions[0].ErrorCode; code != 0 {
		return 0, fmt.Errorf("error %d", code)
	}
	return topics[0].Partitions[0].Offset, nil
}

// make lays out n closed segments of one batch each and a last one of about so many bytes, at least one batch, and the files beside them, as after a
// clean stop or as after a kill.
func (g *grownLog) make(n, bytes int, clean bool) error {
	dir := filepath.Join(g.data, g.topic+"-0")
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		// What both kinds leave is the same; a snapshot or checkpoint of another round would not be.
		if e.Name() != "partition.metadata" && !g.stands(e.Name(), n) {
			if err := os.Remove(filepath.Join(dir, e.Name())); err != nil {
				return err
			}
		}
	}
	for i := min(g.base/grownRecords, int64(n)); i < int64(n); i++ { // those before stand
		if err := g.segment(dir, i*grownRecords, g.closed, 1, true); err != nil {
			return err
		}
	}
	g.base = int64(n) * grownRecords
	count := max(bytes/len(g.dirty), 1)
	g.end = g.base + int64(count)*grownRecords
	err = errors.Join(g.segment(dir, g.base, g.dirty, count, clean), write(dir, "leader-epoch-checkpoint", "0\n1\n0 0\n"))
	point := g.base
	if clean {
		point = g.end
		err = errors.Join(err, os.WriteFile(filepath.Join(dir, fmt.Sprintf("%020d.snapshot", g.end)), noProducers(), 0o644),
			os.WriteFile(filepath.Join(g.data, ".kafka_cleanshutdown"), g.clean, 0o644))
	} else if gone := os.Remove(filepath.Join(g.data, ".kafka_cleanshutdown")); gone != nil && !os.IsNotExist(gone) {
		err = errors.Join(err, gone)
	}
	for _, name := range []string{"replication-offset-checkpoint", "log-start-offset-checkpoint"} {
		err = errors.Join(err, write(g.data, name, "0\n0\n"))
	}
	return errors.Join(err, write(g.data, "recovery-point-offset-checkpoint", fmt.Sprintf("0\n1\n%s 0 %d\n", g.topic, point)))
}

// stands says whether a file is one of a closed segment that is wanted again: those do not change from round to round.
func (g *grownLog) stands(name string, n int) bool {
	digits, suffix, _ := strings.Cut(name, ".")
	base, err := strconv.ParseInt(digits, 10, 64)
	if err != nil {
		return false
	}
	last := int64(n) * grownRecords
	return base < min(last, g.base) || suffix == "log" && base == last && base == g.base
}

func write(dir, name, text string) error {
	return os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644)
}

// noProducers is a .snapshot of none: version, CRC-32C of what follows, count.
func noProducers() []byte {
	b := make([]byte, 10)
	binary.BigEndian.PutUint16(b, 1)
	binary.BigEndian.PutUint32(b[2:], protocol.CRC32C(b[6:]))
	return b
}

// segment writes a segment of count batches: of one, in order, whose index has no entry yet, or as a broker that was killed leaves it, with nothing
// written of its indexes.
func (g *grownLog) segment(dir string, base int64, batch []byte, count int, inOrder bool) error {
	path := filepath.Join(dir, fmt.Sprintf("%020d", base))
	if base > 0 {
		if err := os.WriteFile(path+".snapshot", noProducers(), 0o644); err != nil {
			return err
		}
	}
	var times []byte
	if inOrder {
		times = binary.BigEndian.AppendUint64(times, uint64(protocol.Batch(batch).MaxTimestamp()))
		times = binary.BigEndian.AppendUint32(times, grownRecords-1)
	}
	if err := errors.Join(os.WriteFile(path+".index", nil, 0o644), os.WriteFile(path+".timeindex", times, 0o644)); err != nil {
		return err
	}
	if info, err := os.Stat(path + ".log"); err == nil && info.Size() == int64(count*len(batch)) {
		return nil // it stands
	}
	f, err := os.Create(path + ".log")
	if err != nil {
		return err
	}
	defer f.Close()
	var piece []byte
	for i := range int64(count) {
		b := protocol.Batch(append([]byte(nil), batch...))
		b.SetBaseOffset(base + i*grownRecords)
		b.SetLeaderEpoch(0)
		if piece = append(piece, b...); len(piece) >= 1<<20 || i+1 == int64(count) {
			if _, err := f.Write(piece); err != nil {
				return err
			}
			piece = piece[:0]
		}
	}
	return nil
}
