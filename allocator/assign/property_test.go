package assign

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/heraldlb/herald/internal/cluster"
	"github.com/heraldlb/herald/internal/config"
)

// The properties hold for every input, so they are tried on situations that
// nobody would think of: small pools, many Services, everything likely to clash.

var tries = flag.Uint64("tries", 500, "random situations for each property")

func forRandom(t *testing.T, property func(t *testing.T, s situation, r *rand.Rand)) {
	t.Helper()
	for seed := range *tries {
		r := rand.New(rand.NewPCG(seed, 7))
		text := randomText(r)
		s := read(t, text)
		before := fmt.Sprint(s)
		property(t, s, r)
		if fmt.Sprint(s) != before {
			t.Errorf("seed %d: Compute changed its input", seed)
		}
		if t.Failed() {
			t.Fatalf("seed %d:\n%s\n%s", seed, text, long(compute(s)))
		}
	}
}

func randomText(r *rand.Rand) string {
	var b strings.Builder
	// A pool of each of these sizes exists or not; all are within two /27.
	for i, ranges := range []string{
		"192.0.2.0/30", "192.0.2.4/31 2001:db8::4/127", "192.0.2.8/29 2001:db8::8/126",
		"2001:db8::20-2001:db8::22", "192.0.2.16/32 192.0.2.18/32 192.0.2.20-192.0.2.21",
	} {
		if r.IntN(4) > 0 {
			fmt.Fprintf(&b, "pool p%d %s%s\n", i, ranges, some(r, 4,
				"priority=1", "priority=-1", "auto=false", "buggy", "namespaces=a", "namespaces=b,c", "app=web", "across", "quarantine"))
		}
	}
	fmt.Fprintf(&b, "left%s\n", some(r, 3, randomAddr(r), randomAddr(r), randomAddr(r), randomAddr(r)))
	contested := pick(r, "", "by=metallb said=Allocated ")
	for i := range r.IntN(24) {
		fmt.Fprintf(&b, "svc %s/s%d at=%d families=%s%s%s%s%s%s\n", pick(r, "a", "b", "c"), i, r.IntN(12),
			pick(r, "4", "4", "6", "46 policy=Require", "64 policy=Prefer", "46 policy=Prefer", "46"),
			some(r, 2, "has="+randomAddr(r), "has="+randomAddr(r)+","+randomAddr(r),
				"by=metallb has="+randomAddr(r), contested+"has="+randomAddr(r)),
			some(r, 3, "ips="+randomAddr(r), "ips="+randomAddr(r)+","+randomAddr(r), "lbip="+randomAddr(r), "ips=x"),
			some(r, 6, "pool=p0", "pool=p1", "pool=p2", "pool=p9"),
			some(r, 2, "key=k", "key=_k", "key=l")+some(r, 2, "ports=81", "ports=81,82", "ports=udp/80"),
			some(r, 6, "app=web", "deleting", "class=example.com/x", "type=ClusterIP", "said=Allocated", "type=ClusterIP said=Allocated"))
	}
	return b.String()
}

func pick(r *rand.Rand, of ...string) string { return of[r.IntN(len(of))] }

// some is one of the words, or in all but one of n cases none.
func some(r *rand.Rand, n int, of ...string) string {
	if r.IntN(n) > 0 {
		return ""
	}
	return " " + pick(r, of...)
}

func randomAddr(r *rand.Rand) string {
	if r.IntN(3) == 0 {
		return fmt.Sprintf("2001:db8::%x", r.IntN(36))
	}
	return fmt.Sprintf("192.0.2.%d", r.IntN(24))
}

func find(s situation, key string) cluster.Service {
	i := slices.IndexFunc(s.services, func(x cluster.Service) bool { return x.Key() == key })
	return s.services[i]
}

func users(s situation, r Result) map[netip.Addr][]cluster.Service {
	all := map[netip.Addr][]cluster.Service{}
	for _, a := range r.Assignments {
		for _, addr := range a.Addrs {
			all[addr] = append(all[addr], find(s, a.Service))
		}
	}
	return all
}

