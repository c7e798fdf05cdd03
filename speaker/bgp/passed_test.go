package bgp

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/osrg/gobgp/v4/api"
	"github.com/osrg/gobgp/v4/pkg/server"

	"github.com/heraldlb/herald/internal/config"
	"github.com/heraldlb/herald/internal/netlab"
	"github.com/heraldlb/herald/internal/router"
	"github.com/heraldlb/herald/speaker/plan"
)

// The table of what route reflectors and routers of another AS pass on, in
// docs/routers.md. It is made by `go test -run Passed ./speaker/bgp -update-matrix`.
//
// Three nodes announce to one router in the middle, and this to three behind it,
// with ADD-PATH, and to an observer without. All are on one link, so that next hops
// that are kept can be reached.

const (
	passedBegin = "<!-- passed: begin -->\n"
	passedEnd   = "<!-- passed: end -->\n"

	middle = "10.8.0.2"
	// watcher hears what the middle passes on without ADD-PATH.
	watcher = "10.8.0.104"
)

// middles are what stands between.
var middles = []string{"gobgpd 4.8", "frr-8.4", "frr-10.3", "bird-2.17", "openbgpd"}

// behind are the routers that weight, and their addresses.
var behind = []struct{ part, addr string }{
	{"frr-8.4", "10.8.0.101"}, {"frr-10.3", "10.8.0.102"}, {"bird-2.17", "10.8.0.103"},
}

// passing is a place in the middle. Inside an AS it reflects.
type passing struct {
	kind                 string
	nodeAS, own, farther uint32
}

var passings = []passing{
	{"reflector", 64512, 64512, 64512},
	{"another AS", 64513, 64520, 64512},
}

func (p passing) internal() bool { return p.nodeAS == p.own }

// TestPassed compares what is passed on with the table in docs/routers.md.
func TestPassed(t *testing.T) {
	var rows sync.Map
	t.Run("between", func(t *testing.T) {
		for i, m := range middles {
			for j, p := range passings {
				t.Run(m+" "+p.kind, func(t *testing.T) {
					t.Parallel()
					rows.Store(2*i+j, passedRow(t, m, p))
				})
			}
		}
	})
	if t.Failed() {
		return
	}
	var list []string
	for i := range 2 * len(middles) {
		if r, ok := rows.Load(i); ok {
			list = append(list, r.(string))
		}
	}
	head := "| between | is | passes on | paths without ADD-PATH |"
	for _, b := range behind {
		head += " " + b.part + " behind it |"
	}
	compareTable(t, passedBegin, passedEnd, head+"\n"+strings.Repeat("|---", 4+len(behind))+"|\n"+strings.Join(list, "\n")+"\n", func(table string) string { return table })
}

func passedRow(t *testing.T, between string, p passing) string {
	r := newRack(t, len(podsOf)) // its router stays empty
	m := r.lab.Node("m")
	r.sw.Attach(m, "eth0", middle+"/24", "fd08::2/64")
	var far []*netlab.Node
	for i, b := range behind {
		n := r.lab.Node(fmt.Sprintf("b%d", i+1))
		r.sw.Attach(n, "eth0", b.addr+"/24", fmt.Sprintf("fd08::10%d/64", i+1))
		startBehind(t, n, b.part, p)
		far = append(far, n)
	}
	w := r.lab.Node("w")
	r.sw.Attach(w, "eth0", watcher+"/24", "fd08::104/64")
	heard := w.BIRD(fmt.Sprintf("router id %s;\nprotocol device {}\nprotocol bgp up { local as %d; neighbor %s as %d; %s connect retry time 1; error wait time 1, 2;\n"+
		" ipv4 { import all; export none; }; ipv6 { import all; export none; }; }\n", watcher, p.farther, middle, p.own, directly(p)))
	startMiddle(t, m, between, p)
	for i, n := range r.nodes {
		s := tor("tor", middle, p.own, config.Both)
		s.Weights, s.Community = config.EncodeLinkBandwidth|config.EncodeCommunity, config.CommunityWeights{ASN: uint16(p.nodeAS), Base: 10000}
		startAnnouncer(t, n).apply(table(i+1, p.nodeAS, []plan.Session{s},
			fmt.Sprintf("%s/32 %d", vip4, podsOf[i]), fmt.Sprintf("%s/128 %d", vip6, podsOf[i])))
	}
	forms, paths := "", 0
	var cells []string
	six := make([]string, len(behind))
	since := time.Now()
	netlab.Eventually(t, 40*time.Second, func() string {
		var now []string
		missing := ""
		for i, n := range far {
			hops := hopsOf(fib(n, vip4))
			if hops == "" {
				missing += behind[i].part + " has no route; "
			}
			now, six[i] = append(now, hops), hopsOf(fib(n, vip6))
		}
		forms, paths = passedOn(heard.Show("show route for " + vip4 + " all"))
		now = append(now, forms)
		if !slices.Equal(now, cells) {
			cells, since = now, time.Now()
		}
		if missing != "" || paths == 0 || time.Since(since) < 3*time.Second {
			return fmt.Sprintf("%s %s: %s%q, %d paths; %s", between, p.kind, missing, cells, paths, heard.Show("show route all"))
		}
		return ""
	})
	cells = append([]string{between, p.kind, forms, fmt.Sprint(paths)}, cells[:len(behind)]...)
	row := "| " + strings.Join(cells, " | ") + " |"
	t.Logf("%s\nIPv6, whose sessions are IPv4: %q\n%s", row, six, heard.Show("show route for "+vip4+" all"))
	return row
}

