package broker

import "testing"

// TestVersionsAreCounted: every version that is served has a place in its counts.
func TestVersionsAreCounted(t *testing.T) {
	for i, row := range apis {
		if int(row.max) >= Versions {
			t.Errorf("key %d is served up to version %d, and %d is the last that is counted", row.key, row.max, Versions-1)
		}
		if apiByKey[row.key].place != i {
			t.Errorf("key %d does not know its place", row.key)
		}
	}
}
