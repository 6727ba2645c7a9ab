package clients

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"slipstream/internal/clients/harness"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// facts is what a broker says of all that it keeps, one line each, as clients see it. Two brokers that have one directory
// after the other must agree.
type facts map[string]string

// client asks for what kadm has, and what it has not.
type client struct {
	*kadm.Client
	raw *kgo.Client
}

// factsOf asks a broker. Coordinators that are being loaded are waited for.
func factsOf(t *testing.T, b *harness.Broker) facts {
	t.Helper()
	cl, err := kgo.NewClient(kgo.SeedBrokers(b.Addr))
	harness.Need(t, err)
	defer cl.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	defer cancel()
	f, admin := facts{}, client{kadm.NewClient(cl), cl}
	for _, ask := range []func(context.Context, client) error{f.topics, f.records(b.Addr), f.configs, f.groups, f.transactions, f.others} {
		for err = ask(ctx, admin); err != nil && ctx.Err() == nil; err = ask(ctx, admin) {
			time.Sleep(50 * time.Millisecond)
		}
		harness.Need(t, err)
	}
	return f
}

func (f facts) put(value any, format string, args ...any) {
	f[fmt.Sprintf(format, args...)] = strings.TrimSpace(fmt.Sprint(value))
}

func (f facts) topics(ctx context.Context, admin client) error {
	all, err := admin.ListTopicsWithInternal(ctx)
	if err != nil {
		return err
	}
	for _, t := range all.Sorted() {
		f.put(fmt.Sprintf("%s, %d partitions", t.ID, len(t.Partitions)), "topic %s", t.Topic)
	}
	m, err := admin.Metadata(ctx)
	if err == nil {
		f.put(m.Cluster, "cluster")
	}
	return err
}

// records hashes each partition of the topics that are not internal: (offset, timestamp, key, value, headers), markers too.
func (f facts) records(addr string) func(context.Context, client) error {
	return func(ctx context.Context, admin client) error {
		starts, err := admin.ListStartOffsets(ctx)
		if err != nil {
			return err
		}
		ends, err := admin.ListEndOffsets(ctx)
		if err != nil {
			return err
		}
		stable, err := admin.ListCommittedOffsets(ctx)
		if err != nil {
			return err
		}
		for _, end := range ends.Offsets().Sorted() {
			start, _ := starts.Lookup(end.Topic, end.Partition)
			last, _ := stable.Lookup(end.Topic, end.Partition)
			if start.Err != nil || last.Err != nil {
				return fmt.Errorf("%s-%d: %v, %v", end.Topic, end.Partition, start.Err, last.Err)
			}
			sum := sha256.New()
			err := harness.EachRecord(addr, end.Topic, int(end.Partition), start.Offset, int(end.At-start.Offset), func(r *kgo.Record) error {
				sum.Write(binary.BigEndian.AppendUint64(nil, uint64(r.Offset)))
				sum.Write(binary.BigEndian.AppendUint64(nil, uint64(r.Timestamp.UnixMilli())))
				fmt.Fprintf(sum, "%q %t %q %t", r.Key, r.Key == nil, r.Value, r.Value == nil)
				for _, h := range r.Headers {
					fmt.Fprintf(sum, " %q=%q", h.Key, h.Value)
				}
				return nil
			}, kgo.KeepControlRecords())
			if err != nil {
				return err
			}
			f.put(fmt.Sprintf("%d to %d, stable %d, SHA-256 %x", start.Offset, end.At, last.Offset, sum.Sum(nil)), "records %s-%d", end.Topic, end.Partition)
		}
		return nil
	}
}

// configs are those that were set in the cluster's metadata, of every kind of resource.
func (f facts) configs(ctx context.Context, admin client) error {
	listed, err := admin.ListConfigResources(ctx)
	if err != nil || listed.Err != nil {
		return errors.Join(err, listed.Err)
	}
	for _, r := range append(listed.Sorted(), kadm.ConfigResource{Type: kadm.ConfigResourceType(kmsg.ConfigResourceTypeBroker)}) {
		if r.Type == kadm.ConfigResourceType(kmsg.ConfigResourceTypeBrokerLogger) {
			continue
		}
		req := kmsg.NewPtrDescribeConfigsRequest()
		one := kmsg.NewDescribeConfigsRequestResource()
		one.ResourceType, one.ResourceName = kmsg.ConfigResourceType(r.Type), r.Name
		req.Resources = append(req.Resources, one)
		resp, err := req.RequestWith(ctx, admin.raw)
		if err != nil {
			return err
		}
		for _, c := range resp.Resources[0].Configs {
			switch c.Source {
			case kmsg.ConfigSourceDefaultConfig, kmsg.ConfigSourceStaticBrokerConfig:
				continue
			}
			value := "null"
			if c.Value != nil {
				value = *c.Value
			}
			f.put(value, "config %v %q %s", r.Type, r.Name, c.Name)
		}
	}
	return nil
}

