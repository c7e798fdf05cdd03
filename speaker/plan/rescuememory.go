package plan

import (
	"maps"
	"slices"
	"time"
)

const (
	// rescueFor is for how long a node that has stopped announcing counts as one
	// that may know connections. Drained pods end in far less, as a rule.
	rescueFor = 2 * time.Hour
	// rescueGap is how long a speaker may be away without missing who came and
	// went meanwhile.
	rescueGap = time.Minute
)

// RescueMemory remembers, by the name of a pool, which nodes have announced
// addresses of it. The zero value remembers nothing. Remember returns a new one
// and leaves its argument alone. It can be saved as JSON; see Resume.
type RescueMemory map[string]RescuePool

// RescuePool is the memory of one pool.
type RescuePool struct {
	Since time.Time            // when it began; who left before that is not known
	Now   []string             // the nodes that announce, as of the last table; sorted
	Left  map[string]time.Time // those that did, and when they had ceased to
}

// Remember fills in t.Rescue. t is the table to announce, as the last of the other
// stages leaves it. It returns when to ask again without an event, or the zero
// time.
//
//	the node announces               -> it is in the group of the pool
//	has ceased to, less than 2 h ago -> so it is: its pods may still serve connections
//	the memory is younger than 2 h   -> all nodes are that may announce: one may have drained before
//	the Node object is gone          -> it is not
func (m RescueMemory) Remember(t Table, in Input, now time.Time) (Table, RescueMemory, time.Time) {
	t.Rescue = Rescue{}
	if in.Config == nil {
		return t, m, time.Time{}
	}
	x := newRescuing(in)
	is, groups := make(RescueMemory, len(x.pools)), make(map[string]map[string]bool, len(x.pools))
	var next time.Time
	for name, announcing := range x.announcing(t) {
		mem := m[name].remember(announcing, now)
		mem.forget(func(node string) bool { _, there := x.nodes[node]; return there })
		is[name] = mem
		groups[name] = x.group(x.pools[name], mem, mem.fresh(now))
		next = earliestIn(next, mem.next(now))
	}
	t.Rescue = x.rescue(groups)
	return t, is, next
}

// Resume is what a memory that was saved at saved is worth at now. After a longer
// gap it keeps what it knows, but counts as new, since others may have come and
// gone.
func (m RescueMemory) Resume(saved, now time.Time) RescueMemory {
	if gap := now.Sub(saved); gap >= 0 && gap <= rescueGap {
		return m
	}
	is := make(RescueMemory, len(m))
	for name, mem := range m {
		mem.Since = now
		is[name] = mem
	}
	return is
}

func (p RescuePool) remember(announcing map[string]bool, now time.Time) RescuePool {
	is := RescuePool{Since: p.Since, Left: map[string]time.Time{}, Now: slices.Sorted(maps.Keys(announcing))}
	if is.Since.IsZero() || is.Since.After(now) { // a clock may have been set back
		is.Since = now
	}
	for _, node := range p.Now {
		if !announcing[node] {
			is.Left[node] = now // it did until now: nothing has happened since the last table
		}
	}
	for node, left := range p.Left {
		left = earliestOf(left, now)
		if !announcing[node] && now.Before(left.Add(rescueFor)) {
			is.Left[node] = left
		}
	}
	return is
}

// forget drops the nodes that do not exist. p is not shared yet.
func (p *RescuePool) forget(exists func(string) bool) {
	p.Now = slices.DeleteFunc(p.Now, func(node string) bool { return !exists(node) })
	maps.DeleteFunc(p.Left, func(node string, _ time.Time) bool { return !exists(node) })
}

func (p RescuePool) fresh(now time.Time) bool { return now.Before(p.Since.Add(rescueFor)) }

// next is when time alone changes something.
func (p RescuePool) next(now time.Time) time.Time {
	var first time.Time
	if p.fresh(now) {
		first = p.Since.Add(rescueFor)
	}
	for _, left := range p.Left {
		first = earliestIn(first, left.Add(rescueFor))
	}
	return first
}

// earliestIn ignores zero times.
func earliestIn(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}
