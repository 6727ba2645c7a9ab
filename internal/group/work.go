package group

// job is work that is too long for one step. run does about units of it and says
// how much it did and whether that was all.
type job interface {
	run(c *Coordinator, units int) (used int, done bool)
}

// jobs are taken in turn, so that a long one does not hold up the others.
type jobs struct{ queue []job }

func (j *jobs) any() bool { return len(j.queue) > 0 }

func (j *jobs) add(one job) { j.queue = append(j.queue, one) }

// Work does a piece of the work that Ready speaks of: less than a millisecond.
func (c *Coordinator) Work(nowMillis int64) {
	c.advance(nowMillis)
	for left := workUnits; left > 0 && c.phase == active && c.jobs.any(); {
		one := c.jobs.queue[0]
		n := copy(c.jobs.queue, c.jobs.queue[1:])
		c.jobs.queue[n] = nil
		c.jobs.queue = c.jobs.queue[:n]
		used, done := one.run(c, left)
		left -= max(used, 1)
		if !done {
			c.jobs.add(one)
		}
	}
}

// walk goes through the groups by id, some at a time, while they come and go.
type walk struct {
	last    string
	started bool
}

// next is the group after the last one, or nil at the end.
func (w *walk) next(c *Coordinator) *group {
	at := 0
	if w.started {
		var found bool
		if at, found = c.search(w.last); found {
			at++
		}
	}
	if at >= len(c.sorted) {
		return nil
	}
	g := c.sorted[at]
	w.last, w.started = g.id, true
	return g
}

// wakeUp arms the timers of everything that a replay has brought back.
type wakeUp struct{ walk }

func (w *wakeUp) run(c *Coordinator, units int) (used int, done bool) {
	for used < units {
		g := w.next(c)
		if g == nil {
			return used, true
		}
		used += 5
		if g.classic != nil {
			used += 5 * g.classic.members.count()
			c.wakeClassic(g)
		} else if g.consumer != nil {
			used += 5 * len(g.consumer.members)
			c.wakeConsumer(g)
		}
	}
	return used, false
}
