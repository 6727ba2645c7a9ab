package broker

import (
	"slipstream/internal/metadata"
	"slipstream/protocol"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// DescribeUserScramCredentials (50) and AlterUserScramCredentials (51), version 0:
// credentials are kept in the metadata log, in Kafka's records.
//
// Departures from Kafka: nobody is asked for a password, since the listener is
// PLAINTEXT; answers are in the order of the users' names.

func (s *Shard) serveDescribeUserScramCredentials(c *call) {
	c.reply(s.image.DescribeUserScramCredentials(c.body.(*kmsg.DescribeUserSCRAMCredentialsRequest)))
}

func (s *Shard) serveAlterUserScramCredentials(c *call) {
	req := c.body.(*kmsg.AlterUserSCRAMCredentialsRequest)
	var resp *kmsg.AlterUserSCRAMCredentialsResponse
	s.propose(func(ctl *metadata.Controller) (records []metadata.Record) {
		resp, records = ctl.AlterUserScramCredentials(req)
		return records
	}, func(code protocol.ErrorCode) {
		uncommitted(code, len(resp.Results), func(i int) *int16 { return &resp.Results[i].ErrorCode })
		c.reply(resp)
	})
}
