package routers

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/heraldlb/herald/e2e/lab"
	"github.com/heraldlb/herald/e2e/stage"
)

// With podCIDRs the router learns where each node's pods are, without a weight, and a
// client behind it asks a pod by the pod's own address. A node that drains takes its
// prefixes back.
func TestPodsAreReachedByTheirOwnAddresses(t *testing.T) {
	begin(t)
	ctx := t.Context()
	must(t, herald.RunPods(ctx, "bare", map[string]int{"n1": 1, "n2": 1}))
	waitPods(t, nil) // nobody asks for them
	must(t, herald.Configure(ctx, configured(64513, external, "advertisements:\n- podCIDRs: true\n  communities: [\"64512:7\"]\n")))
	waitPods(t, map[int]bool{1: true, 2: true, 3: true})
	t.Cleanup(func() { must(t, fabric("replace")) })
	must(t, fabric("del"))
	for _, pod := range []string{"bare-n1-0", "bare-n2-0"} {
		out, err := herald.Kubectl(ctx, "get", "pod", pod, "-o", "jsonpath={.status.podIPs[*].ip}")
		must(t, err)
		addrs := strings.Fields(out)
		if len(addrs) != 2 {
			t.Fatalf("%s has %v, want an address of each family", pod, addrs)
		}
		for _, text := range addrs {
			a := netip.AddrPortFrom(netip.MustParseAddr(text), 8080)
			must(t, stage.Wait(ctx, 5*time.Second, func() error {
				_, err := herald.Exec(ctx, lab.Ext, "curl", "-sfgm2", "-o", "/dev/null", "http://"+a.String()+"/healthz")
				return err
			}))
		}
	}
	must(t, fabric("replace"))
	must(t, herald.WaitMetric(ctx, 5*time.Second, "n1", stage.Is(2), "herald_bgp_pod_cidrs_announced"))

	t.Cleanup(func() { _, _ = herald.Kubectl(context.Background(), "annotate", "node", "n2", "heraldlb.io/drain-") })
	_, err := herald.Kubectl(ctx, "annotate", "node", "n2", "heraldlb.io/drain=true")
	must(t, err)
	waitPods(t, map[int]bool{1: true, 3: true})
	_, err = herald.Kubectl(ctx, "annotate", "node", "n2", "heraldlb.io/drain-")
	must(t, err)
	waitPods(t, map[int]bool{1: true, 2: true, 3: true})
	must(t, herald.Configure(ctx, configured(64513, external, "")))
	waitPods(t, nil)
}

// fabric takes away, or puts back, the routes to pods that the lab's router has by
// itself: the control plane reaches pods by them.
func fabric(do string) error {
	for i := 1; i <= 3; i++ {
		n := lab.NodeAt(i)
		for cidr, via := range map[string]string{n.PodCIDR4: n.Addr4, n.PodCIDR6: n.Addr6} {
			if _, err := herald.Exec(context.Background(), lab.Router, "ip", "route", do, cidr, "via", via); err != nil {
				return err
			}
		}
	}
	return nil
}

// waitPods waits until the router has a path to the pods of just these nodes, from the
// node itself, in each family.
func waitPods(t *testing.T, nodes map[int]bool) {
	t.Helper()
	must(t, stage.Wait(t.Context(), 30*time.Second, func() error {
		for i := 1; i <= 3; i++ {
			n := lab.NodeAt(i)
			for _, cidr := range []string{n.PodCIDR4, n.PodCIDR6} {
				paths, err := learnt(t, netip.MustParsePrefix(cidr))
				if err != nil {
					return err
				}
				var lines []string
				for _, p := range paths {
					lines = append(lines, p.String())
				}
				got, want := strings.Join(lines, "\n"), ""
				if nodes[i] {
					want = n.Addr4 + " external, AS 64513, LOCAL_PREF 0, MED 0, 64512:7, , "
				}
				if got != want {
					return fmt.Errorf("the router's paths to %s are %q, want %q", cidr, got, want)
				}
			}
		}
		return nil
	}))
}
