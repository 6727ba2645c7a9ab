package clients

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"slipstream/internal/clients/harness"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// Client quotas (keys 48 and 49). The order of a hash map shows in Apache's answers with several entries or values: what
// is asked here has one of each, or all the same.

// part is one component of a quota entity: "user=a", or "user" for the default.
func entityOf(parts ...string) (out []kmsg.AlterClientQuotasRequestEntryEntity) {
	for _, p := range parts {
		e := kmsg.NewAlterClientQuotasRequestEntryEntity()
		kind, name, named := strings.Cut(p, "=")
		e.Type = kind
		if named {
			e.Name = &name
		}
		out = append(out, e)
	}
	return out
}

type quotaOp struct {
	key    string
	value  float64
	remove bool
}

func alterQuota(entity []kmsg.AlterClientQuotasRequestEntryEntity, ops ...quotaOp) kmsg.AlterClientQuotasRequestEntry {
	e := kmsg.NewAlterClientQuotasRequestEntry()
	e.Entity = entity
	for _, o := range ops {
		op := kmsg.NewAlterClientQuotasRequestEntryOp()
		op.Key, op.Value, op.Remove = o.key, o.value, o.remove
		e.Ops = append(e.Ops, op)
	}
	return e
}

func alterQuotas(entries ...kmsg.AlterClientQuotasRequestEntry) *kmsg.AlterClientQuotasRequest {
	req := kmsg.NewPtrAlterClientQuotasRequest()
	req.Entries = entries
	return req
}

// describeQuotas asks with components like "user=a" (exact), "user" (default) or "user*" (any).
func describeQuotas(strict bool, components ...string) *kmsg.DescribeClientQuotasRequest {
	req := kmsg.NewPtrDescribeClientQuotasRequest()
	req.Strict = strict
	for _, p := range components {
		c := kmsg.NewDescribeClientQuotasRequestComponent()
		kind, name, named := strings.Cut(p, "=")
		kind, anyName := strings.CutSuffix(kind, "*")
		c.EntityType, c.MatchType = kind, kmsg.QuotasMatchTypeDefault
		switch {
		case anyName:
			c.MatchType = kmsg.QuotasMatchTypeAny
		case named:
			c.MatchType, c.Match = kmsg.QuotasMatchTypeExact, &name
		}
		req.Components = append(req.Components, c)
	}
	return req
}

// quotas asks and keeps the answer in order: Apache's is that of a hash map.
func (s *script) quotas(name string, version int16, req kmsg.Request) {
	s.t.Helper()
	s.ask(name, version, req)
	answer, ok := s.done[len(s.done)-1].Answer.(map[string]any)
	if !ok {
		return
	}
	entries, _ := answer["Entries"].([]any)
	for _, e := range entries {
		sortByText(e.(map[string]any)["Entity"])
		sortByText(e.(map[string]any)["Values"])
	}
	sortByText(answer["Entries"])
}

func sortByText(list any) {
	if l, ok := list.([]any); ok {
		slices.SortFunc(l, func(a, b any) int { return strings.Compare(fmt.Sprint(a), fmt.Sprint(b)) })
	}
}

func (s *script) bothVersions(name string, build func(version int16) kmsg.Request) {
	s.t.Helper()
	for v := range int16(2) {
		s.quotas(name, v, build(v))
	}
}

