package flows

import (
	"fmt"
	"math"
	"net/netip"
	"time"

	"github.com/heraldlb/herald/internal/share"
)

// reading is what was counted of an address until now: all new flows, and those by
// each router that can be told apart; the empty one is all others.
type reading struct {
	all uint64
	by  map[string]uint64
}

// account is the memory of one address.
type account struct {
	target
	epoch   string    // what a router's choice depends on, in words
	settled time.Time // when routers have followed it
	counts  bool      // they have, and base is of the newest sample
	base    map[string]uint64
	samples [][]flow // the newest last
	total   uint64
	all     uint64 // of the last reading
}

// flow are new flows by one router in one sample.
type flow struct {
	router string
	n      uint32
}

// accounts are those of all addresses that this node announces.
type accounts map[netip.Addr]*account

// refresh takes over what is announced now. Where something has changed that a
// router's choice may depend on, the samples begin anew after a while. These
// addresses are returned.
func (b accounts) refresh(targets []target, settle time.Duration, now time.Time) (anew []netip.Addr) {
	there := make(map[netip.Addr]bool, len(targets))
	for _, t := range targets {
		there[t.addr] = true
		a := b[t.addr]
		if a == nil {
			a = &account{}
			b[t.addr] = a
		}
		a.target = t
		e := fmt.Sprintf("%v %v", t.nodes, t.offers)
		if e == a.epoch {
			continue
		}
		if a.epoch != "" {
			anew = append(anew, t.addr)
		}
		a.epoch = e
		a.begin(now.Add(settle))
	}
	for addr := range b {
		if !there[addr] {
			delete(b, addr)
		}
	}
	return anew
}

// again begins all anew: samples are missing.
func (b accounts) again(settled time.Time) {
	for _, a := range b {
		a.begin(settled)
	}
}

func (a *account) begin(settled time.Time) {
	a.settled, a.counts, a.base, a.samples = settled, false, nil, nil
}

// sample notes what was counted since the last sample.
func (b accounts) sample(readings map[netip.Addr]reading, most int, now time.Time) {
	for addr, a := range b {
		a.sample(readings[addr], most, now)
	}
}

func (a *account) sample(r reading, most int, now time.Time) {
	if r.all < a.all {
		a.all = 0 // the kernel's tables were made anew
	}
	a.total += r.all - a.all
	a.all = r.all
	if now.Before(a.settled) {
		return
	}
	sample, whole := a.since(r)
	if whole {
		a.samples = append(a.samples, sample)
		a.samples = a.samples[max(0, len(a.samples)-most):]
	} else {
		a.samples = nil
	}
	a.counts, a.base = true, r.by
}

// since is what has come by each router since the last sample. It is not whole if
// there is none, or if the kernel has begun at zero in between.
func (a *account) since(r reading) (sample []flow, whole bool) {
	for router, n := range r.by {
		base, had := a.base[router]
		if n < base {
			return nil, false
		}
		if had && n > base {
			sample = append(sample, flow{router, uint32(min(n-base, math.MaxUint32))})
		}
	}
	return sample, a.counts
}

// told is the account as others need it.
func (a *account) told() share.Address {
	out := share.Address{Addr: a.addr, Nodes: a.nodes, Offers: a.offers, Layer2: a.layer2, Total: a.total, Samples: len(a.samples)}
	at := map[string]int{}
	for i, s := range a.samples {
		age := len(a.samples) - 1 - i
		for _, f := range s {
			j, ok := at[f.router]
			if !ok {
				j = len(out.Flows)
				at[f.router] = j
				out.Flows = append(out.Flows, share.Series{Router: f.router, Counts: make(share.Counts, age+1)})
			}
			out.Flows[j].Counts[age] = f.n
		}
	}
	return out
}
