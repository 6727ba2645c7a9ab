package broker

import (
	"slipstream/protocol"
	"slipstream/reactor"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// maxColdFrameBytes bounds the requests that kmsg decodes. It believes an array
// length as long as that many bytes remain, and an element in memory is up to a
// hundred times its smallest encoding; no real admin request comes near this.
const maxColdFrameBytes = 1 << 20

// maxGroupFrameBytes bounds those that speak for a whole group or commit for many
// partitions: a leader's SyncGroup for 1,000 members of 500 partitions each is 2 to
// 4 MiB. CheckRequest has walked over the request before kmsg sees it, so there are
// at most protocol.MaxRequestElements elements, 30 MiB in memory, and the bytes
// themselves are not copied.
const maxGroupFrameBytes = 16 << 20

// decodeOnCoreBytes is the largest body that is decoded on the core: some 100 us.
// Larger ones are a helper's.
const decodeOnCoreBytes = 32 << 10

// partitionsPerRequest, beside the number of partitions that there are, is the
// most that one Produce or Fetch may name. A part of a request takes some 400
// bytes here and as few as 5 on the wire: without a bound a single frame of
// 100 MiB would take gigabytes.
const partitionsPerRequest = 10_000

func (s *Shard) tooManyPartitions(n int) bool {
	return n > partitionsPerRequest && n > partitionsPerRequest+s.image.PartitionCount()
}

// Request serves one frame.
func (s *Shard) Request(r *reactor.Request) reactor.Disposition {
	if s.quotas != nil && s.quotas.times() {
		return s.quotas.serve(r)
	}
	return s.serve(r)
}

// serve serves one frame. An unreadable or unserved request closes its connection,
// as in Kafka: there is no response format to answer in.
func (s *Shard) serve(r *reactor.Request) reactor.Disposition {
	h, body, err := protocol.ParseHeader(r.Payload)
	if err != nil {
		return s.refuse(r, "unreadable request header")
	}
	if s.quotas != nil {
		s.quotas.client(r.Conn, h.ClientID)
	}
	var row *api
	if h.APIKey >= 0 && int(h.APIKey) < len(apiByKey) {
		row = apiByKey[h.APIKey]
	}
	if row == nil {
		return s.refuse(r, "unknown request key")
	}
	if h.Version < row.min || h.Version > row.max {
		if h.APIKey == protocol.KeyAPIVersions {
			return s.answerUnsupportedAPIVersions(r, h)
		}
		return s.refuse(r, "unsupported request version")
	}
	s.requests[row.place][h.Version]++
	r.Kind = kindOf(h.APIKey)
	if row.hot != nil {
		return row.hot(s, r, h, body)
	}
	if len(body) > row.bodyLimit() {
		return s.refuse(r, "admin request too large")
	}
	c := &call{shard: s, req: r, header: h}
	if len(body) > decodeOnCoreBytes {
		s.core.Offload(&decoding{call: c, row: row, bytes: body})
		return reactor.Hold
	}
	if reason := c.decode(body); reason != "" {
		return s.refuse(r, reason)
	}
	row.cold(s, c)
	c.handled()
	return reactor.Hold
}

func (a *api) bodyLimit() int {
	if a.maxBytes > 0 {
		return a.maxBytes
	}
	return maxColdFrameBytes
}

// decode reads the request's body; the text is why it cannot be.
func (c *call) decode(body []byte) (refusal string) {
	if err := protocol.CheckRequest(c.header.APIKey, c.header.Version, body); err != nil {
		return "malformed request body"
	}
	c.body = kmsg.RequestForKey(c.header.APIKey)
	c.body.SetVersion(c.header.Version)
	if err := c.body.ReadFrom(body); err != nil {
		return "unreadable request body"
	}
	return ""
}

// decoding is a large request that a helper decodes. Its bytes stay where they are
// until it is finished.
type decoding struct {
	call    *call
	row     *api
	bytes   []byte
	refusal string
}

// Work implements reactor.Job.
func (d *decoding) Work(kernel) reactor.Message {
	d.refusal = d.call.decode(d.bytes)
	return d
}

// Deliver implements reactor.Message.
func (d *decoding) Deliver(*reactor.Core) {
	c := d.call
	c.req.Spent(reactor.StageQueue, c.shard.core.Clock)
	if d.refusal != "" {
		c.shard.refuse(c.req, d.refusal)
		return
	}
	d.row.cold(c.shard, c)
	c.handled()
}

// refuse closes the connection of a request that cannot be answered. The reason
// is counted and, at debug level, logged.
func (s *Shard) refuse(r *reactor.Request, reason string) reactor.Disposition {
	r.Kind = 0
	s.countRefusal(reason)
	s.broker.log.Debug("closing a connection", "peer", r.Conn.Peer, "reason", reason)
	conn := r.Conn
	r.FinishSilent()
	conn.Close()
	return reactor.Hold
}

// kindOf is what a core counts the times of an API key's requests under.
func kindOf(key int16) uint8 { return uint8(key) + 1 }
