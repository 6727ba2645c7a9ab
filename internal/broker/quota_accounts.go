package broker

import (
	"hash/fnv"

	"slipstream/internal/quota"
)

// accountKey is whose use of what is measured.
type accountKey struct {
	kind  quota.Kind
	scope quota.Scope
}

// account is what a core knows of a scope's use. Every core that serves its clients
// has one, and its home core.
type account struct {
	quota.Account
	key    accountKey
	home   quota.Home // on the home core: what all of them used
	atHome bool

	bound      float64 // as of its last use
	lastMillis int64   // when that was
	gone       bool    // given up
	listed     int     // in quotas.list
	dirty      bool    // in settling.dirty
	throttled  throttleTimes

	older, newer *account // in quotas.recent
	nextDirty    *account
}

// Accounts are given up when they were not used for a while: what they know counts
// no more after the windows (11 s), the rest is for whoever reads metrics. A core has
// maxAccounts at the most, some 40 MiB of them: then the one that was used longest
// ago has to go, which only a client that changes its client id all the time brings
// about; each of these ids has a bound of its own, so that it gains nothing.
const (
	accountIdleMillis = 5 * 60_000
	maxAccounts       = 50_000
)

// account finds or makes the core's account of a scope.
func (q *quotas) account(key accountKey) *account {
	if a := q.accounts[key]; a != nil {
		return a
	}
	now := q.millis()
	for o := q.recent.oldest; o != nil && (len(q.accounts) >= maxAccounts || now-o.lastMillis > accountIdleMillis); o = q.recent.oldest {
		q.forget(o)
	}
	a := &account{key: key, listed: len(q.list)}
	if a.atHome = q.homeOf(key) == q.shard.core.ID; a.atHome {
		a.AtHome(&a.home)
	}
	q.accounts[key] = a
	q.list = append(q.list, a)
	q.recent.push(a)
	a.lastMillis = now
	return a
}

// used notes that an account is in use.
func (q *quotas) used(a *account, nowMillis int64) {
	a.lastMillis = nowMillis
	if q.recent.newest != a && !a.gone {
		q.recent.remove(a)
		q.recent.push(a)
	}
}

func (q *quotas) forget(a *account) {
	a.gone = true
	delete(q.accounts, a.key)
	q.recent.remove(a)
	last := len(q.list) - 1
	q.list[a.listed], q.list[last].listed = q.list[last], a.listed
	q.list[last] = nil
	q.list = q.list[:last]
}

// forgetIdle gives up accounts that were not used for long, some at a time.
func (q *quotas) forgetIdle(nowMillis int64) {
	const atOnce = 256
	for range atOnce {
		o := q.recent.oldest
		if o == nil || nowMillis-o.lastMillis <= accountIdleMillis {
			return
		}
		q.forget(o)
	}
}

// homeOf is the core where a scope is measured.
func (q *quotas) homeOf(key accountKey) int {
	n := len(q.shard.broker.shards)
	if n == 1 {
		return 0
	}
	h := fnv.New32a()
	h.Write([]byte{byte(key.kind), byte(key.scope.User), byte(key.scope.Client)})
	h.Write([]byte(key.scope.UserName))
	h.Write([]byte{0})
	h.Write([]byte(key.scope.ClientName))
	return int(h.Sum32() % uint32(n))
}

// accountList is a queue of accounts.
type accountList struct{ oldest, newest *account }

func (l *accountList) push(a *account) {
	a.older, a.newer = l.newest, nil
	if l.newest == nil {
		l.oldest = a
	} else {
		l.newest.newer = a
	}
	l.newest = a
}

func (l *accountList) remove(a *account) {
	if a.older == nil {
		l.oldest = a.newer
	} else {
		a.older.newer = a.newer
	}
	if a.newer == nil {
		l.newest = a.older
	} else {
		a.newer.older = a.older
	}
	a.older, a.newer = nil, nil
}

// throttleTimes are the delays that clients of a scope were told: in all, and of late.
type throttleTimes struct {
	Count, Millis uint64
	recent        [2]quota.Window // how many, and their sum
}

func (t *throttleTimes) add(shape quota.Shape, nowMillis int64, delayMillis int32) {
	t.Count++
	t.Millis += uint64(delayMillis)
	t.recent[0].Record(shape, nowMillis, 1)
	t.recent[1].Record(shape, nowMillis, float64(delayMillis))
}
