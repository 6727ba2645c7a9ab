package share

import (
	"math"
	"reflect"
	"testing"

	"slipstream/protocol"
)

// FuzzRecords: what is read of a log of __share_group_state is written back so that it
// reads the same, and nothing read does harm: the coordinator serves, and a share-partition
// that begins with it is in order.
func FuzzRecords(f *testing.F) {
	k := Key{Group: "g", Topic: protocol.UUID{15: 1}, Partition: 3}
	s := State{SnapshotEpoch: 2, StateEpoch: 1, LeaderEpoch: 4, StartOffset: 10, DeliveryCompleteCount: 1, CreateTimestamp: 5, WriteTimestamp: 6,
		Batches: []StateBatch{{10, 12, Acknowledged, 1}, {14, 20, Available, 2}}}
	f.Add(appendKey(nil, snapshotType, k), appendSnapshot(nil, &s))
	f.Add(appendKey(nil, updateType, k), appendUpdate(nil, &s))
	s.DeliveryCompleteCount, s.Batches = -1, nil
	f.Add(appendKey(nil, snapshotType, k), appendSnapshot(nil, &s))
	f.Add(appendKey(nil, 9, k), []byte(nil))
	s.Batches = []StateBatch{{12, 13, Available, 1}, {math.MaxInt64 - 1, math.MaxInt64, Available, 1}}
	f.Add(appendKey(nil, snapshotType, k), appendSnapshot(nil, &s))
	s.StartOffset = math.MaxInt64
	f.Add(appendKey(nil, snapshotType, k), appendSnapshot(nil, &s))
	f.Fuzz(func(t *testing.T, key, value []byte) {
		c := NewCoordinator(Settings{SnapshotUpdateRecords: 2, ColdSnapshotMillis: 1000})
		kind, k, err := parseKey(key)
		read := c.Replay(7, key, value)
		if err != nil {
			if read == nil {
				t.Fatalf("taken, with a key that is none: %v", err)
			}
			return
		}
		if _, again, err := parseKey(appendKey(nil, kind, k)); err != nil || again != k {
			t.Fatalf("%+v is read back as %+v, %v", k, again, err)
		}
		s, err := parseValue(kind, value)
		if err != nil {
			return
		}
		if len(s.Batches) == 0 {
			s.Batches = nil // none, however it came to that
		}
		written := appendUpdate(nil, &s)
		if kind == snapshotType {
			written = appendSnapshot(nil, &s)
		}
		if again, err := parseValue(kind, written); err != nil || !reflect.DeepEqual(s, again) {
			t.Fatalf("%+v\nis read back as\n%+v, %v", s, again, err)
		}
		c.Replay(8, appendKey(nil, updateType, k), value)
		c.Loaded(1)
		c.Work(1)
		c.Step(2, Request{Action: Read, Key: k, LeaderEpoch: s.LeaderEpoch})
		c.Step(3, Request{Action: WriteState, Key: k, StateEpoch: s.StateEpoch, LeaderEpoch: s.LeaderEpoch, StartOffset: s.StartOffset, Batches: s.Batches})
		c.Tick(1 << 40)
		c.Ready(10)
		a := &act{t: t, p: NewPartition(0, Limits{MaxRecordLocks: 200, DeliveryCountLimit: 5, LockMillis: 1000}, s, 0)}
		a.check()
		a.fetch("m", a.p.End()+10, map[string]int64{})
		a.check()
		a.p.Tick(5000)
		a.check()
	})
}
