package lab

import (
	"context"
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"sort"
	"strings"
	"time"
)

const bgpdConfig = `hostname router
log stdout
!
router bgp %[1]d
 bgp router-id 10.77.0.1
 no bgp ebgp-requires-policy
 no bgp default ipv4-unicast
 bgp bestpath as-path multipath-relax
 neighbor nodes peer-group
 neighbor nodes remote-as %[2]s
 neighbor nodes passive
 neighbor nodes timers %[3]d %[4]d
%[5]s bgp listen limit 500
%[7]s address-family ipv4 unicast
  neighbor nodes activate
  maximum-paths 64
  maximum-paths ibgp 64
 exit-address-family
 address-family ipv6 unicast
  neighbor nodes activate
  maximum-paths 64
  maximum-paths ibgp 64
 exit-address-family
exit
!
%[6]s
`

// RouterConfig is the configuration of FRR in a lab with these options.
func RouterConfig(o Options) (string, error) {
	o, err := o.complete()
	return (&Lab{opts: o}).bgpdConfig(), err
}

func (l *Lab) bgpdConfig() string {
	bfd := ""
	if l.opts.BFD {
		bfd = " neighbor nodes bfd\n"
	}
	ranges := ""
	for _, s := range l.segments() {
		ranges += " bgp listen range " + s.prefix4 + "0/24 peer-group nodes\n bgp listen range " + s.prefix6 + "/64 peer-group nodes\n"
	}
	o := l.opts
	return fmt.Sprintf(bgpdConfig, o.ASN, o.PeerAS, int(o.Keepalive/time.Second), int(o.Hold/time.Second), bfd, o.RouterExtraConfig, ranges)
}

// startRouter starts the router that was asked for, and waits until it answers.
func (l *Lab) startRouter(ctx context.Context) error {
	if l.isBIRD() {
		return l.StartBIRD(ctx, l.birdConfig())
	}
	dir := l.path("frr")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	files := map[string]string{
		"zebra.conf": "hostname router\nlog stdout\n", "bfdd.conf": "log stdout\n",
		"vtysh.conf": "", "bgpd.conf": l.bgpdConfig(),
	}
	for name, content := range files {
		if err := os.WriteFile(dir+"/"+name, []byte(content), 0o644); err != nil {
			return err
		}
	}
	root, err := partRoot(ctx, l.opts.Router)
	if err != nil {
		return err
	}
	// Since FRR 9 vtysh sends what concerns interfaces to mgmtd.
	if _, err := os.Stat(root + "/usr/lib/frr/mgmtd"); err == nil {
		if err := l.startFRR("mgmtd"); err != nil {
			return err
		}
	}
	if err := l.startFRR("zebra"); err != nil {
		return err
	}
	if err := waitFor(ctx, 10*time.Second, "zebra", func() error { _, err := os.Stat(dir + "/zserv.api"); return err }); err != nil {
		return err
	}
	if l.opts.BFD {
		if err := l.startFRR("bfdd"); err != nil {
			return err
		}
	}
	return l.StartRouter(ctx)
}

func (l *Lab) isBIRD() bool { return strings.HasPrefix(l.opts.Router, "bird") }

// startFRR starts one daemon of FRR.
func (l *Lab) startFRR(name string) error {
	dir := l.path("frr")
	args := []string{"--log", "stdout", "--vty_socket", dir, "-i", dir + "/" + name + ".pid", "-z", dir + "/zserv.api"}
	if name != "mgmtd" { // which has none
		args = append(args, "-f", dir+"/"+name+".conf")
	}
	argv, err := InPart(l.opts.Router, dir, "/usr/lib/frr/"+name, args...)
	if err != nil {
		return err
	}
	return l.start(daemon{name: name, ns: l.ns(Router), argv: argv})
}

// KillRouter ends bgpd as a crash does. Its peers see a reset, and zebra takes
// its routes out of the kernel.
func (l *Lab) KillRouter() error {
	if l.isBIRD() {
		return l.kill("bird")
	}
	return l.kill("bgpd")
}