func mayShare(x, y cluster.Service) bool {
	key := sharingKey(&x)
	return key != "" && key == sharingKey(&y) &&
		!slices.ContainsFunc(x.Ports, func(p cluster.Port) bool { return slices.Contains(y.Ports, p) })
}

func had(x cluster.Service, addr netip.Addr) bool { return slices.Contains(x.Ingress, addr) }

// Two that share within a namespace, or across, have asked for it, and so has their
// pool; unless they did share before.
func mayShareHere(s situation, addr netip.Addr, x, y cluster.Service) bool {
	p := s.config.PoolOf(addr)
	return mayShare(x, y) && (x.Namespace == y.Namespace || p != nil && p.SharingAcross || had(x, addr) && had(y, addr))
}

// mayShareNew is mayShareHere for one who has not had the address.
func mayShareNew(s situation, addr netip.Addr, x, y cluster.Service) bool {
	return mayShareHere(s, addr, x, y) && (x.Namespace == y.Namespace || s.config.PoolOf(addr).SharingAcross)
}

func TestNoTwoShareUnlessBothAgree(t *testing.T) {
	forRandom(t, func(t *testing.T, s situation, _ *rand.Rand) {
		all := users(s, compute(s))
		for _, svc := range s.services {
			if svc.LoadBalancer && (svc.Deleting || !svc.Ours()) {
				for _, addr := range svc.Ingress { // whoever had it before may have it still
					for _, x := range all[addr] {
						if !had(x, addr) && (!svc.Ours() || !mayShareHere(s, addr, x, svc)) {
							t.Errorf("%s got %s of %s", x.Key(), addr, svc.Key())
						}
					}
				}
			}
		}
		for addr, services := range all {
			for i, x := range services {
				for _, y := range services[:i] {
					if !mayShareHere(s, addr, x, y) {
						t.Errorf("%s and %s share %s", x.Key(), y.Key(), addr)
					}
				}
			}
		}
	})
}

func asksForNothing(svc cluster.Service) bool {
	return svc.LoadBalancerIP == "" && svc.Annotations[cluster.AnnotationAddresses] == "" && svc.Annotations[cluster.AnnotationPool] == ""
}

func TestNobodyMovesUnasked(t *testing.T) {
	forRandom(t, func(t *testing.T, s situation, _ *rand.Rand) {
		for _, a := range compute(s).Assignments {
			svc := find(s, a.Service)
			if a.Reason == AddressConflict || a.Reason == Released || !asksForNothing(svc) {
				continue
			}
			for _, f := range wantedFamilies(&svc) {
				of := func(x netip.Addr) bool { return cluster.FamilyOf(x) == f }
				if had := slices.IndexFunc(svc.Ingress, of); had >= 0 && svc.StatusOf == "" && !slices.Contains(a.Addrs, svc.Ingress[had]) {
					t.Errorf("%s had %s and has %v", a.Service, svc.Ingress[had], a.Addrs)
				}
			}
		}
	})
}

// A conflict is only for two that may not share, and the older wins.
func TestOnlyTheYoungerLoses(t *testing.T) {
	forRandom(t, func(t *testing.T, s situation, _ *rand.Rand) {
		for _, a := range compute(s).Assignments {
			if a.Reason != AddressConflict {
				continue
			}
			svc := find(s, a.Service)
			if !slices.ContainsFunc(s.services, func(o cluster.Service) bool {
				return o.Ours() && !o.Deleting && !o.Created.After(svc.Created) && o.Key() != svc.Key() && !mayShare(o, svc) &&
					slices.ContainsFunc(o.Ingress, func(x netip.Addr) bool { return slices.Contains(svc.Ingress, x) })
			}) {
				t.Errorf("%s lost an address to nobody: %s", a.Service, a.Message)
			}
		}
	})
}

