package bgp

import (
	"flag"
	"fmt"
	"math"
	"net/netip"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/heraldlb/herald/internal/config"
	"github.com/heraldlb/herald/internal/netlab"
	"github.com/heraldlb/herald/internal/router"
	"github.com/heraldlb/herald/speaker/plan"
)

var updateMatrix = flag.Bool("update-matrix", false, "write the table of docs/routers.md anew")

// matrixDoc has the table of what each router makes of each encoding. It is made
// by `go test -run Matrix ./speaker/bgp -update-matrix`.
const matrixDoc = "../../docs/routers.md"

// The columns of the table: what the nodes announce.
var encodings = []struct {
	name string
	of   config.Encodings
	form config.LinkBandwidthForm
}{
	{"default", config.EncodeLinkBandwidth | config.EncodeCommunity, config.Both},
	{"`both`", config.EncodeLinkBandwidth, config.Both},
	{"`nonTransitive`", config.EncodeLinkBandwidth, config.NonTransitive},
	{"`transitive`", config.EncodeLinkBandwidth, config.Transitive},
	{"`community`", config.EncodeCommunity, ""},
}

// podsOf are the ready pods of the nodes n1, n2 and n3: their weights.
var podsOf = []int{1, 3, 4}

const (
	vip4, vip6 = "198.51.100.10", "2001:db8:5::10"
	// observer hears by eBGP what the router passes on.
	observer = "10.8.0.50"
)

// readsNoFloat takes the float of the link bandwidth for a whole number, so that
// all weights are nearly the same.
const readsNoFloat = "frr-7.5"

// TestMatrix asks each router what it makes of each encoding, and compares that
// with the table in docs/routers.md. With the default, 10,000 flows must arrive
// at each pod evenly wherever the router can weight.
func TestMatrix(t *testing.T) {
	var rows sync.Map
	t.Run("routers", func(t *testing.T) {
		for i, part := range append(append([]string{}, netlab.FRRs...), netlab.BIRDs...) {
			for j, kind := range []struct {
				name string
				asn  uint32
			}{{"eBGP", 64513}, {"iBGP", 64512}} {
				t.Run(part+" "+kind.name, func(t *testing.T) {
					t.Parallel()
					rows.Store([2]int{i, j}, matrixRow(t, part, kind.name, kind.asn))
				})
			}
		}
	})
	if t.Failed() {
		return
	}
	var list []string
	for i := range len(netlab.FRRs) + len(netlab.BIRDs) {
		for j := range 2 {
			if r, ok := rows.Load([2]int{i, j}); ok {
				list = append(list, r.(string))
			}
		}
	}
	compareMatrix(t, list)
}

// matrixRow is a row of the table: what the router's kernel has, for IPv4, and for
// IPv6 where that differs.
func matrixRow(t *testing.T, part, kind string, asn uint32) string {
	r := newRack(t, len(podsOf))
	client := r.lab.Node("c")
	r.lab.Pair(client, "eth0", r.router, "eth1")
	r.router.Addr("eth1", "10.9.0.1/24", "fd09::1/64")
	client.Addr("eth0", "10.9.0.2/24", "fd09::2/64")
	client.Run("ip", "route", "add", "default", "via", "10.9.0.1")
	client.Run("ip", "-6", "route", "add", "default", "via", "fd09::1")
	startRouterOf(t, r.router, part, asn)
	passed := startObserver(t, r)
	var nodes []*remote
	for _, n := range r.nodes {
		n.Run("ip", "address", "add", vip4+"/32", "dev", "lo")
		n.Run("ip", "-6", "address", "add", vip6+"/128", "dev", "lo")
		nodes = append(nodes, startAnnouncer(t, n))
	}
	cells := []string{part, kind}
	flows := "-"
	for i, e := range encodings {
		for k, w := range podsOf {
			s := tor("tor", "10.8.0.1", 64512, e.form)
			s.Weights, s.Community = e.of, config.CommunityWeights{ASN: uint16(asn), Base: 10000}
			nodes[k].apply(table(k+1, asn, []plan.Session{s}, fmt.Sprintf("%s/32 %d", vip4, w), fmt.Sprintf("%s/128 %d", vip6, w)))
		}
		got4, got6 := settledFIB(t, r.router)
		cell := got4
		if got6 != got4 {
			cell += ", IPv6 " + got6
		}
		cells = append(cells, cell)
		if i == 0 && part != readsNoFloat {
			flows = checkFlows(t, r, client)
		}
		t.Logf("%s %s: %s: %s; passed on: %s", part, kind, e.name, cell, passed())
	}
	cells = append(cells, flows)
	return "| " + strings.Join(cells, " | ") + " |"
}

