package txn

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"

	"slipstream/protocol"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// node drives a coordinator as a broker would: it has the log, writes markers, hands out producer ids. A script
// can have it hold any of these back. It tells what happens.
type node struct {
	producers
	t     *testing.T
	c     *Coordinator
	now   int64
	epoch int32
	log   []Record

	nextID  int64
	answers map[string]func(Response) kmsg.Response // by tag
	last    kmsg.Response
	quiet   bool // say nothing but what is answered
	said    []string

	holdAppends, holdMarkers, holdIDs bool
	appends                           []Ready
	markers                           []*Marker
	tags                              int
}

func newNode(t *testing.T) *node {
	n := &node{t: t, now: 1_700_000_000_000, nextID: 4000, answers: map[string]func(Response) kmsg.Response{}}
	n.start(DefaultConfig())
	return n
}

// start makes a coordinator of what is in the log.
func (n *node) start(config Config) {
	n.epoch++
	n.c = New(config, n.epoch)
	n.appends, n.markers = nil, nil
	for _, r := range n.log {
		if err := n.c.Load(r.Key, r.Value); err != nil {
			n.t.Fatal(err)
		}
	}
	n.c.Loaded(n.now)
}

func (n *node) say(format string, args ...any) {
	if !n.quiet {
		n.said = append(n.said, fmt.Sprintf(format, args...))
	}
}

// drain does what the coordinator wants done, as far as nothing is held back.
func (n *node) drain() {
	for n.c.HasReady() {
		r := n.c.Ready()
		for _, a := range r.Responses {
			n.answered(a)
		}
		if r.ProducerIDs > 0 {
			if n.holdIDs {
				n.say("wants %d producer ids", r.ProducerIDs)
			} else {
				n.c.AddProducerIDs(n.now, n.nextID, r.ProducerIDs)
				n.nextID += int64(r.ProducerIDs)
			}
		}
		for _, m := range r.Markers {
			n.say("marker %s %s coordinator=%d: %s", outcome(m.Commit), n.print(m.ProducerID, m.ProducerEpoch), m.CoordinatorEpoch, printPartitions(m.Partitions))
			n.markers = append(n.markers, &m)
		}
		if len(r.Records) > 0 {
			n.append(r)
		}
		n.writeMarkers()
	}
}

func (n *node) append(r Ready) {
	for _, rec := range r.Records {
		id, _ := decodeKey(rec.Key)
		n.say("append %s: %s", id, n.printRecordBytes(n.t, rec.Key, rec.Value))
	}
	kept := r
	kept.Records = nil
	for _, rec := range r.Records {
		rec.Key, rec.Value = slices.Clone(rec.Key), slices.Clone(rec.Value)
		kept.Records = append(kept.Records, rec)
	}
	n.appends = append(n.appends, kept)
	if !n.holdAppends {
		n.commit()
	}
}

func (n *node) commit() {
	for len(n.appends) > 0 {
		r := n.appends[0]
		n.appends = n.appends[1:]
		n.log = append(n.log, r.Records...)
		n.c.Committed(n.now, r.Append)
	}
}

func (n *node) writeMarkers() {
	for !n.holdMarkers && len(n.markers) > 0 {
		m := n.markers[0]
		n.markers = n.markers[1:]
		for _, p := range m.Partitions {
			n.c.MarkerDone(n.now, m, p)
		}
	}
}

func outcome(commit bool) string {
	if commit {
		return "COMMIT"
	}
	return "ABORT"
}

// answered is called with every answer.
func (n *node) answered(r Response) {
	tag := r.Tag.(string)
	make := n.answers[tag]
	if make == nil {
		n.t.Fatalf("request %s is answered twice, or was never asked", tag)
	}
	delete(n.answers, tag)
	n.last = make(r)
	n.said = append(n.said, tag+n.printResponse(overWire(n.t, n.last).(kmsg.Response)))
}

// run does one line of a script and tells what came of it.
func (n *node) run(line string) string {
	n.said = nil
	w := strings.Fields(line)
	if do := storyCommands[w[0]]; do != nil {
		do(n, w)
		n.drain()
		return strings.Join(n.said, "\n")
	}
	switch w[0] {
	case "wait":
		n.wait(int64(atoi(n.t, w[1])))
		n.drain()
	case "log":
		return n.printLog(w[1])
	case "exhaust":
		n.exhaust(w[1], int16(atoi(n.t, w[2])))
	default:
		n.ask(line)
		n.drain()
	}
	return strings.Join(n.said, "\n")
}

