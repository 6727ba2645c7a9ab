package simtest

import (
	"fmt"
	"testing"
)

// A disk that fills up refuses what does not fit, and only that; when there is room
// again the broker goes on. Nothing that was acknowledged is lost, and nothing that
// was refused appears, for it is sent again and must be there once.
func TestFullDiskSeeds(t *testing.T) {
	refused := 0
	for seed := range uint64(10) {
		r := newRun(t, drawn(seed))
		err := r.fullDisk()
		r.node.bury()
		if err != nil {
			for _, line := range r.node.log.lines[max(0, len(r.node.log.lines)-20):] {
				t.Log(line)
			}
			t.Fatalf("seed %d: %v", seed, err)
		}
		refused += r.refused
	}
	if refused == 0 {
		t.Error("the disk never filled up")
	}
}

func (r *run) fullDisk() error {
	r.node.log.expected = "no space left on device"
	if err := r.node.start(); err != nil {
		return err
	}
	if err := r.live(20e6); err != nil {
		return err
	}
	w := r.node.world
	w.SetDiskBytes(0) // what is allocated ahead can still be used
	if err := r.drive(120e9, func() bool { return r.refused > 20 }); err != nil {
		return fmt.Errorf("filling the disk: %w", err)
	}
	w.SetDiskBytes(1 << 40)
	if err := r.live(50e6); err != nil {
		return err
	}
	if err := r.ended("kill", false, func() error { w.Kill(); return nil }); err != nil {
		return err
	}
	if err := r.verify(); err != nil {
		return err
	}
	return r.stop(false)
}
