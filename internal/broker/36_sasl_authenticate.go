package broker

import (
	"slipstream/protocol"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// SaslAuthenticate (36), versions 0-2: as with a handshake, a connection to a
// PLAINTEXT listener is past it.

func (s *Shard) serveSaslAuthenticate(c *call) {
	resp := kmsg.NewPtrSASLAuthenticateResponse()
	resp.ErrorCode = int16(protocol.ILLEGAL_SASL_STATE)
	resp.ErrorMessage = kmsg.StringPtr("SaslAuthenticate request received after successful authentication")
	c.reply(resp)
}