func atoi(t *testing.T, s string) int {
	t.Helper()
	i, err := strconv.Atoi(s)
	if err != nil {
		t.Fatal(err)
	}
	return i
}

// wait lets time pass, as a driver with a timer would: to each deadline, not past it.
func (n *node) wait(millis int64) {
	end := n.now + millis
	for n.c.Deadline() <= end {
		n.now = max(n.now, n.c.Deadline())
		n.c.Tick(n.now)
		n.drain()
	}
	n.now = end
	n.c.Tick(n.now)
}

func (n *node) exhaust(id string, to int16) {
	quiet := n.quiet
	for n.quiet = true; ; {
		n.said = nil
		n.ask("init " + id)
		n.drain()
		if r := n.last.(*kmsg.InitProducerIDResponse); r.ErrorCode != 0 || r.ProducerEpoch >= to {
			n.quiet = quiet
			return
		}
	}
}

func (n *node) printLog(id string) string {
	var out []string
	for _, r := range n.log {
		if of, _ := decodeKey(r.Key); of == id {
			out = append(out, n.printRecordBytes(n.t, r.Key, r.Value))
		}
	}
	return shorten(out)
}

// ask gives a script's request to the coordinator. A story tells which request an answer is to.
func (n *node) ask(line string) {
	req := overWire(n.t, n.parseRequest(n.t, line)).(kmsg.Request)
	v := req.GetVersion()
	n.tags++
	tag := ""
	if !n.quiet {
		w := strings.Fields(line)
		tag = strings.Join(w[:min(len(w), 2)], " ") + ": "
	}
	for n.answers[tag] != nil {
		tag = "(again) " + tag
	}
	reply := func(resp kmsg.Response) {
		n.answers[tag] = func(Response) kmsg.Response { return resp }
		n.answered(Response{Tag: tag})
	}
	switch r := req.(type) {
	case *kmsg.InitProducerIDRequest:
		n.answers[tag] = func(a Response) kmsg.Response { return InitProducerIDResponse(v, a) }
		n.c.InitProducerID(n.now, tag, OfInitProducerID(r))
	case *kmsg.EndTxnRequest:
		n.answers[tag] = func(a Response) kmsg.Response { return EndTxnResponse(v, a) }
		n.c.EndTxn(n.now, tag, OfEndTxn(r))
	case *kmsg.AddOffsetsToTxnRequest:
		n.answers[tag] = func(a Response) kmsg.Response { return AddOffsetsToTxnResponse(v, a) }
		n.c.AddPartitions(n.now, tag, OfAddOffsetsToTxn(r, TopicPartition{"__consumer_offsets", PartitionFor(r.Group, offsetsPartitions)}))
	case *kmsg.AddPartitionsToTxnRequest:
		asked := OfAddPartitionsToTxn(r)
		n.answers[tag] = func(a Response) kmsg.Response { return AddPartitionsToTxnResponse(v, asked, []Response{a}) }
		if refused, ok := unknownTopics(asked[0].Partitions); ok {
			refused.Tag = tag
			n.answered(refused)
			return
		}
		n.c.AddPartitions(n.now, tag, asked[0])
	case *kmsg.DescribeTransactionsRequest:
		resp := kmsg.NewPtrDescribeTransactionsResponse()
		resp.TransactionStates = append(resp.TransactionStates, n.c.Describe(r.TransactionalIDs[0]))
		reply(resp)
	case *kmsg.ListTransactionsRequest:
		reply(n.list(r))
	}
}

func (n *node) list(r *kmsg.ListTransactionsRequest) *kmsg.ListTransactionsResponse {
	resp := kmsg.NewPtrListTransactionsResponse()
	resp.Version = r.Version
	filter, unknown, code := ParseFilter(r)
	resp.ErrorCode = int16(code)
	if resp.UnknownStateFilters = unknown; code != protocol.NONE {
		return resp
	}
	for before := ListAll; before > 0; {
		resp.TransactionStates, before = n.c.List(n.now, &filter, before, 3, resp.TransactionStates)
	}
	return resp
}

