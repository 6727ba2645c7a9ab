package simtest

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"

	"slipstream/internal/sim"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// conn is a Kafka client's connection: requests out, responses in, in order.
type conn struct {
	*sim.Client
	world *sim.World
	next  int32
	calls []call
}

type call struct {
	id   int32
	req  kmsg.Request
	done func(resp kmsg.Response)
	lost func() // instead of done, when the connection is gone; may be nil
	at   int64
}

const (
	patienceNanos = 60e9 // of the world's time, for one response
	apiVersions   = 18
)

var errSlow = errors.New("no response within a minute")

func dial(w *sim.World) *conn { return &conn{Client: w.Dial(address), world: w} }

var formatter = kmsg.NewRequestFormatter(kmsg.FormatterClientID("simtest"))

// send sends a request. done may be nil: no response is expected.
func (c *conn) send(req kmsg.Request, version int16, done func(resp kmsg.Response)) {
	req.SetVersion(version)
	c.next++
	c.Send(formatter.AppendRequest(nil, req, c.next))
	if done != nil {
		c.calls = append(c.calls, call{id: c.next, req: req, done: done, at: c.world.Now()})
	}
}

// lose tells those who wait for a response that none will come.
func (c *conn) lose() {
	calls := c.calls
	c.calls = nil
	for _, call := range calls {
		if call.lost != nil {
			call.lost()
		}
	}
}

// receive hands on the responses that have arrived whole.
func (c *conn) receive() error {
	for {
		b := c.Received()
		if len(b) < 4 || c.Broken() {
			break
		}
		n := int(int32(binary.BigEndian.Uint32(b)))
		if n < 4 || n > 64<<20 {
			return fmt.Errorf("a response of %d bytes", n)
		}
		if len(b) < 4+n {
			break
		}
		frame := append([]byte(nil), b[4:4+n]...)
		c.Take(4 + n)
		if err := c.answer(frame); err != nil {
			return err
		}
	}
	if len(c.calls) > 0 && !c.Broken() && !c.Ended() && c.Connected() && c.world.Now()-c.calls[0].at > patienceNanos {
		return fmt.Errorf("%T: %w", c.calls[0].req, errSlow)
	}
	return nil
}

func (c *conn) answer(frame []byte) error {
	if len(c.calls) == 0 {
		return errors.New("a response that nobody asked for")
	}
	call := c.calls[0]
	c.calls = c.calls[1:]
	if id := int32(binary.BigEndian.Uint32(frame)); id != call.id {
		return fmt.Errorf("response %d where %d was expected", id, call.id)
	}
	body := frame[4:]
	resp := call.req.ResponseKind()
	if resp.IsFlexible() && call.req.Key() != apiVersions {
		if len(body) == 0 || body[0] != 0 {
			return fmt.Errorf("%T: a response header with tags", resp)
		}
		body = body[1:]
	}
	if err := resp.ReadFrom(body); err != nil {
		return fmt.Errorf("%T: %w", resp, err)
	}
	call.done(resp)
	return nil
}

// mayBreak resets the connection now and then, with requests under way.
func (c *conn) mayBreak(r *rand.Rand) {
	if len(c.calls) > 0 && r.IntN(300) == 0 {
		c.Reset()
	}
}

// gone: nothing will come of the connection any more.
func (c *conn) gone() bool { return c.Broken() || c.Ended() }
