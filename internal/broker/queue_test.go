package broker

import (
	"slices"
	"testing"
)

// TestQueue: what is pushed while a queue is being emptied is not emptied with it, unless it is popped from the same.
func TestQueue(t *testing.T) {
	var q queue[fetchOp, *fetchOp]
	ops := make([]fetchOp, 4)
	for i := range 3 {
		q.push(&ops[i])
	}
	var order []*fetchOp
	for taken := q.take(); taken.head != nil; {
		op := taken.pop()
		order = append(order, op)
		if op == &ops[1] { // finds no room, and lets another come
			q.push(op)
			q.push(&ops[3])
		}
	}
	if !slices.Equal(order, []*fetchOp{&ops[0], &ops[1], &ops[2]}) {
		t.Errorf("taken in another order: %p of %p", order, ops)
	}
	if q.pop() != &ops[1] || q.pop() != &ops[3] || q.head != nil || q.tail != nil {
		t.Error("those that were pushed meanwhile are not what is left")
	}
}

func TestList(t *testing.T) {
	for _, gone := range [][]int{{0, 1, 2}, {2, 1, 0}, {1, 0, 2}, {1, 2, 0}} {
		var l list[fetchOp, *fetchOp]
		ops := make([]fetchOp, 3)
		for i := range ops {
			l.add(&ops[i])
		}
		for n, i := range gone {
			l.remove(&ops[i])
			left := 0
			for op := l.head; op != nil; op = op.after {
				if left++; op == &ops[i] || op.after != nil && op.after.before != op {
					t.Fatalf("%v: wrong links after %d", gone, i)
				}
			}
			if left != len(ops)-1-n {
				t.Fatalf("%v: %d left after %d", gone, left, i)
			}
		}
	}
}