// unknownTopics refuses partitions that the scripts' broker does not have.
func unknownTopics(list []TopicPartition) (Response, bool) {
	codes := make([]protocol.ErrorCode, len(list))
	refused := false
	for i, p := range list {
		if p.Topic != "a" && p.Topic != "b" || p.Partition > 3 {
			codes[i], refused = protocol.UNKNOWN_TOPIC_OR_PARTITION, true
		}
	}
	if !refused {
		return Response{}, false
	}
	return RefusePartitions(codes), true
}

// overWire loses what a message's version cannot carry.
func overWire(t *testing.T, m interface {
	AppendTo([]byte) []byte
	GetVersion() int16
}) any {
	var copied interface {
		ReadFrom([]byte) error
		SetVersion(int16)
	}
	switch m := m.(type) {
	case kmsg.Request:
		copied = kmsg.RequestForKey(m.Key())
	case kmsg.Response:
		copied = kmsg.ResponseForKey(m.Key())
	}
	copied.SetVersion(m.GetVersion())
	if err := copied.ReadFrom(m.AppendTo(nil)); err != nil {
		t.Fatal(err)
	}
	return copied
}

func sorted(list []string) []string { return slices.Sorted(slices.Values(list)) }

// storyCommands are what only stories have.
var storyCommands = map[string]func(n *node, w []string){
	// hold appends|markers|ids: they are not done until they are let go
	"hold": func(n *node, w []string) { *n.holds(w[1]) = true },
	"release": func(n *node, w []string) {
		*n.holds(w[1]) = false
		switch w[1] {
		case "appends":
			n.commit()
		case "markers":
			n.writeMarkers()
		}
	},
	// fail CODE: the appends that are held have failed
	"fail": func(n *node, w []string) {
		for _, r := range n.appends {
			n.c.Failed(n.now, r.Append, parseCode(n.t, w[1]))
		}
		n.appends = nil
	},
	// written PARTITION, refused PARTITION CODE: of the oldest marker that is held
	"written": func(n *node, w []string) {
		n.c.MarkerDone(n.now, n.markers[0], parsePartitions(n.t, w[1:])[0])
	},
	"refused": func(n *node, w []string) {
		n.c.MarkerFailed(n.now, n.markers[0], parsePartitions(n.t, w[1:2])[0], parseCode(n.t, w[2]))
	},
	// ids N: that many fresh producer ids; no-ids CODE: there are none
	"ids": func(n *node, w []string) {
		count := atoi(n.t, w[1])
		n.c.AddProducerIDs(n.now, n.nextID, count)
		n.nextID += int64(count)
	},
	"no-ids": func(n *node, w []string) { n.c.RefuseProducerIDs(n.now, parseCode(n.t, w[1])) },
	// restart: the coordinator is lost, its log is not
	"restart": func(n *node, w []string) {
		n.start(n.c.config)
		n.answers = map[string]func(Response) kmsg.Response{}
		n.say("coordinator epoch %d", n.epoch)
	},
	// resign: another node leads the partition
	"resign": func(n *node, w []string) { n.c.Resign() },
	// set NAME=N: settings
	"set": func(n *node, w []string) {
		_, opts := options(w[1:])
		config := n.c.config
		defer func() { n.c.SetConfig(config) }()
		for _, name := range slices.Sorted(maps.Keys(opts)) {
			v := int64(atoi(n.t, opts[name]))
			switch name {
			case "version":
				config.Version = int16(v)
			case "expiration":
				config.ExpirationMillis = v
			case "settle":
				config.SettleMillis = v
			case "max-timeout":
				config.MaxTimeoutMillis = int32(v)
			default:
				n.t.Fatalf("no setting %q", name)
			}
		}
	},
	"stats":    func(n *node, w []string) { n.say("%+v", n.c.Stats) },
	"deadline": func(n *node, w []string) { n.say("in %d ms", n.c.Deadline()-n.now) },
}

func (n *node) holds(what string) *bool {
	switch what {
	case "appends":
		return &n.holdAppends
	case "markers":
		return &n.holdMarkers
	case "ids":
		return &n.holdIDs
	}
	n.t.Fatalf("cannot hold %q", what)
	return nil
}

func parseCode(t *testing.T, name string) protocol.ErrorCode {
	for code := protocol.UNKNOWN_SERVER_ERROR; code < 200; code++ {
		if code.String() == name {
			return code
		}
	}
	t.Fatalf("no error %q", name)
	return 0
}
