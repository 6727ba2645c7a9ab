package main

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"

	"slipstream/protocol"
)

// consumer is a connection that fetches a topic's partition 0, one request at a
// time. It reads the head of each response and throws the records away in the
// kernel; checking, it reads and verifies every byte.
type consumer struct {
	c        *client
	t        *topic
	next     int64 // offset of the next fetch
	request  []byte
	offsetAt int

	head []byte // the first bytes of a response
	size int    // of the whole response with its length, 0 until known
	have int    // bytes of it received
	body []byte // checking: all of it
}

// headBytes is what is read of a response before the rest is discarded: enough for
// the head and the first batch's header, and whole small responses.
const headBytes = 4096

// delivery is what a fetch brought: whole batches from an offset on.
type delivery struct {
	offset  int64
	batches int
	bytes   int // of these batches
}

// consume connects a consumer of a topic from an offset on. check makes it verify
// what it gets.
func (t *topic) consume(port int, client string, from int64, maxBytes int32, check bool) (*consumer, error) {
	c, err := dial(port)
	if err != nil {
		return nil, err
	}
	k := &consumer{c: c, t: t, next: from, head: make([]byte, headBytes)}
	k.request, k.offsetAt = fetchFrame(client, t.name, maxBytes)
	if check {
		k.body = make([]byte, 0, int(maxBytes)+headBytes)
	}
	return k, nil
}

// ask sends the next fetch.
func (k *consumer) ask() error {
	binary.BigEndian.PutUint64(k.request[k.offsetAt:], uint64(k.next))
	k.size, k.have = 0, 0
	return k.c.write(k.request)
}

// receive reads the response, and moves on to the offset behind it. Of a client that
// does not block, errWouldBlock says that it has not all come.
func (k *consumer) receive() (delivery, error) {
	for k.size == 0 || k.have < min(k.size, headBytes) {
		n, err := k.c.receive(k.head[k.have:], 0)
		if err != nil {
			return delivery{}, err
		}
		if k.have += n; k.size == 0 && k.have >= 4 {
			k.size = 4 + int(binary.BigEndian.Uint32(k.head))
		}
	}
	for k.have < k.size {
		n, err := k.rest()
		if err != nil {
			return delivery{}, err
		}
		k.have += n
	}
	if k.have > k.size {
		return delivery{}, fmt.Errorf("%d bytes came after a response of %d", k.have-k.size, k.size)
	}
	return k.delivered()
}

// rest reads on behind the head.
func (k *consumer) rest() (int, error) {
	if cap(k.body) == 0 {
		return k.c.discard(k.size - k.have)
	}
	if k.size > cap(k.body) {
		return 0, fmt.Errorf("a response of %d bytes, more than was asked for", k.size)
	}
	return k.c.receive(k.body[k.have:k.size], 0)
}

// delivered says what a whole response brought.
func (k *consumer) delivered() (delivery, error) {
	at, n, err := recordsOf(k.head[:min(k.size, headBytes)], len(k.t.name))
	if err != nil || n == 0 {
		return delivery{offset: k.next}, err
	}
	if at+protocol.HeaderBytes > min(k.size, headBytes) || at+n > k.size {
		return delivery{}, fmt.Errorf("records of %d bytes in a response of %d", n, k.size)
	}
	d := delivery{offset: int64(binary.BigEndian.Uint64(k.head[at:])), batches: n / k.t.batchBytes}
	d.bytes = d.batches * k.t.batchBytes
	if d.offset != k.next {
		return delivery{}, fmt.Errorf("a fetch at offset %d brought offset %d", k.next, d.offset)
	}
	if d.batches == 0 {
		return delivery{}, fmt.Errorf("a fetch at offset %d brought %d bytes: no whole batch", k.next, n)
	}
	if cap(k.body) > 0 {
		whole := k.body[:k.size]
		copy(whole, k.head[:min(k.size, headBytes)])
		if err := k.t.verify(whole[at:at+d.bytes], k.next); err != nil {
			return delivery{}, err
		}
	}
	k.next += int64(d.batches * k.t.records)
	return d, nil
}

// recordsOf finds the records in the head of a Fetch response of one partition:
// where they begin and their bytes.
//
//	length i32, correlation i32, tags | throttle i32, error i16, session i32
//	topics 2, name, partitions 2, index i32, error i16, high watermark i64,
//	last stable i64, log start i64, aborted (0 or 1), preferred i32, records
func recordsOf(b []byte, nameBytes int) (at, n int, err error) {
	const top, partition = 4 + 4 + 1, 4 + 2 + 8 + 8 + 8 + 1 + 4
	at = top + 4 + 2 + 4 + 1 + 1 + nameBytes + 1
	if len(b) < top+6 {
		return 0, 0, errors.New("a fetch response that is too short")
	}
	if code := int16(binary.BigEndian.Uint16(b[top+4:])); code != 0 {
		return 0, 0, fmt.Errorf("fetch: error %d", code)
	}
	if len(b) < at+partition+1 {
		return 0, 0, errors.New("a fetch response without its partition")
	}
	if code := int16(binary.BigEndian.Uint16(b[at+4:])); code != 0 {
		return 0, 0, fmt.Errorf("fetch: partition error %d", code)
	}
	at += partition
	v, width := binary.Uvarint(b[at:])
	if width <= 0 || v > 1<<31 {
		return 0, 0, errors.New("a fetch response whose records have no length")
	}
	return at + width, max(int(v)-1, 0), nil
}

// verify checks every byte of whole batches from an offset on.
func (t *topic) verify(b []byte, offset int64) error {
	for len(b) > 0 {
		batch, rest, err := protocol.NextBatch(b)
		if err != nil {
			return fmt.Errorf("at offset %d: %w", offset, err)
		}
		want := t.batches[int(offset/int64(t.records))%len(t.batches)]
		switch {
		case batch.BaseOffset() != offset:
			return fmt.Errorf("a batch of offset %d where %d should be", batch.BaseOffset(), offset)
		case !batch.ValidCRC():
			return fmt.Errorf("the batch at offset %d has a wrong CRC", offset)
		case !bytes.Equal(batch[magicAt:], want[magicAt:]):
			return fmt.Errorf("the batch at offset %d is not the one that was produced there", offset)
		}
		b, offset = rest, offset+int64(t.records)
	}
	return nil
}

// magicAt is where a batch begins to be the producer's: offset, length and leader
// epoch are before it.
const magicAt = 16
