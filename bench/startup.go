package main

import (
	"fmt"
	"time"
)

// startUp measures the time from exec to listening, on an empty directory and on
// one with 1,000 segments, and the memory of an idle broker.
func (r *run) startUp() error {
	broker, _, err := r.startBroker("")
	if err != nil {
		return err
	}
	time.Sleep(time.Second)
	r.report("start", "idle resident memory", broker.residentMB(), "", 0, "MB", goal{atMost: 64})
	// 1,000 segments: batches as large as half a segment roll every other append.
	if err := createTopic(broker.port, "segments", map[string]string{"segment.bytes": "1048576"}); err != nil {
		return err
	}
	frame := produceFrame("segments", batchOf(600, 1000))
	t := &target{name: "slipstream", server: broker}
	if err := t.produceOnce("segments", frame); err != nil {
		return err
	}
	if err := pipeline(t, frame, 1000, 4); err != nil {
		return err
	}
	t.c.close()
	broker.stop()
	if got := len(segmentFiles(broker.dir, "segments")); got < 1000 {
		return fmt.Errorf("%d segments were made, 1000 wanted", got)
	}
	var empty, full []float64
	for range r.rounds {
		again, took, err := r.startBroker(broker.dir)
		if err != nil {
			return err
		}
		again.stop()
		full = append(full, float64(took.Microseconds())/1e3)
		fresh, took, err := r.startBroker("")
		if err != nil {
			return err
		}
		fresh.stop()
		empty = append(empty, float64(took.Microseconds())/1e3)
	}
	r.report("start", "empty directory", median(empty), "", 0, "ms", goal{})
	r.report("start", "1,000 segments", median(full), "", 0, "ms", goal{atMost: 300})
	return nil
}
