package broker

import "testing"

// TestPoolsKeepAThousandPartitions: what append makes of a thousand parts, one by
// one, is not given back to the collector after each request.
func TestPoolsKeepAThousandPartitions(t *testing.T) {
	var fetched []fetchPart
	var produced []producePart
	var visited []int32
	for i := range 1024 {
		fetched, produced, visited = append(fetched, fetchPart{}), append(produced, producePart{}), append(visited, int32(i))
	}
	for name, size := range map[string]int{"fetch": cap(fetched), "produce": cap(produced), "visit": cap(visited)} {
		if size > keptParts {
			t.Errorf("%s: 1024 parts take room for %d, of which %d are kept", name, size, keptParts)
		}
	}
}
