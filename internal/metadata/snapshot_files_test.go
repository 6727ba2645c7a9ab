package metadata

import "testing"

func TestSnapshotNames(t *testing.T) {
	for name, want := range map[string]SnapshotID{
		"00000000000000000088-0000000001.checkpoint": {88, 1},
		"09223372036854775807-2147483647.checkpoint": {1<<63 - 1, 1<<31 - 1},
	} {
		id, ok := ParseSnapshotName(name)
		if !ok || id != want || id.FileName() != name {
			t.Errorf("%s is %+v (%t), called %s", name, id, ok, id.FileName())
		}
		if !IsSnapshotLeftover(id.PartName()) || !IsSnapshotLeftover(name+".deleted") || IsSnapshotLeftover(name) {
			t.Errorf("%s and %s are not told apart", name, id.PartName())
		}
	}
	for _, name := range []string{"", "bootstrap.checkpoint", "00000000000000000088-0000000001.checkpoint.part", "00000000000000000088-0000000001.checkpoint.deleted",
		"-0000000000000000088-0000000001.checkpoint", "00000000000000000088-4294967295.checkpoint", "99999999999999999999-0000000001.checkpoint"} {
		if id, ok := ParseSnapshotName(name); ok {
			t.Errorf("%q is taken for snapshot %+v", name, id)
		}
	}
}

func TestRetentionOfSnapshots(t *testing.T) {
	files := []SnapshotFile{
		{SnapshotID{0, 0}, 100, 0, 0},
		{SnapshotID{50, 1}, 200, 1000, 0},
		{SnapshotID{90, 1}, 300, 2000, 500},
		{SnapshotID{120, 2}, 400, 3000, 900},
	}
	for _, x := range []struct {
		name string
		r    Retention
		now  int64
		want int
	}{
		{"no limit", Retention{-1, -1}, 1 << 40, 0},
		{"all fits", Retention{2500, -1}, 3000, 0},
		{"a byte too many: the first goes", Retention{2499, -1}, 3000, 1},
		{"without the first it is 2400", Retention{2400, -1}, 3000, 1},
		{"the second takes the log before the third with it: 1700", Retention{2399, -1}, 3000, 2},
		{"the third and the log before the fourth: 1000", Retention{1699, -1}, 3000, 3},
		{"the newest stays, however large", Retention{0, -1}, 3000, 3},
		{"by age", Retention{-1, 1500}, 3000, 2},
		{"the newest stays, however old", Retention{-1, 0}, 1 << 40, 3},
		{"either", Retention{1699, 1500}, 3000, 3},
	} {
		if got := x.r.Expired(files, 1500, x.now); got != x.want {
			t.Errorf("%s: %d expire, want %d", x.name, got, x.want)
		}
	}
	if n := (Retention{0, 0}).Expired(nil, 100, 100); n != 0 {
		t.Errorf("of no snapshots %d expire", n)
	}
}
