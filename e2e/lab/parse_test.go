package lab

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
)

func TestParseRoutes(t *testing.T) {
	rows := []struct{ desc, text, want string }{
		{"nothing", ``, ``},
		{"no route", `[]`, ``},
		{"one way", `[{"dst":"10.99.0.1","gateway":"10.77.0.11","dev":"lan0","protocol":"bgp","flags":[]}]`, `10.99.0.1/32 10.77.0.11*1`},
		{
			"three ways, sorted by address",
			`[{"dst":"10.99.0.0/24","nhid":9,"nexthops":[
				{"gateway":"10.77.0.13","dev":"lan0","weight":50,"flags":[]},
				{"gateway":"10.77.0.11","dev":"lan0","weight":12,"flags":[]},
				{"gateway":"10.77.0.12","dev":"lan0","weight":37,"flags":[]}]}]`,
			`10.99.0.0/24 10.77.0.11*12 10.77.0.12*37 10.77.0.13*50`,
		},
		{"IPv6", `[{"dst":"fd99::1","gateway":"fd77::11","dev":"lan0"}]`, `fd99::1/128 fd77::11*1`},
		{"IPv4 by way of IPv6", `[{"dst":"10.99.0.1","via":{"family":"inet6","host":"fd77::11"},"dev":"lan0"}]`, `10.99.0.1/32 fd77::11*1`},
		{"on the link itself", `[{"dst":"10.99.0.0/16","dev":"lan0"}]`, `10.99.0.0/16 invalid IP*1`},
	}
	for _, r := range rows {
		t.Run(r.desc, func(t *testing.T) {
			got, err := parseRoutes([]byte(r.text))
			if err != nil || routesText(got) != r.want {
				t.Errorf("got %q, %v, want %q", routesText(got), err, r.want)
			}
		})
	}
}

func TestParseRoutesRefuses(t *testing.T) {
	for _, text := range []string{`{`, `[{"dst":"nowhere"}]`, `[{"dst":"10.0.0.0/33"}]`} {
		if got, err := parseRoutes([]byte(text)); err == nil {
			t.Errorf("%s: got %v and no error", text, got)
		}
	}
}

func routesText(routes map[netip.Prefix][]NextHop) string {
	var b strings.Builder
	for p, hops := range routes {
		b.WriteString(p.String())
		for _, h := range hops {
			fmt.Fprintf(&b, " %v*%d", h.Via, h.Weight)
		}
	}
	return b.String()
}

func TestOptions(t *testing.T) {
	rows := []struct {
		desc string
		o    Options
		want string
	}{
		{"nothing said", Options{}, ""},
		{"a name with a dash would begin like another's", Options{Name: "a-b"}, `lab name "a-b": use 1 to 12 lower-case letters and digits`},
		{"a long name", Options{Name: "abcdefghijklm"}, `lab name "abcdefghijklm": use 1 to 12 lower-case letters and digits`},
		{"too many nodes", Options{Nodes: 61}, `lab lab: 61 nodes: use 1 to 60`},
		{"a kubelet on a node that is not there", Options{Kubelets: []string{"n1", "n4"}}, `lab lab: no node "n4": it has n1 to n3`},
		{"a far node that is not there", Options{FarNodes: []string{"n4"}}, `lab lab: no node "n4": it has n1 to n3`},
		{"ipvs", Options{ProxyMode: "ipvs"}, `lab lab: proxy mode "ipvs": use nftables or iptables`},
		{
			"a deep directory",
			Options{BaseDir: "/" + strings.Repeat("d", 80)},
			"lab lab: directory /" + strings.Repeat("d", 80) + "/lab: too long for sockets in it; use a shorter $HERALD_LAB_DIR",
		},
	}
	for _, r := range rows {
		t.Run(r.desc, func(t *testing.T) {
			r.o.BinDir = "/bin"
			_, err := r.o.complete()
			if got := fmt.Sprint(err); got != r.want && (err != nil || r.want != "") {
				t.Errorf("got %v, want %s", err, r.want)
			}
		})
	}
}

func TestNodeAt(t *testing.T) {
	for i, want := range map[int]Node{
		1:  {"n1", "10.77.0.11", "fd77::11", "10.244.1.0/24", "fd00:244:1::/64"},
		60: {"n60", "10.77.0.70", "fd77::70", "10.244.60.0/24", "fd00:244:60::/64"},
	} {
		if got := NodeAt(i); got != want {
			t.Errorf("node %d: got %v, want %v", i, got, want)
		}
	}
}
