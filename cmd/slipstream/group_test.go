package main

import (
	"context"
	"encoding/json"
	"fmt"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// consumeSome reads n records as a member of a group and commits what it has read.
func consumeSome(t *testing.T, broker, group string, n int, opts ...kgo.Opt) (leave func()) {
	t.Helper()
	client, err := kgo.NewClient(append([]kgo.Opt{
		kgo.SeedBrokers(broker), kgo.ConsumerGroup(group), kgo.ConsumeTopics("orders"), kgo.DisableAutoCommit(), kgo.ClientID("reader"),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
	}, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	for seen := 0; seen < n; {
		fetches := client.PollRecords(ctx, n-seen)
		if err := fetches.Err(); err != nil {
			t.Fatal(err)
		}
		if err := client.CommitRecords(ctx, fetches.Records()...); err != nil {
			t.Fatal(err)
		}
		seen += fetches.NumRecords()
	}
	return client.Close
}

// TestGroups is the life of two groups as the commands tell it.
func TestGroups(t *testing.T) {
	b := start(t, "--data-dir", filepath.Join(t.TempDir(), "data"), "--set", "group.initial.rebalance.delay.ms=0")
	if r := slipstream(t, "topic", "--bootstrap", b.address, "create", "orders", "--partitions", "2"); r.status != 0 {
		t.Fatal(r.errors)
	}
	client, err := kgo.NewClient(kgo.SeedBrokers(b.address), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	for i := range 10 {
		r := &kgo.Record{Topic: "orders", Partition: int32(i % 2), Value: fmt.Append(nil, i), Timestamp: time.UnixMilli(1_700_000_000_000 + int64(i)*1000)}
		if err := client.ProduceSync(context.Background(), r).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	leave := consumeSome(t, b.address, "billing", 10)
	type step struct {
		args   string
		status int
		out    string // a pattern for all of it
		errors []string
	}
	play := func(steps []step) {
		t.Helper()
		for _, step := range steps {
			r := slipstream(t, append([]string{"group", "--bootstrap", b.address}, strings.Fields(step.args)...)...)
			if r.status != step.status || !regexp.MustCompile("^"+step.out+"$").MatchString(r.out) {
				t.Errorf("group %s: status %d, want %d; it prints\n%s%s", step.args, r.status, step.status, r.out, r.errors)
			}
			for _, want := range step.errors {
				if !strings.Contains(r.errors, want) {
					t.Errorf("group %s: %q does not say %q", step.args, r.errors, want)
				}
			}
		}
	}
	const reset = `TOPIC +PARTITION +OLD +NEW\n`
	play([]step{
		{"list", 0, `GROUP +TYPE +STATE +PROTOCOL\nbilling +classic +Stable +consumer\n`, nil},
		{"describe billing", 0, `billing: classic group, Stable, 1 member, lag 0\nTOPIC +PARTITION +COMMITTED +END +LAG +MEMBER +CLIENT +HOST\n` +
			`orders +0 +5 +5 +0 +reader-[\w-]+ +reader +/127.0.0.1\norders +1 +5 +5 +0 +reader-[\w-]+ +reader +/127.0.0.1\n`, nil},
		{"describe nobody", 1, ``, []string{"slipstream: cannot describe group nobody: there is no such classic or consumer group (GROUP_ID_NOT_FOUND)\n"}},
		{"reset-offsets billing --all-topics --to-earliest --execute", 1, ``, []string{"it has members (it is Stable)"}},
		{"delete billing nobody", 1, ``, []string{"cannot delete group billing: The group is not empty (NON_EMPTY_GROUP)", "cannot delete group nobody: there is no such classic or consumer group"}},
	})
	leave()
	play([]step{
		{"list --state Empty", 0, `GROUP +TYPE +STATE +PROTOCOL\nbilling +classic +Empty +consumer\n`, nil},
		{"list --type consumer", 0, `GROUP +TYPE +STATE +PROTOCOL\n`, nil},
		{"list --state empty --type CLASSIC", 0, `GROUP +TYPE +STATE +PROTOCOL\nbilling +classic +Empty +consumer\n`, nil},
		{"list --state Emtpy", 1, ``, []string{"--state Emtpy: want one of", "Empty"}},
		{"list --type streams", 1, ``, []string{"--type streams: want one of classic, consumer, share"}},
		{"reset-offsets billing --all-topics --to-earliest", 0, reset + `orders +0 +5 +0\norders +1 +5 +0\nnothing is changed: --execute does it\n`, nil},
		{"reset-offsets billing --topic orders:1 --to-offset 3 --execute", 0, reset + `orders +1 +5 +3\n`, nil},
		{"reset-offsets billing --topic orders --shift-by -4 --execute", 0, reset + `orders +0 +5 +1\norders +1 +3 +0\n`, nil},
		{"reset-offsets billing --topic orders --to-datetime 2023-11-14T22:13:24.000 --execute", 0, reset + `orders +0 +1 +2\norders +1 +0 +2\n`, nil},
		{"describe billing", 0, `billing: classic group, Empty, 0 members, lag 6\nTOPIC +PARTITION +COMMITTED +END +LAG +MEMBER +CLIENT +HOST\n` +
			`orders +0 +2 +5 +3 +- +- +-\norders +1 +2 +5 +3 +- +- +-\n`, nil},
		{"reset-offsets billing --all-topics --to-offset 99 --execute", 0, reset + `orders +0 +2 +5\norders +1 +2 +5\n`, nil},
		{"reset-offsets fresh --topic orders:0 --to-latest --execute", 0, reset + `orders +0 +- +5\n`, nil},
		{"reset-offsets nobody --topic orders:0 --shift-by 1", 1, ``, []string{"it has no offset of orders partition 0"}},
		{"reset-offsets billing --topic orders:7 --to-latest", 1, ``, []string{"topic orders has no partition 7"}},
		{"reset-offsets billing --topic nowhere --to-latest", 1, ``, []string{"nowhere"}},
		{"reset-offsets billing --all-topics", 1, ``, []string{"wants one of --to-earliest"}},
		{"reset-offsets billing --to-latest", 1, ``, []string{"wants either --topic or --all-topics"}},
		{"reset-offsets billing --all-topics --to-datetime soon", 1, ``, []string{"want a time like"}},
		{"delete billing", 0, "deleted billing\n", nil},
		{"list", 0, `GROUP +TYPE +STATE +PROTOCOL\nfresh +classic +Empty +-\n`, nil},
	})
}

// TestGroupsAsJSON: what scripts read, of a group of the new protocol.
func TestGroupsAsJSON(t *testing.T) {
	b := start(t, "--data-dir", filepath.Join(t.TempDir(), "data"))
	if r := slipstream(t, "topic", "--bootstrap", b.address, "create", "orders"); r.status != 0 {
		t.Fatal(r.errors)
	}
	client, err := kgo.NewClient(kgo.SeedBrokers(b.address))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	for i := range 4 {
		if err := client.ProduceSync(context.Background(), &kgo.Record{Topic: "orders", Value: fmt.Append(nil, i)}).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	//lint:ignore SA1029 the client looks for this very key
	newProtocol := context.WithValue(context.Background(), "opt_in_kafka_next_gen_balancer_beta", true)
	consumeSome(t, b.address, "new", 3, kgo.WithContext(newProtocol))
	ask := func(into any, args ...string) {
		t.Helper()
		r := slipstream(t, append([]string{"group", "--json", "--bootstrap", b.address}, args...)...)
		if r.status != 0 {
			t.Fatalf("group %q: %s", args, r.errors)
		}
		d := json.NewDecoder(strings.NewReader(r.out))
		d.DisallowUnknownFields()
		if err := d.Decode(into); err != nil {
			t.Fatalf("group %q: %v\n%s", args, err, r.out)
		}
	}
	var listed []groupRow
	ask(&listed, "list")
	if len(listed) != 1 || listed[0] != (groupRow{"new", "consumer", "Stable", "consumer"}) {
		t.Errorf("listed: %+v", listed)
	}
	var groups []describedGroup
	ask(&groups, "describe", "new")
	if len(groups) != 1 || groups[0].Type != "consumer" || groups[0].Members != 1 || groups[0].Lag != 1 || len(groups[0].Partitions) != 1 {
		t.Fatalf("described: %+v", groups)
	}
	if p := groups[0].Partitions[0]; p.Committed != 3 || p.End != 4 || p.Lag != 1 || p.ClientID != "reader" || p.Member == "" {
		t.Errorf("partition: %+v", p)
	}
}
