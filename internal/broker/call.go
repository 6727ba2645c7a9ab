package broker

import (
	"encoding/binary"
	"strings"

	"slipstream/protocol"
	"slipstream/reactor"

	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/valyala/bytebufferpool"
)

// call is one control-plane request on its way through a handler. It may be
// answered at once or later, from the core that received it, exactly once.
type call struct {
	shard  *Shard
	req    *reactor.Request
	header protocol.Header
	body   kmsg.Request
	late   bool // its handler has returned without an answer
	done   bool // it has its answer

	throttleMillis int32 // what a handler has found, see quota_mutations.go

	waiting *bytebufferpool.ByteBuffer // an encoded response that found the arena full
	next    *call
}

// handled notes that the handler has returned: an answer that comes from now on is
// one that waits for something.
func (c *call) handled() {
	if !c.done {
		c.late = true
		c.req.Spent(reactor.StageLocal, c.shard.core.ReadClock())
	}
}

// reply encodes resp in the request's version and finishes the request.
func (c *call) reply(resp kmsg.Response) {
	c.settle(resp)
	c.finish(c.encode(resp))
}

// replyFromHelper is reply for a response that takes long to encode.
func (c *call) replyFromHelper(resp kmsg.Response) {
	c.settle(resp)
	c.shard.core.Offload(&encoding{call: c, resp: resp})
}

// encoding is a large response that a helper encodes.
type encoding struct {
	call *call
	resp kmsg.Response
	buf  *bytebufferpool.ByteBuffer
}

// Work implements reactor.Job.
func (e *encoding) Work(kernel) reactor.Message {
	e.buf = e.call.encode(e.resp)
	return e
}

// Deliver implements reactor.Message.
func (e *encoding) Deliver(*reactor.Core) { e.call.finish(e.buf) }

// settle is what is to be done with a response before it is encoded.
func (c *call) settle(resp kmsg.Response) {
	c.done = true
	if c.late {
		c.req.Spent(reactor.StageRemote, c.shard.core.Clock)
	}
	resp.SetVersion(c.body.GetVersion())
	if q := c.shard.quotas; q != nil {
		if delay := q.answered(c); delay > 0 {
			if t, ok := resp.(interface{ SetThrottle(millis int32) }); ok {
				t.SetThrottle(delay)
			}
		}
	}
}

func (c *call) encode(resp kmsg.Response) *bytebufferpool.ByteBuffer {
	buf := bytebufferpool.Get()
	b := append(buf.B[:0], 0, 0, 0, 0)
	b = binary.BigEndian.AppendUint32(b, uint32(c.header.CorrelationID))
	if c.body.IsFlexible() && c.header.APIKey != protocol.KeyAPIVersions {
		b = append(b, 0) // no tagged fields in the response header
	}
	b = resp.AppendTo(b)
	binary.BigEndian.PutUint32(b, uint32(len(b)-4))
	buf.B = b
	return buf
}

// finish sends an encoded response.
func (c *call) finish(buf *bytebufferpool.ByteBuffer) {
	c.req.Spent(reactor.StageLocal, c.shard.core.ReadClock())
	if len(buf.B) > c.shard.core.Arena.Limit()/2 {
		// It would wait for room that there never is.
		bytebufferpool.Put(buf)
		c.shard.refuse(c.req, "response too large for a core's memory")
		return
	}
	if !c.send(buf) {
		c.waiting = buf
		c.shard.unsent.push(c)
	}
}

// send copies the encoded response to memory that the kernel may read and
// finishes the request. It returns false when the arena has no room now.
func (c *call) send(buf *bytebufferpool.ByteBuffer) bool {
	block := c.shard.core.Arena.Alloc(len(buf.B))
	if block == nil {
		return false
	}
	copy(block.Bytes(), buf.B)
	c.req.AddBlock(block, 0, len(buf.B))
	bytebufferpool.Put(buf)
	if c.waiting != nil {
		c.req.Spent(reactor.StageQueue, c.shard.core.Clock)
	}
	c.waiting = nil
	c.req.Finish()
	return true
}

func cloneString(s string) string { return strings.Clone(s) }
