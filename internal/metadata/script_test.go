package metadata

import (
	"bufio"
	"encoding/binary"
	"flag"
	"fmt"
	"io"
	"net"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"slipstream/protocol"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// Scripts: files of blocks, each a request, "----", and what came of it. Blocks are separated by an
// empty line; lines that start with # before a request belong to its story.
//
//	testdata/apache/*.txt  requests and the answers of a real Kafka 4.3.1. Recorded anew with
//	                       KAFKA_ADDR=127.0.0.1:9092 go test -run TestApacheAnswers -record
//	                       against a freshly formatted broker without topics; otherwise replayed
//	                       against the controller, which must answer the same.
//	testdata/story/*.txt   request, response, the records decided on, and the image where asked for.
//	                       Rewritten with go test -run TestStories -rewrite; reviewers read the diff.
var (
	recordAnswers  = flag.Bool("record", false, "record testdata/apache anew from KAFKA_ADDR")
	rewriteStories = flag.Bool("rewrite", false, "rewrite testdata/story")
)

// words splits a line at spaces; a part in double quotes is one Go string, and "x"*250 repeats it.
func words(t *testing.T, line string) []string {
	t.Helper()
	var out []string
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
				t.Fatalf("%s: %v", line, err)
			}
			s, _ := strconv.Unquote(q)
			rest = rest[len(q):]
			if strings.HasPrefix(rest, "*") {
				end := strings.IndexByte(rest+" ", ' ')
				n, err := strconv.Atoi(rest[1:end])
				if err != nil {
					t.Fatalf("%s: %v", line, err)
				}
				s, rest = strings.Repeat(s, n), rest[end:]
			}
			word += s
		}
		out = append(out, word)
	}
	return out
}

// idOf finds a topic's id for a script: of a name created before, or written out.
type idOf func(name string) UUID

func parseRequest(t *testing.T, input []string, id idOf) kmsg.Request {
	t.Helper()
	head := words(t, input[0])
	var req kmsg.Request
	switch head[0] {
	case "CreateTopics":
		req = parseCreateTopics(t, input[1:])
	case "DeleteTopics":
		req = parseDeleteTopics(t, input[1:], id)
	case "CreatePartitions":
		req = parseCreatePartitions(t, input[1:])
	case "IncrementalAlterConfigs":
		req = parseAlterConfigs(t, input[1:])
	default:
		t.Fatalf("unknown request %q", head[0])
	}
	req.SetVersion(req.MaxVersion())
	for _, w := range head[1:] {
		switch {
		case w == "validate-only":
			setValidateOnly(req)
		case strings.HasPrefix(w, "v"):
			req.SetVersion(int16(number(t, w[1:])))
		default:
			t.Fatalf("unknown option %q", w)
		}
	}
	if r, ok := req.(*kmsg.DeleteTopicsRequest); ok && r.Version < 6 {
		for _, topic := range r.Topics {
			r.TopicNames = append(r.TopicNames, *topic.Topic)
		}
		r.Topics = nil
	}
	return req
}

func setValidateOnly(req kmsg.Request) {
	switch r := req.(type) {
	case *kmsg.CreateTopicsRequest:
		r.ValidateOnly = true
	case *kmsg.CreatePartitionsRequest:
		r.ValidateOnly = true
	case *kmsg.IncrementalAlterConfigsRequest:
		r.ValidateOnly = true
	}
}