func (f facts) groups(ctx context.Context, admin client) error {
	req := kmsg.NewPtrListGroupsRequest()
	resp, err := req.RequestWith(ctx, admin.raw)
	if err != nil {
		return err
	}
	if resp.ErrorCode != 0 {
		return fmt.Errorf("ListGroups: error %d", resp.ErrorCode)
	}
	for _, g := range resp.Groups {
		f.put(fmt.Sprintf("%s, %q, %s", g.GroupType, g.ProtocolType, g.GroupState), "group %s", g.Group)
		if g.GroupType == "share" {
			described, err := admin.DescribeShareGroupOffsets(ctx, g.Group)
			if err != nil || described[g.Group].Err != nil {
				return fmt.Errorf("share group %s: %w, %w", g.Group, err, described[g.Group].Err)
			}
			for topic, partitions := range described[g.Group].Offsets {
				for partition, o := range partitions {
					f.put(fmt.Sprintf("%d %v", o.StartOffset, o.Err), "share start %s %s-%d", g.Group, topic, partition)
				}
			}
			continue
		}
		offsets, err := admin.FetchOffsets(ctx, g.Group)
		if err != nil || offsets.Error() != nil {
			return fmt.Errorf("group %s: %w, %w", g.Group, err, offsets.Error())
		}
		for _, o := range offsets.Sorted() {
			f.put(fmt.Sprintf("%d, epoch %d, %q", o.At, o.LeaderEpoch, o.Metadata), "committed %s %s-%d", g.Group, o.Topic, o.Partition)
		}
	}
	return nil
}

func (f facts) transactions(ctx context.Context, admin client) error {
	listed, err := admin.ListTransactions(ctx, nil, nil)
	if err != nil || len(listed) == 0 {
		return err
	}
	described, err := admin.DescribeTransactions(ctx, listed.TransactionalIDs()...)
	if err != nil {
		return err
	}
	for _, x := range described.Sorted() {
		if x.Err != nil {
			return x.Err
		}
		f.put(fmt.Sprintf("%s, producer %d epoch %d, %d ms, %v", x.State, x.ProducerID, x.ProducerEpoch, x.TimeoutMillis, x.Topics.Sorted()), "transaction %s", x.TxnID)
	}
	return nil
}

// others are features, quotas and credentials.
func (f facts) others(ctx context.Context, admin client) error {
	versions, err := kmsg.NewPtrApiVersionsRequest().RequestWith(ctx, admin.raw)
	if err != nil {
		return err
	}
	for _, x := range versions.FinalizedFeatures {
		f.put(x.MaxVersionLevel, "feature %s", x.Name)
	}
	quotas, err := admin.DescribeClientQuotas(ctx, false, nil)
	if err != nil {
		return err
	}
	for _, q := range quotas {
		for _, v := range q.Values {
			f.put(v.Value, "quota %s %s", q.Entity, v.Key)
		}
	}
	users, err := admin.DescribeUserSCRAMs(ctx)
	if err != nil {
		return err
	}
	for _, u := range users.Sorted() {
		f.put(u.CredInfos, "SCRAM %s", u.User)
	}
	return nil
}

// sameFacts compares two brokers, but for lines that begin with one of except.
func sameFacts(t *testing.T, before, after facts, when string, except ...string) {
	t.Helper()
	names := maps.Clone(before)
	maps.Copy(names, after)
	for _, name := range slices.Sorted(maps.Keys(names)) {
		if slices.ContainsFunc(except, func(s string) bool { return strings.HasPrefix(name, s) }) {
			continue
		}
		was, had := before[name]
		is, has := after[name]
		if had != has || was != is {
			t.Errorf("%s: %s was %q (%t), is %q (%t)", when, name, was, had, is, has)
		}
	}
}
