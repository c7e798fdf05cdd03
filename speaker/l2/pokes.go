package l2

import "sync"

// pokes collects what others want the loop to do until it has time, so that they
// never wait for it.
type pokes struct {
	wake chan struct{} // something was collected
	mu   *sync.Mutex
	got  *poked
}

// poked is what was collected.
type poked struct {
	links  map[string]struct{} // announce these again
	look   bool                // at all links
	reason string              // announce everything again; empty: need not
}

func newPokes() pokes {
	return pokes{wake: make(chan struct{}, 1), mu: &sync.Mutex{}, got: &poked{}}
}

func (p pokes) links(names []string) {
	p.add(func(got *poked) {
		got.look = true
		for _, n := range names {
			if got.links == nil {
				got.links = map[string]struct{}{}
			}
			got.links[n] = struct{}{}
		}
	})
}

func (p pokes) all(reason string) {
	p.add(func(got *poked) { got.reason = reason })
}

func (p pokes) add(change func(*poked)) {
	p.mu.Lock()
	change(p.got)
	p.mu.Unlock()
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

func (p pokes) take() poked {
	p.mu.Lock()
	defer p.mu.Unlock()
	got := *p.got
	*p.got = poked{}
	return got
}
