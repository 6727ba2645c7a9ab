package broker

import (
	"slipstream/protocol"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// CreateDelegationToken (38), versions 1-3; RenewDelegationToken (39) and
// ExpireDelegationToken (40), versions 1-2; DescribeDelegationToken (41), versions
// 1-3: on a PLAINTEXT listener nobody is known by name, and tokens are for those
// who are. The answers are Kafka's there.

// anonymous is the name of everybody on a PLAINTEXT listener.
const anonymous = "ANONYMOUS"

func (s *Shard) serveCreateDelegationToken(c *call) {
	req := c.body.(*kmsg.CreateDelegationTokenRequest)
	resp := kmsg.NewPtrCreateDelegationTokenResponse()
	resp.ErrorCode = int16(protocol.DELEGATION_TOKEN_REQUEST_NOT_ALLOWED)
	resp.IssueTimestamp, resp.ExpiryTimestamp, resp.MaxTimestamp = -1, -1, -1
	resp.PrincipalType, resp.PrincipalName = "User", anonymous
	resp.TokenRequesterPrincipalType, resp.TokenRequesterPrincipalName = "User", anonymous
	if req.OwnerPrincipalName != nil && *req.OwnerPrincipalName != "" {
		resp.PrincipalName = *req.OwnerPrincipalName
		if req.OwnerPrincipalType != nil {
			resp.PrincipalType = *req.OwnerPrincipalType
		}
	}
	c.reply(resp)
}

func (s *Shard) serveRenewDelegationToken(c *call) {
	resp := kmsg.NewPtrRenewDelegationTokenResponse()
	resp.ErrorCode, resp.ExpiryTimestamp = int16(protocol.DELEGATION_TOKEN_REQUEST_NOT_ALLOWED), -1
	c.reply(resp)
}

func (s *Shard) serveExpireDelegationToken(c *call) {
	resp := kmsg.NewPtrExpireDelegationTokenResponse()
	resp.ErrorCode, resp.ExpiryTimestamp = int16(protocol.DELEGATION_TOKEN_REQUEST_NOT_ALLOWED), -1
	c.reply(resp)
}

func (s *Shard) serveDescribeDelegationToken(c *call) {
	resp := kmsg.NewPtrDescribeDelegationTokenResponse()
	resp.ErrorCode = int16(protocol.DELEGATION_TOKEN_REQUEST_NOT_ALLOWED)
	c.reply(resp)
}
