package reactor

import (
	"sync/atomic"
	"testing"

	"slipstream/ring"

	"golang.org/x/sys/unix"
)

// policyJob notes how the thread that it runs on is scheduled.
type policyJob struct {
	background bool
	policy     atomic.Int64
	begun      chan struct{}
	release    chan struct{} // nil: it ends at once
	done       chan struct{}
}

func newPolicyJob(background bool, release chan struct{}) *policyJob {
	return &policyJob{background: background, begun: make(chan struct{}), release: release, done: make(chan struct{})}
}

func (j *policyJob) Background() bool { return j.background }

func (j *policyJob) Work(ring.Kernel) Message {
	attr, err := unix.SchedGetAttr(0, 0)
	if err != nil {
		j.policy.Store(-1)
	} else {
		j.policy.Store(int64(attr.Policy))
	}
	close(j.begun)
	if j.release != nil {
		<-j.release
	}
	close(j.done)
	return nil
}

// TestBackgroundHelpers: a job of the background runs on a thread that gives way to every other, others do not, one that takes long
// holds up nobody who is not of the background, and Close waits for all.
func TestBackgroundHelpers(t *testing.T) {
	c := NewCore(Config{Kernel: ring.NewLinux()}, newEcho(echoAtOnce))
	p := NewHelpers(1)
	release := make(chan struct{})
	slow, behind, ordinary := newPolicyJob(true, release), newPolicyJob(true, nil), newPolicyJob(false, nil)
	for _, j := range []*policyJob{slow, behind, ordinary} {
		if !p.Submit(c, j) {
			t.Fatal("refused")
		}
	}
	<-slow.begun
	<-ordinary.done
	if got := slow.policy.Load(); got != unix.SCHED_IDLE {
		t.Errorf("in the background the policy is %d", got)
	}
	if got := ordinary.policy.Load(); got != unix.SCHED_NORMAL {
		t.Errorf("the policy of an ordinary helper is %d", got)
	}
	close(release)
	p.Close()
	for _, j := range []*policyJob{slow, behind} {
		select {
		case <-j.done:
		default:
			t.Error("Close came before a job had ended")
		}
	}
	if p.Submit(c, newPolicyJob(true, nil)) {
		t.Error("a job is taken after Close")
	}
}
