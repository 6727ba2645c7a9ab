package group

import (
	"bytes"
	"encoding/hex"
	"errors"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"

	"slipstream/protocol"
)

// apacheLog is what a real Kafka has written.
func apacheLog(t testing.TB) (log []RawRecord) {
	t.Helper()
	text, err := os.ReadFile("testdata/kafka-4.3.1/consumer_offsets.txt")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if strings.HasPrefix(line, "#") {
			continue
		}
		k, v, _ := strings.Cut(strings.TrimSpace(line), " ")
		var r RawRecord
		if r.Key, err = hex.DecodeString(k); err != nil {
			t.Fatal(err)
		}
		if v != "-" {
			if r.Value, err = hex.DecodeString(v); err != nil {
				t.Fatal(err)
			}
		}
		log = append(log, r)
	}
	return log
}

// TestApacheRecords: what Kafka writes is read, and written back byte for byte.
func TestApacheRecords(t *testing.T) {
	types := map[RecordType]int{}
	for i, r := range apacheLog(t) {
		k, err := DecodeKey(r.Key)
		if err != nil {
			t.Fatalf("record %d: %v", i, err)
		}
		if again := AppendKey(nil, k); !bytes.Equal(again, r.Key) {
			t.Errorf("record %d: the key %x is written %x", i, r.Key, again)
		}
		v, err := DecodeValue(k.Type, r.Value)
		if err != nil {
			t.Fatalf("record %d %v: %v", i, k, err)
		}
		types[k.Type]++
		if v == nil {
			continue
		}
		if again := AppendValue(nil, k.Type, v); !bytes.Equal(again, r.Value) {
			t.Errorf("record %d %v: the value %x is written %x", i, k, r.Value, again)
		}
	}
	for _, typ := range []RecordType{TypeOffsetCommit, TypeGroupMetadata, TypeConsumerGroup, TypeConsumerMember, TypeConsumerTarget,
		TypeConsumerTargetMember, TypeConsumerMemberAssignment, TypeConsumerRegex} {
		if types[typ] == 0 {
			t.Errorf("no record of type %s", typ)
		}
	}
}

// TestApacheLogLoads: a directory that Kafka has written is taken over.
func TestApacheLogLoads(t *testing.T) {
	w := newWorld(t)
	for _, r := range apacheLog(t) {
		w.log = append(w.log, logged{key: r.Key, value: r.Value, producerID: -1})
	}
	w.restart()
	// What that Kafka listed, but for groups that were only there for
	// offsets that are gone: it lists them until it is restarted.
	want := strings.Fields("c1:consumer c2:consumer c3:consumer c4:consumer c5:consumer c6:consumer c7:consumer g1:classic g2:classic g3:classic" +
		" g4:classic g5:classic/connect g6:classic g7:classic listc:consumer lists:classic s1:classic u1:classic:Stable u2:classic/connect:Stable" +
		" u3:classic:Stable x1:consumer x2:consumer x3:consumer")
	var got []string
	for _, g := range w.c.sorted {
		l := g.listed()
		text := l.Group + ":" + l.GroupType
		if l.ProtocolType != consumerProtocolType && l.ProtocolType != "" {
			text += "/" + l.ProtocolType
		}
		if l.GroupState != "Empty" {
			text += ":" + l.GroupState
		}
		got = append(got, text)
	}
	if !slices.Equal(got, want) {
		t.Errorf("the groups are\n%v\nand were\n%v", got, want)
	}
	w.checkReplay()
	if err := w.c.Check(); err != nil {
		t.Error(err)
	}
}

