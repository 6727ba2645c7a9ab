package clients

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"slipstream/internal/clients/harness"

	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// TestBadInputDisturbsNobody sends every bad frame and batch of the oracle's scripts, several times and several at once,
// with connections that stop in the middle of a frame left open, while an innocent client works. What the answers must
// be is TestOracle's.
func TestBadInputDisturbsNobody(t *testing.T) {
	b := harness.StartT(t, harness.Options{})
	topic := topicName(t, "bad")
	createTopic(t, b, topic, 1)
	in := startInnocent(t, b)
	var inputs [][]byte
	for _, frame := range badFrames() {
		inputs = append(inputs, frame)
	}
	for _, batch := range badBatches() {
		inputs = append(inputs, harness.Encode(harness.Produce(9, topic, [16]byte{}, 0, -1, batch), 1))
	}
	var left []*harness.Wire
	for round := range 3 {
		for i, input := range inputs {
			w, err := harness.Dial(b.Addr)
			if err != nil {
				t.Fatalf("input %d of round %d: the broker does not take connections any more: %v", i, round, err)
			}
			w.Write(input)
			switch i % 3 {
			case 0:
				w.ReadFrame(200 * time.Millisecond)
				w.Close()
			case 1:
				w.Close() // with the answer, if there is one, on its way
			default:
				left = append(left, w)
			}
		}
	}
	// A large frame that stops half way: the connection has its block of memory and never finishes.
	for range 4 {
		w, err := harness.Dial(b.Addr)
		if err != nil {
			t.Fatal(err)
		}
		w.Write(binary.BigEndian.AppendUint32(nil, 50<<20))
		w.Write(make([]byte, 1<<20))
		left = append(left, w)
	}
	time.Sleep(200 * time.Millisecond)
	in.finish(20)
	for _, w := range left {
		w.Close()
	}
	requireMemory(t, b, 512<<20)
}

// bombs are small batches that unpack to half a gigabyte.
func bombs(t testing.TB) map[string][]byte {
	const size = 512 << 20
	// One record whose value is all zeros; only its header is written out.
	head := []byte{0}
	head = binary.AppendVarint(head, 0)
	head = binary.AppendVarint(head, 0)
	head = binary.AppendVarint(head, -1)
	head = binary.AppendVarint(head, size)
	head = append(binary.AppendVarint(nil, int64(len(head)+size+1)), head...)
	pack := func(codec int16, w io.WriteCloser, out *bytes.Buffer) []byte {
		w.Write(head)
		zeros := make([]byte, 1<<20)
		for range size >> 20 {
			w.Write(zeros)
		}
		w.Write([]byte{0})
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		b := harness.NewBatch("")
		b.Payload, b.Attributes = out.Bytes(), codec
		return b.Bytes()
	}
	var g, l, z bytes.Buffer
	zw, err := zstd.NewWriter(&z)
	if err != nil {
		t.Fatal(err)
	}
	snappy := harness.NewBatch("")
	snappy.Payload, snappy.Attributes = append(binary.AppendUvarint(nil, 1<<31-1), make([]byte, 1000)...), 2
	return map[string][]byte{
		"gzip":                       pack(1, gzip.NewWriter(&g), &g),
		"snappy that says 2 GiB - 1": snappy.Bytes(),
		"lz4":                        pack(3, lz4.NewWriter(&l), &l),
		"zstd":                       pack(4, zw, &z),
	}
}

