package clients

import (
	"fmt"
	"testing"
	"time"

	"slipstream/internal/clients/harness"
)

// TestMainJob carries the whole Go source tree through the broker: two producers, five codecs, three partitions, and
// every partition read back byte for byte. kcat and kgo read everything; Java's console consumer, which takes seconds
// to start, reads partition 0 of one topic a codec here and everything in `make demo`.
func TestMainJob(t *testing.T) {
	const partitions = 3
	maxLines := 0
	if testing.Short() {
		maxLines = 100_000
	}
	corpus, err := harness.GoSource(partitions, maxLines)
	if err != nil {
		t.Fatal(err)
	}
	if !testing.Short() && corpus.Lines < 2_000_000 {
		t.Errorf("the Go source tree has %d lines; about two million or more were expected", corpus.Lines)
	}
	t.Logf("%d files, %d lines, %d bytes, longest line %d bytes", corpus.Files, corpus.Lines, corpus.Bytes, corpus.Longest)
	_, err = harness.Kcat("-V")
	harness.Need(t, err)
	_, err = harness.Jars()
	harness.Need(t, err)
	input, err := harness.KcatInput(t.TempDir(), corpus)
	if err != nil {
		t.Fatal(err)
	}
	b := harness.StartT(t, harness.Options{})
	for i, codec := range harness.Codecs {
		for j, producer := range []string{"kcat", "kgo"} {
			t.Run(producer+"/"+codec, func(t *testing.T) {
				job := harness.Job{Addr: b.Addr, Topic: fmt.Sprintf("gosrc-%s-%s-%d", producer, codec, time.Now().UnixNano()),
					Producer: producer, Codec: codec, Corpus: corpus, KcatInput: input}
				if (i+j)%2 == 0 {
					job.JavaPartitions = 1
				}
				for _, step := range job.Run() {
					t.Log(step)
					if step.Err != nil {
						t.Errorf("%s: %v", step.What, step.Err)
					}
				}
			})
		}
	}
}
