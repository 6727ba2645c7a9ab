package crash

import (
	"context"
	"fmt"
	"math/rand"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// existence is what is known of a topic that comes and goes.
type existence uint8

const (
	askedFor existence = iota
	created
	goodbye // its deletion was asked for
	deleted
)

// administrator creates and deletes topics, changes a setting, and deletes records.
type administrator struct {
	l      *Ledger
	briefs map[string]existence
	made   int // topics, so that each has a name of its own

	setting      string // its value that was acknowledged last
	settingAsked string
	changes      int
}

const (
	settingTopic = "flushed"
	settingName  = "delete.retention.ms"
)

func newAdministrator(l *Ledger) *administrator {
	return &administrator{l: l, briefs: map[string]existence{}}
}

func (a *administrator) run(ld *Load, rng *rand.Rand) {
	cl, err := kgo.NewClient(options(ld.addr)...)
	if err != nil {
		a.l.finding("the administrator: %v", err)
		return
	}
	defer cl.Close()
	admin := kadm.NewClient(cl)
	for ld.pause(time.Duration(20+rng.Intn(100)) * time.Millisecond) {
		switch rng.Intn(5) {
		case 0:
			err = a.create(ld.ctx, admin)
		case 1:
			err = a.delete(ld.ctx, admin)
		case 2:
			err = a.set(ld.ctx, admin)
		default:
			err = a.trim(ld.ctx, admin, rng)
		}
		if err != nil {
			return
		}
	}
}

// mostBriefs topics exist at a time.
const mostBriefs = 6

func (a *administrator) create(ctx context.Context, admin *kadm.Client) error {
	if len(a.briefs) >= mostBriefs {
		return a.delete(ctx, admin)
	}
	name := fmt.Sprintf("brief-%d", a.made)
	a.made++
	a.briefs[name] = askedFor
	if _, err := admin.CreateTopic(ctx, 2, 1, nil, name); err != nil {
		return err
	}
	a.briefs[name] = created
	return nil
}

// delete deletes the oldest topic.
func (a *administrator) delete(ctx context.Context, admin *kadm.Client) error {
	oldest := ""
	for name, is := range a.briefs {
		if is == created && (oldest == "" || len(name) < len(oldest) || len(name) == len(oldest) && name < oldest) {
			oldest = name
		}
	}
	if oldest == "" {
		return nil
	}
	a.briefs[oldest] = goodbye
	if _, err := admin.DeleteTopic(ctx, oldest); err != nil {
		return err
	}
	a.briefs[oldest] = deleted
	a.l.mu.Lock()
	a.l.counts.TopicsDeleted++
	a.l.mu.Unlock()
	return nil
}

func (a *administrator) set(ctx context.Context, admin *kadm.Client) error {
	a.changes++
	a.settingAsked = fmt.Sprint(1_000_000 + a.changes)
	resp, err := admin.AlterTopicConfigs(ctx, []kadm.AlterConfig{{Op: kadm.SetConfig, Name: settingName, Value: kadm.StringPtr(a.settingAsked)}}, settingTopic)
	if err == nil {
		_, err = resp.On(settingTopic, nil)
	}
	if err != nil {
		return err
	}
	a.setting = a.settingAsked
	a.l.mu.Lock()
	a.l.counts.Settings++
	a.l.mu.Unlock()
	return nil
}

// trim deletes records of the topics that are for it.
func (a *administrator) trim(ctx context.Context, admin *kadm.Client, rng *rand.Rand) error {
	for _, g := range a.l.logs {
		if g.of.cleanup != trims {
			continue
		}
		a.l.mu.Lock()
		to := g.base + int64(len(g.entries)*rng.Intn(100)/100)
		g.trimTo = max(g.trimTo, to)
		a.l.mu.Unlock()
		offsets := kadm.Offsets{}
		offsets.Add(kadm.Offset{Topic: g.of.name, Partition: g.partition, At: to})
		if _, err := admin.DeleteRecords(ctx, offsets); err != nil {
			return err
		}
		a.l.mu.Lock()
		a.l.counts.Trimmed++
		a.l.mu.Unlock()
	}
	return nil
}

func (a *administrator) check(ctx context.Context, admin *kadm.Client) error {
	topics, err := admin.ListTopics(ctx)
	if err != nil {
		return fmt.Errorf("listing topics: %w", err)
	}
	names := make([]string, 0, len(a.briefs))
	for name := range a.briefs {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		is, has := a.briefs[name], topics.Has(name)
		switch {
		case is == created && !has:
			a.l.finding("topic %s was created, and is not there", name)
		case is == deleted && has:
			a.l.finding("topic %s was deleted, and is there", name)
		}
		a.briefs[name] = created
		if !has {
			delete(a.briefs, name)
		}
	}
	if a.settingAsked == "" {
		return nil
	}
	described, err := admin.DescribeTopicConfigs(ctx, settingTopic)
	if err != nil {
		return fmt.Errorf("describing %s: %w", settingTopic, err)
	}
	for _, c := range described[0].Configs {
		if c.Key != settingName || c.Value == nil {
			continue
		}
		if v := *c.Value; v != a.settingAsked && v != a.setting && a.setting != "" {
			a.l.finding("%s of %s is %s; %q was acknowledged and %q asked for last", settingName, settingTopic, v, a.setting, a.settingAsked)
		} else {
			a.setting, a.settingAsked = v, v
		}
	}
	return nil
}
