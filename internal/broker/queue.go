package broker

// queued is what a queue can hold: something with a link of its own, so that
// queueing allocates nothing. One thing is in one queue at a time.
type queued[T any] interface {
	*T
	link() **T // the one behind it in its queue
}

// queue is an intrusive queue, the first come first. Its zero value is empty.
type queue[T any, P queued[T]] struct{ head, tail *T }

func (q *queue[T, P]) push(x *T) {
	*P(x).link() = nil
	if q.tail == nil {
		q.head = x
	} else {
		*P(q.tail).link() = x
	}
	q.tail = x
}

// pop takes the first; the queue must not be empty.
func (q *queue[T, P]) pop() *T {
	x := q.head
	at := P(x).link()
	q.head, *at = *at, nil
	if q.head == nil {
		q.tail = nil
	}
	return x
}

// take empties the queue into the one that it returns: what is pushed from now on
// does not join those.
func (q *queue[T, P]) take() (all queue[T, P]) {
	all, *q = *q, all
	return all
}

// listed is what a list can hold, in one list at a time.
type listed[T any] interface {
	*T
	around() (before, after **T)
}

// list is an intrusive list in no order that is relied on. Its zero value is empty.
type list[T any, P listed[T]] struct{ head *T }

func (l *list[T, P]) add(x *T) {
	before, after := P(x).around()
	*before, *after = nil, l.head
	if l.head != nil {
		first, _ := P(l.head).around()
		*first = x
	}
	l.head = x
}

func (l *list[T, P]) remove(x *T) {
	before, after := P(x).around()
	if *before == nil {
		l.head = *after
	} else {
		_, at := P(*before).around()
		*at = *after
	}
	if *after != nil {
		at, _ := P(*after).around()
		*at = *before
	}
	*before, *after = nil, nil
}

func (op *produceOp) link() **produceOp       { return &op.next }
func (op *fetchOp) link() **fetchOp           { return &op.next }
func (op *shareFetchOp) link() **shareFetchOp { return &op.next }
func (c *call) link() **call                  { return &c.next }
func (v *fetchVisit) link() **fetchVisit      { return &v.next }
func (c *coordinated) link() **coordinated    { return &c.next }

func (op *fetchOp) around() (before, after **fetchOp) { return &op.before, &op.after }

func (op *shareFetchOp) around() (before, after **shareFetchOp) { return &op.before, &op.after }