// hopsOf are the weights of a route, or what else it is.
func hopsOf(route string) string {
	hops := strings.Fields(viaOf(route))
	slices.Sort(hops)
	hops = slices.Compact(hops)
	switch {
	case len(hops) == 0:
		return ""
	case len(hops) == 1 && (hops[0] == middle || hops[0] == "fd08::2"):
		return "all to the one between"
	case len(hops) == 1:
		return "one node"
	default:
		return weightsOf(route)
	}
}

var (
	extended = regexp.MustCompile(`\((?:unknown|generic), ?(0x[0-9a-f]+)|\(unknown (0x[0-9a-f]+)`)
	standard = regexp.MustCompile(`\(645\d\d,1000\d\)`)
)

// passedOn says what of a weight BIRD has heard, and in how many paths.
func passedOn(show string) (forms string, paths int) {
	paths = strings.Count(show, "BGP.origin:") + strings.Count(show, "bgp_origin:")
	var list []string
	for _, m := range extended.FindAllStringSubmatch(show, -1) {
		name := map[string]string{"0x4004": "`nonTransitive`", "0x4": "`transitive`", "0x0004": "`transitive`"}[m[1]+m[2]]
		if name == "" {
			name = m[0]
		}
		list = append(list, name)
	}
	if standard.MatchString(show) {
		list = append(list, "`community`")
	}
	slices.Sort(list)
	if list = slices.Compact(list); len(list) == 0 {
		return "nothing", paths
	}
	return strings.Join(list, ", "), paths
}

// directly has BIRD take a next hop on its link for what it is, inside an AS as well.
func directly(p passing) string {
	if p.farther == p.own {
		return "direct;"
	}
	return ""
}

// startBehind starts a router that weights, with the middle as its only neighbor.
func startBehind(t *testing.T, n *netlab.Node, part string, p passing) {
	t.Helper()
	if strings.HasPrefix(part, "frr") {
		conf := strings.Replace(bgpd(p.own, middle), "router bgp 64512", fmt.Sprintf("router bgp %d", p.farther), 1)
		n.FRROf(part, strings.Replace(conf, " bgp router-id 10.8.0.1\n", "", 1))
		return
	}
	filter := router.BIRDFilter("from_herald", config.CommunityWeights{ASN: uint16(p.nodeAS), Base: 10000})
	n.BIRDOf(part, fmt.Sprintf("router id 10.8.0.103;\n%sprotocol device {}\n"+
		"protocol kernel { merge paths on limit 32; ipv4 { import none; export all; }; }\nprotocol kernel { merge paths on limit 32; ipv6 { import none; export all; }; }\n"+
		"protocol bgp up { local as %d; neighbor %s as %d; %s connect retry time 1; error wait time 1, 2;\n"+
		" ipv4 { add paths rx; import filter from_herald; export none; }; ipv6 { add paths rx; import filter from_herald; export none; }; }\n", filter, p.farther, middle, p.own, directly(p)))
}

// neighborOfMiddle is a neighbor of the middle.
type neighborOfMiddle struct {
	Addr    string
	ASN     uint32
	AddPath bool // it gets all paths
}

func (p passing) neighbors() (list []neighborOfMiddle) {
	for i := range podsOf {
		list = append(list, neighborOfMiddle{fmt.Sprintf("10.8.0.%d", 11+i), p.nodeAS, false})
	}
	for _, b := range behind {
		list = append(list, neighborOfMiddle{b.addr, p.farther, true})
	}
	return append(list, neighborOfMiddle{watcher, p.farther, false})
}

func startMiddle(t *testing.T, n *netlab.Node, part string, p passing) {
	t.Helper()
	switch {
	case strings.HasPrefix(part, "gobgpd"):
		startGoBGP(t, n, p)
	case strings.HasPrefix(part, "frr"):
		n.FRROf(part, p.frr())
	case strings.HasPrefix(part, "bird"):
		n.BIRDOf(part, p.bird())
	default:
		n.OpenBGPD(p.openbgpd())
	}
}

func (p passing) frr() string {
	var b, family strings.Builder
	fmt.Fprintf(&b, "router bgp %d\n bgp router-id %s\n no bgp ebgp-requires-policy\n no bgp default ipv4-unicast\n", p.own, middle)
	for _, x := range p.neighbors() {
		fmt.Fprintf(&b, " neighbor %s remote-as %d\n neighbor %[1]s timers connect 1\n", x.Addr, x.ASN)
		fmt.Fprintf(&family, "  neighbor %s activate\n", x.Addr)
		if p.internal() {
			fmt.Fprintf(&family, "  neighbor %s route-reflector-client\n", x.Addr)
		}
		if x.AddPath {
			fmt.Fprintf(&family, "  neighbor %s addpath-tx-all-paths\n", x.Addr)
		}
	}
	for _, f := range []string{"ipv4", "ipv6"} {
		fmt.Fprintf(&b, " address-family %s unicast\n%s exit-address-family\n", f, family.String())
	}
	return b.String()
}

