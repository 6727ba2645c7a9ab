package harness

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"net"
	"os"
	"time"

	"github.com/twmb/franz-go/pkg/kbin"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// Wire is one raw connection: the tests say exactly which bytes go out and see exactly what comes back.
type Wire struct {
	net.Conn
	correlation int32
}

// Dial opens a raw connection.
func Dial(addr string) (*Wire, error) {
	c, err := net.DialTimeout("tcp", addr, 5*time.Second)
	if err != nil {
		return nil, err
	}
	return &Wire{Conn: c}, nil
}

// Frame is payload behind its 4-byte length.
func Frame(payload []byte) []byte {
	return append(binary.BigEndian.AppendUint32(nil, uint32(len(payload))), payload...)
}

// Header is a request header v1: what any broker can read of any request that is not flexible.
func Header(key, version int16, correlation int32, body ...byte) []byte {
	b := binary.BigEndian.AppendUint16(nil, uint16(key))
	b = binary.BigEndian.AppendUint16(b, uint16(version))
	b = binary.BigEndian.AppendUint32(b, uint32(correlation))
	b = append(b, 0, 4, 't', 'e', 's', 't')
	return append(b, body...)
}

// Encode is the whole frame of a kmsg request in the version it is set to.
func Encode(req kmsg.Request, correlation int32) []byte {
	return kmsg.NewRequestFormatter(kmsg.FormatterClientID("test")).AppendRequest(nil, req, correlation)
}

// ReadFrame is the next response without its length. io.EOF: the broker closed; os.ErrDeadlineExceeded: it said nothing.
func (w *Wire) ReadFrame(limit time.Duration) ([]byte, error) {
	w.SetReadDeadline(time.Now().Add(limit))
	var head [4]byte
	if _, err := io.ReadFull(w, head[:]); err != nil {
		return nil, closed(err)
	}
	n := int32(binary.BigEndian.Uint32(head[:]))
	if n < 4 || n > 200<<20 {
		return nil, fmt.Errorf("a response with a length of %d bytes", n)
	}
	body := make([]byte, n)
	if _, err := io.ReadFull(w, body); err != nil {
		return nil, fmt.Errorf("in the middle of a response of %d bytes: %w", n, err)
	}
	return body, nil
}

// closed makes a reset and an orderly close the same: a broker that closes with unread input resets.
func closed(err error) error {
	var op *net.OpError
	if errors.As(err, &op) && !op.Timeout() || errors.Is(err, io.ErrUnexpectedEOF) {
		return io.EOF
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return os.ErrDeadlineExceeded
	}
	return err
}

// Do sends a request and decodes its response. Correlation ids must match.
func (w *Wire) Do(req kmsg.Request, limit time.Duration) (kmsg.Response, error) {
	w.correlation++
	if _, err := w.Write(Encode(req, w.correlation)); err != nil {
		return nil, err
	}
	body, err := w.ReadFrame(limit)
	if err != nil {
		return nil, err
	}
	return Decode(req, w.correlation, body)
}

// Decode reads the response to req from a frame's payload.
func Decode(req kmsg.Request, correlation int32, body []byte) (kmsg.Response, error) {
	if got := int32(binary.BigEndian.Uint32(body)); got != correlation {
		return nil, fmt.Errorf("correlation id %d, sent was %d", got, correlation)
	}
	body = body[4:]
	if req.IsFlexible() && req.Key() != 18 {
		r := kbin.Reader{Src: body}
		kmsg.SkipTags(&r)
		if err := r.Complete(); err != nil && len(r.Src) == 0 {
			return nil, fmt.Errorf("the response header's tags: %w", err)
		}
		body = r.Src
	}
	resp := req.ResponseKind()
	resp.SetVersion(req.GetVersion())
	if err := resp.ReadFrom(body); err != nil {
		return nil, fmt.Errorf("decoding a response to key %d version %d: %w (% x)", req.Key(), req.GetVersion(), err, body)
	}
	if again := resp.AppendTo(nil); len(again) != len(body) {
		return nil, fmt.Errorf("response to key %d version %d has %d bytes, its content needs %d", req.Key(), req.GetVersion(), len(body), len(again))
	}
	return resp, nil
}

