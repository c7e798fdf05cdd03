package routers

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/heraldlb/herald/e2e/lab"
	"github.com/heraldlb/herald/e2e/stage"
)

// A router is what stands before the nodes, until another is put there.
type router struct {
	name       string
	begin, end func(*testing.T)
}

var plainFRR = frr("FRR")

// now is the router that runs. The lab begins with FRR as it comes.
var now = plainFRR

// use puts a router before the nodes. Nothing is left of the one that was there.
func use(t *testing.T, r router) {
	t.Helper()
	if now.name == r.name {
		return
	}
	now.end(t)
	for _, a := range served {
		waitHops(t, 5*time.Second, stage.Host(a), "")
	}
	now = r
	r.begin(t)
}

// frr is FRR, which takes any node of another AS, with more lines in `router bgp`.
func frr(name string, lines ...string) router {
	begin := func(t *testing.T) {
		must(t, herald.StartRouter(t.Context()))
		if len(lines) > 0 {
			_, err := herald.Vtysh(t.Context(), append([]string{"configure terminal", "router bgp 64512"}, lines...)...)
			must(t, err)
		}
	}
	return router{name, begin, func(t *testing.T) { must(t, herald.KillRouter()) }}
}

// frrSinglePath takes one path of a prefix from a neighbour.
var frrSinglePath = frr("FRR without ADD-PATH",
	"address-family ipv4 unicast", "neighbor nodes disable-addpath-rx", "exit-address-family",
	"address-family ipv6 unicast", "neighbor nodes disable-addpath-rx", "exit-address-family")

// documentedBIRD is BIRD with the very text of docs/configuration.md, but for
// the addresses.
func documentedBIRD(t *testing.T) router {
	i := slices.IndexFunc(blocks(t), func(b block) bool { return b.kind == "bird" && strings.Contains(b.text, "from_herald") })
	if i < 0 {
		t.Fatal("docs/configuration.md shows no filter for BIRD any more")
	}
	text := blocks(t)[i].text
	for documented, here := range map[string]string{"10.0.0.0/24": lab.LAN4, "198.51.100.0/24": lab.VIP4, "2001:db8:5::/112": lab.VIP6} {
		if !strings.Contains(text, documented) {
			t.Fatalf("the block for BIRD does not have %s any more:\n%s", documented, text)
		}
		text = strings.ReplaceAll(text, documented, here)
	}
	conf := "router id " + lab.Router4 + ";\nprotocol device {}\n" + text
	return router{
		"BIRD",
		func(t *testing.T) { must(t, herald.StartBIRD(t.Context(), conf)) },
		func(t *testing.T) { must(t, herald.StopBIRD(t.Context())) },
	}
}

const goBGP = "github.com/osrg/gobgp/v4/cmd/gobgpd@v4.8.0"

// reflected is FRR with one neighbour only, a gobgpd that reflects the routes of
// the nodes. All are in one AS.
func reflected(t *testing.T) router {
	r := frr("FRR behind a reflector",
		"no bgp listen range "+lab.LAN4+" peer-group nodes", "no bgp listen range "+lab.LAN6+" peer-group nodes",
		"neighbor "+lab.LANClient4+" remote-as internal", "neighbor "+lab.LANClient4+" timers connect 2",
		"address-family ipv4 unicast", "neighbor "+lab.LANClient4+" activate", "exit-address-family",
		"address-family ipv6 unicast", "neighbor "+lab.LANClient4+" activate", "exit-address-family")
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	alone, ended := r, make(chan struct{})
	r.begin = func(t *testing.T) {
		reflect(ctx, t, ended)
		alone.begin(t)
	}
	r.end = func(t *testing.T) {
		cancel()
		<-ended
		alone.end(t)
	}
	return r
}

const reflector = `[global.config]
  as = 64512
  router-id = "` + lab.LANClient4 + `"
`

// A client of the reflector. ADD-PATH lets it hand on the path of each node, not
// only the best.
const client = `[[neighbors]]
  [neighbors.config]
    neighbor-address = "%s"
    peer-as = 64512
  [neighbors.transport.config]
    passive-mode = true
  [neighbors.route-reflector.config]
    route-reflector-client = true
    route-reflector-cluster-id = "` + lab.LANClient4 + `"
%s`

const familyOfClient = `  [[neighbors.afi-safis]]
    [neighbors.afi-safis.config]
      afi-safi-name = "%s"
    [neighbors.afi-safis.add-paths.config]
      send-max = %d
      receive = %t
`

// reflect runs gobgpd on the nodes' link until ctx ends.
func reflect(ctx context.Context, t *testing.T, ended chan struct{}) {
	must(t, lab.Install(t.Context(), os.Stderr, goBGP))
	bin, err := lab.BinDir()
	must(t, err)
	conf := reflector
	families := func(send int, receive bool) string {
		return fmt.Sprintf(familyOfClient+familyOfClient, "ipv4-unicast", send, receive, "ipv6-unicast", send, receive)
	}
	for _, n := range herald.Nodes() {
		conf += fmt.Sprintf(client, n.Addr4, families(0, true))
	}
	conf += fmt.Sprintf(client, lab.Router4, families(16, false))
	file := filepath.Join(herald.Dir(), "gobgpd.toml")
	must(t, os.WriteFile(file, []byte(conf), 0o644))
	cmd, err := herald.Command(ctx, lab.LANClient, filepath.Join(bin, "gobgpd"), "-f", file, "--pprof-disable", "--api-hosts", "127.0.0.1:50051")
	must(t, err)
	log, err := os.Create(filepath.Join(herald.Dir(), "log", "gobgpd.log"))
	must(t, err)
	cmd.Stdout, cmd.Stderr = log, log
	must(t, cmd.Start())
	go func() {
		defer close(ended)
		_ = cmd.Wait()
		log.Close()
	}()
}

// hops are the next hops of the router's kernel for a prefix, as text.
func hops(t *testing.T, prefix netip.Prefix, want string) error {
	found, err := herald.RouterRoute(t.Context(), prefix)
	if err != nil {
		return err
	}
	var list []string
	for _, h := range found {
		list = append(list, fmt.Sprintf("%s*%d", h.Via, h.Weight))
	}
	if got := strings.Join(list, " "); got != want {
		return fmt.Errorf("%s has the route to %s by %s, want %s", now.name, prefix, got, want)
	}
	return nil
}

// waitHops waits until the router's kernel has these next hops.
func waitHops(t *testing.T, atMost time.Duration, prefix netip.Prefix, want string) {
	t.Helper()
	must(t, stage.Wait(t.Context(), atMost, func() error { return hops(t, prefix, want) }))
}