func (p passing) bird() string {
	var b strings.Builder
	fmt.Fprintf(&b, "router id %s;\nprotocol device {}\n", middle)
	for i, x := range p.neighbors() {
		client, paths := "", ""
		if p.internal() {
			client = "direct; rr client;"
		}
		if x.AddPath {
			paths = "add paths tx;"
		}
		fmt.Fprintf(&b, "protocol bgp p%d { local as %d; neighbor %s as %d; %s connect retry time 1; error wait time 1, 2;\n ipv4 { %s import all; export all; }; ipv6 { %[6]s import all; export all; }; }\n",
			i, p.own, x.Addr, x.ASN, client, paths)
	}
	return b.String()
}

func (p passing) openbgpd() string {
	var b strings.Builder
	fmt.Fprintf(&b, "AS %d\nrouter-id %s\nfib-update no\nlisten on %[2]s\nnexthop qualify via default\n", p.own, middle)
	for _, x := range p.neighbors() {
		fmt.Fprintf(&b, "neighbor %s {\n\tremote-as %d\n\tannounce IPv4 unicast\n\tannounce IPv6 unicast\n", x.Addr, x.ASN)
		if p.internal() {
			b.WriteString("\troute-reflector\n")
		}
		if x.AddPath {
			b.WriteString("\tannounce add-path send all\n")
		}
		b.WriteString("}\n")
	}
	return b.String() + "allow from any\nallow to any\n"
}

// asGoBGP makes the test binary a gobgpd with the neighbors that it reads.
const asGoBGP = "HERALD_TEST_GOBGP"

type goBGP struct {
	ASN       uint32
	Client    bool
	Neighbors []neighborOfMiddle
}

func startGoBGP(t *testing.T, n *netlab.Node, p passing) {
	t.Helper()
	cmd := n.Command(executable(t))
	cmd.Env = append(os.Environ(), asGoBGP+"=1")
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	n.StartCommand(cmd)
	if err := json.NewEncoder(in).Encode(goBGP{p.own, p.internal(), p.neighbors()}); err != nil {
		t.Fatal(err)
	}
}

// beGoBGP runs gobgp as gobgpd does, until its input ends.
func beGoBGP(in io.Reader) {
	var conf goBGP
	decoder := json.NewDecoder(in)
	if err := decoder.Decode(&conf); err != nil {
		panic(err)
	}
	level := new(slog.LevelVar)
	g := server.NewBgpServer(server.LoggerOption(slog.New(slog.NewTextHandler(os.Stderr, nil)), level))
	go g.Serve()
	ctx := context.Background()
	if err := g.StartBgp(ctx, &api.StartBgpRequest{Global: &api.Global{Asn: conf.ASN, RouterId: middle, ListenPort: 179}}); err != nil {
		panic(err)
	}
	for _, x := range conf.Neighbors {
		peer := &api.Peer{
			Conf:      &api.PeerConf{NeighborAddress: x.Addr, PeerAsn: x.ASN},
			Transport: &api.Transport{PassiveMode: true},
			RouteReflector: &api.RouteReflector{
				RouteReflectorClient: conf.Client, RouteReflectorClusterId: middle,
			},
		}
		for _, afi := range []api.Family_Afi{api.Family_AFI_IP, api.Family_AFI_IP6} {
			f := &api.AfiSafi{Config: &api.AfiSafiConfig{Family: &api.Family{Afi: afi, Safi: api.Family_SAFI_UNICAST}, Enabled: true}}
			if x.AddPath {
				f.AddPaths = &api.AddPaths{Config: &api.AddPathsConfig{SendMax: 16}}
			}
			peer.AfiSafis = append(peer.AfiSafis, f)
		}
		if err := g.AddPeer(ctx, &api.AddPeerRequest{Peer: peer}); err != nil {
			panic(err)
		}
	}
	_, _ = io.Copy(io.Discard, in)
}

// compareTable compares a table with the one of the document, both without what
// differs each time, or writes it there.
func compareTable(t *testing.T, begin, end, want string, lasting func(table string) string) {
	t.Helper()
	file := filepath.FromSlash(matrixDoc)
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok1 := strings.Cut(string(text), begin)
	old, after, ok2 := strings.Cut(rest, end)
	if !ok1 || !ok2 {
		t.Fatalf("%s: no lines %q and %q", file, begin, end)
	}
	if *updateMatrix {
		if err := os.WriteFile(file, []byte(before+begin+want+end+after), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if a, b := lasting(old), lasting(want); a != b {
		t.Errorf("%s has\n%s\nand measured was\n%s", file, a, b)
	}
}
