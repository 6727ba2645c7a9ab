package txn

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"os"
	"strings"
	"testing"
)

// TestStories runs testdata/story.
func TestStories(t *testing.T) {
	forEachScript(t, "story", *rewriteStories, func(t *testing.T) func(string) string { return newNode(t).run })
}

// TestApacheAnswers replays what Apache Kafka 4.3.1 answered, and compares the records that it wrote.
func TestApacheAnswers(t *testing.T) {
	if *recordAnswers {
		if err := os.WriteFile("testdata/apache-records.txt", nil, 0o644); err != nil {
			t.Fatal(err)
		}
		forEachScript(t, "apache", true, record)
		return
	}
	forEachScript(t, "apache", false, func(t *testing.T) func(string) string {
		n := newNode(t)
		n.quiet = true
		return n.run
	})
}

// TestApacheRecords: records that Kafka wrote are read and written back byte for byte.
func TestApacheRecords(t *testing.T) {
	b, err := os.ReadFile("testdata/apache-records.txt")
	if err != nil {
		t.Fatal(err)
	}
	states := map[State]int{}
	lines := bufio.NewScanner(bytes.NewReader(b))
	for lines.Scan() {
		keyHex, valueHex, _ := strings.Cut(lines.Text(), " ")
		key, err1 := hex.DecodeString(keyHex)
		value, err2 := hex.DecodeString(valueHex)
		if err1 != nil || err2 != nil {
			t.Fatal(err1, err2)
		}
		id, err := decodeKey(key)
		if err != nil {
			t.Fatal(err)
		}
		if got := appendKey(nil, id); !bytes.Equal(got, key) {
			t.Errorf("key %x is written as %x", key, got)
		}
		m, err := decodeValue(value)
		if err != nil {
			t.Fatalf("%x: %v", value, err)
		}
		states[m.state]++
		if got := m.appendValue(nil, 1); !bytes.Equal(got, value) && len(got) == len(value) {
			// Kafka orders partitions by the hash of their names.
			if again, err := decodeValue(got); err != nil || !bytes.Equal(again.appendValue(nil, 1), got) || len(m.partitions) < 2 {
				t.Errorf("value %x is written as %x", value, got)
			}
		} else if !bytes.Equal(got, value) {
			t.Errorf("value %x is written as %x", value, got)
		}
	}
	for _, s := range []State{Empty, Ongoing, PrepareCommit, PrepareAbort, CompleteCommit, CompleteAbort} {
		if states[s] == 0 {
			t.Errorf("no record of state %s", s)
		}
	}
}
