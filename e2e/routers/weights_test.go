package routers

import (
	"fmt"
	"math"
	"net/netip"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/heraldlb/herald/e2e/internal/flows"
	"github.com/heraldlb/herald/e2e/lab"
	"github.com/heraldlb/herald/e2e/stage"
)

// pods of the Service that all tests share.
var pods = map[string]int{"n1": 1, "n2": 3, "n3": 4}

// What a router's kernel can have. FRR 10.3 scales weights so that the greatest is
// 254.
const (
	scaled = "10.77.0.11*63 10.77.0.12*190 10.77.0.13*254"
	exact  = "10.77.0.11*1 10.77.0.12*3 10.77.0.13*4"
	equal  = "10.77.0.11*1 10.77.0.12*1 10.77.0.13*1"
)

// Of each node its own address, and aliases of 10.77.0.64/28 and so on.
const (
	eight4 = "10.77.0.11*1 10.77.0.12*1 10.77.0.13*1" +
		" 10.77.0.76*1 10.77.0.77*1 10.77.0.92*1 10.77.0.93*1 10.77.0.109*1"
	eight6 = "fd77::11*1 fd77::12*1 fd77::13*1" +
		" fd77::112*1 fd77::113*1 fd77::212*1 fd77::213*1 fd77::313*1"
)

const byPaths = `  weights: addPath
  addPath:
    prefixes: [10.77.0.64/28, 10.77.0.80/28, 10.77.0.96/28, "fd77::100/120", "fd77::200/120", "fd77::300/120"]
`

// internal is the reflector, in the one AS that all are in.
const internal = `
- name: reflector
  address: ` + lab.LANClient4 + `
  asn: 64512
  holdTime: 9s
  keepaliveTime: 3s
  connectRetryTime: 2s
`

// TestWeights takes its rows in their order. No router has the weights of a row
// already when the one before ends, and those that need manifests/overlays/add-path
// come last.
func TestWeights(t *testing.T) {
	begin(t)
	addrs := serve(t)
	bird := documentedBIRD(t)
	for _, tc := range []struct {
		desc         string
		router       router
		asn          int
		peer         string
		want4, want6 string // empty: like want4
		flows        int
	}{
		{"the default on FRR", plainFRR, 64513, external, scaled, "", 10_000},
		{"none on FRR", plainFRR, 64513, external + "  weights: none\n", equal, "", 0},
		{"one form of the link bandwidth on FRR", plainFRR, 64513, external + "  weights: linkBandwidth\n  linkBandwidth: transitive\n", scaled, "", 0},
		{"the other form on FRR, which ignores it", plainFRR, 64513, external + "  linkBandwidth: nonTransitive\n", equal, "", 0},
		// gobgpd writes the transitive form as the other one, which FRR 10.3 ignores.
		{"the default over gobgpd as a reflector", reflected(t), 64512, internal, equal, "", 0},
		{"link bandwidth alone on BIRD, which does not know it", bird, 64513, external + "  weights: linkBandwidth\n", equal, "", 0},
		{"the default on BIRD with the documented filter", bird, 64513, external, exact, "", 10_000},
		{"paths on BIRD", bird, 64513, external + byPaths, eight4, eight6, 10_000},
		{"paths over a reflector", reflected(t), 64512, internal + byPaths, eight4, eight6, 10_000},
		{"paths on FRR without ADD-PATH", frrSinglePath, 64513, external + byPaths, equal, "", 0},
		{"paths on FRR", plainFRR, 64513, external + byPaths, eight4, eight6, 10_000},
	} {
		t.Run(tc.desc, func(t *testing.T) {
			want6 := tc.want6
			if want6 == "" {
				want6 = strings.ReplaceAll(tc.want4, "10.77.0.", "fd77::")
			}
			if strings.Contains(tc.peer, byPaths) {
				permit(t)
			}
			use(t, tc.router)
			must(t, herald.Configure(t.Context(), configured(tc.asn, tc.peer, "")))
			begun := time.Now()
			waitHops(t, 40*time.Second, stage.Host(addrs[0]), tc.want4)
			waitHops(t, 10*time.Second, stage.Host(addrs[1]), want6)
			t.Logf("after %.1f s: %s", time.Since(begun).Seconds(), tc.want4)
			for _, a := range addrs {
				checkShares(t, a, tc.flows)
			}
		})
	}
	t.Run("no alias is left without addPath", func(t *testing.T) {
		must(t, herald.Configure(t.Context(), configured(64513, external, "")))
		for _, n := range herald.Nodes() {
			must(t, stage.Wait(t.Context(), 10*time.Second, func() error { return onlyOwn(t, n) }))
		}
	})
}

