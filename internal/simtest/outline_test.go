package simtest

import (
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"slipstream/internal/sim"
)

// outline is what of a seed's story is told: all of what the seed draws, or what is left
// of it (shrink_test.go). The seed, PLAN and CUT say it all.
type outline struct {
	seed    uint64
	plan    []sim.Fault // of a story with faults; where planned is not set, what the seed draws
	planned bool
	rounds  int      // lives of the broker before the last; -1: as drawn
	brevity int      // each life is shorter by that power of two
	without []string // clients and topics that are not there
	salt    uint64   // the clients draw something else while the story goes on; 0: what the seed says
}

// drawn is the whole story of a seed.
func drawn(seed uint64) outline { return outline{seed: seed, rounds: -1} }

// outlineOf is what the environment says of the story of a seed.
func outlineOf(t *testing.T, seed uint64) outline {
	t.Helper()
	o := drawn(seed)
	if text, given := os.LookupEnv("PLAN"); given {
		o.planned = true
		for _, one := range strings.Split(text, ";") {
			if one == "" {
				continue
			}
			f, err := sim.ParseFault(one)
			if err != nil {
				t.Fatal(err)
			}
			o.plan = append(o.plan, f)
		}
	}
	if err := o.parseCut(os.Getenv("CUT")); err != nil {
		t.Fatal(err)
	}
	return o
}

// parseCut reads what cutText writes.
func (o *outline) parseCut(text string) (err error) {
	for _, field := range strings.Split(text, ";") {
		key, value, _ := strings.Cut(field, "=")
		switch key {
		case "":
		case "rounds":
			o.rounds, err = strconv.Atoi(value)
		case "brevity":
			o.brevity, err = strconv.Atoi(value)
		case "salt":
			o.salt, err = strconv.ParseUint(value, 10, 64)
		case "without":
			o.without = strings.Split(value, ",")
		default:
			err = fmt.Errorf("%q is not known", key)
		}
		if err != nil {
			return fmt.Errorf("CUT=%q: %w", text, err)
		}
	}
	return nil
}

func (o *outline) cutText() string {
	var list []string
	if o.rounds >= 0 {
		list = append(list, fmt.Sprint("rounds=", o.rounds))
	}
	if o.brevity > 0 {
		list = append(list, fmt.Sprint("brevity=", o.brevity))
	}
	if o.salt > 0 {
		list = append(list, fmt.Sprint("salt=", o.salt))
	}
	if len(o.without) > 0 {
		list = append(list, "without="+strings.Join(o.without, ","))
	}
	return strings.Join(list, ";")
}

// command is how to see the story again.
func (o *outline) command(test string) string {
	text := fmt.Sprintf("SEED=%d ", o.seed)
	if o.planned {
		text += fmt.Sprintf("PLAN='%s' ", planText(o.plan))
	}
	if cut := o.cutText(); cut != "" {
		text += fmt.Sprintf("CUT='%s' ", cut)
	}
	return text + fmt.Sprintf("go test -tags invariants -count=1 -v -run '^%s$' ./internal/simtest", test)
}

// abridge takes out of a story that was drawn what its outline leaves out.
func (r *run) abridge(o *outline) {
	r.outline = *o
	if o.salt > 0 {
		r.rand = rand.New(rand.NewPCG(r.seed, 1000+o.salt))
	}
	if o.rounds >= 0 {
		r.size.rounds = min(r.size.rounds, o.rounds)
	}
	r.size.lifeNanos = max(r.size.lifeNanos>>o.brevity, 1)
	r.size.busyNanos = max(r.size.busyNanos>>o.brevity, 1)
	out := func(name string) bool { return slices.Contains(o.without, name) }
	goneTopic := func(t *topic) bool { return out("topic:" + t.name) }
	r.topics = slices.DeleteFunc(r.topics, goneTopic)
	r.admin.wanted = slices.DeleteFunc(r.admin.wanted, goneTopic)
	r.producers = slices.DeleteFunc(r.producers, func(p *producer) bool {
		p.parts = slices.DeleteFunc(p.parts, func(part *producing) bool { return goneTopic(part.topic) })
		return out(string(p.name)) || len(p.parts) == 0
	})
	for i, c := range r.consumers {
		c.name = fmt.Sprint("c", i)
		c.parts = slices.DeleteFunc(c.parts, func(part *consuming) bool { return goneTopic(part.topic) })
	}
	r.consumers = slices.DeleteFunc(r.consumers, func(c *consumer) bool { return out(c.name) || len(c.parts) == 0 })
	if r.keyed != nil && goneTopic(r.keyed.topic) {
		r.keyed = nil
	}
	if r.admin.cuts != nil && goneTopic(r.admin.cuts) {
		r.admin.cuts = nil
	}
	if out("seeker") {
		r.seeker = nil
	}
	if r.society == nil {
		return
	}
	r.crews = slices.DeleteFunc(r.crews, func(c *crew) bool { return out(c.name) })
	r.desks = slices.DeleteFunc(r.desks, func(d *desk) bool { return out(d.id) })
	r.noise.silent = out("noise")
}

// cast are the clients and topics that an outline could leave out. Of a story with
// coordinators the topics stay: everybody shares them.
func (r *run) cast() (names []string) {
	if r.society == nil {
		for _, t := range r.topics[min(1, len(r.topics)):] {
			names = append(names, "topic:"+t.name)
		}
	} else {
		for _, c := range r.crews {
			names = append(names, c.name)
		}
		for _, d := range r.desks {
			names = append(names, d.id)
		}
		if !r.noise.silent {
			names = append(names, "noise")
		}
	}
	for _, p := range r.producers {
		names = append(names, string(p.name))
	}
	for _, c := range r.consumers {
		names = append(names, c.name)
	}
	if r.seeker != nil {
		names = append(names, "seeker")
	}
	if !slices.Contains(r.outline.without, "extras") && r.society == nil {
		names = append(names, "extras")
	}
	return names
}
