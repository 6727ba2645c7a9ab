package broker

import (
	"slipstream/protocol"
	"slipstream/reactor"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// api is one row of the table of what this broker serves. Each handler lives in
// the file named for its key.
type api struct {
	key      int16
	min, max int16
	// advertisedMin is what ApiVersions says, where it differs from min: Produce
	// advertises 0 because librdkafka takes a higher minimum for an old broker.
	advertisedMin int16
	// hot decodes the body itself, without allocation. Everything else is decoded
	// by kmsg into a call.
	hot  func(s *Shard, r *reactor.Request, h protocol.Header, body []byte) reactor.Disposition
	cold func(s *Shard, c *call)
	// unlisted rows are served and not listed by ApiVersions.
	unlisted bool
	// maxBytes bounds the body of a request that kmsg decodes; 0: maxColdFrameBytes.
	maxBytes int

	place int // in apis
}

// apis is what is served, in the order in which ApiVersions lists it.
// The version ranges are Apache Kafka 4.3's.
var apis []api

// apiByKey finds a row by key; the keys are small.
var apiByKey [apiKeys]*api

// apiKeys is more than the highest API key there is.
const apiKeys = 128

func init() {
	apis = []api{
		{key: 0, min: 3, max: 13, advertisedMin: 0, hot: (*Shard).serveProduce},
		{key: 1, min: 4, max: 18, advertisedMin: 4, hot: (*Shard).serveFetch},
		{key: 2, min: 1, max: 11, advertisedMin: 1, cold: (*Shard).serveListOffsets},
		{key: 3, min: 0, max: 13, advertisedMin: 0, cold: (*Shard).serveMetadata},
		{key: 8, min: 2, max: 10, advertisedMin: 2, cold: (*Shard).serveOffsetCommit, maxBytes: maxGroupFrameBytes},
		{key: 9, min: 1, max: 10, advertisedMin: 1, cold: (*Shard).serveOffsetFetch, maxBytes: maxGroupFrameBytes},
		{key: 10, min: 0, max: 6, advertisedMin: 0, cold: (*Shard).serveFindCoordinator},
		{key: 11, min: 0, max: 9, advertisedMin: 0, cold: (*Shard).serveJoinGroup, maxBytes: maxGroupFrameBytes},
		{key: 12, min: 0, max: 4, advertisedMin: 0, cold: (*Shard).serveHeartbeat},
		{key: 13, min: 0, max: 5, advertisedMin: 0, cold: (*Shard).serveLeaveGroup},
		{key: 14, min: 0, max: 5, advertisedMin: 0, cold: (*Shard).serveSyncGroup, maxBytes: maxGroupFrameBytes},
		{key: 15, min: 0, max: 6, advertisedMin: 0, cold: (*Shard).serveDescribeGroups},
		{key: 16, min: 0, max: 5, advertisedMin: 0, cold: (*Shard).serveListGroups},
		{key: 17, min: 0, max: 1, advertisedMin: 0, cold: (*Shard).serveSaslHandshake},
		{key: 18, min: 0, max: 4, advertisedMin: 0, cold: (*Shard).serveAPIVersions},
		{key: 19, min: 2, max: 7, advertisedMin: 2, cold: (*Shard).serveCreateTopics},
		{key: 20, min: 1, max: 6, advertisedMin: 1, cold: (*Shard).serveDeleteTopics},
		{key: 21, min: 0, max: 2, advertisedMin: 0, cold: (*Shard).serveDeleteRecords},
		{key: 22, min: 0, max: 5, advertisedMin: 0, cold: (*Shard).serveInitProducerID},
		{key: 23, min: 2, max: 4, advertisedMin: 2, cold: (*Shard).serveOffsetForLeaderEpoch},
		{key: 24, min: 0, max: 5, advertisedMin: 0, cold: (*Shard).serveAddPartitionsToTxn},
		{key: 25, min: 0, max: 4, advertisedMin: 0, cold: (*Shard).serveAddOffsetsToTxn},
		{key: 26, min: 0, max: 5, advertisedMin: 0, cold: (*Shard).serveEndTxn},
		{key: 27, min: 1, max: 2, advertisedMin: 1, cold: (*Shard).serveWriteTxnMarkers},
		{key: 28, min: 0, max: 5, advertisedMin: 0, cold: (*Shard).serveTxnOffsetCommit, maxBytes: maxGroupFrameBytes},
		{key: 29, min: 1, max: 3, advertisedMin: 1, cold: (*Shard).serveDescribeAcls},
		{key: 30, min: 1, max: 3, advertisedMin: 1, cold: (*Shard).serveCreateAcls},
		{key: 31, min: 1, max: 3, advertisedMin: 1, cold: (*Shard).serveDeleteAcls},
		{key: 32, min: 1, max: 4, advertisedMin: 1, cold: (*Shard).serveDescribeConfigs},
		{key: 33, min: 0, max: 2, advertisedMin: 0, cold: (*Shard).serveAlterConfigs},
		{key: 34, min: 1, max: 2, advertisedMin: 1, cold: (*Shard).serveAlterReplicaLogDirs},
		{key: 35, min: 1, max: 5, advertisedMin: 1, cold: (*Shard).serveDescribeLogDirs},
		{key: 36, min: 0, max: 2, advertisedMin: 0, cold: (*Shard).serveSaslAuthenticate},
		{key: 37, min: 0, max: 3, advertisedMin: 0, cold: (*Shard).serveCreatePartitions},
		{key: 38, min: 1, max: 3, advertisedMin: 1, cold: (*Shard).serveCreateDelegationToken},
		{key: 39, min: 1, max: 2, advertisedMin: 1, cold: (*Shard).serveRenewDelegationToken},
		{key: 40, min: 1, max: 2, advertisedMin: 1, cold: (*Shard).serveExpireDelegationToken},
		{key: 41, min: 1, max: 3, advertisedMin: 1, cold: (*Shard).serveDescribeDelegationToken},
		{key: 42, min: 0, max: 2, advertisedMin: 0, cold: (*Shard).serveDeleteGroups},
		{key: 43, min: 0, max: 2, advertisedMin: 0, cold: (*Shard).serveElectLeaders},
		{key: 44, min: 0, max: 1, advertisedMin: 0, cold: (*Shard).serveIncrementalAlterConfigs},
		{key: 45, min: 0, max: 1, advertisedMin: 0, cold: (*Shard).serveAlterPartitionReassignments},
		{key: 46, min: 0, max: 0, advertisedMin: 0, cold: (*Shard).serveListPartitionReassignments},
		{key: 47, min: 0, max: 0, advertisedMin: 0, cold: (*Shard).serveOffsetDelete},
		{key: 48, min: 0, max: 1, advertisedMin: 0, cold: (*Shard).serveDescribeClientQuotas},
		{key: 49, min: 0, max: 1, advertisedMin: 0, cold: (*Shard).serveAlterClientQuotas},
		{key: 50, min: 0, max: 0, advertisedMin: 0, cold: (*Shard).serveDescribeUserScramCredentials},
		{key: 51, min: 0, max: 0, advertisedMin: 0, cold: (*Shard).serveAlterUserScramCredentials},
		{key: 55, min: 0, max: 2, advertisedMin: 0, cold: (*Shard).serveDescribeQuorum},
		{key: 57, min: 0, max: 2, advertisedMin: 0, cold: (*Shard).serveUpdateFeatures},
		{key: 60, min: 0, max: 2, advertisedMin: 0, cold: (*Shard).serveDescribeCluster},
		{key: 61, min: 0, max: 0, advertisedMin: 0, cold: (*Shard).serveDescribeProducers},
		{key: 64, min: 0, max: 0, advertisedMin: 0, cold: (*Shard).serveUnregisterBroker},
		{key: 65, min: 0, max: 0, advertisedMin: 0, cold: (*Shard).serveDescribeTransactions},
		{key: 66, min: 0, max: 2, advertisedMin: 0, cold: (*Shard).serveListTransactions},
		{key: 68, min: 0, max: 1, advertisedMin: 0, cold: (*Shard).serveConsumerGroupHeartbeat},
		{key: 69, min: 0, max: 1, advertisedMin: 0, cold: (*Shard).serveConsumerGroupDescribe},
		{key: 71, min: 0, max: 0, advertisedMin: 0, cold: (*Shard).serveGetTelemetrySubscriptions, unlisted: true},
		{key: 72, min: 0, max: 0, advertisedMin: 0, cold: (*Shard).servePushTelemetry, maxBytes: maxTelemetryBytes + 1<<16, unlisted: true},
		{key: 74, min: 0, max: 1, advertisedMin: 0, cold: (*Shard).serveListConfigResources},
		{key: 75, min: 0, max: 0, advertisedMin: 0, cold: (*Shard).serveDescribeTopicPartitions},
		{key: 80, min: 0, max: 1, advertisedMin: 0, cold: (*Shard).serveAddRaftVoter},
		{key: 81, min: 0, max: 0, advertisedMin: 0, cold: (*Shard).serveRemoveRaftVoter},
	}
	for i := range apis {
		apis[i].place = i
		apiByKey[apis[i].key] = &apis[i]
	}
}

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

// Request serves one frame. An unreadable or unserved request closes its
// connection, as in Kafka: there is no response format to answer in.
func (s *Shard) Request(r *reactor.Request) reactor.Disposition {
	h, body, err := protocol.ParseHeader(r.Payload)
	if err != nil {
		return s.refuse(r, "unreadable request header")
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
