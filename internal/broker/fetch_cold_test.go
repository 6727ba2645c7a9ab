package broker

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"sync"
	"testing"
	"time"

	"slipstream/protocol"
	"slipstream/ring"

	"github.com/twmb/franz-go/pkg/kmsg"
	"golang.org/x/sys/unix"
)

// coldTopic is a topic whose log a test knows.
type coldTopic struct {
	b     *testBroker
	parts []int32
	logs  [][]byte // of each partition
	ends  []int64
}

// fillTopic makes a topic of several segments a partition.
func fillTopic(t *testing.T, b *testBroker, partitions int32, batches int) *coldTopic {
	t.Helper()
	w := b.dial()
	w.createTopic("cold", partitions, "segment.bytes", "1048576", "index.interval.bytes", "1000")
	c := &coldTopic{b: b}
	for p := range partitions {
		for i := range batches {
			req := produceRequest("cold", p, testBatch(1+i%7, strings.Repeat("x", 100*(1+i%20))))
			if resp := w.ask(9, req).(*kmsg.ProduceResponse); resp.Topics[0].Partitions[0].ErrorCode != 0 {
				t.Fatal("produce failed")
			}
		}
		c.parts = append(c.parts, p)
		var log []byte
		for _, path := range c.files(t, p, ".log") {
			b, err := os.ReadFile(path)
			must(t, err)
			log = append(log, b...)
		}
		c.logs = append(c.logs, log)
		c.ends = append(c.ends, lastBatch(t, log).NextOffset())
	}
	return c
}

func lastBatch(t *testing.T, log []byte) (last protocol.Batch) {
	t.Helper()
	for len(log) > 0 {
		batch, rest, err := protocol.NextBatch(log)
		must(t, err)
		last, log = batch, rest
	}
	return last
}

func (c *coldTopic) files(t *testing.T, partition int32, suffix string) []string {
	t.Helper()
	paths, err := filepath.Glob(fmt.Sprintf("%s/cold-%d/*%s", c.b.dir, partition, suffix))
	must(t, err)
	sort.Strings(paths)
	return paths
}

// drop takes the topic's files out of the page cache, as far as nobody is using a
// page, and reports whether the beginnings of the logs are.
func (c *coldTopic) drop() (dropped bool, err error) {
	kernel := ring.NewLinux()
	dropped = true
	for _, p := range c.parts {
		paths, _ := filepath.Glob(fmt.Sprintf("%s/cold-%d/*", c.b.dir, p))
		for _, path := range paths {
			f, err := os.OpenFile(path, os.O_RDWR, 0)
			if err != nil {
				return false, err
			}
			err = errors.Join(f.Sync(), unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED))
			if strings.HasSuffix(path, ".log") && kernel.Resident(int(f.Fd()), 0, 1) > 0 {
				dropped = false
			}
			if err = errors.Join(err, f.Close()); err != nil {
				return false, err
			}
		}
	}
	return dropped, nil
}

