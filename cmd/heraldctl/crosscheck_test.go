package main

import (
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"

	"github.com/heraldlb/herald/internal/cluster"
)

func TestCrossCheck(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("X-Load-Balancing-Endpoint-Weight", "2")
	}))
	defer s.Close()
	at := netip.MustParseAddrPort(s.Listener.Addr().String())
	pod := netip.MustParseAddr("10.244.1.2")
	snapshot := cluster.Snapshot{
		Nodes: []cluster.Node{
			{Name: "n1", Addrs: []netip.Addr{at.Addr()}},
			{Name: "n2", Addrs: []netip.Addr{at.Addr()}},
			{Name: "n3", Addrs: []netip.Addr{netip.MustParseAddr("127.0.0.2")}}, // nothing listens there
			{Name: "n4"},
			{Name: "n5", Addrs: []netip.Addr{netip.MustParseAddr("127.0.0.2")}},
		},
		Services: []cluster.Service{{
			Namespace: "default", Name: "web", HealthPort: at.Port(), Ingress: []netip.Addr{netip.MustParseAddr("198.51.100.1")},
			Endpoints: []cluster.Endpoint{
				{Addr: pod, Node: "n1", Ready: true},
				{Addr: pod.Next(), Node: "n1", Ready: true},
				{Addr: pod.Prev(), Node: "n1"},
				{Addr: netip.MustParseAddr("10.244.2.2"), Node: "n2", Ready: true},
			},
		}, {Namespace: "default", Name: "cluster-wide"}},
	}
	var b strings.Builder
	if err := crossCheck(t.Context(), &b, snapshot, "default/web"); err != nil {
		t.Fatal(err)
	}
	if want := "n1 counts 2, n2 counts 2, but the API server says 1\n" +
		"  no answer from here of n3, n5 (a firewall, this host has no route to the nodes, or no kube-proxy runs there): not checked\n"; !strings.HasSuffix(b.String(), want) {
		t.Errorf("printed %q, want it to end with %q", b.String(), want)
	}
	b.Reset()
	snapshot.Nodes = snapshot.Nodes[2:]
	if err := crossCheck(t.Context(), &b, snapshot, "default/web"); err != nil || strings.Count(b.String(), "\n") != 2 ||
		!strings.Contains(b.String(), ": no answer from here of n3, n5 (") {
		t.Errorf("no node answers: %q, %v", b.String(), err)
	}
	b.Reset()
	if err := crossCheck(t.Context(), &b, snapshot, "default/cluster-wide"); err != nil || b.String() != "" {
		t.Errorf("a Service without a port: %q, %v", b.String(), err)
	}
}
