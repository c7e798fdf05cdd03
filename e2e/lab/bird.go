package lab

import (
	"context"
	"fmt"
	"os"
	"strings"
	"time"
)

// birdConfig lets any node of the nodes' segments in, and takes its weights from
// the community that Herald sends by default (docs/routers.md).
func (l *Lab) birdConfig() string {
	var b strings.Builder
	fmt.Fprintf(&b, "router id %s;\nprotocol device {}\n%s", Router4, birdFilter)
	for _, f := range []string{"ipv4", "ipv6"} {
		fmt.Fprintf(&b, "protocol kernel { merge paths on limit 64; %s { import none; export where source = RTS_BGP; }; }\n", f)
	}
	if l.opts.BFD {
		b.WriteString("protocol bfd { interface \"*\" { interval 300 ms; multiplier 3; }; }\n")
	}
	o := l.opts
	for _, s := range l.segments() {
		for _, prefix := range []string{s.prefix4 + "0/24", s.prefix6 + "/64"} {
			fmt.Fprintf(&b, "protocol bgp { local as %d; neighbor range %s %s; hold time %d; keepalive time %d; error wait time 1, 2; bfd %s;%s\n",
				o.ASN, prefix, birdPeerAS(o.PeerAS), int(o.Hold.Seconds()), int(o.Keepalive.Seconds()), onOff(o.BFD), direct(o.PeerAS))
			b.WriteString("  ipv4 { add paths rx; import filter from_herald; export none; };\n  ipv6 { add paths rx; import filter from_herald; export none; };\n}\n")
		}
	}
	return b.String() + o.RouterExtraConfig
}

// birdFilter knows neither our AS number nor how many there are: it takes 10001 to
// 10256 for weights, whoever's community it is.
const birdFilter = `filter from_herald {
  for pair c in bgp_community do
    if c.asn != 65535 && c.data >= 10001 && c.data <= 10256 then weight = c.data - 10000;
  if (65535, 0) ~ bgp_community then bgp_local_pref = 0;
  accept;
}
`

func birdPeerAS(as string) string {
	if as == "external" || as == "internal" {
		return as
	}
	return "as " + as
}

// direct: inside an AS BIRD would look for another route to the next hop.
func direct(as string) string {
	if as == "internal" {
		return " direct;"
	}
	return ""
}

func onOff(on bool) string {
	if on {
		return "on"
	}
	return "off"
}

// StartBIRD makes the router a BIRD with this configuration: the one that the lab
// has, or the default one after KillRouter has ended FRR's bgpd. StopBIRD and
// StartRouter turn back.
func (l *Lab) StartBIRD(ctx context.Context, config string) error {
	return l.StartBIRDOf(ctx, l.bird(), config)
}

// StartBIRDOf is StartBIRD with one of the BIRDs that Parts lists.
func (l *Lab) StartBIRDOf(ctx context.Context, part, config string) error {
	if err := Part(ctx, part); err != nil {
		return err
	}
	dir := l.path("bird")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(dir+"/bird.conf", []byte(config), 0o644); err != nil {
		return err
	}
	argv, err := InPart(part, dir, "/usr/sbin/bird", "-f", "-c", dir+"/bird.conf", "-s", dir+"/ctl", "-P", dir+"/pid")
	if err != nil {
		return err
	}
	if err := l.start(daemon{name: "bird", ns: l.ns(Router), argv: argv}); err != nil {
		return err
	}
	return waitFor(ctx, 10*time.Second, "bird (log: "+l.path("log", "bird.log")+")", func() error {
		out, err := l.Birdc(ctx, "show", "status")
		if err == nil && !strings.Contains(out, "Daemon is up") {
			err = fmt.Errorf("%s", strings.TrimSpace(out))
		}
		return err
	})
}

func (l *Lab) bird() string {
	if l.isBIRD() {
		return l.opts.Router
	}
	return DefaultBIRD
}

// StopBIRD ends bird, which takes its routes out of the kernel.
func (l *Lab) StopBIRD(ctx context.Context) error {
	bird := l.state().Procs["bird"]
	if _, err := l.Birdc(ctx, "down"); err != nil {
		return err
	}
	return waitFor(ctx, 10*time.Second, "bird to end", func() error {
		if bird.alive() {
			return fmt.Errorf("process %d is still there", bird.PID)
		}
		return nil
	})
}

// Birdc runs a command in the shell of the router's BIRD.
func (l *Lab) Birdc(ctx context.Context, command ...string) (string, error) {
	return l.inPart(ctx, l.bird(), l.path("bird"), "/usr/sbin/birdc", append([]string{"-s", l.path("bird", "ctl")}, command...)...)
}
