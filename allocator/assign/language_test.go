package assign

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/heraldlb/herald/internal/cluster"
	"github.com/heraldlb/herald/internal/config"
)

// A case is written as text, one pool or Service a line:
//
//	pool public 192.0.2.0/30 2001:db8::/126 priority=1 auto=false buggy across quarantine namespaces=a,b team=x app=web
//	svc a/web at=3 has=192.0.2.1 by=metallb ips=192.0.2.2 pool=public key=k ports=80,udp/53 families=46 policy=Prefer
//
// "node n1 192.0.2.9" is a node and its addresses, and "left 192.0.2.3 192.0.2.1" are
// addresses in quarantine.
// A line "nothing configured" stands for no configuration at all. at is the
// creation time in seconds; without it, a Service is as old as its line is high. by is
// the field manager whose status it is, if it is not Herald.
type situation struct {
	config   *config.Config
	services []cluster.Service
	nodes    []cluster.Node
	left     []netip.Addr
}

func read(t *testing.T, text string) situation {
	t.Helper()
	s := situation{config: &config.Config{}}
	for i, line := range strings.Split(text, "\n") {
		words := strings.Fields(line)
		switch {
		case len(words) == 0 || strings.HasPrefix(words[0], "#"):
		case words[0] == "pool":
			s.config.Pools = append(s.config.Pools, readPool(t, words[1:]))
		case words[0] == "svc":
			s.services = append(s.services, readService(t, i, words[1:]))
		case words[0] == "node":
			s.nodes = append(s.nodes, cluster.Node{Name: words[1], Addrs: addrs(words[2])})
		case words[0] == "left":
			for _, w := range words[1:] {
				s.left = append(s.left, netip.MustParseAddr(w))
			}
		case strings.TrimSpace(line) == "removed is released":
			s.config.ReleaseRemoved = true
		case strings.TrimSpace(line) == "nothing configured":
			s.config = nil
		default:
			t.Fatalf("line %q: starts with neither pool, svc, node nor left", line)
		}
	}
	return s
}

func readPool(t *testing.T, words []string) config.Pool {
	t.Helper()
	p := config.Pool{Name: words[0], AutoAssign: true}
	for _, w := range words[1:] {
		key, value, _ := strings.Cut(w, "=")
		switch key {
		case "priority":
			p.Priority = number(t, value)
		case "auto":
			p.AutoAssign = value != "false"
		case "buggy":
			p.AvoidBuggyIPs = true
		case "reserved":
			p.Reserved = append(p.Reserved, readRange(t, value))
		case "retired":
			p.Retired = append(p.Retired, readRange(t, value))
		case "l2":
			p.L2 = true
		case "quarantine":
			p.Quarantine = time.Minute
		case "across":
			p.SharingAcross = true
		case "namespaces":
			p.Namespaces = strings.Split(value, ",")
		case "team":
			p.NamespaceSelector.MatchLabels = map[string]string{"team": value}
		case "app":
			p.ServiceSelector.MatchLabels = map[string]string{"app": value}
		default:
			p.Ranges = append(p.Ranges, readRange(t, w))
		}
	}
	slices.SortFunc(p.Ranges, func(x, y config.Range) int { return x.From.Compare(y.From) })
	return p
}

func readRange(t *testing.T, text string) config.Range {
	t.Helper()
	if from, to, ok := strings.Cut(text, "-"); ok {
		return config.Range{From: netip.MustParseAddr(from), To: netip.MustParseAddr(to)}
	}
	prefix, err := netip.ParsePrefix(text)
	if err != nil {
		t.Fatalf("range %q: %v", text, err)
	}
	last := prefix.Addr().AsSlice()
	for bit := prefix.Bits(); bit < len(last)*8; bit++ {
		last[bit/8] |= 0x80 >> (bit % 8)
	}
	to, _ := netip.AddrFromSlice(last)
	return config.Range{From: prefix.Addr(), To: to}
}

func readService(t *testing.T, line int, words []string) cluster.Service {
	t.Helper()
	namespace, name, _ := strings.Cut(words[0], "/")
	s := cluster.Service{
		Namespace: namespace, Name: name, UID: "uid-" + name, LoadBalancer: true,
		Created: second(line), FamilyPolicy: cluster.SingleStack, Annotations: map[string]string{},
		Families: []cluster.Family{cluster.IPv4}, Ports: []cluster.Port{{Protocol: "TCP", Port: 80}},
	}
	for _, w := range words[1:] {
		key, value, _ := strings.Cut(w, "=")
		set, ok := serviceWords[key]
		if !ok {
			t.Fatalf("service %s: no word %q", words[0], w)
		}
		set(t, &s, value)
	}
	return s
}

