package sessions

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/heraldlb/herald/e2e/internal/flows"
	"github.com/heraldlb/herald/e2e/lab"
	"github.com/heraldlb/herald/e2e/stage"
)

// A link that falls silent tells nobody: only what is not heard any more does.
func TestASilentLink(t *testing.T) {
	begin(t)
	a := serve(t, "silent", on("n1", "n2", "n3"), equal)[0]
	fast := strings.Replace(config, "bfdProfile: default", "bfdProfile: fast", 1) +
		"bfdProfiles:\n- {name: fast, receiveInterval: 50ms, transmitInterval: 50ms, detectMultiplier: 3}\n"
	hold := strings.NewReplacer("  bfdProfile: default\n", "", "holdTime: 9s", "holdTime: 3s", "keepaliveTime: 3s", "keepaliveTime: 1s").Replace(config)
	for _, tt := range []struct {
		desc, config string
		router       []string
		detection    time.Duration // of BFD
		most         time.Duration
	}{
		{"BFD 300 ms x 3", config, nil, 900 * time.Millisecond, time.Second},
		{"BFD 50 ms x 3", fast, []string{
			"bfd", "profile fast", "receive-interval 50", "transmit-interval 50", "detect-multiplier 3", "exit", "exit",
			"router bgp 64512", "neighbor nodes bfd profile fast",
		}, 150 * time.Millisecond, 350 * time.Millisecond},
		{"hold time 3 s", hold, []string{"router bgp 64512", "no neighbor nodes bfd profile fast", "no neighbor nodes bfd"}, 0, 3 * time.Second},
	} {
		t.Run(tt.desc, func(t *testing.T) {
			routerConfig(t, tt.router...)
			reconfigure(t, tt.config, a)
			var outages, returns []time.Duration
			for range stage.Rounds() {
				if tt.detection > 0 {
					waitBFD(t, tt.detection)
				}
				out, back := silence(t, a, "n2", stage.Bound(tt.most))
				outages, returns = append(outages, out), append(returns, back)
			}
			slices.Sort(outages)
			slices.Sort(returns)
			median, back := outages[len(outages)/2], returns[len(returns)/2]
			t.Logf("%s: outage median %s of %s; routes back after median %s of %s", tt.desc, median, outages, back, returns)
			if most := stage.Bound(tt.most); median >= most {
				t.Errorf("the median outage was %s, want less than %s", median, most)
			}
			if most := stage.Bound(3 * time.Second); back >= most {
				t.Errorf("the route came back after %s, want less than %s", back, most)
			}
		})
	}
	routerConfig(t, "router bgp 64512", "neighbor nodes bfd")
	reconfigure(t, config, a)
	waitBFD(t, 900*time.Millisecond)
}

// silence cuts a node off, and returns for how long new connections were lost,
// and how long after the link's return the route was back.
func silence(t *testing.T, a netip.Addr, node string, expect time.Duration) (outage, back time.Duration) {
	t.Helper()
	ctx := t.Context()
	var got flows.Probe
	done := make(chan error, 1)
	go func() {
		done <- herald.Run(ctx, lab.Ext, &got, "flows", "probe", "--interval", "2ms", "--duration", (expect + 2*time.Second).String(), "--target", stage.Target(a))
	}()
	time.Sleep(500 * time.Millisecond)
	must(t, herald.Cut(ctx, node))
	cut := time.Now()
	must(t, <-done)
	if got.LastLoss == nil {
		t.Fatal("nothing was lost, so nothing was cut")
	}
	outage = got.LastLoss.Sub(cut)
	must(t, herald.WaitWeights(ctx, 10*time.Second, a, map[string]int{"n1": 1, "n3": 1}))
	must(t, herald.Restore(ctx, node))
	begun := time.Now()
	must(t, herald.WaitWeights(ctx, 30*time.Second, a, equal))
	return outage, time.Since(begun)
}

func routerConfig(t *testing.T, lines ...string) {
	t.Helper()
	if len(lines) > 0 {
		_, err := herald.Vtysh(t.Context(), append([]string{"configure terminal"}, lines...)...)
		must(t, err)
	}
}

// reconfigure waits until all speakers have their sessions and routes again.
func reconfigure(t *testing.T, text string, a netip.Addr) {
	t.Helper()
	must(t, herald.Configure(t.Context(), text))
	time.Sleep(time.Second) // for the speakers to hear of it
	waitServed(t, a, equal)
}

// waitBFD waits until the router has a session with each node, and has agreed on the
// detection time: a session begins a while after BGP's is up, and new intervals hold
// only after a poll (RFC 5880 section 6.8.3).
func waitBFD(t *testing.T, detection time.Duration) {
	t.Helper()
	must(t, stage.Wait(t.Context(), 30*time.Second, func() error {
		out, err := herald.Vtysh(t.Context(), "show bfd peers json")
		if err != nil {
			return err
		}
		var sessions []struct {
			Peer     string `json:"peer"`
			Status   string `json:"status"`
			Receive  int    `json:"receive-interval"` // ms
			Transmit int    `json:"remote-transmit-interval"`
			Times    int    `json:"remote-detect-multiplier"`
		}
		if err := json.Unmarshal([]byte(out), &sessions); err != nil {
			return fmt.Errorf("%w in %s", err, out)
		}
		n := 0
		for _, s := range sessions {
			agreed := time.Duration(s.Times*max(s.Receive, s.Transmit)) * time.Millisecond
			if s.Status == "up" && agreed == detection {
				n++
			}
		}
		if n < 3 {
			return fmt.Errorf("%d BFD sessions are up with a detection time of %s, want 3:\n%+v", n, detection, sessions)
		}
		return nil
	}))
}