// StartRouter starts bgpd and waits until it answers.
func (l *Lab) StartRouter(ctx context.Context) error {
	if l.isBIRD() {
		return l.StartBIRD(ctx, l.birdConfig())
	}
	if err := l.startFRR("bgpd"); err != nil {
		return err
	}
	return waitFor(ctx, 10*time.Second, "bgpd (log: "+l.path("log", "bgpd.log")+")", func() error {
		out, err := l.Vtysh(ctx, "show bgp summary")
		if err == nil && strings.Contains(out, "is not running") {
			err = fmt.Errorf("%s", strings.TrimSpace(out))
		}
		return err
	})
}

// Vtysh runs commands in the router's shell, one after the other.
func (l *Lab) Vtysh(ctx context.Context, commands ...string) (string, error) {
	argv, err := l.VtyshArgv(commands...)
	if err != nil {
		return "", err
	}
	return run(ctx, "", argv...)
}

// RouterSummary is what the router says of its sessions.
func (l *Lab) RouterSummary(ctx context.Context) (string, error) {
	if l.isBIRD() {
		return l.Birdc(ctx, "show", "protocols")
	}
	return l.Vtysh(ctx, "show bgp summary")
}

// VtyshArgv is the command line that Vtysh runs.
func (l *Lab) VtyshArgv(commands ...string) ([]string, error) {
	dir := l.path("frr")
	args := []string{"--vty_socket", dir, "--config_dir", dir}
	for _, c := range commands {
		args = append(args, "-c", c)
	}
	return InPart(l.opts.Router, dir, "/usr/bin/vtysh", args...)
}

// A NextHop is one way of a route in the router's kernel.
type NextHop struct {
	Via    netip.Addr
	Dev    string
	Weight int // 1 if the kernel names none
}

type kernelRoute struct {
	Dst      string
	Type     string
	Protocol string
	kernelHop
	Nexthops []kernelHop
}

type kernelHop struct {
	Gateway netip.Addr
	Via     struct{ Host netip.Addr }
	Dev     string
	Weight  int
}

func (h kernelHop) nextHop() NextHop {
	via := h.Gateway
	if !via.IsValid() {
		via = h.Via.Host
	}
	return NextHop{Via: via, Dev: h.Dev, Weight: max(h.Weight, 1)}
}

// RouterRoute returns the next hops that the router's kernel has for a prefix,
// sorted by address; none if it has no such route.
func (l *Lab) RouterRoute(ctx context.Context, prefix netip.Prefix) ([]NextHop, error) {
	routes, err := l.RouterRoutes(ctx, prefix)
	return routes[prefix], err
}

// RouterRoutes returns every route of the router's kernel within a prefix.
func (l *Lab) RouterRoutes(ctx context.Context, within netip.Prefix) (map[netip.Prefix][]NextHop, error) {
	family := "-4"
	if within.Addr().Is6() {
		family = "-6"
	}
	out, err := l.Exec(ctx, Router, "ip", "-j", family, "route", "show", "root", within.String())
	if err != nil {
		return nil, err
	}
	return parseRoutes([]byte(out))
}

func parseRoutes(text []byte) (map[netip.Prefix][]NextHop, error) {
	routes := map[netip.Prefix][]NextHop{}
	if len(strings.TrimSpace(string(text))) == 0 {
		return routes, nil
	}
	var list []kernelRoute
	if err := json.Unmarshal(text, &list); err != nil {
		return nil, fmt.Errorf("read the router's routes: %w", err)
	}
	for _, r := range list {
		prefix, err := parsePrefix(r.Dst)
		if err != nil {
			return nil, fmt.Errorf("read the router's routes: %w", err)
		}
		hops := r.Nexthops
		if len(hops) == 0 {
			hops = []kernelHop{r.kernelHop}
		}
		for _, h := range hops {
			routes[prefix] = append(routes[prefix], h.nextHop())
		}
	}
	for _, hops := range routes {
		sort.Slice(hops, func(i, j int) bool { return hops[i].Via.Less(hops[j].Via) })
	}
	return routes, nil
}

// parsePrefix reads what ip writes: it leaves out the length of host routes.
func parsePrefix(s string) (netip.Prefix, error) {
	if s == "default" {
		return netip.Prefix{}, nil
	}
	if strings.Contains(s, "/") {
		return netip.ParsePrefix(s)
	}
	addr, err := netip.ParseAddr(s)
	if err != nil {
		return netip.Prefix{}, err
	}
	return netip.PrefixFrom(addr, addr.BitLen()), nil
}