var serviceWords = map[string]func(*testing.T, *cluster.Service, string){
	"at":       func(t *testing.T, s *cluster.Service, v string) { s.Created = second(number(t, v)) },
	"has":      func(_ *testing.T, s *cluster.Service, v string) { s.Ingress = addrs(v) },
	"by":       func(_ *testing.T, s *cluster.Service, v string) { s.StatusOf = v },
	"host":     func(_ *testing.T, s *cluster.Service, _ string) { s.Adorned = true },
	"external": func(_ *testing.T, s *cluster.Service, v string) { s.ExternalIPs = addrs(v) },
	"ips":      func(_ *testing.T, s *cluster.Service, v string) { s.Annotations[cluster.AnnotationAddresses] = v },
	"pool":     func(_ *testing.T, s *cluster.Service, v string) { s.Annotations[cluster.AnnotationPool] = v },
	"key": func(_ *testing.T, s *cluster.Service, v string) {
		s.Annotations[cluster.AnnotationSharingKey] = strings.ReplaceAll(v, "_", "\n")
	},
	"lbip":     func(_ *testing.T, s *cluster.Service, v string) { s.LoadBalancerIP = v },
	"class":    func(_ *testing.T, s *cluster.Service, v string) { s.Class = v },
	"type":     func(_ *testing.T, s *cluster.Service, v string) { s.LoadBalancer = v == "LoadBalancer" },
	"deleting": func(_ *testing.T, s *cluster.Service, _ string) { s.Deleting = true },
	"team":     func(_ *testing.T, s *cluster.Service, v string) { s.NamespaceLabels = map[string]string{"team": v} },
	"app":      func(_ *testing.T, s *cluster.Service, v string) { s.Labels = map[string]string{"app": v} },
	"policy": func(_ *testing.T, s *cluster.Service, v string) {
		s.FamilyPolicy = cluster.FamilyPolicy(v + "DualStack")
	},
	"families": func(_ *testing.T, s *cluster.Service, v string) {
		s.Families = nil
		for _, digit := range v {
			s.Families = append(s.Families, cluster.Family("IPv"+string(digit)))
		}
	},
	"ports": func(t *testing.T, s *cluster.Service, v string) {
		s.Ports = nil
		for p := range strings.SplitSeq(v, ",") {
			port := cluster.Port{Protocol: "TCP"}
			if n, ok := strings.CutPrefix(p, "udp/"); ok {
				p, port.Protocol = n, "UDP"
			}
			port.Port = uint16(number(t, p))
			s.Ports = append(s.Ports, port)
		}
	},
	"said": func(_ *testing.T, s *cluster.Service, v string) {
		s.Condition = cluster.Condition{Allocated: len(s.Ingress) > 0, Reason: v, Message: "as said before"}
	},
}

func second(n int) time.Time { return time.Unix(int64(1_700_000_000+n), 0) }

func number(t *testing.T, text string) int {
	t.Helper()
	n, err := strconv.Atoi(text)
	if err != nil {
		t.Fatalf("number: %v", err)
	}
	return n
}

func addrs(text string) []netip.Addr {
	var all []netip.Addr
	for a := range strings.SplitSeq(text, ",") {
		all = append(all, netip.MustParseAddr(a))
	}
	return all
}

// short is a Result as lines "default/web 192.0.2.1 Allocated".
func short(r Result) string {
	var lines []string
	for _, a := range r.Assignments {
		lines = append(lines, fmt.Sprintf("%s %s%s", a.Service, spaced(a.Addrs), a.Reason))
	}
	return strings.Join(lines, "\n")
}

func spaced(addrs []netip.Addr) string {
	var b strings.Builder
	for _, a := range addrs {
		fmt.Fprintf(&b, "%s ", a)
	}
	return b.String()
}

// long is a Result with everything that a user can see of it.
func long(r Result) string {
	var b strings.Builder
	for _, a := range r.Assignments {
		fmt.Fprintf(&b, "%s %s%s: %s\n", a.Service, spaced(a.Addrs), a.Reason, a.Message)
	}
	for _, p := range r.Pools {
		fmt.Fprintf(&b, "%s %s: %d of %d\n", p.Pool, p.Family, p.Assigned, p.Capacity)
	}
	return b.String()
}

func compute(s situation) Result { return Compute(s.config, s.services, s.nodes, s.left) }
