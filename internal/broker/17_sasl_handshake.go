package broker

import (
	"slipstream/protocol"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// SaslHandshake (17), versions 0-1: the listener is PLAINTEXT, where a connection is
// authenticated from the start and a handshake comes too late, as in Kafka.

func (s *Shard) serveSaslHandshake(c *call) {
	resp := kmsg.NewPtrSASLHandshakeResponse()
	resp.ErrorCode = int16(protocol.ILLEGAL_SASL_STATE)
	c.reply(resp)
}
