package main

import (
	"encoding/binary"
	"errors"
	"slices"

	"golang.org/x/sys/unix"

	"slipstream/protocol"
)

// fanout is the least that a server could do to deliver what is produced to many
// consumers who wait for it: it reads Produce frames, stamps the offset, appends the
// batch to its file, already wrapped into the response that a fetch of it has, and
// answers each fetch with one sendfile of the response that it asks for. It looks at
// nothing of a request but its length, its key and its offset.
type fanout struct {
	*rawLimit
	conns     []*rawConn
	wrapped   []byte
	responses []response // of the file, in order
	end       int64
}

// response is where one lies in the file.
type response struct {
	at    int64
	bytes int
}

func (s *rawLimit) serveFanout(listener int) error {
	if s.file == nil {
		return errors.New("fanout wants -file")
	}
	return serveEpoll(listener, &fanout{rawLimit: s})
}

func (f *fanout) opened(c *rawConn) { f.conns = append(f.conns, c) }

func (f *fanout) turned() error { return nil }

func (f *fanout) closed(c *rawConn) {
	f.conns = slices.DeleteFunc(f.conns, func(d *rawConn) bool { return c == d })
}

func (f *fanout) frame(c *rawConn, b []byte) int {
	if len(b) < 6 {
		return 0
	}
	size := 4 + int(binary.BigEndian.Uint32(b))
	if len(b) < size {
		return 0
	}
	ok := true
	if fetch := binary.BigEndian.Uint16(b[4:]) == 1; fetch {
		if size < f.offsetAt+8 {
			return -1
		}
		c.want = int(binary.BigEndian.Uint64(b[f.offsetAt:])) / f.records
		c.waiting = true
		ok = f.deliver(c)
	} else {
		ok = f.produced(c, b[:size])
	}
	if !ok {
		return -1
	}
	return size
}

// produced appends the batch of s.in bytes that a frame ends with, acknowledges it,
// and delivers it to who waits.
func (f *fanout) produced(c *rawConn, frame []byte) bool {
	end := len(frame) - producedTail
	if end < f.in {
		return false
	}
	batch := frame[end-f.in : end]
	binary.BigEndian.PutUint64(batch, uint64(len(f.responses)*f.records))
	f.wrapped = wrapFetched(f.wrapped[:0], f.topic, batch)
	if _, err := unix.Pwrite(int(f.file.Fd()), f.wrapped, f.end); err != nil {
		return false
	}
	f.responses = append(f.responses, response{f.end, len(f.wrapped)})
	f.end += int64(len(f.wrapped))
	if _, err := unix.Write(c.fd, f.response); err != nil {
		return false
	}
	for _, waiting := range f.conns {
		if waiting.waiting && !f.deliver(waiting) {
			waiting.waiting = false // its read will say that it is gone
		}
	}
	return true
}

// producedTail is what follows the batch in a Produce frame: the empty tags of the
// partition, the topic and the request.
const producedTail = 3

// deliver sends a waiting consumer the response that it wants, if it is there.
func (f *fanout) deliver(c *rawConn) bool {
	if c.want < 0 || c.want >= len(f.responses) {
		return true
	}
	r := f.responses[c.want]
	c.waiting = false
	return sendFile(c.fd, int(f.file.Fd()), &r.at, r.bytes)
}

// wrapFetched appends the Fetch response that brings one batch; recordsOf has its
// picture.
func wrapFetched(dst []byte, topic string, batch []byte) []byte {
	start := len(dst)
	b := binary.BigEndian.AppendUint32(dst, 0)
	b = binary.BigEndian.AppendUint32(b, correlation)
	b = append(b, 0)
	b = append(b, make([]byte, 4+2+4)...)
	b = append(b, 2)
	b = append(append(b, byte(len(topic)+1)), topic...)
	b = append(b, 2)
	b = append(b, make([]byte, 4+2)...)
	end := protocol.Batch(batch).NextOffset()
	b = binary.BigEndian.AppendUint64(b, uint64(end))
	b = binary.BigEndian.AppendUint64(b, uint64(end))
	b = binary.BigEndian.AppendUint64(b, 0)
	b = append(b, 0)
	b = binary.BigEndian.AppendUint32(b, 1<<32-1)
	b = binary.AppendUvarint(b, uint64(len(batch)+1))
	b = append(b, batch...)
	b = append(b, 0, 0, 0)
	binary.BigEndian.PutUint32(b[start:], uint32(len(b)-start-4))
	return b
}
