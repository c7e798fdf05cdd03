package allocator

import (
	"net/netip"
	"slices"
)

// deferred are the writes that must wait: they give an address to one Service that
// another still shows, and that one is about to leave it. Were both written at a time,
// or the second one refused, two Services would have one address. Those who
// exchange addresses cannot wait for each other, and do not.
func deferred(writes map[string]*write) map[*write]bool {
	leaving := map[netip.Addr][]*write{}
	for _, w := range writes {
		for _, a := range w.before.Ingress {
			if !w.want.Untouched && !slices.Contains(w.want.Addrs, a) {
				leaving[a] = append(leaving[a], w)
			}
		}
	}
	if len(leaving) == 0 {
		return nil
	}
	waits := graph{}  // for whom a write waits
	behind := graph{} // who waits for a write
	for _, w := range writes {
		for _, a := range w.want.Addrs {
			for _, other := range leaving[a] {
				if other != w && !slices.Contains(w.before.Ingress, a) {
					waits[w], behind[other] = append(waits[w], other), append(behind[other], w)
				}
			}
		}
	}
	if len(waits) == 0 {
		return nil
	}
	all := map[*write]bool{}
	for w := range waits {
		all[w] = true
	}
	for w := range behind {
		all[w] = true
	}
	// What is left when all ends were taken off, from both sides, are circles.
	circles := behind.without(all, waits)
	circles = waits.without(circles, behind)
	wait := map[*write]bool{}
	for w := range waits {
		if !circles[w] {
			wait[w] = true
		}
	}
	return wait
}

type graph map[*write][]*write

// without takes off those that wait for none that is left, one after the other; g
// tells who comes after them.
func (g graph) without(all map[*write]bool, waits graph) map[*write]bool {
	left, open := map[*write]bool{}, map[*write]int{}
	var ends []*write
	for w := range all {
		left[w] = true
		for _, other := range waits[w] {
			if all[other] {
				open[w]++
			}
		}
		if open[w] == 0 {
			ends = append(ends, w)
		}
	}
	for len(ends) > 0 {
		w := ends[len(ends)-1]
		ends = ends[:len(ends)-1]
		delete(left, w)
		for _, next := range g[w] {
			if open[next]--; left[next] && open[next] == 0 {
				ends = append(ends, next)
			}
		}
	}
	return left
}
