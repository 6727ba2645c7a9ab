package main

import (
	"bytes"
	"encoding/binary"
	"fmt"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// producer is a connection that produces, and knows what an acknowledgement looks
// like.
type producer struct {
	c      *client
	answer answer
	buffer []byte // of bytes of answers not yet whole
	have   int
}

// answer is how a server answers a produced batch: always with so many bytes, the
// first of which, up to and with the error code, are always the same.
type answer struct {
	bytes int
	head  []byte
}

// firstProduce connects and produces a batch: its answer must be without error,
// and is what later ones are held against.
func (t *topic) firstProduce(port int) (*producer, error) {
	p := &producer{}
	var err error
	if p.c, err = dial(port); err != nil {
		return nil, err
	}
	if p.answer, err = t.learnAnswer(p.c); err != nil {
		p.c.close()
		return nil, err
	}
	p.buffer = make([]byte, p.answer.bytes)
	return p, nil
}

// learnAnswer produces the topic's first batch.
func (t *topic) learnAnswer(c *client) (answer, error) {
	if err := c.write(t.frames[0]); err != nil {
		return answer{}, err
	}
	body, err := c.frame()
	if err != nil {
		return answer{}, err
	}
	resp := kmsg.NewPtrProduceResponse()
	resp.Version = produceVersion
	if len(body) < 5 {
		return answer{}, fmt.Errorf("produce: an answer of %d bytes", len(body))
	}
	if err := resp.ReadFrom(body[5:]); err != nil {
		return answer{}, err
	}
	if code := resp.Topics[0].Partitions[0].ErrorCode; code != 0 {
		return answer{}, fmt.Errorf("produce: error %d", code)
	}
	all := binary.BigEndian.AppendUint32(nil, uint32(len(body)))
	all = append(all, body...)
	// length, correlation id, tags, one topic, its name, one partition, index, error code
	return answer{len(all), all[:4+4+1+1+1+len(t.name)+1+4+2]}, nil
}

// producersOf makes a producer of each connection to a server that answers so.
func producersOf(clients []*client, a answer) (all []*producer) {
	for _, c := range clients {
		all = append(all, &producer{c: c, answer: a, buffer: make([]byte, a.bytes)})
	}
	return all
}

// acknowledged reads one answer. Of a client that does not block, errWouldBlock
// says that it has not all come.
func (p *producer) acknowledged() error {
	for p.have < len(p.buffer) {
		n, err := p.c.receive(p.buffer[p.have:], 0)
		if err != nil {
			return err
		}
		p.have += n
	}
	p.have = 0
	if n := len(p.answer.head); !bytes.Equal(p.buffer[:n], p.answer.head) {
		return fmt.Errorf("an answer of % x, the first time % x", p.buffer[:n], p.answer.head)
	}
	return nil
}

// pipeline produces batches of the topic with inFlight of them unanswered at most,
// until count are or the clock says nanos have gone by. It returns how many.
func (p *producer) pipeline(t *topic, from, count, inFlight int, nanos int64) (int, error) {
	end := nanotime() + nanos
	sent, answered := 0, 0
	for {
		more := sent < count && (nanos == 0 || nanotime() < end)
		if !more && answered == sent {
			return sent, nil
		}
		if more {
			if err := p.c.write(t.frame(from + sent)); err != nil {
				return answered, err
			}
			sent++
		}
		if sent-answered == inFlight || !more {
			if err := p.acknowledged(); err != nil {
				return answered, err
			}
			answered++
		}
	}
}
