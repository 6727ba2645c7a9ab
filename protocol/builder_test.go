package protocol

import (
	"encoding/hex"
	"testing"
)

// TestBuilderWritesKafkasBytes builds three batches of control records that a Kafka 4.3.1 controller wrote at its first start: the
// first of its metadata log, and the two of its bootstrap snapshot.
func TestBuilderWritesKafkasBytes(t *testing.T) {
	directory, err := ParseUUID("RDV63ua_R8mojDOJaZxOng")
	if err != nil {
		t.Fatal(err)
	}
	voters := AppendKRaftVoters(nil, []QuorumVoter{{
		ID: 1, Directory: directory, LeastVersion: 0, MostVersion: 1,
		Endpoints: []QuorumEndpoint{{Name: "CONTROLLER", Host: "127.0.0.1", Port: 29393}},
	}})
	type control struct {
		kind  ControlType
		value []byte
	}
	tests := []struct {
		name      string
		base      int64
		epoch     int32
		timestamp int64
		records   []control
		want      string
	}{
		{"log", 0, 1, 0x1a1fe148c9f, []control{
			{LeaderChange, AppendLeaderChange(nil, 0, 1, []Voter{{ID: 1}}, []Voter{{ID: 1}})},
			{KRaftVersion, AppendKRaftVersion(nil, 1)},
			{KRaftVoters, voters},
		}, "0000000000000000000000a2000000010214899923002000000002000001a1fe148c9f000001a1fe148c9fffffffffffffffffffffffffffff000000033a" +
			"00000008000000022600000000000102000000010002000000010000001e00000208000000050a000000010000820100000408000000066e" +
			"0000020000000144357adee6bf47c9a88c3389699c4e9e020b434f4e54524f4c4c45520a3132372e302e302e3172d1000000000100000000"},
		{"snapshot header", 0, 0, 0x1a1fe14867e, []control{
			{SnapshotHeader, AppendSnapshotHeader(nil, 0x1a1fe148675)},
			{KRaftVersion, AppendKRaftVersion(nil, 1)},
			{KRaftVoters, voters},
		}, "00000000000000000000009a00000000020131ecda002000000002000001a1fe14867e000001a1fe14867effffffffffffffffffffffffffff000000032a" +
			"0000000800000003160000000001a1fe14867500001e00000208000000050a000000010000820100000408000000066e" +
			"0000020000000144357adee6bf47c9a88c3389699c4e9e020b434f4e54524f4c4c45520a3132372e302e302e3172d1000000000100000000"},
		{"snapshot footer", 3, 0, 0x1a1fe148684, []control{{SnapshotFooter, AppendSnapshotFooter(nil)}},
			"00000000000000030000003f000000000211bd1e5b002000000000000001a1fe148684000001a1fe148684ffffffffffffffffffffffffffff000000011a" +
				"00000008000000040600000000"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			info := NewBatchInfo(test.base, test.epoch)
			info.Attributes = AttrControl
			var bl Builder
			bl.Begin([]byte("before"), info)
			for _, c := range test.records {
				bl.Append(&Record{Timestamp: test.timestamp, Key: AppendControlKey(nil, c.kind), Value: c.value})
			}
			buf, b := bl.Finish()
			if got := hex.EncodeToString(b); got != test.want {
				t.Errorf("got  %s\nwant %s", got, test.want)
			}
			if string(buf) != "before"+string(b) {
				t.Error("the buffer does not end in the batch")
			}
			if directory.String() != "RDV63ua_R8mojDOJaZxOng" {
				t.Errorf("directory id is written %s", directory)
			}
		})
	}
}

// TestControlKeys reads back the keys that are written, and refuses what is no key.
func TestControlKeys(t *testing.T) {
	for kind := AbortMarker; kind <= KRaftVoters; kind++ {
		if got, ok := ParseControlKey(AppendControlKey(nil, kind)); !ok || got != kind {
			t.Errorf("type %d came back as %d, %v", kind, got, ok)
		}
	}
	for _, key := range [][]byte{nil, {0, 0, 0}, {0xff, 0xff, 0, 0}} {
		if _, ok := ParseControlKey(key); ok {
			t.Errorf("%x was taken for a key", key)
		}
	}
}

// TestBuilderAllocatesNothing builds into a buffer that has the room.
func TestBuilderAllocatesNothing(t *testing.T) {
	buf := make([]byte, 0, 4096)
	record := Record{Timestamp: 5, Key: []byte("k"), Value: []byte("v"), Headers: []RecordHeader{{Key: []byte("h")}}}
	allocated := testing.AllocsPerRun(100, func() {
		var bl Builder
		bl.Begin(buf, NewBatchInfo(1, 2))
		for range 10 {
			bl.Append(&record)
		}
		bl.Finish()
	})
	if allocated != 0 {
		t.Errorf("%v allocations", allocated)
	}
}
