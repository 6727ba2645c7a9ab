package broker

import "github.com/twmb/franz-go/pkg/kmsg"

// DescribeClientQuotas (48), versions 0-1. Entries come in the order of their
// entities' names; Kafka's come in none.

func (s *Shard) serveDescribeClientQuotas(c *call) {
	c.reply(s.image.DescribeClientQuotas(c.body.(*kmsg.DescribeClientQuotasRequest)))
}
