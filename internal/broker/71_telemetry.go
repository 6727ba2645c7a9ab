package broker

import (
	"strconv"

	"slipstream/internal/config"
	"slipstream/protocol"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// GetTelemetrySubscriptions (71) and PushTelemetry (72), version 0 (KIP-714). As by
// a Kafka without a receiver of telemetry, they are served and not listed by
// ApiVersions, so that clients do not push what nobody reads.
//
// Departures from Kafka: what is pushed is not opened; patterns that select clients
// are RE2's, of at most 256 bytes, and the first 64 subscriptions by name count; a client whose subscription has become another may ask for it at once.

func (s *Shard) serveGetTelemetrySubscriptions(c *call) {
	req := c.body.(*kmsg.GetTelemetrySubscriptionsRequest)
	resp := kmsg.NewPtrGetTelemetrySubscriptionsResponse()
	id := protocol.UUID(req.ClientInstanceID)
	if id == (protocol.UUID{}) {
		id = s.broker.randomID()
	}
	client := s.telemetry.client(id, func(name string) string { return describeClient(c, id, name) })
	if !client.mayGet(s.core.Clock / 1e6) {
		s.telemetry.counters.Refused++
		resp.ErrorCode = int16(protocol.THROTTLING_QUOTA_EXCEEDED)
		c.reply(resp)
		return
	}
	resp.ClientInstanceID, resp.SubscriptionID = id, client.subscription
	resp.AcceptedCompressionTypes = []int8{int8(protocol.Zstd), int8(protocol.LZ4), int8(protocol.Gzip), int8(protocol.Snappy)}
	resp.PushIntervalMillis, resp.TelemetryMaxBytes, resp.DeltaTemporality = client.intervalMillis, maxTelemetryBytes, true
	resp.RequestedMetrics = client.metrics
	c.reply(resp)
}

func (s *Shard) servePushTelemetry(c *call) {
	req := c.body.(*kmsg.PushTelemetryRequest)
	resp := kmsg.NewPtrPushTelemetryResponse()
	code := protocol.INVALID_REQUEST
	if id := protocol.UUID(req.ClientInstanceID); id != (protocol.UUID{}) {
		client := s.telemetry.client(id, func(name string) string { return describeClient(c, id, name) })
		code = client.pushed(s.core.Clock/1e6, req.SubscriptionID, req.Terminating, req.CompressionType, len(req.Metrics))
		client.lastError = code
		client.ending = client.ending || req.Terminating
	}
	if code == protocol.NONE {
		s.telemetry.counters.Pushes++
		s.telemetry.counters.Bytes += uint64(len(req.Metrics))
	} else {
		s.telemetry.counters.Refused++
	}
	resp.ErrorCode = int16(code)
	c.reply(resp)
}

// describeClient is what a client says of itself, by the name that a subscription's
// match has for it.
func describeClient(c *call, id protocol.UUID, name string) string {
	state, _ := c.req.Conn.User.(*connState)
	if state == nil {
		state = &connState{}
	}
	switch name {
	case config.MatchInstanceID:
		return id.String()
	case config.MatchClientID:
		return string(c.header.ClientID)
	case config.MatchSoftwareName:
		return state.software
	case config.MatchSoftwareVersion:
		return state.softwareVersion
	case config.MatchSourceAddress:
		return c.req.Conn.Peer.Addr().Unmap().String()
	case config.MatchSourcePort:
		return strconv.Itoa(int(c.req.Conn.Peer.Port()))
	}
	return ""
}
