package group

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"slipstream/internal/script"
	"slipstream/protocol"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// Scripts are files of blocks: lines of commands, "----", and what came of them.
// Blocks are separated by an empty line; lines that begin with # before one tell
// its story.
//
//	testdata/apache/*.txt  the answers are a real Kafka 4.3.1's. Recorded anew with
//	                       KAFKA_ADDR=127.0.0.1:9092 go test -run TestApache -record;
//	                       otherwise the coordinator must answer the same.
//	testdata/story/*.txt   the answers, and where asked for the records and the state,
//	                       are the coordinator's own. Rewritten with
//	                       go test -run TestStories -rewrite; reviewers read the diff.
//
// A command is "CLIENT VERB GROUP word..." (requests.go tells the verbs), or
//
//	topics NAME=N ...    make topics, or more partitions
//	drop NAME            delete a topic
//	wait MILLIS          let time pass
//	show | log           the coordinator's state, or what it has written since (stories)
//	restart              another coordinator loads the log (stories)
//	hold | land          batches stay in flight, or arrive (stories)
//	fail CODE            the oldest batch in flight fails (stories)
//	end PRODUCER commit|abort   a transaction's marker is in the log (stories)
//	set NAME=VALUE       a setting (stories)

// playAll plays the scripts of a directory.
func playAll(t *testing.T, dir string, rewrite bool, start func(t *testing.T) backend) {
	script.Play(t, dir, rewrite, func(t *testing.T) func([]string) string { return newStage(t, start(t)).play })
}

// backend is whom a script speaks to.
type backend interface {
	topic(name string, partitions int32)
	drop(name string)
	send(client string, req kmsg.Request)
	pass(millis int64)
	answers() []answered // what has arrived since
	topicID(name string) protocol.UUID
	topicName(id protocol.UUID) string
	other(words []string) (string, bool) // a command of its own
}

type answered struct {
	client string
	req    kmsg.Request
	resp   kmsg.Response
}

// stage is a script that is being played: what its clients have been told.
type stage struct {
	t       *testing.T
	to      backend
	ids     map[string]string // aliases of member ids
	clients map[string]*actor
}

// actor is a client of a script.
type actor struct {
	name   string
	member string
	epoch  int32 // or generation
	named  int
	has    assignment
}

func newStage(t *testing.T, to backend) *stage {
	return &stage{t: t, to: to, ids: map[string]string{}, clients: map[string]*actor{}}
}

func (s *stage) actor(name string) *actor {
	if s.clients[name] == nil {
		s.clients[name] = &actor{name: name}
	}
	return s.clients[name]
}

func (s *stage) play(lines []string) string {
	var out []string
	for _, line := range lines {
		words := s.words(line)
		switch words[0] {
		case "topics":
			for _, w := range words[1:] {
				name, n, _ := strings.Cut(w, "=")
				s.to.topic(name, int32(s.number(n)))
			}
		case "drop":
			s.to.drop(words[1])
		case "wait":
			s.to.pass(s.number(words[1]))
		default:
			if text, ok := s.to.other(words); ok {
				if text != "" {
					out = append(out, s.aliased(text))
				}
				break
			}
			req := s.request(s.actor(words[0]), words[1], words[2:])
			s.to.send(words[0], req)
		}
		got := s.to.answers()
		slices.SortStableFunc(got, func(a, b answered) int { return cmp.Compare(a.client, b.client) })
		for _, a := range got {
			s.hear(a)
			out = append(out, s.aliased(a.client+": "+s.tell(a)))
		}
	}
	return strings.Join(out, "\n")
}

// words splits a line at spaces; a part in double quotes is one Go string, and
// "x"*250 repeats it.
func (s *stage) words(line string) (out []string) {
	for rest := strings.TrimSpace(line); rest != ""; rest = strings.TrimLeft(rest, " ") {
		word := ""
		for rest != "" && rest[0] != ' ' {
			if rest[0] != '"' {
				word += rest[:1]
				rest = rest[1:]
				continue
			}
			q, err := strconv.QuotedPrefix(rest)
			if err != nil {
				s.t.Fatalf("%s: %v", line, err)
			}
			text, _ := strconv.Unquote(q)
			rest = rest[len(q):]
			if strings.HasPrefix(rest, "*") {
				end := strings.IndexByte(rest+" ", ' ')
				text, rest = strings.Repeat(text, int(s.number(rest[1:end]))), rest[end:]
			}
			word += text
		}
		out = append(out, word)
	}
	return out
}

func (s *stage) number(text string) int64 {
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		s.t.Fatal(err)
	}
	return n
}

// aliased writes member ids by the names of their clients.
func (s *stage) aliased(text string) string {
	ids := make([]string, 0, len(s.ids))
	for id := range s.ids {
		ids = append(ids, id)
	}
	slices.SortFunc(ids, func(a, b string) int { return len(b) - len(a) })
	for _, id := range ids {
		text = strings.ReplaceAll(text, id, s.ids[id])
	}
	return javaID.ReplaceAllString(text, "-ID")
}

// javaID is the random part of an id that no client has been told yet.
var javaID = regexp.MustCompile(`-[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}`)

// hear has a client remember what it is told.
func (s *stage) hear(a answered) {
	c := s.actor(a.client)
	switch r := a.resp.(type) {
	case *kmsg.JoinGroupResponse:
		c.learn(s, r.MemberID)
		if r.ErrorCode == 0 {
			c.epoch = r.Generation
		}
	case *kmsg.ConsumerGroupHeartbeatResponse:
		if r.MemberID != nil {
			c.learn(s, *r.MemberID)
			c.epoch = r.MemberEpoch
		}
		if r.Assignment != nil {
			c.has = nil
			for _, t := range r.Assignment.Topics {
				c.has = append(c.has, topicAssignment{topic: t.TopicID, partitions: t.Partitions})
			}
		}
	}
}

// learn gives a member id that a client was told the client's name; its second
// one is client.2.
func (c *actor) learn(s *stage, id string) {
	if id == "" || id == c.member {
		return
	}
	c.member = id
	if _, known := s.ids[id]; known || len(id) < 16 {
		return
	}
	c.named++
	s.ids[id] = c.name
	if c.named > 1 {
		s.ids[id] = fmt.Sprintf("%s.%d", c.name, c.named)
	}
}
