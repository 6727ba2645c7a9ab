package protocol

import (
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"net"
	"os"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// testdata/frames_oracle.json is what an Apache Kafka 4.3.1 did with odd frames; see oracle_test.go.
const framesFile = "testdata/frames_oracle.json"

// frameAnswer is one frame, without its length, and what Kafka did.
type frameAnswer struct {
	Name   string
	Frame  string // hex
	Answer string // "closed", "silence", or the answer's frame in hex, at most 60 bytes of it
}

// header is a request header in the form of its key and version.
func header(key, version int16) []byte {
	b := AppendInt32(AppendInt16(AppendInt16(nil, key), version), 0x01020304)
	b = AppendString(b, "oracle")
	if RequestFlexible(key, version) {
		b = append(b, 0)
	}
	return b
}

// oddFrames are frames that something is wrong with, without Kafka's answers.
func oddFrames() []frameAnswer {
	var all []frameAnswer
	add := func(name string, frame []byte) {
		all = append(all, frameAnswer{Name: name, Frame: hex.EncodeToString(frame)})
	}
	encode := func(req kmsg.Request, version int16) []byte {
		req.SetVersion(version)
		return req.AppendTo(header(req.Key(), version))
	}
	add("nothing", nil)
	add("one byte", []byte{0})
	add("eight bytes", header(KeyMetadata, 0)[:8])
	add("client id missing", header(KeyMetadata, 1)[:8])
	add("client id negative", append(header(KeyMetadata, 1)[:8], 0xff, 0xfe))
	add("client id too long", append(header(KeyMetadata, 1)[:8], 0x7f, 0xff))
	add("header tags that lie", append(header(KeyMetadata, 12)[:16], 0xff, 0xff, 0xff, 0xff, 0x0f))
	add("body missing", header(KeyMetadata, 1))
	for _, key := range []int16{-1, 4, 5, 6, 7, 93, 999} {
		add("key "+itoa(key), append(header(key, 0), 0, 0, 0, 0))
	}
	for _, version := range []int16{-1, 5, 99} {
		add("ApiVersions version "+itoa(version), append(header(KeyAPIVersions, version), 2, 'a', 2, 'b', 0))
	}
	add("ApiVersions without a body", header(KeyAPIVersions, 3))
	add("ApiVersions with an empty name", append(header(KeyAPIVersions, 3), 1, 1, 0))
	add("ApiVersions with a name with a space", append(header(KeyAPIVersions, 3), 4, 'a', ' ', 'b', 2, '1', 0))
	for _, version := range []int16{-1, 14, 99} {
		add("Metadata version "+itoa(version), append(header(KeyMetadata, version), 1, 0, 0, 0))
	}
	add("Metadata of null topics, version 0", append(header(KeyMetadata, 0), 0xff, 0xff, 0xff, 0xff))
	add("Metadata of -2 topics", append(header(KeyMetadata, 1), 0xff, 0xff, 0xff, 0xfe))
	add("Metadata of too many topics", append(header(KeyMetadata, 1), 0x7f, 0xff, 0xff, 0xff))
	add("Metadata of a null topic", append(header(KeyMetadata, 1), 0, 0, 0, 1, 0xff, 0xff))
	add("Metadata with a body that goes on", append(encode(kmsg.NewPtrMetadataRequest(), 1), 1, 2, 3))
	add("Metadata with tags that lie", append(encode(kmsg.NewPtrMetadataRequest(), 12)[:len(encode(kmsg.NewPtrMetadataRequest(), 12))-1], 5))
	produce := func() *kmsg.ProduceRequest {
		req := kmsg.NewPtrProduceRequest()
		req.Acks, req.TimeoutMillis = 1, 1000
		topic := kmsg.NewProduceRequestTopic()
		topic.Topic = "oracle-missing"
		topic.Partitions = append(topic.Partitions, kmsg.ProduceRequestTopicPartition{Records: craftBatch(1)})
		req.Topics = append(req.Topics, topic)
		return req
	}
	for _, version := range []int16{0, 1, 2, 14} {
		add("Produce version "+itoa(version), encode(produce(), version))
	}
	add("Produce that goes on", append(encode(produce(), 9), 1, 2, 3))
	whole := encode(produce(), 9)
	add("Produce without its last byte", whole[:len(whole)-1])
	add("Produce of null topics", append(header(KeyProduce, 9), 0, 0, 1, 0, 0, 0, 9, 0, 0))
	add("Produce of no topics", append(header(KeyProduce, 9), 0, 0, 1, 0, 0, 0, 9, 1, 0))
	add("Produce with acks 2", func() []byte { req := produce(); req.Acks = 2; return encode(req, 9) }())
	for _, version := range []int16{0, 3, 19} {
		add("Fetch version "+itoa(version), encode(kmsg.NewPtrFetchRequest(), version))
	}
	add("Fetch that goes on", append(encode(kmsg.NewPtrFetchRequest(), 12), 1, 2, 3))
	add("CreateTopics version 1", encode(kmsg.NewPtrCreateTopicsRequest(), 1))
	return all
}

// TestFramesOracle compares what we take for malformed with what Kafka closed the connection for.
func TestFramesOracle(t *testing.T) {
	if addr := os.Getenv(oracleAddress); addr != "" {
		askFramesOracle(t, addr)
	}
	data, err := os.ReadFile(framesFile)
	if err != nil {
		t.Fatal(err)
	}
	var answers []frameAnswer
	if err := json.Unmarshal(data, &answers); err != nil {
		t.Fatal(err)
	}
	recorded := map[string]bool{}
	for _, a := range answers {
		recorded[a.Name] = true
		frame, err := hex.DecodeString(a.Frame)
		if err != nil {
			t.Fatal(err)
		}
		ours := readable(frame)
		if closed := a.Answer == "closed"; closed != (ours != nil) {
			t.Errorf("%s: we say %v, Kafka %s", a.Name, ours, a.Answer)
		}
	}
	for _, f := range oddFrames() {
		if !recorded[f.Name] {
			t.Errorf("%s: never shown to a real Kafka", f.Name)
		}
	}
}

// readable is nil if a broker can answer the frame.
func readable(frame []byte) error {
	h, body, err := ParseHeader(frame)
	if err != nil {
		return err
	}
	switch h.APIKey {
	case KeyProduce:
		return new(ProduceRequest).Decode(h.Version, body)
	case KeyFetch:
		return new(FetchRequest).Decode(h.Version, body)
	}
	err = CheckRequest(h.APIKey, h.Version, body)
	if h.APIKey == KeyAPIVersions && err == ErrVersion {
		return nil // answered in version 0
	}
	return err
}

func askFramesOracle(t *testing.T, addr string) {
	o := dialOracle(t, addr)
	var answers []frameAnswer
	for _, f := range oddFrames() {
		frame, _ := hex.DecodeString(f.Frame)
		answer, err := o.exchange(frame)
		var timeout net.Error
		switch {
		case err == nil:
			f.Answer = hex.EncodeToString(answer[:min(len(answer), 60)])
			if len(answer) >= 4 && binary.BigEndian.Uint32(answer) != 0x01020304 {
				t.Errorf("%s: an answer to something else", f.Name)
			}
		case errors.As(err, &timeout) && timeout.Timeout():
			f.Answer = "silence"
		default:
			f.Answer = "closed"
		}
		o.redial(t)
		answers = append(answers, f)
	}
	data, err := json.MarshalIndent(answers, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(framesFile, append(data, '\n'), 0o644); err != nil {
		t.Fatal(err)
	}
}
