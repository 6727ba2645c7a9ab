package clients

import (
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"sort"
	"strings"
	"testing"
	"time"

	"slipstream/internal/clients/harness"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// The oracle: request bytes, one after another on one connection, whose answers from Apache Kafka 4.3.1 are kept under
// testdata/oracle. slipstream must answer the same, up to what cannot be the same (ids drawn at random, ports), which
// normalise replaces by names.
//
//	SLIPSTREAM_TEST_BROKER=apache SLIPSTREAM_ORACLE=record go test ./internal/clients -run TestOracle
//
// records them anew; the same without SLIPSTREAM_ORACLE checks that Apache repeats itself.

// exchange is one request of a script and what came back.
type exchange struct {
	Name   string
	Key    int16
	Ver    int16
	Answer any // the normalised response, or "closed", or "silence"
}

// script is a conversation: its state (topics, sessions, producers) carries over from exchange to exchange.
type script struct {
	t     *testing.T
	b     *harness.Broker
	w     *harness.Wire
	norm  *normaliser
	corr  int32
	done  []exchange
	quiet time.Duration // how long silence must last to be called silence
}

// departures are the answers that differ from Apache's for a reason: a pattern of "file exchange: path", and the reason.
var departures = []struct{ pattern, reason string }{
	{`^32-config-resources one resource twice:`, "a resource that is named twice is answered once, so that no answer is a thousand times its request"},
	{`^33-alter-configs one resource twice:`, "Apache never answers"},
	{`^44-broker-settings too (many|few) (threads|cleaners):`, "there are no such threads here, and any number of them is accepted"},
	{`^00-produce-transactional a control batch:`, "a client's control batch is refused before its transaction is looked at"},
	{`^24-add-partitions-to-txn no partition: Topics is null`, "a topic without partitions is not named in the answer"},
	{`^32-describe-configs .*\.Documentation is null`, "Kafka's texts about its settings are not carried"},
	{`^76-share-group-heartbeat .*: MemberEpoch|^76-share-group-heartbeat an epoch to come: ErrorMessage`, "who joins is answered with what it is to have, one epoch sooner"},
	{`^78-share-fetch a topic that is not there`, "Apache's own code throws; here the partition is answered UNKNOWN_TOPIC_ID"},
	{`^03-metadata an auto-created topic, the first answer:`, "the topic is there with the first answer; Apache says UNKNOWN_TOPIC_OR_PARTITION until it is"},
}

// served are the APIs of this landing. Their version ranges must be Apache's; others may be missing.
var served = []int16{0, 1, 2, 3, 8, 9, 10, 11, 12, 13, 14, 15, 16, 18, 19, 20, 22, 23, 24, 25, 26, 27, 28, 32, 33, 37, 42, 44, 47, 48, 49, 60, 61, 65, 66, 68, 69, 74, 75, 76, 77, 78, 79, 83, 84, 85, 86, 87, 90, 91, 92}

func oracleScripts() map[string]func(*script) {
	return map[string]func(*script){
		"00-produce":                   scriptProduce,
		"08-offset-commit":             scriptOffsetCommit,
		"09-offset-fetch":              scriptOffsetFetch,
		"10-find-coordinator":          scriptFindCoordinator,
		"11-join-group":                scriptJoinGroup,
		"12-heartbeat":                 scriptHeartbeat,
		"13-leave-group":               scriptLeaveGroup,
		"14-sync-group":                scriptSyncGroup,
		"15-describe-groups":           scriptDescribeGroups,
		"16-list-groups":               scriptListGroups,
		"42-delete-groups":             scriptDeleteGroups,
		"47-offset-delete":             scriptOffsetDelete,
		"68-consumer-groups":           scriptConsumerGroups,
		"01-fetch":                     scriptFetch,
		"02-list-offsets":              scriptListOffsets,
		"03-metadata":                  scriptMetadata,
		"18-api-versions":              scriptAPIVersions,
		"19-create-topics":             scriptCreateTopics,
		"20-delete-topics":             scriptDeleteTopics,
		"22-init-producer-id":          scriptInitProducerID,
		"22-init-transactional":        scriptInitTransactional,
		"24-add-partitions-to-txn":     scriptAddPartitions,
		"25-add-offsets-to-txn":        scriptAddOffsets,
		"26-end-txn":                   scriptEndTxn,
		"27-write-txn-markers":         scriptWriteTxnMarkers,
		"28-txn-offset-commit":         scriptTxnOffsetCommit,
		"61-describe-producers":        scriptDescribeProducers,
		"65-describe-transactions":     scriptDescribeTransactions,
		"66-list-transactions":         scriptListTransactions,
		"00-produce-transactional":     scriptTransactionalProduce,
		"01-fetch-committed":           scriptReadCommitted,
		"23-offset-for-leader-epoch":   scriptOffsetForLeaderEpoch,
		"32-describe-configs":          scriptDescribeConfigs,
		"37-create-partitions":         scriptCreatePartitions,
		"44-incremental-alter-configs": scriptIncrementalAlterConfigs,
		"48-describe-client-quotas":    scriptDescribeClientQuotas,
		"49-alter-client-quotas":       scriptAlterClientQuotas,
		"49-mutation-quota":            scriptMutationQuota,
		"60-describe-cluster":          scriptDescribeCluster,
		"75-describe-topic-partitions": scriptDescribeTopicPartitions,
		"76-share-group-heartbeat":     scriptShareGroupHeartbeat,
		"78-share-fetch":               scriptShareFetch,
		"79-share-acknowledge":         scriptShareAcknowledge,
		"83-share-group-state":         scriptShareGroupState,
		"90-share-group-offsets":       scriptShareGroupOffsets,
		"bad-frames":                   scriptBadFrames,
		"bad-batches":                  scriptBadBatches,
	}
}

// TestOracle runs every script against the broker and compares with Apache's recorded answers.
func TestOracle(t *testing.T) {
	b := harness.StartT(t, harness.Options{Set: []string{"node.id=1", "group.initial.rebalance.delay.ms=0"}})
	scripts := oracleScripts()
	maps.Copy(scripts, adminScripts())
	var names []string
	for name := range scripts {
		names = append(names, name)
	}
	sort.Strings(names)
	for _, name := range names {
		t.Run(name, func(t *testing.T) {
			s := &script{t: t, b: b, norm: newNormaliser(b.Addr), quiet: time.Second}
			s.dial()
			defer func() { s.w.Close() }()
			scripts[name](s)
			s.compare(name)
		})
	}
}

func (s *script) dial() {
	s.t.Helper()
	if s.w != nil {
		s.w.Close()
	}
	w, err := harness.Dial(s.b.Addr)
	if err != nil {
		s.t.Fatal(err)
	}
	s.w = w
}

// ask sends a request in a version and keeps the normalised answer. It returns the response for what follows from it.
func (s *script) ask(name string, version int16, req kmsg.Request) kmsg.Response {
	s.t.Helper()
	req.SetVersion(version)
	s.corr++
	if _, err := s.w.Write(harness.Encode(req, s.corr)); err != nil {
		s.t.Fatalf("%s v%d: %v", name, version, err)
	}
	e := exchange{Name: name, Key: req.Key(), Ver: version}
	body, err := s.w.ReadFrame(15 * time.Second)
	if err != nil {
		e.Answer = outcome(err)
		s.done = append(s.done, e)
		s.dial()
		return nil
	}
	resp, err := harness.Decode(req, s.corr, body)
	if err != nil {
		s.t.Fatalf("%s v%d: %v", name, version, err)
	}
	e.Answer = s.norm.value(resp)
	s.done = append(s.done, e)
	return resp
}

// versions asks the same in every version from lo to hi.
func (s *script) versions(name string, lo, hi int16, build func(version int16) kmsg.Request) {
	s.t.Helper()
	for v := lo; v <= hi; v++ {
		s.ask(name, v, build(v))
	}
}

// raw sends bytes as they are and keeps how the broker answers: with a response (what of it, keep says), by closing, or
// not at all.
func (s *script) raw(name string, bytes []byte, keep func(body []byte) any) {
	s.t.Helper()
	s.dial()
	s.w.Write(bytes) // an error shows as a close when reading
	e := exchange{Name: name, Key: -1}
	body, err := s.w.ReadFrame(s.quiet)
	switch {
	case err != nil:
		e.Answer = outcome(err)
	case keep != nil:
		e.Answer = keep(body)
	default:
		e.Answer = "a response"
	}
	s.done = append(s.done, e)
	s.dial()
}

func outcome(err error) string {
	switch {
	case errors.Is(err, io.EOF):
		return "closed"
	case errors.Is(err, os.ErrDeadlineExceeded):
		return "silence"
	}
	return err.Error()
}

// settled waits until a change that Apache's controller has answered has reached its broker.
func (s *script) settled() {
	if s.b.Kind == harness.Apache {
		time.Sleep(400 * time.Millisecond)
	}
}

// topic makes a topic with a fixed name and waits for it, outside the script.
func (s *script) topic(name string, partitions int, settings ...string) [16]byte {
	s.t.Helper()
	createTopic(s.t, s.b, name, partitions, settings...)
	req := kmsg.NewPtrMetadataRequest()
	rt := kmsg.NewMetadataRequestTopic()
	rt.Topic = &name
	req.Topics = append(req.Topics, rt)
	req.SetVersion(12)
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
	id := resp.(*kmsg.MetadataResponse).Topics[0].TopicID
	s.norm.id(id, "id-of-"+name)
	return id
}

// fill produces values as one batch, outside the script.
func (s *script) fill(topic string, partition int32, batches ...harness.Batch) {
	s.t.Helper()
	for _, b := range batches {
		req := harness.Produce(9, topic, [16]byte{}, partition, -1, b.Bytes())
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
		if code := resp.(*kmsg.ProduceResponse).Topics[0].Partitions[0].ErrorCode; code != 0 {
			s.t.Fatalf("filling %s-%d: error %d", topic, partition, code)
		}
	}
}

// compare holds the script's exchanges against the recorded ones, or records them.
func (s *script) compare(name string) {
	s.t.Helper()
	path := filepath.Join("testdata", "oracle", name+".json")
	if os.Getenv("SLIPSTREAM_ORACLE") == "record" {
		if s.b.Kind != harness.Apache {
			s.t.Fatal("SLIPSTREAM_ORACLE=record wants SLIPSTREAM_TEST_BROKER=apache")
		}
		text, err := encodeExchanges(s.done)
		if err != nil {
			s.t.Fatal(err)
		}
		if err := os.WriteFile(path, text, 0o644); err != nil {
			s.t.Fatal(err)
		}
		return
	}
	text, err := os.ReadFile(path)
	if err != nil {
		s.t.Fatal(err)
	}
	var want []exchange
	if err := json.Unmarshal(text, &want); err != nil {
		s.t.Fatal(err)
	}
	got := roundTrip(s.t, s.done)
	if len(got) != len(want) {
		s.t.Fatalf("%d exchanges, %d are recorded: record them anew", len(got), len(want))
	}
	for i := range want {
		if want[i].Name != got[i].Name || want[i].Ver != got[i].Ver {
			s.t.Fatalf("exchange %d is %q v%d, recorded is %q v%d: record them anew", i, got[i].Name, got[i].Ver, want[i].Name, want[i].Ver)
		}
		var diffs []string
		diff("", want[i].Answer, got[i].Answer, &diffs)
		for _, d := range diffs {
			if !departs(name + " " + want[i].Name + ": " + d) {
				s.t.Errorf("%s v%d: %s", want[i].Name, want[i].Ver, d)
			}
		}
	}
}

func departs(d string) bool {
	for _, known := range departures {
		if regexp.MustCompile(known.pattern).MatchString(d) {
			return true
		}
	}
	return false
}

// encodeExchanges writes one exchange a line: a changed answer is then one changed line.
func encodeExchanges(done []exchange) ([]byte, error) {
	out := []byte("[\n")
	for i, e := range done {
		line, err := json.Marshal(e)
		if err != nil {
			return nil, err
		}
		out = append(out, line...)
		if i < len(done)-1 {
			out = append(out, ',')
		}
		out = append(out, '\n')
	}
	return append(out, "]\n"...), nil
}

func roundTrip(t *testing.T, done []exchange) []exchange {
	text, err := encodeExchanges(done)
	if err != nil {
		t.Fatal(err)
	}
	var out []exchange
	if err := json.Unmarshal(text, &out); err != nil {
		t.Fatal(err)
	}
	return out
}

// diff lists where got is not what Apache said. Paths look like Topics[0].Partitions[1].ErrorCode.
func diff(path string, want, got any, out *[]string) {
	switch w := want.(type) {
	case map[string]any:
		g, ok := got.(map[string]any)
		if !ok {
			break
		}
		for _, k := range sortedKeys(w, g) {
			diff(strings.TrimPrefix(path+"."+k, "."), w[k], g[k], out)
		}
		return
	case []any:
		g, ok := got.([]any)
		if !ok {
			break
		}
		if path == "ApiKeys" {
			w = onlyServed(w, g)
		}
		if len(w) != len(g) {
			*out = append(*out, fmt.Sprintf("%s has %d elements, Apache's has %d: %v, Apache's: %v", path, len(g), len(w), short(g), short(w)))
			return
		}
		for i := range w {
			diff(fmt.Sprintf("%s[%d]", path, i), w[i], g[i], out)
		}
		return
	}
	if fmt.Sprint(want) != fmt.Sprint(got) && !asGood(path, want, got) {
		*out = append(*out, fmt.Sprintf("%s is %v, Apache's is %v", path, short(got), short(want)))
	}
}

// onlyServed leaves of Apache's API keys those that must be there and those that are there.
func onlyServed(want, got []any) []any {
	keep := map[string]bool{}
	for _, key := range served {
		keep[fmt.Sprint(key)] = true
	}
	for _, g := range got {
		keep[fmt.Sprint(g.(map[string]any)["ApiKey"])] = true
	}
	var out []any
	for _, w := range want {
		if keep[fmt.Sprint(w.(map[string]any)["ApiKey"])] {
			out = append(out, w)
		}
	}
	return out
}

// asGood takes an answer that differs from Apache's without being worse: an error message where Apache has none, any
// error where Apache's own code threw an exception and so answered UNKNOWN_SERVER_ERROR, and whole batches where Apache
// adds a piece of the next one, which every client has to drop.
func asGood(path string, want, got any) bool {
	switch path[strings.LastIndexByte(path, '.')+1:] {
	case "ErrorMessage":
		return want == nil
	case "ErrorCode":
		return fmt.Sprint(want) == "-1" && fmt.Sprint(got) != "0"
	case "RecordBatches":
		w, ok := want.(string)
		g, ok2 := got.(string)
		return ok && ok2 && len(g) > 0 && strings.HasPrefix(w, g) && wholeBatches(g) && !wholeBatches(w)
	}
	return false
}

// wholeBatches says whether hexadecimal record batches end where their last one ends.
func wholeBatches(text string) bool {
	b, err := hex.DecodeString(text)
	for err == nil && len(b) >= 12 {
		n := 12 + int(binary.BigEndian.Uint32(b[8:]))
		if n > len(b) {
			return false
		}
		b = b[n:]
	}
	return err == nil && len(b) == 0
}

func sortedKeys(a, b map[string]any) []string {
	var keys []string
	for k := range a {
		keys = append(keys, k)
	}
	for k := range b {
		if _, ok := a[k]; !ok {
			keys = append(keys, k)
		}
	}
	sort.Strings(keys)
	return keys
}

func short(v any) string {
	s := fmt.Sprint(v)
	if text, err := json.Marshal(v); err == nil {
		s = string(text)
	}
	if len(s) > 300 {
		s = s[:300] + "..."
	}
	return s
}