// TestCompressedBomb sends each bomb from two connections at once. Refused or taken, it must be answered, must not take
// memory in proportion to what it unpacks to, and must not hold up anybody else.
func TestCompressedBomb(t *testing.T) {
	b := harness.StartT(t, harness.Options{})
	topic := topicName(t, "bomb")
	createTopic(t, b, topic, 2, "max.message.bytes", "8000000")
	in := startInnocent(t, b)
	for name, bomb := range bombs(t) {
		t.Logf("%s: %d bytes", name, len(bomb))
		answers := make(chan error, 2)
		for partition := range int32(2) {
			go func() {
				w, err := harness.Dial(b.Addr)
				if err != nil {
					answers <- err
					return
				}
				defer w.Close()
				resp, err := w.Do(harness.Produce(9, topic, [16]byte{}, partition, -1, bomb), 60*time.Second)
				if err == nil {
					t.Logf("%s: error code %d", name, resp.(*kmsg.ProduceResponse).Topics[0].Partitions[0].ErrorCode)
				}
				answers <- err
			}()
		}
		for range 2 {
			if err := <-answers; err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
	in.finish(20)
	requireMemory(t, b, 300<<20)
}

// TestBadTopicNames makes sure that no topic name reaches outside the data directory.
func TestBadTopicNames(t *testing.T) {
	harness.OwnBroker(t)
	parent := t.TempDir()
	b := harness.StartT(t, harness.Options{DataDir: filepath.Join(parent, "data")})
	w, err := harness.Dial(b.Addr)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	for _, name := range []string{"../x", "../../x", "/tmp/x", "a/../../x", "..", ".", "x\x00y", "../data/x"} {
		create := createRequest(newTopic(name, 1, 1))
		create.SetVersion(5)
		resp, err := w.Do(create, 10*time.Second)
		if err != nil {
			t.Fatalf("CreateTopics %q: %v", name, err)
		}
		if code := resp.(*kmsg.CreateTopicsResponse).Topics[0].ErrorCode; code != 17 {
			t.Errorf("CreateTopics %q: error %d, want INVALID_TOPIC_EXCEPTION (17)", name, code)
		}
		meta := metadataFor(name)
		meta.AllowAutoTopicCreation = true
		meta.SetVersion(9)
		resp, err = w.Do(meta, 10*time.Second)
		if err != nil {
			t.Fatalf("Metadata %q: %v", name, err)
		}
		if code := resp.(*kmsg.MetadataResponse).Topics[0].ErrorCode; code != 17 {
			t.Errorf("Metadata %q: error %d, want INVALID_TOPIC_EXCEPTION (17)", name, code)
		}
	}
	entries, err := os.ReadDir(parent)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if e.Name() != "data" && e.Name() != "data.server.properties" {
			t.Errorf("%s appeared beside the data directory", e.Name())
		}
	}
}

// TestUnservedKeys asks for what this broker does not serve: a request must get an answer with an error in it or a closed
// connection, and soon; hanging is what clients cannot cope with.
func TestUnservedKeys(t *testing.T) {
	harness.SlipstreamOnly(t)
	b := harness.StartT(t, harness.Options{})
	in := startInnocent(t, b)
	for key := int16(0); key < 95; key++ {
		req := kmsg.RequestForKey(key)
		if req == nil {
			continue
		}
		if p, ok := req.(*kmsg.ProduceRequest); ok {
			p.Acks = 1 // with 0 silence would be right
		}
		for _, version := range []int16{0, req.MaxVersion()} {
			req.SetVersion(version)
			w, err := harness.Dial(b.Addr)
			if err != nil {
				t.Fatal(err)
			}
			w.Write(harness.Encode(req, 1))
			if _, err := w.ReadFrame(5 * time.Second); outcome0(err) == "silence" {
				t.Errorf("%s version %d gets no answer", kmsg.NameForKey(key), version)
			}
			w.Close()
		}
	}
	in.finish(20)
}

func outcome0(err error) string {
	if err == nil {
		return "answered"
	}
	return outcome(err)
}

// TestClientThatNeverReads asks for far more than a socket holds and reads nothing of it.
func TestClientThatNeverReads(t *testing.T) {
	b := harness.StartT(t, harness.Options{})
	topic := topicName(t, "neverread")
	createTopic(t, b, topic, 1)
	w, err := harness.Dial(b.Addr)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	for range 20 {
		if _, err := w.Do(harness.Produce(9, topic, [16]byte{}, 0, -1, harness.NewBatch(string(make([]byte, 900_000))).Bytes()), 10*time.Second); err != nil {
			t.Fatal(err)
		}
	}
	in := startInnocent(t, b)
	fetch := harness.Encode(fetchRequest(12, topic, [16]byte{}, 0, 0), 7)
	metadata := metadataFor()
	metadata.Topics = nil
	metadata.SetVersion(12)
	all := harness.Encode(metadata, 7)
	var greedy []*harness.Wire
	for i := range 20 {
		g, err := harness.Dial(b.Addr)
		if err != nil {
			t.Fatal(err)
		}
		defer g.Close()
		greedy = append(greedy, g)
		request := fetch
		if i%2 == 1 {
			request = all
		}
		request = bytes.Repeat(request, 500) // few large writes: this test is not about its own CPU time
		go func() {
			g.SetWriteDeadline(time.Now().Add(3 * time.Second))
			for {
				if _, err := g.Write(request); err != nil {
					return // the broker stopped reading, as it should
				}
			}
		}()
	}
	time.Sleep(3 * time.Second)
	in.finish(20)
	requireMemory(t, b, 512<<20)
	for _, g := range greedy {
		g.Close()
	}
}

// TestPipelining sends many requests before reading anything and wants every answer, in order.
func TestPipelining(t *testing.T) {
	b := harness.StartT(t, harness.Options{})
	topic := topicName(t, "pipeline")
	createTopic(t, b, topic, 1)
	w, err := harness.Dial(b.Addr)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	const n = 2000
	kinds := []kmsg.Request{
		harness.Produce(9, topic, [16]byte{}, 0, -1, harness.NewBatch("x").Bytes()),
		listOffsets(topic, -1, -1, 0),
		metadataFor(topic),
		fetchRequest(12, topic, [16]byte{}, 0, 0),
		harness.Produce(9, topic, [16]byte{}, 0, 1, harness.NewBatch("y").Bytes()),
	}
	kinds[1].SetVersion(7)
	kinds[2].SetVersion(12)
	kinds[3].(*kmsg.FetchRequest).MaxBytes = 1
	go func() {
		for i := range n {
			if _, err := w.Write(harness.Encode(kinds[i%len(kinds)], int32(i))); err != nil {
				return
			}
		}
	}()
	produced := int64(0)
	for i := range n {
		body, err := w.ReadFrame(20 * time.Second)
		if err != nil {
			t.Fatalf("answer %d: %v", i, err)
		}
		resp, err := harness.Decode(kinds[i%len(kinds)], int32(i), body)
		if err != nil {
			t.Fatalf("answer %d: %v", i, err)
		}
		if r, ok := resp.(*kmsg.ProduceResponse); ok {
			if p := r.Topics[0].Partitions[0]; p.ErrorCode != 0 || p.BaseOffset != produced {
				t.Fatalf("answer %d: error %d, offset %d where %d was due", i, p.ErrorCode, p.BaseOffset, produced)
			}
			produced++
		}
	}
}

// TestAcksZero sends produce requests that want no answer, good and bad, between ones that do. Kafka closes a connection
// on an error it may not answer.
func TestAcksZero(t *testing.T) {
	b := harness.StartT(t, harness.Options{})
	topic := topicName(t, "acks0")
	createTopic(t, b, topic, 1)
	w, err := harness.Dial(b.Addr)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	for i := range 50 {
		w.Write(harness.Encode(harness.Produce(9, topic, [16]byte{}, 0, 0, harness.NewBatch(fmt.Sprint(i)).Bytes()), 900))
	}
	resp, err := w.Do(harness.Produce(9, topic, [16]byte{}, 0, -1, harness.NewBatch("last").Bytes()), 10*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	if p := resp.(*kmsg.ProduceResponse).Topics[0].Partitions[0]; p.ErrorCode != 0 || p.BaseOffset != 50 {
		t.Errorf("after 50 records without acknowledgement: error %d, offset %d", p.ErrorCode, p.BaseOffset)
	}
	w.Write(harness.Encode(harness.Produce(9, topic, [16]byte{}, 3, 0, harness.NewBatch("x").Bytes()), 901))
	if _, err := w.ReadFrame(5 * time.Second); outcome0(err) != "closed" {
		t.Errorf("an unanswerable error: %s, want closed", outcome0(err))
	}
}

func responsePartition(resp kmsg.Response) kmsg.ListOffsetsResponseTopicPartition {
	return resp.(*kmsg.ListOffsetsResponse).Topics[0].Partitions[0]
}
