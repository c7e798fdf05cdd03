package flows

import (
	"cmp"
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/heraldlb/herald/internal/config"
	"github.com/heraldlb/herald/internal/share"
	"github.com/heraldlb/herald/speaker/plan"
)

// Warnings are what will break weights now, or may.
func (m *Meter) Warnings() []share.Warning { return m.o.Situation().Warnings(m.o.Node) }

// watch logs warnings, until ctx ends.
func (m *Meter) watch(ctx context.Context) {
	tick := time.NewTicker(m.o.JudgeEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			m.warn(m.Warnings())
		}
	}
}

// warn logs what two looks in a row have seen, so that nothing is said of a session
// that is just coming up.
func (m *Meter) warn(now []share.Warning) {
	const most = 10 // lines at once: many addresses may have one cause
	seen, news := map[share.Warning]int{}, 0
	for _, w := range now {
		if seen[w] = m.warned[w] + 1; seen[w] != 2 {
			continue
		}
		if news++; news <= most {
			m.o.Log.Warn("weights may not arrive", "kind", w.Kind, "reason", w.Text)
		}
	}
	if news > most {
		m.o.Log.Warn("weights may not arrive", "kind", "and more", "reason", fmt.Sprintf("%d more, which /state and heraldctl explain tell", news-most))
	}
	m.warned = seen
}

// Warnings are what will break weights on a router, or may, and is known before a
// flow has come: sorted, one for each cause.
func (s Situation) Warnings(node string) (out []share.Warning) {
	for _, p := range s.Peers {
		x, ok := s.session(p)
		switch {
		case !ok || !p.Established:
		case p.Withheld != "":
			out = append(out, share.Warning{Kind: share.NotNegotiated, Peer: p.Name, Text: fmt.Sprintf("peer %s: %s", p.Name, p.Withheld)})
		case p.Reflects && x.Weights != config.EncodeNone:
			out = append(out, share.Warning{Kind: share.Reflector, Peer: p.Name, Text: fmt.Sprintf(
				"peer %s is a route reflector: it hands on one path of each address, and so one node, unless ADD-PATH is on between it and the routers behind it; not every one hands on weights as they were, see docs/routers.md", p.Name)})
		}
	}
	out = append(out, s.differences()...)
	out = append(out, s.wholePercents(node)...)
	slices.SortFunc(out, func(a, b share.Warning) int {
		return cmp.Or(strings.Compare(a.Kind, b.Kind), strings.Compare(a.Peer, b.Peer), a.Addr.Compare(b.Addr))
	})
	return out
}

// session is the one that a peer belongs to.
func (s Situation) session(p Peer) (plan.Session, bool) {
	i := slices.IndexFunc(s.Table.Sessions, func(x plan.Session) bool { return p.Name == x.Name || strings.HasPrefix(p.Name, x.Name+" ") })
	if i < 0 {
		return plan.Session{}, false
	}
	return s.Table.Sessions[i], true
}

// differences are pairs of peers that hear the weights of an address in ways that
// have nothing in common. A router behind both cannot compare their paths.
func (s Situation) differences() (out []share.Warning) {
	weighted := map[netip.Addr]bool{}
	for _, t := range s.targets(nil) {
		weighted[t.addr] = slices.ContainsFunc(t.nodes, func(w share.Weight) bool { return w.Weight != t.nodes[0].Weight })
	}
	hears := map[string]map[netip.Addr]bool{} // by peer of the configuration
	for _, r := range s.Table.Routes {
		if a := r.Prefix.Addr(); r.Prefix.IsSingleIP() && weighted[a] {
			if hears[r.Peer] == nil {
				hears[r.Peer] = map[netip.Addr]bool{}
			}
			hears[r.Peer][a] = true
		}
	}
	type pair struct{ a, b string }
	said := map[pair]bool{} // a range may have many neighbors
	for i, p := range s.Peers {
		x, ok := s.session(p)
		for _, q := range s.Peers[i+1:] {
			y, also := s.session(q)
			if !ok || !also || !p.Established || !q.Established || said[pair{x.Name, y.Name}] || alike(p.told(x), q.told(y)) {
				continue
			}
			said[pair{x.Name, y.Name}] = true
			both := slices.SortedFunc(inBoth(hears[x.Name], hears[y.Name]), netip.Addr.Compare)
			if len(both) == 0 {
				continue
			}
			out = append(out, share.Warning{Kind: share.Differs, Peer: p.Name, Text: fmt.Sprintf(
				"peer %s gets %s, and peer %s %s, of %s; a router behind both cannot compare them: give both peers the same weights and linkBandwidth",
				p.Name, p.told(x), q.Name, q.told(y), several(both))})
		}
	}
	return out
}

// told is how a peer hears weights. Without ADD-PATH it takes one path, which says
// nothing.
func (p Peer) told(x plan.Session) config.Told {
	if x.Weights.Has(config.EncodeAddPath) && !p.Paths {
		return config.Told{By: config.EncodeNone}
	}
	return config.Told{By: x.Weights, Form: x.LinkBandwidth, Community: x.Community}
}

// alike tells whether a router can compare what two peers hear. Paths of
// ADD-PATH weigh by their number, whatever is beside them.
func alike(a, b config.Told) bool {
	return a == b || a.By == config.EncodeAddPath || b.By == config.EncodeAddPath || a.Joint(b)
}

func inBoth(a, b map[netip.Addr]bool) func(func(netip.Addr) bool) {
	return func(yield func(netip.Addr) bool) {
		for x := range a {
			if b[x] && !yield(x) {
				return
			}
		}
	}
}

func several(list []netip.Addr) string {
	if n := len(list); n > 1 {
		return fmt.Sprintf("%s and %d more addresses", list[0], n-1)
	}
	return list[0].String()
}

// wholePercents are addresses whose shares suffer on a router that counts in whole
// percents. One node tells of each.
func (s Situation) wholePercents(node string) (out []share.Warning) {
	for _, t := range s.targets(nil) {
		if len(t.nodes) < 2 || t.nodes[0].Node != node {
			continue
		}
		if n, ok := share.Rounded(t.nodes); ok {
			out = append(out, share.Warning{Kind: share.WholePercents, Addr: t.addr, Text: fmt.Sprintf(
				"%s: node %s should get %s, and gets %s from a router that counts weights in whole percents, as FRR does; spread the pods more evenly over the nodes, or over fewer nodes",
				t.addr, n.Node, share.Percent(n.Want), share.Percent(n.Got))})
		}
	}
	return out
}
