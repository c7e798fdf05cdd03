package main

import (
	"maps"
	"net/netip"
	"slices"
	"strings"

	"github.com/heraldlb/herald/internal/share"
	"github.com/heraldlb/herald/speaker/plan"
)

// troubles stands for no Service and for what is wrong with any: heraldctl status
// asks so, for which the state of a large cluster would be too large.
const troubles = "-"

// about leaves in a state only what has to do with one Service, given as
// namespace/name, and with those that share its addresses. The node, its peers and
// links stay as they are. Empty: all stays.
func (st state) about(service string) state {
	if service == "" {
		return st
	}
	addrs, sharers := map[netip.Addr]bool{}, map[string]bool{service: true}
	for _, d := range st.Table.Decisions {
		if d.Service == service && d.Addr.IsValid() {
			addrs[d.Addr] = true
		}
	}
	st.Table.Decisions = only(st.Table.Decisions, func(d plan.Decision) bool { return d.Service == service || addrs[d.Addr] })
	for _, d := range st.Table.Decisions {
		sharers[d.Service] = true
	}
	st.Table.Routes = only(st.Table.Routes, func(r plan.Route) bool {
		for a := range addrs {
			if r.Prefix.Contains(a) {
				return true
			}
		}
		return false
	})
	st.Table.Claims = only(st.Table.Claims, func(c plan.Claim) bool { return addrs[c.Addr] })
	st.Table.Rescue.Services = only(st.Table.Rescue.Services, func(s plan.RescueService) bool { return addrs[s.Addr] })
	holds := plan.Holds{}
	for a := range addrs {
		if h, ok := st.Holds[a]; ok {
			holds[a] = h
		}
	}
	st.Holds = holds
	if service != troubles {
		st.Forwarding.Pending = ofServices(st.Forwarding.Pending, sharers)
		st.Forwarding.Outdated = ofServices(st.Forwarding.Outdated, sharers)
		st.Flows.Warnings = only(st.Flows.Warnings, func(w share.Warning) bool { return !w.Addr.IsValid() || addrs[w.Addr] })
	}
	st.Forwarding.Weights = ofServices(st.Forwarding.Weights, sharers)
	st.Flows.Addresses = only(st.Flows.Addresses, func(a share.Address) bool { return addrs[a.Addr] })
	st.Flows.Verdicts = only(st.Flows.Verdicts, func(v share.Verdict) bool { return addrs[v.Addr] })
	return st
}

// only is a new list: the state is shared.
func only[T any](list []T, want func(T) bool) []T {
	out := []T{}
	for _, x := range list {
		if want(x) {
			out = append(out, x)
		}
	}
	return slices.Clip(out)
}

// ofServices is what a map by service and family says of some of them.
func ofServices[V any](m map[string]V, services map[string]bool) map[string]V {
	out := maps.Clone(m)
	maps.DeleteFunc(out, func(k string, _ V) bool { service, _, _ := strings.Cut(k, " "); return !services[service] })
	return out
}
