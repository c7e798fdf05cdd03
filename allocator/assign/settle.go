package assign

import (
	"cmp"
	"container/heap"
	"net/netip"
	"slices"
)

// settle hands out addresses. A Service that moves leaves an address that another may
// have asked for in vain, so it goes on until a round changes nothing. What that
// last round finds wrong is what is wrong in the end.
//
// Between two rounds only those are asked again who want an address that was left
// since: in a chain of requests each one makes way for the one before it, and a
// round for each would take a minute.
func (a *allocation) settle() {
	queue := slices.Clone(a.claims)
	slices.SortStableFunc(queue, func(x, y *claim) int { return cmp.Compare(x.rank(), y.rank()) })
	w := newWaiting(queue)
	a.ledger.left = w.wake
	for {
		changed := false
		for _, c := range queue {
			if a.fill(c) {
				changed = true
			}
		}
		for c := w.next(); c != nil; c = w.next() {
			a.fill(c)
		}
		if !changed && !a.swap(queue) {
			return
		}
	}
}

// waiting knows who asks for which address, and which of these have been left.
type waiting struct {
	place map[*claim]int // in the queue
	by    map[netip.Addr][]*claim
	heap  []*claim // to be asked again; the first in the queue is the first here
	there map[*claim]bool
}

func newWaiting(queue []*claim) *waiting {
	w := &waiting{place: map[*claim]int{}, by: map[netip.Addr][]*claim{}, there: map[*claim]bool{}}
	for i, c := range queue {
		for _, addr := range c.request.addrs {
			w.place[c] = i
			w.by[addr] = append(w.by[addr], c)
		}
	}
	return w
}

// wake notes that an address has been left by one of its users.
func (w *waiting) wake(addr netip.Addr) {
	for _, c := range w.by[addr] {
		if !w.there[c] {
			w.there[c] = true
			heap.Push(w, c)
		}
	}
}

// next is who is to be asked again, or nil.
func (w *waiting) next() *claim {
	if len(w.heap) == 0 {
		return nil
	}
	c := heap.Pop(w).(*claim)
	w.there[c] = false
	return c
}

// Len implements heap.Interface.
func (w *waiting) Len() int { return len(w.heap) }

// Less implements heap.Interface.
func (w *waiting) Less(i, j int) bool { return w.place[w.heap[i]] < w.place[w.heap[j]] }

// Swap implements heap.Interface.
func (w *waiting) Swap(i, j int) { w.heap[i], w.heap[j] = w.heap[j], w.heap[i] }

// Push implements heap.Interface.
func (w *waiting) Push(c any) { w.heap = append(w.heap, c.(*claim)) }

// Pop implements heap.Interface.
func (w *waiting) Pop() any {
	last := w.heap[len(w.heap)-1]
	w.heap = w.heap[:len(w.heap)-1]
	return last
}