// startRouterOf starts a router with the nodes as neighbors, and the observer, as
// docs/routers.md tells to.
func startRouterOf(t *testing.T, n *netlab.Node, part string, asn uint32) {
	t.Helper()
	if strings.HasPrefix(part, "frr") {
		conf := bgpd(asn, "10.8.0.11", "10.8.0.12", "10.8.0.13")
		conf = strings.Replace(conf, " address-family", " neighbor "+observer+" remote-as 64999\n neighbor "+observer+" timers connect 1\n address-family", 1)
		conf = strings.ReplaceAll(conf, "  neighbor N activate\n", "  neighbor N activate\n  neighbor "+observer+" activate\n")
		n.FRROf(part, conf)
		return
	}
	filter := router.BIRDFilter("from_herald", config.CommunityWeights{ASN: uint16(asn), Base: 10000})
	conf := birdOf("import filter from_herald;", asn)
	if asn == 64512 {
		// Inside an AS, BIRD would look for another route to the next hop, in vain.
		conf = strings.ReplaceAll(conf, "as 64512; hold", "as 64512; direct; hold")
	}
	conf = strings.Replace(conf, "protocol device", filter+"protocol device", 1)
	n.BIRDOf(part, conf+"protocol bgp observer { local as 64512; neighbor "+observer+" as 64999; connect retry time 1;\n"+
		" ipv4 { import none; export all; }; ipv6 { import none; export all; }; }\n")
}

// startObserver starts a router in an AS of its own. The function it returns says
// which communities of the address have come there.
func startObserver(t *testing.T, r *rack) func() string {
	n := r.lab.Node("d")
	r.sw.Attach(n, "eth0", observer+"/24", "fd08::50/64")
	b := n.BIRD("router id " + observer + ";\nprotocol device {}\nprotocol bgp up { local as 64999; neighbor 10.8.0.1 as 64512; connect retry time 1;\n" +
		" ipv4 { import all; export none; }; ipv6 { import all; export none; }; }\n")
	return func() string {
		var some []string
		for _, line := range strings.Split(b.Show("show route for "+vip4+" all"), "\n") {
			if strings.Contains(line, "community") {
				some = append(some, strings.Join(strings.Fields(line), " "))
			}
		}
		return strings.Join(some, "; ")
	}
}

// settledFIB waits until the router's kernel has three next hops in both
// families, and then until nothing has changed for a second. It returns the
// weights, as 1:3:4.
func settledFIB(t *testing.T, n *netlab.Node) (v4, v6 string) {
	t.Helper()
	since := time.Now()
	netlab.Eventually(t, 20*time.Second, func() string {
		a, b := weightsOf(fib(n, vip4)), weightsOf(fib(n, vip6))
		if a != v4 || b != v6 {
			v4, v6, since = a, b, time.Now()
		}
		if strings.Count(v4, ":") != 2 || strings.Count(v6, ":") != 2 || time.Since(since) < time.Second {
			return fmt.Sprintf("kernel has %q and %q since %v", fib(n, vip4), fib(n, vip6), time.Since(since).Round(time.Millisecond))
		}
		return ""
	})
	return v4, v6
}

// weightsOf are the weights of a route, in the order of its next hops.
func weightsOf(route string) string {
	var list []string
	for _, hop := range strings.Fields(route) {
		_, w, _ := strings.Cut(hop, "*")
		list = append(list, w)
	}
	return strings.Join(list, ":")
}

const manyFlows = 10_000

