package l2

import (
	"net/netip"
	"time"
)

const (
	// grace is for how long an address may have two owners while it is handed
	// over, before that is worth a word.
	grace = time.Second
	// defence is the least time between two announcements that answer a rival's
	// (RFC 5227 2.4). Both sides keeping to it, it is no war.
	defence = 10 * time.Second
	// keen is for how long a rival is probed for every second; then it is every
	// ten.
	keen = 30 * time.Second
	// silence is for how long the same rival of the same address is not reported
	// again.
	silence = time.Minute
)

// place is an address on a link.
type place struct {
	link string
	addr netip.Addr
}

// kinship is what is known of a rival's MAC.
type kinship struct {
	peer     string // name of the node of ours that has it
	stranger bool   // no node of ours has it; neither: cannot be told
}

// rival is another interface that uses one of our addresses.
type rival struct {
	place
	kinship
	mac      mac
	first    time.Time // of this conflict
	last     time.Time // it was seen
	probed   time.Time
	defended time.Time
	open     bool // it still uses the address, as far as is known
	reported bool // it was told that it does
	told     time.Time
	toldMAC  mac
}

// act is what the loop shall do about a rival.
type act struct {
	kind actKind
	r    rival
}

type actKind int

const (
	actReport actKind = iota
	actResolve
	actProbe
	actDefend // one announcement
	actRepair // a burst of them
)

// rivals knows the conflicts. It knows no clock and no network.
type rivals struct{ m map[place]*rival }

// saw takes note of a rival and returns what to do at once.
func (rs *rivals) saw(now time.Time, p place, m mac, k kinship) []act {
	r := rs.m[p]
	if r == nil {
		r = &rival{place: p}
		if rs.m == nil {
			rs.m = map[place]*rival{}
		}
		rs.m[p] = r
	}
	if !r.open {
		r.open, r.first, r.reported = true, now, false
	}
	r.mac, r.kinship, r.last = m, k, now
	return r.step(now)
}

// tick returns what to do as time passes.
func (rs *rivals) tick(now time.Time) []act {
	var acts []act
	for p, r := range rs.m {
		acts = append(acts, r.step(now)...)
		if !r.open && now.Sub(r.told) > silence {
			delete(rs.m, p)
		}
	}
	return acts
}

// forget ends the conflicts about what keep does not have.
func (rs *rivals) forget(keep func(place) bool) []act {
	var acts []act
	for p, r := range rs.m {
		if keep(p) {
			continue
		}
		if r.open && r.reported {
			acts = append(acts, act{actResolve, *r})
		}
		delete(rs.m, p)
	}
	return acts
}

// on is how many addresses are contested on a link.
func (rs *rivals) on(link string) (n int) {
	for p, r := range rs.m {
		if p.link == link && r.open {
			n++
		}
	}
	return n
}

func (r *rival) step(now time.Time) (acts []act) {
	if !r.open {
		return nil
	}
	if r.over(now) {
		return r.end()
	}
	if r.hostile(now) && r.defended.Before(r.last) && now.Sub(r.defended) >= defence {
		r.defended = now
		acts = append(acts, act{actDefend, *r})
	}
	if now.Sub(r.probed) >= r.interval(now) {
		r.probed = now
		acts = append(acts, act{actProbe, *r})
	}
	if r.worthAWord(now) {
		r.reported, r.told, r.toldMAC = true, now, r.mac
		acts = append(acts, act{actReport, *r})
	}
	return acts
}

// hostile tells whether to answer the rival's claims. One that may be a node of
// ours gets the time to hand over; one that is certain to be must be the new
// owner, or will learn that it is not: to answer would only move caches about.
func (r *rival) hostile(now time.Time) bool {
	return r.stranger || (r.peer == "" && now.Sub(r.first) >= grace)
}

// worthAWord tells whether to report the rival now.
func (r *rival) worthAWord(now time.Time) bool {
	if r.reported || (r.mac == r.toldMAC && now.Sub(r.told) < silence) || now.Sub(r.told) < defence {
		return false
	}
	return r.hostile(now) || r.last.Sub(r.first) >= grace
}

// over tells whether the rival has been silent over two probes, and has had its
// answer.
func (r *rival) over(now time.Time) bool {
	return now.Sub(r.last) >= 2*r.interval(now)+500*time.Millisecond && (r.peer != "" || !r.defended.Before(r.last))
}

func (r *rival) end() []act {
	r.open = false
	var acts []act
	if r.peer != "" {
		// Whatever the peer announced last is in the caches.
		acts = append(acts, act{actRepair, *r})
	}
	if r.reported {
		acts = append(acts, act{actResolve, *r})
	}
	return acts
}

func (r *rival) interval(now time.Time) time.Duration {
	if now.Sub(r.first) < keen {
		return time.Second
	}
	return 10 * time.Second
}