// TestOldVersions: records that older Kafkas have written are read.
func TestOldVersions(t *testing.T) {
	name := "x"
	for version := range int16(5) {
		offset := &OffsetCommitValue{Version: version, Offset: 5, LeaderEpoch: -1, Metadata: "m", CommitTimestamp: 7, ExpireTimestamp: -1}
		group := &GroupMetadataValue{Version: version, ProtocolType: "consumer", Generation: 3, Protocol: &name, Leader: &name, CurrentStateTimestamp: -1,
			Members: []GroupMetadataMember{{MemberID: "a", ClientID: "b", ClientHost: "c", RebalanceTimeoutMillis: -1, SessionTimeoutMillis: 9, Subscription: []byte{1}, Assignment: []byte{2}}}}
		if version == 1 {
			offset.ExpireTimestamp = 8
		}
		if version >= 1 {
			group.Members[0].RebalanceTimeoutMillis = 10
		}
		if version >= 2 {
			group.CurrentStateTimestamp = 11
		}
		if version >= 3 {
			offset.LeaderEpoch, group.Members[0].GroupInstanceID = 4, &name
		}
		if version == 4 {
			offset.TopicID = protocol.UUID{1}
		}
		for typ, v := range map[RecordType]Value{TypeOffsetCommit: offset, TypeGroupMetadata: group} {
			got, err := DecodeValue(typ, AppendValue(nil, typ, v))
			if err != nil || !reflect.DeepEqual(got, v) {
				t.Errorf("%s version %d: %+v, %v; want %+v", typ, version, got, err, v)
			}
		}
	}
	c := New(Options{Settings: DefaultSettings(), Topics: newFakeTopics()})
	legacy := AppendKey(nil, Key{Type: TypeLegacyOffsetCommit, Group: "g", Name: "t", Partition: 1})
	if err := c.Replay(0, -1, legacy, AppendValue(nil, TypeLegacyOffsetCommit, &LegacyOffsetCommitValue{Offset: 9})); err != nil {
		t.Fatal(err)
	}
	if o := c.groups["g"].offsets.table.find("t", 1); o == nil || o.offset != 9 {
		t.Errorf("the legacy offset is %+v", o)
	}
}

// TestUnknownRecords: other packages' records and newer Kafkas' are passed over;
// damaged ones are said to be.
func TestUnknownRecords(t *testing.T) {
	c := New(Options{Settings: DefaultSettings(), Topics: newFakeTopics()})
	for _, r := range []RawRecord{
		{[]byte{0, 17, 0, 1, 'g'}, []byte{0, 0, 0}},                                       // a streams group's
		{AppendKey(nil, Key{Type: TypeConsumerGroup, Group: "g"}), []byte{0, 9, 1, 2, 3}}, // a newer version
		{AppendKey(nil, Key{Type: TypeGroupMetadata, Group: "g"}), []byte{0x7f, 0xff}},    // likewise
		{[]byte{0x7f, 0xff}, nil}, // a newer type
	} {
		if err := c.Replay(1, -1, r.Key, r.Value); err != nil {
			t.Errorf("%x: %v", r.Key, err)
		}
	}
	for _, r := range []RawRecord{
		{nil, nil}, {[]byte{0}, nil}, {[]byte{0, 1, 0, 9, 'g'}, nil}, {[]byte{0, 2, 0xff, 0xff}, nil},
		{AppendKey(nil, Key{Type: TypeGroupMetadata, Group: "g"}), []byte{}},
		{AppendKey(nil, Key{Type: TypeGroupMetadata, Group: "g"}), []byte{0, 3, 0}},
		{AppendKey(nil, Key{Type: TypeConsumerTargetMember, Group: "g", Name: "m"}), []byte{0, 0, 0xff, 0xff, 0xff, 0x7f}},
	} {
		if err := c.Replay(1, -1, r.Key, r.Value); err == nil {
			t.Errorf("%x %x is taken for a record", r.Key, r.Value)
		}
	}
	if len(c.groups) != 0 {
		t.Errorf("%d groups were made of nothing", len(c.groups))
	}
	var unknown *UnknownRecordError
	if _, err := DecodeKey([]byte{0, 77}); !errors.As(err, &unknown) || unknown.Type != 77 {
		t.Errorf("%v", err)
	}
}

// FuzzReplay: whatever a log has, reading it does not fail; what can be read is
// written back so that it reads the same, and leaves a state that holds together.
func FuzzReplay(f *testing.F) {
	for i, r := range apacheLog(f) {
		if i%7 == 0 {
			f.Add(r.Key, r.Value)
		}
	}
	f.Fuzz(func(t *testing.T, key, value []byte) {
		c := New(Options{Settings: DefaultSettings(), Topics: newFakeTopics()})
		if err := c.Replay(1, -1, key, value); err != nil {
			return
		}
		k, err := DecodeKey(key)
		if err != nil {
			return
		}
		v, err := DecodeValue(k.Type, value)
		if err != nil || v == nil {
			return
		}
		again, err := DecodeValue(k.Type, AppendValue(nil, k.Type, v))
		if err != nil || !reflect.DeepEqual(v, again) {
			t.Fatalf("%+v reads %+v, %v", v, again, err)
		}
		c.Replay(2, 5, key, value)
		c.ReplayMarker(3, 5, true)
		c.Replay(4, -1, key, nil)
		c.Loaded(1)
		c.Work(1)
		c.Tick(1 << 40)
		c.Ready(10)
	})
}
