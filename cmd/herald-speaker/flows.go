package main

import (
	"context"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"strconv"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/heraldlb/herald/internal/kube"
	"github.com/heraldlb/herald/internal/share"
	"github.com/heraldlb/herald/speaker/bgp"
	"github.com/heraldlb/herald/speaker/flows"
	"github.com/heraldlb/herald/speaker/forwarding"
)

// flowsState is for /state.
type flowsState struct {
	share.Report
	Verdicts []share.Verdict   // of the addresses that this node judges
	Unheard  map[string]string // nodes that could not be asked for their counts, and why
	Warnings []share.Warning   // of what will break weights on a router, or may
}

// newMeter measures which share of the flows comes to this node.
func newMeter(n *node, log *slog.Logger) (*flows.Meter, error) {
	o := flows.Options{Node: n.o.node, Situation: n.situation, Wrong: n.weightsIgnored, Log: log}
	if n.o.countFlows {
		o.Host = flows.Kernel(log)
	} else {
		o.Off = "--count-flows=false"
	}
	if port, ok := speakersPort(n.o); ok {
		o.Ask = flows.Asker(n.o.node, port)
	}
	return flows.New(o)
}

// speakersPort is where other speakers answer: they have the same arguments.
func speakersPort(o options) (port uint16, ok bool) {
	_, text, err := net.SplitHostPort(o.Address)
	if err != nil {
		return 0, false
	}
	n, err := strconv.ParseUint(text, 10, 16)
	return uint16(n), err == nil && n > 0
}

// able asks another speaker about its kube-proxy. Without a port nobody is known
// to be well.
func able(o options) func(context.Context, netip.Addr) bool {
	if port, ok := speakersPort(o); ok {
		return forwarding.Asker(port)
	}
	return func(context.Context, netip.Addr) bool { return false }
}

// situation is what flows depend on.
func (n *node) situation() flows.Situation {
	st := n.speaker.State()
	s := flows.Situation{Table: st.Table, Holds: st.Holds, Nodes: map[string]netip.Addr{}}
	for _, p := range n.bgp.Peers() {
		s.Peers = append(s.Peers, flows.Peer{
			Name: p.Name, Address: p.Address, Up: p.State == bgp.Established && p.Withheld == "", Paths: p.AddPath,
			Established: p.State == bgp.Established, Withheld: p.Withheld, Reflects: p.Reflects,
		})
	}
	snapshot, _ := n.source.Snapshot()
	for _, x := range snapshot.Nodes {
		if len(x.Addrs) > 0 {
			s.Nodes[x.Name] = x.Addrs[0]
		}
	}
	return s
}

// weightsIgnored tells the Services that have the address.
func (n *node) weightsIgnored(v share.Verdict) {
	snapshot, _ := n.source.Snapshot()
	for _, s := range snapshot.Services {
		if s.LoadBalancer && slices.Contains(s.Ingress, v.Addr) {
			n.client.Event(s.Ref(), kube.Warning, "WeightsIgnored", v.Says()+". heraldctl explain says what to look at")
		}
	}
}

func (n *node) flowsState() flowsState {
	return flowsState{Report: n.meter.Report(), Verdicts: n.meter.Verdicts(), Unheard: n.meter.Unheard(), Warnings: n.meter.Warnings()}
}

var (
	flowsOn = prometheus.NewDesc("herald_flows_on",
		"1 while new flows are counted; /state says why not.", nil, nil)
	flowsTotal = prometheus.NewDesc("herald_flows_total",
		"New TCP connections and UDP flows from outside to an address that this node announces.", []string{"address"}, nil)
	flowsExpected = prometheus.NewDesc("herald_flows_expected_share",
		"The part of all new flows to an address that its weight asks for, for this node.", []string{"address"}, nil)
	weightsIgnored = prometheus.NewDesc("herald_weights_ignored",
		"1 while the flows to an address do not follow the weights of the nodes, 0 while they do; only on the node that judges it, and only while there are enough flows.", []string{"address", "peer"}, nil)
	weightsWarnings = prometheus.NewDesc("herald_weights_warnings",
		"Causes for which weights will not arrive at a router, or may not, by kind; /state and heraldctl explain say which.", []string{"kind"}, nil)
)

// warningsByKind has every kind, also those that there are none of now.
func warningsByKind(list []share.Warning) map[string]int {
	n := map[string]int{}
	for _, k := range share.Kinds() {
		n[k] = 0
	}
	for _, w := range list {
		n[w.Kind]++
	}
	return n
}

func (x facts) collectFlows(ch chan<- prometheus.Metric) {
	send := func(d *prometheus.Desc, kind prometheus.ValueType, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, kind, v, labels...)
	}
	send(flowsOn, prometheus.GaugeValue, flag01(x.Flows.Off == ""))
	for kind, n := range warningsByKind(x.Flows.Warnings) {
		send(weightsWarnings, prometheus.GaugeValue, float64(n), kind)
	}
	for _, a := range x.Flows.Addresses {
		send(flowsTotal, prometheus.CounterValue, float64(a.Total), a.Addr.String())
		if want, ok := a.Expected(x.Node); ok {
			send(flowsExpected, prometheus.GaugeValue, want, a.Addr.String())
		}
	}
	for _, v := range x.Flows.Verdicts {
		if v.Kind == share.Right || v.Kind == share.Wrong {
			send(weightsIgnored, prometheus.GaugeValue, flag01(v.Kind == share.Wrong), v.Addr.String(), v.PeerNames())
		}
	}
}
