package main

import (
	"context"
	"net/netip"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/heraldlb/herald/dataplane"
	"github.com/heraldlb/herald/speaker/flows"
	"github.com/heraldlb/herald/speaker/plan"
)

// TestMetricsAreDocumented compares the names in the code with those in
// docs/operations.md, where the alerts are as well.
func TestMetricsAreDocumented(t *testing.T) {
	text, err := os.ReadFile("../../docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), "\n### Metrics of a speaker\n")
	table, rest, _ := strings.Cut(rest, "\n### ")
	var documented []string
	for _, m := range regexp.MustCompile("(?m)^\\| `(herald_[a-z0-9_]+)` ").FindAllStringSubmatch(table, -1) {
		documented = append(documented, m[1])
	}
	ch := make(chan *prometheus.Desc, 100)
	observed{}.Describe(ch)
	close(ch)
	var is []string
	for d := range ch {
		name := regexp.MustCompile(`fqName: "([^"]+)"`).FindStringSubmatch(d.String())
		is = append(is, name[1])
	}
	slices.Sort(documented)
	slices.Sort(is)
	if diff := cmp.Diff(is, documented); diff != "" {
		t.Errorf("docs/operations.md tells of other metrics (-code +docs):\n%s", diff)
	}
	_, alerts, _ := strings.Cut(rest, " alerts\n")
	alerts, _, _ = strings.Cut(alerts, "\n## ")
	for _, name := range regexp.MustCompile(`herald_[a-z0-9_]+`).FindAllString(alerts, -1) {
		if !slices.Contains(is, name) && !strings.HasPrefix(name, "herald_allocator_") && !strings.HasPrefix(name, "herald_config_") {
			t.Errorf("an alert is about %s, which is no metric", name)
		}
	}
	if !strings.Contains(alerts, "herald_weights_ignored == 1") {
		t.Error("there is no alert about weights")
	}
}

// counting is a host on which 40 flows have come, by no router that is known.
type counting struct{}

func (c *counting) Probe(context.Context, bool) error                                { return nil }
func (c *counting) Set(context.Context, dataplane.FlowSpec) error                    { return nil }
func (c *counting) Forget(context.Context, []netip.Addr) error                       { return nil }
func (c *counting) Remove(context.Context) error                                     { return nil }
func (c *counting) Uplinks(context.Context, dataplane.UplinkHints) ([]string, error) { return nil, nil }

func (c *counting) Neighbours(context.Context, []netip.Addr) (map[netip.Addr]dataplane.Neighbour, error) {
	return nil, nil
}

func (c *counting) Read(context.Context) (map[netip.Addr]dataplane.FlowCounts, error) {
	return map[netip.Addr]dataplane.FlowCounts{netip.MustParseAddr("198.51.100.0"): {All: 40, Others: 40}}, nil
}

func TestMetricsOfFlows(t *testing.T) {
	vip := netip.MustParseAddr("198.51.100.0")
	o := observed{&node{o: options{node: "n1"}}}
	var err error
	o.meter, err = flows.New(flows.Options{
		Node: "n1", Host: &counting{}, SampleEvery: 20 * time.Millisecond,
		Situation: func() flows.Situation {
			return flows.Situation{Table: plan.Table{Decisions: []plan.Decision{{
				Addr: vip, Announce: true, Nodes: []plan.NodeWeight{{Node: "n1", Weight: 1}, {Node: "n2", Weight: 3}},
			}}}}
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	off := collected(func(ch chan<- prometheus.Metric) { o.collectFlows(ch) })
	if err := testutil.CollectAndCompare(off, strings.NewReader(`
# HELP herald_flows_on 1 while new flows are counted; /state says why not.
# TYPE herald_flows_on gauge
herald_flows_on 0
`)); err != nil {
		t.Error(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- o.meter.Run(ctx) }()
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		if a, ok := o.meter.Report().Of(vip); ok && a.Total > 0 {
			break
		}
	}
	if err := testutil.CollectAndCompare(off, strings.NewReader(`
# HELP herald_flows_expected_share The part of all new flows to an address that its weight asks for, for this node.
# TYPE herald_flows_expected_share gauge
herald_flows_expected_share{address="198.51.100.0"} 0.25
# HELP herald_flows_on 1 while new flows are counted; /state says why not.
# TYPE herald_flows_on gauge
herald_flows_on 1
# HELP herald_flows_total New TCP connections and UDP flows from outside to an address that this node announces.
# TYPE herald_flows_total counter
herald_flows_total{address="198.51.100.0"} 40
`)); err != nil {
		t.Error(err)
	}
	stop()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// collected is a Collector of one function.
type collected func(chan<- prometheus.Metric)

func (collected) Describe(chan<- *prometheus.Desc)      {}
func (c collected) Collect(ch chan<- prometheus.Metric) { c(ch) }