// applied is the situation after the statuses have been written.
func applied(s situation, r Result) situation {
	next := situation{s.config, slices.Clone(s.services), s.nodes, s.left}
	byKey := map[string]Assignment{}
	for _, a := range r.Assignments {
		byKey[a.Service] = a
	}
	for i := range next.services {
		svc := &next.services[i]
		a, ok := byKey[svc.Key()]
		if !ok {
			continue
		}
		svc.Condition = cluster.Condition{Allocated: a.Allocated, Reason: string(a.Reason), Message: a.Message}
		switch {
		case a.Untouched && a.Reason != ServedByAnother:
		case a.Untouched || a.Reason == Released:
			svc.Condition = cluster.Condition{}
			if svc.StatusOf == "" {
				svc.Ingress = nil
			}
		default:
			svc.Ingress, svc.StatusOf, svc.Adorned = a.Addrs, "", false
		}
	}
	return next
}

func TestOnceIsEnough(t *testing.T) {
	forRandom(t, func(t *testing.T, s situation, _ *rand.Rand) {
		// What was released is free for others once it is written that it was.
		s = applied(s, Result{Assignments: slices.DeleteFunc(compute(s).Assignments, func(a Assignment) bool { return a.Reason != Released })})
		first := compute(s)
		after := applied(s, first)
		if replaced(s) {
			// What another controller had given counts as in use until it is replaced.
			first, after = compute(after), applied(after, compute(after))
		}
		second := compute(after)
		// What happened once, a conflict or a release, is not told again.
		first.Assignments = slices.DeleteFunc(first.Assignments, func(a Assignment) bool { return a.Reason == Released })
		for i, a := range first.Assignments {
			if a.Reason == AddressConflict && slices.Equal(a.Addrs, second.Assignments[i].Addrs) {
				first.Assignments[i] = second.Assignments[i]
			}
		}
		if diff := cmp.Diff(first, second, cmpopts.EquateComparable(netip.Addr{}), cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("the second time:\n%s", diff)
		}
		if third := compute(applied(after, second)); !reflect.DeepEqual(second, third) {
			t.Errorf("the third time:\n%s", long(third))
		}
		restarted := Compute(nil, applied(after, second).services, nil, nil)
		for i, a := range restarted.Assignments {
			if b := second.Assignments[i]; a.Allocated && (!slices.Equal(a.Addrs, b.Addrs) || a.Message != b.Message) {
				t.Errorf("without a configuration: %+v", a)
			}
		}
	})
}

func TestOrderOfInputIsIrrelevant(t *testing.T) {
	forRandom(t, func(t *testing.T, s situation, r *rand.Rand) {
		shuffled := situation{s.config, slices.Clone(s.services), s.nodes, s.left}
		r.Shuffle(len(shuffled.services), func(i, j int) {
			shuffled.services[i], shuffled.services[j] = shuffled.services[j], shuffled.services[i]
		})
		if got, want := compute(shuffled), compute(s); !reflect.DeepEqual(got, want) {
			t.Errorf("shuffled:\n%s", long(got))
		}
	})
}

// foreign is what Services have that are not ours, or are being deleted.
func foreign(s situation) map[netip.Addr]bool {
	all := map[netip.Addr]bool{}
	for _, svc := range s.services {
		for _, addr := range svc.Ingress {
			if svc.LoadBalancer && (svc.Deleting || !svc.Ours() || svc.Another()) {
				all[addr] = true
			}
		}
	}
	return all
}

// replaced tells whether Herald may replace what another has written. Then some of
// that is in use and some is not.
func replaced(s situation) bool {
	return slices.ContainsFunc(s.services, func(svc cluster.Service) bool {
		return svc.Ours() && svc.StatusOf != "" && !svc.Another()
	})
}