// Batch describes a record batch of format 2 (or a message of format 0 or 1), sound or not.
//
//	baseOffset int64 | batchLength int32 | leaderEpoch int32 | magic int8 | crc uint32 | attributes int16 |
//	lastOffsetDelta int32 | baseTimestamp int64 | maxTimestamp int64 | producerId int64 | producerEpoch int16 |
//	baseSequence int32 | recordCount int32 | records
type Batch struct {
	Values     []string
	Timestamp  int64 // of the first record; each later one is 1 ms later
	ProducerID int64
	Epoch      int16
	Sequence   int32
	Attributes int16
	Payload    []byte // the records, already compressed; nil: encoded from Values
	Magic      int8

	// What to do wrong.
	CountDelta, LastDeltaDelta, LengthDelta int32
	BreakCRC                                bool
}

// NewBatch is a sound, uncompressed batch without a producer id.
func NewBatch(values ...string) Batch {
	return Batch{Values: values, Timestamp: 1_700_000_000_000, ProducerID: -1, Epoch: -1, Sequence: -1, Magic: 2}
}

// Records encodes the values as format 2 records.
func (b Batch) Records() []byte {
	var out []byte
	for i, v := range b.Values {
		rec := []byte{0}                              // attributes
		rec = binary.AppendVarint(rec, int64(i))      // timestamp delta
		rec = binary.AppendVarint(rec, int64(i))      // offset delta
		rec = binary.AppendVarint(rec, -1)            // null key
		rec = binary.AppendVarint(rec, int64(len(v))) // value
		rec = append(rec, v...)
		rec = binary.AppendVarint(rec, 0) // headers
		out = append(binary.AppendVarint(out, int64(len(rec))), rec...)
	}
	return out
}

// Bytes is the batch as it goes into a Produce request.
func (b Batch) Bytes() []byte {
	if b.Magic < 2 {
		return b.oldMessages()
	}
	payload := b.Payload
	if payload == nil {
		payload = b.Records()
	}
	n := int32(len(b.Values))
	be := binary.BigEndian
	tail := be.AppendUint16(nil, uint16(b.Attributes))
	tail = be.AppendUint32(tail, uint32(n-1+b.LastDeltaDelta))
	tail = be.AppendUint64(tail, uint64(b.Timestamp))
	tail = be.AppendUint64(tail, uint64(b.Timestamp+int64(n)-1))
	tail = be.AppendUint64(tail, uint64(b.ProducerID))
	tail = be.AppendUint16(tail, uint16(b.Epoch))
	tail = be.AppendUint32(tail, uint32(b.Sequence))
	tail = be.AppendUint32(tail, uint32(n+b.CountDelta))
	tail = append(tail, payload...)
	crc := crc32.Checksum(tail, crc32.MakeTable(crc32.Castagnoli))
	if b.BreakCRC {
		crc ^= 1
	}
	out := be.AppendUint64(nil, 0)
	out = be.AppendUint32(out, uint32(int32(len(tail)+9)+b.LengthDelta))
	out = be.AppendUint32(out, 0xffffffff) // leader epoch: the broker's to set
	out = append(out, byte(b.Magic))
	out = be.AppendUint32(out, crc)
	return append(out, tail...)
}

// oldMessages encodes the values as a message set of format 0 or 1.
//
//	offset int64 | size int32 | crc uint32 | magic int8 | attributes int8 | (timestamp int64, format 1) | key | value
func (b Batch) oldMessages() []byte {
	var out []byte
	be := binary.BigEndian
	for i, v := range b.Values {
		msg := []byte{byte(b.Magic), 0}
		if b.Magic == 1 {
			msg = be.AppendUint64(msg, uint64(b.Timestamp))
		}
		msg = be.AppendUint32(msg, 0xffffffff)
		msg = append(be.AppendUint32(msg, uint32(len(v))), v...)
		out = be.AppendUint64(out, uint64(i))
		out = be.AppendUint32(out, uint32(len(msg)+4))
		out = be.AppendUint32(out, crc32.ChecksumIEEE(msg))
		out = append(out, msg...)
	}
	return out
}

// Produce is a request of one batch to one partition.
func Produce(version int16, topic string, id [16]byte, partition int32, acks int16, records []byte) *kmsg.ProduceRequest {
	req := kmsg.NewPtrProduceRequest()
	req.SetVersion(version)
	req.Acks = acks
	req.TimeoutMillis = 10_000
	t := kmsg.NewProduceRequestTopic()
	t.Topic, t.TopicID = topic, id
	p := kmsg.NewProduceRequestTopicPartition()
	p.Partition, p.Records = partition, records
	t.Partitions = append(t.Partitions, p)
	req.Topics = append(req.Topics, t)
	return req
}