// onlyOwn says which global addresses a node has besides its own.
func onlyOwn(t *testing.T, n lab.Node) error {
	out, err := herald.Exec(t.Context(), n.Name, "ip", "-o", "address", "show", "dev", "eth0", "scope", "global")
	if err != nil {
		return err
	}
	if strings.Count(out, "\n") != 2 || !strings.Contains(out, n.Addr4+"/24") || !strings.Contains(out, n.Addr6+"/64") {
		return fmt.Errorf("node %s has addresses\n%swant only %s and %s", n.Name, out, n.Addr4, n.Addr6)
	}
	return nil
}

// TestForms looks at the two forms of the link bandwidth with BIRD's eyes, since
// FRR does not tell which one it got.
func TestForms(t *testing.T) {
	begin(t)
	a := serve(t)[0]
	use(t, documentedBIRD(t))
	for form, want := range map[string]string{
		"nonTransitive": "(unknown 0x4004, 64513, ", "transitive": "(unknown 0x4, 64513, ", "both": "(unknown 0x4, 64513, ",
	} {
		must(t, herald.Configure(t.Context(), configured(64513, external+"  linkBandwidth: "+form+"\n", "")))
		must(t, stage.Wait(t.Context(), 40*time.Second, func() error {
			out, err := herald.Birdc(t.Context(), "show", "route", "for", a.String(), "all")
			if err == nil && (strings.Count(out, want) != 3 || strings.Count(out, "BGP.ext_community") != 3) {
				err = fmt.Errorf("%s: BIRD does not have %q from each node:\n%s", form, want, out)
			}
			return err
		}))
	}
}

var permitted = false

// permit gives the speakers the right to add aliases, and they keep it.
func permit(t *testing.T) {
	t.Helper()
	if permitted {
		return
	}
	must(t, herald.Manifests(t.Context(), "overlays/add-path"))
	must(t, herald.WaitReplicas(t.Context()))
	permitted = true
}

var served []netip.Addr

// serve creates the Service, once, and returns its addresses, IPv4 first.
func serve(t *testing.T) []netip.Addr {
	t.Helper()
	if served != nil {
		return served
	}
	ctx := t.Context()
	must(t, herald.RunPods(ctx, "web", pods))
	must(t, herald.Create(ctx, stage.Service{Name: "web"}))
	addrs, err := herald.WaitAddrs(ctx, "web", 2)
	must(t, err)
	if addrs[0].Is6() {
		addrs[0], addrs[1] = addrs[1], addrs[0]
	}
	served = addrs
	return served
}

// checkShares opens n flows, whose shares on the nodes must be as the pods. Herald
// announces a node only after kube-proxy is ready there, so no flow may fail.
func checkShares(t *testing.T, a netip.Addr, n int) {
	t.Helper()
	if n == 0 {
		return
	}
	var got flows.Shares
	must(t, herald.Run(t.Context(), lab.Ext, &got, "flows", "shares", "--json", "--first-port", "10000",
		"--n", strconv.Itoa(n), "--target", stage.Target(a)))
	if got.Failed != 0 {
		t.Errorf("%d of %d flows to %s failed: %v", got.Failed, n, a, got.Errors)
	}
	share, sum := map[string]float64{}, 0
	for _, p := range got.Pods {
		share[p.Node] += p.Share
	}
	for _, count := range pods {
		sum += count
	}
	said := ""
	for _, node := range herald.Nodes() {
		ideal := float64(pods[node.Name]) / float64(sum)
		said += fmt.Sprintf(", %s %.1f (%.1f)", node.Name, 100*share[node.Name], 100*ideal)
		if math.Abs(share[node.Name]-ideal) > ideal/10 {
			t.Errorf("%s: %s got %.1f %% of the flows, want %.1f %% within a tenth", a, node.Name, 100*share[node.Name], 100*ideal)
		}
	}
	t.Logf("%s: percents of %d flows (ideal)%s, in %.1f s", a, n, said, got.Seconds)
}
