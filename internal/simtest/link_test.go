package simtest

import (
	"fmt"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// Kafka's error codes that coordinators and their clients use.
const (
	codeCoordinatorLoading    = 14
	codeCoordinatorNotAvail   = 15
	codeNotCoordinator        = 16
	codeNotEnoughReplicas     = 19
	codeInconsistentProtocol  = 23
	codeIllegalGeneration     = 22
	codeUnknownMember         = 25
	codeRebalanceInProgress   = 27
	codeInvalidProducerEpoch  = 47
	codeInvalidTxnState       = 48
	codeInvalidProducerIDMap  = 49
	codeConcurrentTxns        = 51
	codeOperationNotAttempted = 55
	codeNonEmptyGroup         = 68
	codeGroupIDNotFound       = 69
	codeMemberIDRequired      = 79
	codeFencedInstance        = 82
	codeSubscribedToTopic     = 86
	codeUnstableOffset        = 88
	codeProducerFenced        = 90
	codeUnknownTopicID        = 100
	codeFencedMemberEpoch     = 110
	codeUnreleasedInstance    = 111
	codeStaleMemberEpoch      = 113
	codeTransactionAbortable  = 120
)

// What FindCoordinator looks for.
const (
	lookForNothing     = -1
	lookForGroup       = 0
	lookForTransaction = 1
)

// link is a client's connection, made again when it is lost. One to a coordinator
// asks for the way first, as clients do.
type link struct {
	run    *run
	kind   int8 // what to look for
	key    string
	conn   *conn
	wait   int64 // not before this time
	found  bool
	asking bool
}

// step says whether requests can be sent.
func (l *link) step() (ready bool, err error) {
	now := l.run.now()
	if l.conn == nil {
		if now < l.wait {
			return false, nil
		}
		l.conn, l.found, l.asking = dial(l.run.node.world), l.kind == lookForNothing, false
	}
	if err := l.conn.receive(); err != nil {
		return false, err
	}
	if l.conn == nil { // an answer made its receiver close it
		return false, nil
	}
	l.conn.mayBreak(l.run.rand)
	if l.conn.gone() {
		l.drop()
		return false, nil
	}
	if !l.found {
		l.find()
		return false, nil
	}
	return true, nil
}

// find asks where the coordinator is. It is always here, but perhaps not ready.
func (l *link) find() {
	if l.asking || l.run.now() < l.wait {
		return
	}
	l.asking = true
	req := kmsg.NewPtrFindCoordinatorRequest()
	req.CoordinatorType, req.CoordinatorKey, req.CoordinatorKeys = l.kind, l.key, []string{l.key}
	l.conn.send(req, int16(1+l.run.rand.IntN(6)), func(resp kmsg.Response) {
		l.asking = false
		r := resp.(*kmsg.FindCoordinatorResponse)
		code, port := r.ErrorCode, r.Port
		if r.Version >= 4 {
			if len(r.Coordinators) != 1 {
				l.run.fail(fmt.Errorf("FindCoordinator for %s: %d answers", l.key, len(r.Coordinators)))
				return
			}
			code, port = r.Coordinators[0].ErrorCode, r.Coordinators[0].Port
		}
		switch code {
		case codeNone:
			if port != int32(address.Port()) {
				l.run.fail(fmt.Errorf("FindCoordinator for %s: port %d", l.key, port))
			}
			l.found = true
		case codeCoordinatorNotAvail, codeCoordinatorLoading, codeNotCoordinator:
			l.wait = l.run.now() + 5e6
		default:
			l.run.fail(fmt.Errorf("FindCoordinator for %s: error %d", l.key, code))
		}
	})
}

// drop gives the connection up.
func (l *link) drop() {
	c := l.conn
	l.conn = nil
	l.wait = l.run.now() + 1e6 + l.run.rand.Int64N(20e6)
	if c != nil {
		c.Reset()
		c.lose()
	}
}

// call sends a request: either done or lost is called.
func (l *link) call(req kmsg.Request, version int16, done func(resp kmsg.Response), lost func()) {
	l.conn.send(req, version, done)
	l.conn.calls[len(l.conn.calls)-1].lost = lost
}

// astray: is the code one that says that the coordinator is not, or not yet, to be
// found here? Then it is looked for again.
func (l *link) astray(code int16) bool {
	switch code {
	case codeCoordinatorLoading, codeCoordinatorNotAvail, codeNotCoordinator:
		l.found, l.asking = l.kind == lookForNothing, false
		l.wait = l.run.now() + 5e6
		return true
	}
	return false
}

func (r *run) now() int64 { return r.node.world.Now() }