func number(t *testing.T, s string) int64 {
	t.Helper()
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func replicas(t *testing.T, s string) (out []int32) {
	t.Helper()
	for _, r := range strings.Split(s, ",") {
		if r != "" {
			out = append(out, int32(number(t, r)))
		}
	}
	return out
}

// NAME [partitions=N] [rf=N] [assign=PARTITION:BROKER,...;...] [config.NAME=VALUE | config.NAME]...
func parseCreateTopics(t *testing.T, lines []string) kmsg.Request {
	req := kmsg.NewPtrCreateTopicsRequest()
	req.TimeoutMillis = 10000
	for _, line := range lines {
		w := words(t, line)
		topic := kmsg.NewCreateTopicsRequestTopic()
		topic.Topic, topic.NumPartitions, topic.ReplicationFactor = w[0], -1, -1
		for _, arg := range w[1:] {
			k, v, hasValue := strings.Cut(arg, "=")
			switch {
			case k == "partitions":
				topic.NumPartitions = int32(number(t, v))
			case k == "rf":
				topic.ReplicationFactor = int16(number(t, v))
			case k == "assign":
				for _, a := range strings.Split(v, ";") {
					index, list, _ := strings.Cut(a, ":")
					ra := kmsg.NewCreateTopicsRequestTopicReplicaAssignment()
					ra.Partition, ra.Replicas = int32(number(t, index)), replicas(t, list)
					topic.ReplicaAssignment = append(topic.ReplicaAssignment, ra)
				}
			case strings.HasPrefix(k, "config."):
				c := kmsg.NewCreateTopicsRequestTopicConfig()
				c.Name = strings.TrimPrefix(k, "config.")
				if hasValue {
					c.Value = &v
				}
				topic.Configs = append(topic.Configs, c)
			default:
				t.Fatalf("unknown word %q", arg)
			}
		}
		req.Topics = append(req.Topics, topic)
	}
	return req
}

// NAME | id=ID | id=@NAME, or both a name and an id
func parseDeleteTopics(t *testing.T, lines []string, id idOf) kmsg.Request {
	req := kmsg.NewPtrDeleteTopicsRequest()
	req.TimeoutMillis = 10000
	for _, line := range lines {
		topic := kmsg.NewDeleteTopicsRequestTopic()
		for _, w := range words(t, line) {
			if s, ok := strings.CutPrefix(w, "id=@"); ok {
				topic.TopicID = id(s)
			} else if s, ok := strings.CutPrefix(w, "id="); ok {
				u, err := protocol.ParseUUID(s)
				if err != nil {
					t.Fatal(err)
				}
				topic.TopicID = u
			} else {
				topic.Topic = &w
			}
		}
		req.Topics = append(req.Topics, topic)
	}
	return req
}

// NAME count=N [assign=BROKER,...;...]
func parseCreatePartitions(t *testing.T, lines []string) kmsg.Request {
	req := kmsg.NewPtrCreatePartitionsRequest()
	req.TimeoutMillis = 10000
	for _, line := range lines {
		w := words(t, line)
		topic := kmsg.NewCreatePartitionsRequestTopic()
		topic.Topic = w[0]
		for _, arg := range w[1:] {
			k, v, _ := strings.Cut(arg, "=")
			switch k {
			case "count":
				topic.Count = int32(number(t, v))
			case "assign":
				for _, a := range strings.Split(v, ";") {
					ra := kmsg.NewCreatePartitionsRequestTopicAssignment()
					ra.Replicas = replicas(t, a)
					topic.Assignment = append(topic.Assignment, ra)
				}
			default:
				t.Fatalf("unknown word %q", arg)
			}
		}
		req.Topics = append(req.Topics, topic)
	}
	return req
}

var configOps = map[string]kmsg.IncrementalAlterConfigOp{
	"set": kmsg.IncrementalAlterConfigOpSet, "delete": kmsg.IncrementalAlterConfigOpDelete,
	"append": kmsg.IncrementalAlterConfigOpAppend, "subtract": kmsg.IncrementalAlterConfigOpSubtract, "nonsense": 9,
}

var resourceKinds = map[string]kmsg.ConfigResourceType{
	"topic": kmsg.ConfigResourceTypeTopic, "broker": kmsg.ConfigResourceTypeBroker,
	"logger": kmsg.ConfigResourceTypeBrokerLogger, "metrics": 16, "group": 32, "nonsense": 99,
}

// KIND NAME [OP NAME=VALUE | OP NAME]...
func parseAlterConfigs(t *testing.T, lines []string) kmsg.Request {
	req := kmsg.NewPtrIncrementalAlterConfigsRequest()
	for _, line := range lines {
		w := words(t, line)
		res := kmsg.NewIncrementalAlterConfigsRequestResource()
		res.ResourceType, res.ResourceName = resourceKinds[w[0]], w[1]
		for i := 2; i < len(w); i += 2 {
			c := kmsg.NewIncrementalAlterConfigsRequestResourceConfig()
			op, ok := configOps[w[i]]
			if !ok {
				t.Fatalf("unknown op %q", w[i])
			}
			c.Op = op
			name, v, hasValue := strings.Cut(w[i+1], "=")
			if c.Name = name; hasValue {
				c.Value = &v
			}
			res.Configs = append(res.Configs, c)
		}
		req.Resources = append(req.Resources, res)
	}
	return req
}

// printResponse writes a response one line a topic or resource. Ids are random, so only whether there
// is one is said; of a created topic's configs those that were set.
func printResponse(resp kmsg.Response) string {
	var out []string
	line := func(name string, code int16, message *string, rest ...string) {
		s := name + " " + protocol.ErrorCode(code).String()
		if message != nil {
			s += " " + strconv.Quote(*message)
		}
		out = append(out, strings.Join(append([]string{s}, rest...), " "))
	}
	switch r := resp.(type) {
	case *kmsg.CreateTopicsResponse:
		for _, topic := range r.Topics {
			line(shortName(topic.Topic), topic.ErrorCode, topic.ErrorMessage, createdTopic(&topic)...)
		}
	case *kmsg.DeleteTopicsResponse:
		for _, topic := range r.Topics {
			name := "null"
			if topic.Topic != nil {
				name = shortName(*topic.Topic)
			}
			if topic.TopicID != (UUID{}) {
				name += " id"
			}
			line(name, topic.ErrorCode, topic.ErrorMessage)
		}
	case *kmsg.CreatePartitionsResponse:
		for _, topic := range r.Topics {
			line(shortName(topic.Topic), topic.ErrorCode, topic.ErrorMessage)
		}
	case *kmsg.IncrementalAlterConfigsResponse:
		for _, res := range r.Resources {
			line(fmt.Sprintf("%d %s", res.ResourceType, shortName(res.ResourceName)), res.ErrorCode, res.ErrorMessage)
		}
	}
	slices.Sort(out) // Kafka answers in the order of its hash maps, or shuffles
	return strings.Join(out, "\n")
}

func createdTopic(topic *kmsg.CreateTopicsResponseTopic) (out []string) {
	if topic.ConfigErrorCode != 0 {
		out = append(out, "config-error="+protocol.ErrorCode(topic.ConfigErrorCode).String())
	}
	if topic.TopicID != (UUID{}) {
		out = append(out, "id")
	}
	out = append(out, fmt.Sprintf("partitions=%d rf=%d", topic.NumPartitions, topic.ReplicationFactor))
	if topic.Configs == nil {
		out = append(out, "configs=null")
	}
	for _, c := range topic.Configs {
		if c.Source == 1 { // DYNAMIC_TOPIC_CONFIG
			out = append(out, fmt.Sprintf("%s=%s", c.Name, *c.Value))
		}
	}
	return out
}

func shortName(s string) string {
	if len(s) > 60 {
		return fmt.Sprintf("%.10s...(%d bytes)", s, len(s))
	}
	return strconv.Quote(s)
}

// broker is a connection to a real broker.
type broker struct {
	t    *testing.T
	conn net.Conn
	r    *bufio.Reader
	id   int32
}

func dial(t *testing.T, addr string) *broker {
	conn, err := net.DialTimeout("tcp", addr, 5*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return &broker{t: t, conn: conn, r: bufio.NewReader(conn)}
}

// do sends one request. A broker that closes the connection gives io.EOF.
func (b *broker) do(req kmsg.Request) (kmsg.Response, error) {
	b.id++
	b.conn.SetDeadline(time.Now().Add(30 * time.Second))
	f := kmsg.NewRequestFormatter(kmsg.FormatterClientID("script"))
	if _, err := b.conn.Write(f.AppendRequest(nil, req, b.id)); err != nil {
		return nil, err
	}
	var head [4]byte
	if _, err := io.ReadFull(b.r, head[:]); err != nil {
		return nil, err
	}
	body := make([]byte, binary.BigEndian.Uint32(head[:]))
	if _, err := io.ReadFull(b.r, body); err != nil {
		return nil, err
	}
	resp := req.ResponseKind()
	resp.SetVersion(req.GetVersion())
	body = body[4:]
	if resp.IsFlexible() {
		body = body[1:]
	}
	return resp, resp.ReadFrom(body)
}

// topicIDs asks for the topics that there are.
func (b *broker) topicIDs() map[string]UUID {
	req := kmsg.NewPtrMetadataRequest()
	req.Version = 12
	resp, err := b.do(req)
	if err != nil {
		b.t.Fatal(err)
	}
	ids := map[string]UUID{}
	for _, topic := range resp.(*kmsg.MetadataResponse).Topics {
		ids[*topic.Topic] = topic.TopicID
	}
	return ids
}

// deleteAll leaves the broker as it was found.
func (b *broker) deleteAll() {
	req := kmsg.NewPtrDeleteTopicsRequest()
	req.Version = 6
	for _, id := range b.topicIDs() {
		req.Topics = append(req.Topics, kmsg.DeleteTopicsRequestTopic{TopicID: id})
	}
	if _, err := b.do(req); err != nil {
		b.t.Fatal(err)
	}
}
