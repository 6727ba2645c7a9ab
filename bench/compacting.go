package main

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"slipstream/protocol"
)

// dirtyLog is a compacted topic of one partition that nobody has compacted yet, and that nobody does before begin: its
// records have 500 bytes of value and keys that are drawn at random, the same from the same seed, in batches of about 16 KiB as
// producers send them.
type dirtyLog struct {
	c       *contender
	t       *topic
	bytes   int64 // of what a cleaner may clean: all but the active segment
	ends    int64 // the offset at which that ends
	records int64
}

const (
	dirtyValueBytes   = 500
	dirtyBatchRecords = 30
	dirtyInFlight     = 8
)

// dirtySegment is the size of the segments of a log: an eighth, and at most 128 MiB, so that the active one is a small part of it.
func dirtySegment(bytes int64) int { return int(min(max(bytes/8, 1<<20), 128<<20)) }

// makeDirty writes a log of about so many bytes, on a broker that runs, and has it on the disk and not in the page cache.
func (c *contender) makeDirty(name string, bytes int64, keys int) (*dirtyLog, error) {
	d := &dirtyLog{c: c, t: &topic{name: name, partitions: 1}}
	// A log is dirtier than 1 never.
	err := d.t.create(c.server.port, "cleanup.policy", "compact", "min.cleanable.dirty.ratio", "1", "segment.bytes", itoa(dirtySegment(bytes)))
	if err != nil {
		return nil, err
	}
	if err := d.fill(bytes, keys); err != nil {
		return nil, err
	}
	if err := syncAndDrop(c.server.dir, name); err != nil {
		return nil, err
	}
	return d, d.measure()
}

// fill produces with several requests in flight.
func (d *dirtyLog) fill(bytes int64, keys int) error {
	made := make(chan []byte, 2*dirtyInFlight)
	stop := make(chan struct{})
	defer close(stop)
	go makeKeyed(d.t.name, bytes, keys, made, stop)
	k, err := dial(d.c.server.port)
	if err != nil {
		return err
	}
	defer k.close()
	waiting := 0
	answer := func() error {
		body, err := k.frame()
		if err != nil {
			return err
		}
		waiting--
		resp := kmsg.NewPtrProduceResponse()
		resp.Version = produceVersion
		if len(body) < 5 {
			return fmt.Errorf("produce: an answer of %d bytes", len(body))
		}
		if err := resp.ReadFrom(body[5:]); err != nil {
			return err
		}
		if code := resp.Topics[0].Partitions[0].ErrorCode; code != 0 {
			return fmt.Errorf("produce: error %d", code)
		}
		return nil
	}
	sinceDrop := 0
	for frame := range made {
		if err := k.write(frame); err != nil {
			return err
		}
		waiting++
		d.records += dirtyBatchRecords
		if sinceDrop += len(frame); sinceDrop > 1<<30 { // before it is so much that it is throttled, or evicts what others need
			sinceDrop = 0
			if err := syncAndDrop(d.c.server.dir, d.t.name); err != nil {
				return err
			}
		}
		for waiting >= dirtyInFlight {
			if err := answer(); err != nil {
				return err
			}
		}
	}
	for waiting > 0 {
		if err := answer(); err != nil {
			return err
		}
	}
	return nil
}

// makeKeyed builds the requests.
func makeKeyed(topic string, bytes int64, keys int, made chan<- []byte, stop <-chan struct{}) {
	defer close(made)
	random := rand.New(rand.NewPCG(3, 4))
	noise := make([]byte, 1<<20) // values begin anywhere in it
	for i := range noise {
		noise[i] = byte(random.Uint32())
	}
	key := make([]byte, 0, 16)
	for at := int64(0); at < bytes; {
		var b protocol.Builder
		b.Begin(nil, protocol.NewBatchInfo(0, -1))
		now := time.Now().UnixMilli()
		for range dirtyBatchRecords {
			from := random.IntN(len(noise) - dirtyValueBytes)
			key = fmt.Appendf(key[:0], "key-%08d", random.IntN(keys))
			b.Append(&protocol.Record{Timestamp: now, Key: key, Value: noise[from : from+dirtyValueBytes]})
		}
		_, batch := b.Finish()
		at += int64(len(batch))
		select {
		case made <- produceFrame(topic, 0, batch):
		case <-stop:
			return
		}
	}
}

// measure finds what of the log can be cleaned.
func (d *dirtyLog) measure() error {
	d.bytes, d.ends = 0, 0
	for _, name := range segmentFiles(d.c.server.dir, d.t.name) {
		base, err := strconv.ParseInt(strings.TrimSuffix(filepath.Base(name), ".log"), 10, 64)
		if err != nil {
			return err
		}
		d.ends = max(d.ends, base)
	}
	for _, name := range segmentFiles(d.c.server.dir, d.t.name) {
		info, err := os.Stat(name)
		if err != nil {
			return err
		}
		if !strings.HasSuffix(name, fmt.Sprintf("%020d.log", d.ends)) {
			d.bytes += info.Size()
		}
	}
	if d.bytes == 0 {
		return errors.New("a log of one segment has nothing to clean")
	}
	return nil
}

// begin has the cleaner come: from now on almost nothing is too little.
func (d *dirtyLog) begin() error {
	return d.c.setTopic(d.t.name, "min.cleanable.dirty.ratio", "0.0001")
}

// cleaned is the offset to which the log is clean, as the broker's checkpoint has it.
func (d *dirtyLog) cleaned() int64 {
	b, err := os.ReadFile(filepath.Join(d.c.server.dir, "cleaner-offset-checkpoint"))
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(b)) {
		if f := strings.Fields(line); len(f) == 3 && f[0] == d.t.name {
			offset, _ := strconv.ParseInt(f[2], 10, 64)
			return offset
		}
	}
	return 0
}

func (d *dirtyLog) done() bool { return d.cleaned() >= d.ends }

// wait waits until all of it is clean.
func (d *dirtyLog) wait() error {
	begun := nanotime()
	for !d.done() {
		if nanotime()-begun > int64(20*time.Minute) {
			return fmt.Errorf("%s is clean to offset %d of %d after 20 minutes", d.t.name, d.cleaned(), d.ends)
		}
		time.Sleep(5 * time.Millisecond)
	}
	return nil
}

// left is what there is of it now, without the active segment, in bytes of those before.
func (d *dirtyLog) left() float64 {
	before := d.bytes
	if d.measure() != nil {
		return 0
	}
	return float64(d.bytes) / float64(before)
}

// setTopic changes one of a topic's settings.
func (c *contender) setTopic(topic, name, value string) error {
	k, err := dial(c.server.port)
	if err != nil {
		return err
	}
	defer k.close()
	req := kmsg.NewPtrIncrementalAlterConfigsRequest()
	req.Version = 1
	resource := kmsg.NewIncrementalAlterConfigsRequestResource()
	resource.ResourceType, resource.ResourceName = kmsg.ConfigResourceTypeTopic, topic
	config := kmsg.NewIncrementalAlterConfigsRequestResourceConfig()
	config.Name, config.Value = name, kmsg.StringPtr(value)
	resource.Configs = append(resource.Configs, config)
	req.Resources = append(req.Resources, resource)
	resp, err := k.call(req)
	if err != nil {
		return err
	}
	if code := resp.(*kmsg.IncrementalAlterConfigsResponse).Resources[0].ErrorCode; code != 0 {
		return fmt.Errorf("setting %s of %s: error %d", name, topic, code)
	}
	return nil
}