// checkFlows sends datagrams from as many ports, and counts them on the nodes,
// where nobody listens. Each pod must get its share within a tenth.
func checkFlows(t *testing.T, r *rack, client *netlab.Node) string {
	t.Helper()
	var texts []string
	for _, vip := range []string{vip4, vip6} {
		before := arrived(t, r, vip)
		sendFlows(t, client, netip.MustParseAddr(vip))
		var counts []int
		netlab.Eventually(t, 10*time.Second, func() string {
			counts = nil
			sum := 0
			for i, n := range arrived(t, r, vip) {
				counts = append(counts, n-before[i])
				sum += counts[i]
			}
			if sum < manyFlows {
				return fmt.Sprintf("%d of %d datagrams have arrived: %v", sum, manyFlows, counts)
			}
			return ""
		})
		var shares []string
		for i, pods := range podsOf {
			share, ideal := float64(counts[i])/manyFlows, float64(pods)/8
			shares = append(shares, fmt.Sprintf("%.1f", 100*share))
			if math.Abs(share-ideal) > ideal/10 {
				t.Errorf("%s: n%d got %.1f %% of the flows, want %.1f %% within a tenth", vip, i+1, 100*share, 100*ideal)
			}
		}
		texts = append(texts, strings.Join(shares, " "))
	}
	return strings.Join(texts, ", ")
}

// arrived is how many datagrams each node has got for nobody.
func arrived(t *testing.T, r *rack, vip string) (counts []int) {
	t.Helper()
	for _, n := range r.nodes {
		var text, count string
		if strings.Contains(vip, ":") {
			text = n.Run("cat", "/proc/net/snmp6")
			m := regexp.MustCompile(`Udp6NoPorts\s+(\d+)`).FindStringSubmatch(text)
			count = m[1]
		} else {
			text = n.Run("cat", "/proc/net/snmp")
			m := regexp.MustCompile(`(?m)^Udp: \d+ (\d+)`).FindStringSubmatch(text)
			count = m[1]
		}
		c, err := strconv.Atoi(count)
		if err != nil {
			t.Fatal(err)
		}
		counts = append(counts, c)
	}
	return counts
}

// sendFlows sends a datagram from each of so many ports.
func sendFlows(t *testing.T, n *netlab.Node, to netip.Addr) {
	t.Helper()
	var failed error
	n.Inside(t, func() {
		for port := 20_000; port < 20_000+manyFlows && failed == nil; port++ {
			failed = sendFrom(port, to)
			if port%500 == 0 {
				time.Sleep(time.Millisecond) // a queue on the way may be short
			}
		}
	})
	if failed != nil {
		t.Fatal(failed)
	}
}

func sendFrom(port int, to netip.Addr) error {
	family := unix.AF_INET6
	var from, dest unix.Sockaddr = &unix.SockaddrInet6{Port: port}, &unix.SockaddrInet6{Port: 80, Addr: to.As16()}
	if to.Is4() {
		family = unix.AF_INET
		from, dest = &unix.SockaddrInet4{Port: port}, &unix.SockaddrInet4{Port: 80, Addr: to.As4()}
	}
	fd, err := unix.Socket(family, unix.SOCK_DGRAM, 0)
	if err != nil {
		return err
	}
	defer func() { _ = unix.Close(fd) }()
	if err := unix.Bind(fd, from); err != nil {
		return err
	}
	return unix.Sendto(fd, []byte("x"), 0, dest)
}

const (
	matrixBegin = "<!-- matrix: begin -->\n"
	matrixEnd   = "<!-- matrix: end -->\n"
)

// compareMatrix compares rows with those of the document, but for the shares in
// the last column, which are never the same twice.
func compareMatrix(t *testing.T, rows []string) {
	t.Helper()
	head := "| router | session |"
	for _, e := range encodings {
		head += " " + e.name + " |"
	}
	head += " shares of 10,000 flows with the default, %, IPv4, IPv6 |\n" + strings.Repeat("|---", 3+len(encodings)) + "|\n"
	want := head + strings.Join(rows, "\n") + "\n"
	compareTable(t, matrixBegin, matrixEnd, want, withoutShares)
}

func withoutShares(table string) string {
	var lines []string
	for _, l := range strings.Split(strings.TrimSpace(table), "\n") {
		cells := strings.Split(strings.Trim(l, "|"), "|")
		lines = append(lines, strings.Join(cells[:max(len(cells)-1, 0)], "|"))
	}
	return strings.Join(lines, "\n")
}