// mustDrop drops until nothing is left.
func (c *coldTopic) mustDrop(t *testing.T) {
	t.Helper()
	for range 100 {
		dropped, err := c.drop()
		must(t, err)
		if dropped {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Skip("files stay in the page cache: this needs a file system on a disk")
}

// consume reads a partition from an offset to its end, as a consumer that asks for so
// many bytes at a time, and checks each byte.
func (c *coldTopic) consume(w *wire, part int, from int64, maxBytes int32) error {
	log := c.logs[part]
	for len(log) > 0 {
		batch, rest, err := protocol.NextBatch(log)
		if err != nil || batch.LastOffset() >= from {
			break
		}
		log = rest
	}
	for offset := from; offset < c.ends[part]; {
		req := fetchRequest("cold", c.parts[part], offset, 0)
		req.Topics[0].Partitions[0].PartitionMaxBytes = maxBytes
		got := w.ask(11, req).(*kmsg.FetchResponse).Topics[0].Partitions[0]
		records := got.RecordBatches
		if got.ErrorCode != 0 || len(records) == 0 {
			return fmt.Errorf("partition %d at %d: error %d, %d bytes", part, offset, got.ErrorCode, len(records))
		}
		if len(records) > len(log) || !bytes.Equal(records, log[:len(records)]) {
			return fmt.Errorf("partition %d at %d: %d bytes that are not the log's", part, offset, len(records))
		}
		log = log[len(records):]
		for len(records) > 0 {
			batch, rest, err := protocol.NextBatch(records)
			if err != nil {
				return err
			}
			offset, records = batch.NextOffset(), rest
		}
	}
	return nil
}

// TestColdFetch drops a topic's files from the page cache and reads them from the
// beginning, from the middle, and by several consumers at once, while others drop
// them again and again: every byte is right, and no plan waited for one on a core.
func TestColdFetch(t *testing.T) {
	for _, cores := range []int{1, 2} {
		t.Run(fmt.Sprint(cores, " cores"), func(t *testing.T) {
			b := startTestBroker(t, "", setCores(cores))
			c := fillTopic(t, b, 2, 1500)
			for _, from := range []int64{0, c.ends[0] / 2, c.ends[0] - 1} {
				for _, maxBytes := range []int32{100, 50_000, 1 << 20} {
					if maxBytes == 100 && from < c.ends[0]/2 {
						continue // thousands of requests
					}
					c.mustDrop(t)
					for part := range c.parts {
						must(t, c.consume(b.dial(), part, min(from, c.ends[part]-1), maxBytes))
					}
				}
			}
			stop, stopped := make(chan struct{}), make(chan struct{})
			go func() {
				defer close(stopped)
				for {
					select {
					case <-stop:
						return
					default:
						if _, err := c.drop(); err != nil {
							t.Error(err)
							return
						}
					}
				}
			}()
			var readers sync.WaitGroup
			for i := range 8 {
				w := b.dial()
				readers.Go(func() {
					if err := c.consume(w, i%2, c.ends[i%2]*int64(i)/8, 20_000*int32(1+i)); err != nil {
						t.Errorf("reader %d: %v", i, err)
					}
				})
			}
			readers.Wait()
			close(stop)
			<-stopped
			lookups := uint64(0)
			for core := range cores {
				_, store := b.figures(core)
				lookups += store.Lookups
			}
			if lookups == 0 {
				t.Error("no plan was made by a helper")
			}
		})
	}
}

// TestColdPartitionsDoNotHoldUpOthers asks in one fetch, of a session, for partitions
// on several cores whose files are not in the page cache and for one that is: each
// answer has something, and in the end every partition was read to its end.
func TestColdPartitionsDoNotHoldUpOthers(t *testing.T) {
	for _, cores := range []int{1, 3} {
		t.Run(fmt.Sprint(cores, " cores"), func(t *testing.T) {
			b := startTestBroker(t, "", setCores(cores))
			c := fillTopic(t, b, 6, 300)
			w := b.dial()
			w.createTopic("warm", 1)
			w.ask(9, produceRequest("warm", 0, testBatch(10, "w")))
			c.mustDrop(t)
			next := make([]int64, len(c.parts))
			read := make([][]byte, len(c.parts))
			session, epoch := int32(0), int32(0)
			for round := 0; ; round++ {
				req := fetchRequest("warm", 0, 0, 1000)
				req.SessionID, req.SessionEpoch = session, epoch
				cold := kmsg.NewFetchRequestTopic()
				cold.Topic = "cold"
				left := 0
				for i, p := range c.parts {
					if next[i] < c.ends[i] {
						left++
					}
					q := kmsg.NewFetchRequestTopicPartition()
					q.Partition, q.FetchOffset, q.PartitionMaxBytes, q.CurrentLeaderEpoch = p, next[i], 100_000, -1
					cold.Partitions = append(cold.Partitions, q)
				}
				if left == 0 {
					break
				}
				req.Topics = append(req.Topics, cold)
				if round%3 == 0 {
					_, err := c.drop()
					must(t, err)
				}
				resp := w.ask(11, req).(*kmsg.FetchResponse)
				if resp.ErrorCode != 0 || round > 10_000 {
					t.Fatalf("round %d: error %d, at %v of %v", round, resp.ErrorCode, next, c.ends)
				}
				session, epoch = resp.SessionID, epoch+1
				bytes := 0
				for _, topic := range resp.Topics {
					for _, p := range topic.Partitions {
						bytes += len(p.RecordBatches)
						if topic.Topic == "cold" && len(p.RecordBatches) > 0 {
							read[p.Partition] = append(read[p.Partition], p.RecordBatches...)
							next[p.Partition] = lastBatch(t, p.RecordBatches).NextOffset()
						}
					}
				}
				if bytes == 0 {
					t.Fatalf("round %d: an answer without records, at %v of %v", round, next, c.ends)
				}
			}
			for i := range c.parts {
				if !bytes.Equal(read[i], c.logs[i]) {
					t.Errorf("partition %d was not read as it is", i)
				}
			}
		})
	}
}

// TestStopWhileCold stops the broker, and deletes the topic, while consumers read what is
// not in the page cache.
func TestStopWhileCold(t *testing.T) {
	for _, deletes := range []bool{true, false} {
		b := startTestBroker(t, "", setCores(2))
		c := fillTopic(t, b, 4, 200)
		c.mustDrop(t)
		var readers sync.WaitGroup
		for i := range 16 {
			w := b.dial()
			readers.Go(func() {
				for n := int64(0); n < 100; n++ {
					req := fetchRequest("cold", int32(i%4), n*7%c.ends[i%4], 100)
					req.SetVersion(11)
					if _, err := w.conn.Write(encode(11, req)); err != nil {
						return
					}
					if w.frameOrNothing() == nil {
						return
					}
				}
			})
		}
		if deletes {
			req := kmsg.NewPtrDeleteTopicsRequest()
			req.TopicNames = []string{"cold"}
			if resp := b.dial().ask(4, req).(*kmsg.DeleteTopicsResponse); resp.Topics[0].ErrorCode != 0 {
				t.Errorf("delete: error %d", resp.Topics[0].ErrorCode)
			}
		}
		must(t, b.stop())
		readers.Wait()
	}
}
