package harness

import (
	"context"
	"crypto/sha256"
	"fmt"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// Codecs are Kafka's compressions by the names that kcat and the topics' settings use.
var Codecs = []string{"none", "gzip", "snappy", "lz4", "zstd"}

// KgoCodec is kgo's value for one of Codecs.
func KgoCodec(name string) kgo.CompressionCodec {
	switch name {
	case "gzip":
		return kgo.GzipCompression()
	case "snappy":
		return kgo.SnappyCompression()
	case "lz4":
		return kgo.Lz4Compression()
	case "zstd":
		return kgo.ZstdCompression()
	default:
		return kgo.NoCompression()
	}
}

// CreateTopic creates a topic with one replica. Settings are name, value pairs.
func CreateTopic(addr, topic string, partitions int, settings ...string) error {
	cl, err := kgo.NewClient(kgo.SeedBrokers(addr))
	if err != nil {
		return err
	}
	defer cl.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	defer cancel()
	conf := map[string]*string{}
	for i := 0; i+1 < len(settings); i += 2 {
		conf[settings[i]] = &settings[i+1]
	}
	admin := kadm.NewClient(cl)
	if _, err = admin.CreateTopic(ctx, int32(partitions), 1, conf, topic); err != nil {
		return fmt.Errorf("creating topic %s: %w", topic, err)
	}
	return awaitLeaders(ctx, admin, topic, partitions)
}

// awaitLeaders waits until every partition answers for its offsets. Apache answers CreateTopics before its partitions
// take writes, and a client that pipelines without idempotence, as kcat does, then reorders on the retries.
func awaitLeaders(ctx context.Context, admin *kadm.Client, topic string, partitions int) error {
	for {
		offsets, err := admin.ListEndOffsets(ctx, topic)
		ready := 0
		offsets.Each(func(o kadm.ListedOffset) {
			if o.Err == nil && o.Offset >= 0 {
				ready++
			}
		})
		if ready >= partitions {
			return nil
		}
		if ctx.Err() != nil {
			return fmt.Errorf("%d of %d partitions of %s answer for their offsets: %w (%v)", ready, partitions, topic, ctx.Err(), err)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// KgoProduce sends every line of the corpus to its partition and waits for all acknowledgements.
func KgoProduce(addr, topic, codec string, c *Corpus, opts ...kgo.Opt) error {
	all := append([]kgo.Opt{kgo.SeedBrokers(addr), kgo.DefaultProduceTopic(topic), kgo.RecordPartitioner(kgo.ManualPartitioner()),
		kgo.ProducerBatchCompression(KgoCodec(codec)), kgo.ProducerBatchMaxBytes(MaxMessageBytes), kgo.ProducerLinger(2 * time.Millisecond),
		kgo.MaxBufferedRecords(100_000), kgo.RecordDeliveryTimeout(2 * time.Minute)}, opts...)
	cl, err := kgo.NewClient(all...)
	if err != nil {
		return err
	}
	defer cl.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	var mu sync.Mutex
	var failed error
	var wg sync.WaitGroup
	for i := range c.Partitions {
		wg.Add(1)
		go func() {
			defer wg.Done()
			err := c.Partitions[i].Each(func(line []byte) error {
				cl.Produce(ctx, &kgo.Record{Value: line, Partition: int32(i)}, func(_ *kgo.Record, err error) {
					if err != nil {
						mu.Lock()
						failed = err
						mu.Unlock()
					}
				})
				return ctx.Err()
			})
			if err != nil {
				mu.Lock()
				failed = err
				mu.Unlock()
			}
		}()
	}
	wg.Wait()
	if err := cl.Flush(ctx); err != nil {
		return fmt.Errorf("kgo flushing %s: %w", topic, err)
	}
	mu.Lock()
	defer mu.Unlock()
	if failed != nil {
		return fmt.Errorf("kgo producing to %s: %w", topic, failed)
	}
	return nil
}

// KgoConsume reads a partition from its start until lines records are seen, requires offsets without a gap, and hashes
// the values, each followed by '\n'. It also requires that the batches carry codec: the broker must keep the producer's
// compression. (Producers leave the odd batch that would not shrink uncompressed.)
func KgoConsume(addr, topic, codec string, partition, lines int, opts ...kgo.Opt) (sum [sha256.Size]byte, err error) {
	h := sha256.New()
	next := int64(0)
	var compressed int
	err = EachRecord(addr, topic, partition, 0, lines, func(r *kgo.Record) error {
		if r.Offset != next {
			return fmt.Errorf("%s-%d: offset %d where %d was due", topic, partition, r.Offset, next)
		}
		next++
		if Codecs[r.Attrs.CompressionType()] == codec {
			compressed++
		}
		h.Write(r.Value)
		h.Write([]byte{'\n'})
		return nil
	}, opts...)
	if err == nil && compressed < lines*9/10 {
		err = fmt.Errorf("%s-%d: %d of %d records came in %s batches", topic, partition, compressed, lines, codec)
	}
	h.Sum(sum[:0])
	return sum, err
}

// EachRecord calls f for count records of a partition from an offset on, in order. Two minutes without a record is an error.
func EachRecord(addr, topic string, partition int, from int64, count int, f func(*kgo.Record) error, opts ...kgo.Opt) error {
	if count == 0 {
		return nil
	}
	all := append([]kgo.Opt{kgo.SeedBrokers(addr), kgo.FetchMaxPartitionBytes(8 << 20), kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{
		topic: {int32(partition): kgo.NewOffset().At(from)}})}, opts...)
	cl, err := kgo.NewClient(all...)
	if err != nil {
		return err
	}
	defer cl.Close()
	for seen := 0; seen < count; {
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
		fetches := cl.PollFetches(ctx)
		cancel()
		for _, e := range fetches.Errors() {
			return fmt.Errorf("kgo consuming %s-%d after %d of %d records: %w", topic, partition, seen, count, e.Err)
		}
		for it := fetches.RecordIter(); !it.Done() && seen < count; seen++ {
			if err := f(it.Next()); err != nil {
				return err
			}
		}
	}
	return nil
}

// JavaConsume reads lines records of one partition from the start with Kafka's console consumer and hashes what it prints.
func JavaConsume(addr, topic string, partition, lines int) (sum [sha256.Size]byte, got int, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	cmd, err := Java(ctx, ConsoleConsumer, "--bootstrap-server", addr, "--topic", topic, "--partition", fmt.Sprint(partition),
		"--offset", "earliest", "--max-messages", fmt.Sprint(lines), "--timeout-ms", "60000")
	if err != nil {
		return sum, 0, err
	}
	return HashOutput(cmd, 5*time.Minute)
}