// awaitQuotas waits, outside the script, until the broker knows of a quota: Apache answers before it does.
func (s *script) awaitQuotas(req *kmsg.DescribeClientQuotasRequest) {
	s.t.Helper()
	req.SetVersion(1)
	for range 100 {
		s.corr++
		s.w.Write(harness.Encode(req, s.corr))
		body, err := s.w.ReadFrame(10 * time.Second)
		if err != nil {
			s.t.Fatal(err)
		}
		resp, err := harness.Decode(req, s.corr, body)
		if err != nil {
			s.t.Fatal(err)
		}
		if len(resp.(*kmsg.DescribeClientQuotasResponse).Entries) > 0 {
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
	s.t.Fatal("the quotas did not come into force")
}

const (
	producerRate   = "producer_byte_rate"
	consumerRate   = "consumer_byte_rate"
	requestShare   = "request_percentage"
	mutationRate   = "controller_mutation_rate"
	connectionRate = "connection_creation_rate"
)

// forgetQuotas removes every quota: some hold for the test's own clients, which go on with the next script.
func (s *script) forgetQuotas() {
	s.t.Helper()
	do := func(req kmsg.Request) kmsg.Response {
		req.SetVersion(1)
		s.corr++
		s.w.Write(harness.Encode(req, s.corr))
		body, err := s.w.ReadFrame(15 * time.Second)
		if err != nil {
			s.t.Fatal(err)
		}
		resp, err := harness.Decode(req, s.corr, body)
		if err != nil {
			s.t.Fatal(err)
		}
		return resp
	}
	remove := kmsg.NewPtrAlterClientQuotasRequest()
	for _, e := range do(kmsg.NewPtrDescribeClientQuotasRequest()).(*kmsg.DescribeClientQuotasResponse).Entries {
		entry := kmsg.NewAlterClientQuotasRequestEntry()
		for _, part := range e.Entity {
			entry.Entity = append(entry.Entity, kmsg.AlterClientQuotasRequestEntryEntity{Type: part.Type, Name: part.Name})
		}
		for _, v := range e.Values {
			entry.Ops = append(entry.Ops, kmsg.AlterClientQuotasRequestEntryOp{Key: v.Key, Remove: true})
		}
		remove.Entries = append(remove.Entries, entry)
	}
	do(remove)
}

func scriptAlterClientQuotas(s *script) {
	defer s.forgetQuotas()
	s.bothVersions("one of each kind", func(v int16) kmsg.Request {
		return alterQuotas(
			alterQuota(entityOf("user=alice", "client-id=c1"), quotaOp{key: producerRate, value: 1000 + float64(v)}),
			alterQuota(entityOf("user=alice"), quotaOp{key: consumerRate, value: 2000}),
			alterQuota(entityOf("client-id=c1"), quotaOp{key: requestShare, value: 12.5}),
			alterQuota(entityOf("client-id"), quotaOp{key: mutationRate, value: 0.5}),
			alterQuota(entityOf("user", "client-id"), quotaOp{key: producerRate, value: 7}),
			alterQuota(entityOf("ip=10.0.0.1"), quotaOp{key: connectionRate, value: 10}),
			alterQuota(entityOf("ip"), quotaOp{key: connectionRate, value: 20}))
	})
	s.quotas("removed, and once more", 1, alterQuotas(alterQuota(entityOf("user=alice"), quotaOp{key: consumerRate, remove: true})))
	s.quotas("removed, and once more", 1, alterQuotas(alterQuota(entityOf("user=alice"), quotaOp{key: consumerRate, remove: true})))
	s.quotas("an unknown key removed", 1, alterQuotas(alterQuota(entityOf("user=alice"), quotaOp{key: "nonsense", remove: true})))
	for _, entity := range [][]string{
		{}, {"user="}, {"client-id="}, {"ip="}, {"host=a"}, {"=a"}, {"user=a", "user=b"}, {"user=a", "user=a"}, {"user=a", "ip=10.0.0.1"},
		{"client-id=a", "ip"}, {"ip=not an address"}, {"ip=10.0.0.300"}, {"ip=::1"}, {"ip=1"}, {"user=a", "client-id=b", "ip=10.0.0.1"}, {"USER=a"},
		{"user=a", "host=b"}, {"user=ü ñ/%"},
	} {
		s.quotas(fmt.Sprintf("entity %q", entity), 1, alterQuotas(alterQuota(entityOf(entity...), quotaOp{key: connectionRate, value: 5})))
		s.quotas(fmt.Sprintf("entity %q, bytes", entity), 1, alterQuotas(alterQuota(entityOf(entity...), quotaOp{key: producerRate, value: 5})))
	}
	for _, key := range []string{producerRate, consumerRate, requestShare, mutationRate, "", "nonsense", "SCRAM-SHA-256"} {
		for _, value := range []float64{0, -1, 0.4, 1.5, 1 + 1e-7, 1e300, math.Inf(1), math.NaN(), math.MaxInt64, 1 << 31} {
			s.quotas(fmt.Sprintf("%q = %v", key, value), 1, alterQuotas(alterQuota(entityOf("user=values"), quotaOp{key: key, value: value})))
		}
	}
	for _, value := range []float64{0, -1, 2.5, 1 << 31, 1 << 33} {
		s.quotas(fmt.Sprintf("connection rate %v", value), 1, alterQuotas(alterQuota(entityOf("ip=10.0.0.2"), quotaOp{key: connectionRate, value: value})))
	}
	s.quotas("the same entity twice", 1, alterQuotas(
		alterQuota(entityOf("user=twice"), quotaOp{key: producerRate, value: 1}),
		alterQuota(entityOf("user=twice"), quotaOp{key: consumerRate, value: 1})))
	s.quotas("the same key twice", 1, alterQuotas(
		alterQuota(entityOf("user=twice"), quotaOp{key: producerRate, value: 1}, quotaOp{key: producerRate, value: 2})))
	s.quotas("one good, one bad", 1, alterQuotas(
		alterQuota(entityOf("user=good"), quotaOp{key: producerRate, value: 1}),
		alterQuota(entityOf("user=bad"), quotaOp{key: "nonsense", value: 1})))
	s.quotas("no values", 1, alterQuotas(alterQuota(entityOf("user=none"))))
	s.quotas("no entries", 1, alterQuotas())
	dry := alterQuotas(alterQuota(entityOf("user=dry"), quotaOp{key: producerRate, value: 1}))
	dry.ValidateOnly = true
	s.quotas("validate only", 1, dry)
	s.awaitQuotas(describeQuotas(true, "user=good"))
	s.quotas("after validate only", 1, describeQuotas(false, "user=dry"))
	s.quotas("after the good one", 1, describeQuotas(false, "user=good"))
}

func scriptDescribeClientQuotas(s *script) {
	defer s.forgetQuotas()
	s.quotas("some quotas", 1, alterQuotas(
		alterQuota(entityOf("user=d-both", "client-id=d-c"), quotaOp{key: producerRate, value: 11}),
		alterQuota(entityOf("user=d-user"), quotaOp{key: consumerRate, value: 12}),
		alterQuota(entityOf("client-id=d-c"), quotaOp{key: requestShare, value: 13}),
		alterQuota(entityOf("user=d-user2", "client-id"), quotaOp{key: mutationRate, value: 1.25}),
		alterQuota(entityOf("ip=10.1.1.1"), quotaOp{key: connectionRate, value: 14})))
	s.awaitQuotas(describeQuotas(true, "ip=10.1.1.1"))
	for _, strict := range []bool{false, true} {
		name := fmt.Sprintf("strict %v, ", strict)
		for _, q := range [][]string{
			{"user=d-user"}, {"user=d-both"}, {"user=d-both", "client-id=d-c"}, {"user=d-both", "client-id*"}, {"user=d-both", "client-id"},
			{"user=d-user2", "client-id"}, {"user=nobody"}, {"ip=10.1.1.1"}, {"ip=10.1.1.1", "user*"}, {"ip", "client-id=d-c"},
			{"host=a"}, {"host*"}, {""}, {"=x"}, {"user=a", "user=b"}, {"user=a", "user*"}, {"user*", "user"},
		} {
			s.bothVersions(name+fmt.Sprintf("%q", q), func(int16) kmsg.Request { return describeQuotas(strict, q...) })
		}
	}
	for kind := int8(-1); kind < 4; kind++ {
		for _, match := range []*string{nil, kmsg.StringPtr("d-user"), kmsg.StringPtr("")} {
			if kind == 2 && match == nil {
				continue // all users, in no order
			}
			req := describeQuotas(true, "user")
			req.Components[0].MatchType, req.Components[0].Match = kmsg.QuotasMatchType(kind), match
			s.quotas(fmt.Sprintf("match type %d, match %v", kind, match != nil), 1, req)
		}
	}
}

// scriptMutationQuota has a client use up its controller_mutation_rate: 5 partitions a second, 55 at once. What the
// answers say of the delay is not compared: that is internal/quota's own comparison.
func scriptMutationQuota(s *script) {
	s.quotas("a quota", 1, alterQuotas(alterQuota(entityOf("client-id"), quotaOp{key: mutationRate, value: 0.01})))
	s.awaitQuotas(describeQuotas(true, "client-id"))
	time.Sleep(500 * time.Millisecond) // Apache's controller takes it in by itself
	create := func(v int16, validateOnly bool, name string, partitions int32) kmsg.Request {
		req := kmsg.NewPtrCreateTopicsRequest()
		req.TimeoutMillis, req.ValidateOnly = 10_000, validateOnly
		t := kmsg.NewCreateTopicsRequestTopic()
		t.Topic, t.NumPartitions, t.ReplicationFactor = name, partitions, 1
		req.Topics = append(req.Topics, t)
		return req
	}
	ask := func(name string, v int16, req kmsg.Request) { // on a connection of its own: the last one's is muted
		s.t.Helper()
		s.dial()
		s.ask(name, v, req)
	}
	// 0.11 tokens at the most: each change overdraws them for minutes.
	ask("create: the first overdraws", 6, create(6, false, "mutated-a", 2))
	ask("create: refused", 6, create(6, false, "mutated-b", 1))
	ask("create: an old client", 5, create(5, false, "mutated-c", 1))
	ask("create: what would fail anyway", 6, create(6, false, "mutated-a", 1))
	ask("create: validate only", 6, create(6, true, "mutated-d", 1))
	for v := int16(4); v <= 5; v++ {
		del := kmsg.NewPtrDeleteTopicsRequest()
		del.TimeoutMillis, del.TopicNames = 10_000, []string{"mutated-c"}
		if v == 5 {
			del.TopicNames = []string{"mutated-a"}
		}
		ask("delete", v, del)
	}
	for v := int16(2); v <= 3; v++ {
		more := kmsg.NewPtrCreatePartitionsRequest()
		more.TimeoutMillis = 10_000
		t := kmsg.NewCreatePartitionsRequestTopic()
		t.Topic, t.Count = "mutated-a", int32(v)+1
		more.Topics = append(more.Topics, t)
		ask("more partitions", v, more)
		more.ValidateOnly = true
		t.Count++
		ask("more partitions: validate only", v, more)
	}
	s.dial()
	s.quotas("without the quota", 1, alterQuotas(alterQuota(entityOf("client-id"), quotaOp{key: mutationRate, remove: true})))
}
