package broker

import (
	"testing"
	"time"
)

// TestNoCheckpointsAfterStop stops a broker that writes its checkpoints all the time. When its cores have stopped, no round
// is under way and none is due: the last checkpoints are written then, and another writer would rename their files away under them.
func TestNoCheckpointsAfterStop(t *testing.T) {
	b := startTestBroker(t, "", setCores(2), "log.flush.offset.checkpoint.interval.ms=1")
	w := b.dial()
	w.createTopic("t", 1)
	w.conn.Close()
	time.Sleep(20 * time.Millisecond)
	if err := b.stop(); err != nil {
		t.Fatalf("%v\n%s", err, b.logs)
	}
	if r := b.broker.shards[controllerCore].checkpoints; r.under || r.timer.Armed() {
		t.Errorf("the cores have stopped; a round is under way: %v, another is due: %v", r.under, r.timer.Armed())
	}
}