func TestNobodyWaitsInVain(t *testing.T) {
	forRandom(t, func(t *testing.T, s situation, _ *rand.Rand) {
		if replaced(s) {
			return
		}
		result := compute(s)
		used, theirs := users(s, result), foreign(s)
		for _, a := range result.Assignments {
			svc := find(s, a.Service)
			if a.Reason == Released || a.Reason == ServedByAnother || a.Reason == InvalidRequest || svc.FamilyPolicy == cluster.RequireDualStack {
				continue
			}
			c := newClaim(&svc)
			for _, slot := range c.slots {
				has := slices.ContainsFunc(a.Addrs, func(x netip.Addr) bool { return cluster.FamilyOf(x) == slot.family })
				switch p := s.config.PoolOf(slot.want); {
				case c.fault.reason != "":
				case slot.want.IsValid() && !slices.Contains(a.Addrs, slot.want):
					if p != nil && p.Serves(&svc) && (c.request.pool == "" || c.request.pool == p.Name) &&
						!theirs[slot.want] && all(used[slot.want], func(o cluster.Service) bool { return mayShareNew(s, slot.want, svc, o) }) {
						t.Errorf("%s may have %s", a.Service, slot.want)
					}
				case !slot.want.IsValid() && !has:
					if addr := freeFor(s.config, c, slot.family, used, theirs); addr.IsValid() {
						t.Errorf("%s may have %s", a.Service, addr)
					}
				}
			}
		}
	})
}

func all[T any](of []T, ok func(T) bool) bool {
	return !slices.ContainsFunc(of, func(x T) bool { return !ok(x) })
}

func freeFor(c *config.Config, cl *claim, f cluster.Family, used map[netip.Addr][]cluster.Service, theirs map[netip.Addr]bool) netip.Addr {
	for i := range c.Pools {
		p := &c.Pools[i]
		if !cl.mayHave(&pool{Pool: p}) {
			continue
		}
		for addr := range p.Addrs(f) {
			if len(used[addr]) == 0 && !theirs[addr] {
				return addr
			}
		}
	}
	return netip.Addr{}
}

func TestEveryAssignmentIsWellFormed(t *testing.T) {
	forRandom(t, func(t *testing.T, s situation, _ *rand.Rand) {
		result := compute(s)
		for _, a := range result.Assignments {
			svc := find(s, a.Service)
			families := wantedFamilies(&svc)
			switch {
			case a.Reason == "" || a.Message == "" || !slices.Contains(Reasons(), a.Reason):
				t.Errorf("%s has reason %q, message %q", a.Service, a.Reason, a.Message)
			case a.Allocated != (len(a.Addrs) > 0) || len(a.Pools) != len(a.Addrs) || len(a.Addrs) > len(families):
				t.Errorf("%+v", a)
			case a.Reason == Allocated && len(a.Addrs) != len(families):
				t.Errorf("%s is allocated, but has only %v", a.Service, a.Addrs)
			case svc.FamilyPolicy == cluster.RequireDualStack && len(svc.Ingress) == 0 && len(a.Addrs) == 1:
				t.Errorf("%s requires two families and has only %v", a.Service, a.Addrs)
			}
			for i, addr := range a.Addrs {
				name := ""
				if p := s.config.PoolOf(addr); p != nil {
					name = p.Name
				}
				if name != a.Pools[i] {
					t.Errorf("%s: %s is of pool %q, not %q", a.Service, addr, name, a.Pools[i])
				}
			}
		}
		if !slices.IsSortedFunc(result.Assignments, func(x, y Assignment) int { return strings.Compare(x.Service, y.Service) }) {
			t.Error("not sorted")
		}
	})
}

func TestUsageIsCounted(t *testing.T) {
	forRandom(t, func(t *testing.T, s situation, _ *rand.Rand) {
		if replaced(s) {
			return
		}
		result := compute(s)
		inUse := foreign(s)
		for addr := range users(s, result) {
			inUse[addr] = true
		}
		for _, u := range result.Pools {
			i := slices.IndexFunc(s.config.Pools, func(p config.Pool) bool { return p.Name == u.Pool })
			p := s.config.Pools[i]
			var assigned uint64
			capacity := p.Size(u.Family)
			for addr := range inUse {
				if p.Contains(addr) && cluster.FamilyOf(addr) == u.Family {
					assigned++
					if !p.Usable(addr) {
						capacity++
					}
				}
			}
			if u.Assigned != assigned || u.Capacity != capacity {
				t.Errorf("%+v, want %d of %d", u, assigned, capacity)
			}
		}
	})
}
