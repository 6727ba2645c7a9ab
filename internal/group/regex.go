package group

import (
	"fmt"
	"regexp"
	"regexp/syntax"
	"slices"

	"slipstream/protocol"
)

// Regular expressions of consumers (KIP-848) are RE2's, and a topic's whole name
// must match. RE2 takes no more time than the length of the name times that of
// the program, so none explodes while it matches; text and program are bounded
// too (limits.go). They are resolved in a job, all of a group at once and not
// more often than every ten seconds.
const regexIntervalMillis = 10_000

// groupRegex is a regular expression that members of a group read by, or read by
// until just now.
type groupRegex struct {
	members  int
	resolved bool     // the log has a record of it
	topics   []string // in order
	version  int64    // of the image that was looked at
	at       int64    // milliseconds, when
	compiled *regexp.Regexp
	cost     int // of matching a name, in units
}

// regexStatus is what a heartbeat does to its member's regular expression.
type regexStatus int8

const (
	regexSame    regexStatus = iota
	regexNew                 // it is to be resolved
	regexPending             // others have it, it is being resolved
	regexKnown               // what it means is known, or it is gone: a reason to assign anew
)

func (cg *consumerGroup) regexNames() []string {
	names := make([]string, 0, len(cg.regexes))
	for name := range cg.regexes {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

var matchesNothing = regexp.MustCompile(`[^\x00-\x{10FFFF}]`)

// useRegex counts who reads by a regular expression.
func (c *Coordinator) useRegex(g *group, regex string, by int) {
	r := g.consumer.regex(regex)
	r.members += by
	g.consumer.dropUnused(regex)
}

func (cg *consumerGroup) regex(name string) *groupRegex {
	r := cg.regexes[name]
	if r == nil {
		r = &groupRegex{}
		cg.regexes[name] = r
	}
	return r
}

func (cg *consumerGroup) dropUnused(name string) {
	if r := cg.regexes[name]; r != nil && r.members <= 0 && !r.resolved {
		delete(cg.regexes, name)
	}
}

// setResolved takes in what the log says that a regular expression means; nil:
// nothing any more.
func (c *Coordinator) setResolved(g *group, name string, v *ConsumerGroupRegularExpressionValue) {
	cg := g.consumer
	r := cg.regex(name)
	for _, t := range r.topics {
		c.want(g, t, -1)
	}
	r.resolved, r.topics = v != nil, nil
	if v != nil {
		r.topics, r.version, r.at = slices.Clone(v.Topics), v.Version, v.Timestamp
		slices.Sort(r.topics)
		r.topics = slices.Compact(r.topics)
		for _, t := range r.topics {
			c.want(g, t, 1)
		}
	}
	cg.dropUnused(name)
}

// changeRegex says what a heartbeat does to its member's regular expression, and
// which records that takes.
func (c *Coordinator) changeRegex(g *group, old, next *memberFacts) (regexChange, []Record, *refusal) {
	cg := g.consumer
	was, is := "", next.regex
	if old != nil {
		was = old.regex
	}
	if was == is {
		return regexChange{}, nil, nil
	}
	var records []Record
	if r := cg.regexes[was]; was != "" && r != nil && r.members == 1 && r.resolved {
		records = append(records, Record{Key: Key{Type: TypeConsumerRegex, Group: g.id, Name: was}})
	}
	r := cg.regexes[is]
	switch {
	case is == "":
		return regexChange{status: regexKnown}, records, nil
	case r == nil || r.members == 0:
		re, cost, refused := compileRegex(is)
		return regexChange{regexNew, re, cost}, records, refused
	case r.resolved:
		return regexChange{status: regexKnown}, records, nil
	}
	return regexChange{status: regexPending}, records, nil
}

// regexChange is what changeRegex says, with the new regular expression.
type regexChange struct {
	status   regexStatus
	compiled *regexp.Regexp
	cost     int
}

// compileRegex compiles a client's regular expression. cost is about what matching
// one name takes.
func compileRegex(text string) (re *regexp.Regexp, cost int, _ *refusal) {
	refuse := func(why string) (*regexp.Regexp, int, *refusal) {
		return nil, 0, refusef(protocol.INVALID_REGULAR_EXPRESSION, "SubscribedTopicRegex `%s` is not a valid regular expression: %s.", text, why)
	}
	if len(text) > maxRegexBytes {
		return nil, 0, refusef(protocol.INVALID_REGULAR_EXPRESSION, "SubscribedTopicRegex of %d bytes is longer than the %d that are served.", len(text), maxRegexBytes)
	}
	tree, err := syntax.Parse(text, syntax.Perl)
	if err != nil {
		if e, ok := err.(*syntax.Error); ok {
			return refuse(string(e.Code))
		}
		return refuse(err.Error())
	}
	size := programSize(tree)
	if size > maxRegexProgram {
		return refuse(fmt.Sprintf("its program is larger than %d instructions", maxRegexProgram))
	}
	re, err = regexp.Compile(`\A(?:` + text + `)\z`)
	if err != nil {
		return refuse(err.Error())
	}
	return re, 10 + size/4, nil
}

// programSize is about how many instructions a regular expression compiles to:
// what is repeated n times is there n times.
func programSize(re *syntax.Regexp) int {
	size := 1 + len(re.Rune)
	for _, sub := range re.Sub {
		size += programSize(sub)
	}
	if re.Op == syntax.OpRepeat {
		size *= max(re.Min, re.Max, 1)
	}
	return min(size, 1<<24) // a sum of these does not overflow
}

// resolveRegexes begins to look up what the group's regular expressions mean, if
// it is time: when there is a new one, there are new topics, or it is long ago.
func (c *Coordinator) resolveRegexes(g *group, wanted bool) {
	cg := g.consumer
	if len(cg.regexes) == 0 || cg.resolving {
		return
	}
	last, version, all := int64(-1), int64(-1), true
	for _, r := range cg.regexes { // a maximum: the order does not matter
		all = all && r.resolved
		if r.resolved {
			last, version = max(last, r.at), max(version, r.version)
		}
	}
	if last >= 0 && c.now <= last+regexIntervalMillis {
		return
	}
	if wanted || !all || version < c.newTopic || c.now > last+int64(c.settings.ConsumerRegexRefreshIntervalMillis) {
		cg.resolving = true
		c.jobs.add(&regexJob{g: g, cg: cg})
	}
}

// regexJob goes through the topics for all regular expressions of a group.
type regexJob struct {
	g       *group
	cg      *consumerGroup
	begun   bool
	version int64
	names   []string // regular expressions
	ready   int      // how many of them are compiled
	found   [][]string
	after   string
	page    []string
}

func (j *regexJob) run(c *Coordinator, units int) (used int, done bool) {
	if j.g.consumer != j.cg { // it is another group by now
		return 1, true
	}
	if !j.begun {
		j.begun, j.version, j.names = true, c.topics.Version(), j.cg.regexNames()
		j.found = make([][]string, len(j.names))
	}
	for used < units {
		if j.ready < len(j.names) {
			used += j.prepare()
			continue
		}
		if j.page = c.topics.NamesAfter(j.page[:0], j.after, 16); len(j.page) == 0 {
			j.finish(c)
			return used + 1, true
		}
		for _, topic := range j.page {
			used += j.match(topic)
		}
		j.after = j.page[len(j.page)-1]
	}
	return used, false
}

// prepare compiles one regular expression that only the log knew so far.
func (j *regexJob) prepare() (used int) {
	name := j.names[j.ready]
	j.ready++
	r := j.cg.regexes[name]
	if r == nil || r.compiled != nil {
		return 1
	}
	re, cost, refused := compileRegex(name)
	if refused != nil { // another program took it
		re, cost = matchesNothing, 1
	}
	r.compiled, r.cost = re, cost
	return 20 * cost
}

func (j *regexJob) match(topic string) (used int) {
	for i, name := range j.names {
		r := j.cg.regexes[name]
		if r == nil || r.compiled == nil {
			continue
		}
		used += r.cost
		if r.compiled.MatchString(topic) {
			j.found[i] = append(j.found[i], topic)
		}
	}
	return used + 2
}

// finish writes what was found. Only if that is something new is there a reason
// to assign anew.
func (j *regexJob) finish(c *Coordinator) {
	j.cg.resolving = false
	var records []Record
	changed := false
	for i, name := range j.names {
		r := j.cg.regexes[name]
		if r == nil || r.members == 0 {
			continue
		}
		changed = changed || !slices.Equal(r.topics, j.found[i])
		next := groupRegex{topics: j.found[i], version: j.version, at: c.now}
		records = append(records, regexRecord(j.g, name, &next))
	}
	if len(records) == 0 || !c.write(j.g, records...) {
		return
	}
	if changed || int64(j.cg.hash) != j.cg.recordedHash {
		c.write(j.g, epochRecord(j.g, j.cg.epoch+1, int64(j.cg.hash)))
	}
}
