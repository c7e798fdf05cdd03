package flows

import (
	"context"
	"errors"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/heraldlb/herald/e2e/internal/echo"
)

// startServer starts an echo server and returns it as a target, and how to kill it.
func startServer(t *testing.T, host, proto string) (Target, func()) {
	t.Helper()
	ctx, kill := context.WithCancel(t.Context())
	s, err := echo.Listen(ctx, echo.Options{Pod: "web", Node: "n1"})
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.Serve(ctx)
	}()
	end := func() {
		kill()
		<-done
	}
	t.Cleanup(end)
	return Target{netip.AddrPortFrom(netip.MustParseAddr(host), uint16(s.Port())), proto}, end
}

func TestEveryFlowIsCountedOnce(t *testing.T) {
	for _, host := range []string{"127.0.0.1", "::1"} {
		for _, proto := range []string{"tcp", "udp"} {
			t.Run(proto+" "+host, func(t *testing.T) {
				target, _ := startServer(t, host, proto)
				got, err := RunShares(t.Context(), SharesOptions{Target: target, N: 1000})
				if err != nil {
					t.Fatal(err)
				}
				if want := []PodCount{{"web", "n1", 1000, 1}}; !reflect.DeepEqual(got.Pods, want) || got.Failed != 0 {
					t.Errorf("got %v, %d failed %v, want %v", got.Pods, got.Failed, got.Errors, want)
				}
				if got.Clients[host] != 1000 {
					t.Errorf("clients %v, want 1000 times %s", got.Clients, host)
				}
			})
		}
	}
}

func TestFlowsToNobodyAreFailures(t *testing.T) {
	for _, proto := range []string{"tcp", "udp"} {
		target, kill := startServer(t, "127.0.0.1", proto)
		kill()
		got, err := RunShares(t.Context(), SharesOptions{Target: target, N: 20})
		if err != nil || got.Failed != 20 || got.Errors["refused"] != 20 {
			t.Errorf("%s: %+v, %v, want 20 refused", proto, got, err)
		}
	}
}

func TestSourcePortsWrapAround(t *testing.T) {
	for _, r := range []struct {
		first uint16
		n     int64
		want  uint16
	}{{2048, 0, 2048}, {2048, 63487, 65535}, {2048, 63488, 2048}, {65535, 1, 2048}, {40000, 30000, 6512}} {
		if got := portAfter(r.first, r.n); got != r.want {
			t.Errorf("port %d after %d: %d, want %d", r.n, r.first, got, r.want)
		}
	}
}

func TestOutages(t *testing.T) {
	begin := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	const step = 10 * time.Millisecond
	rows := []struct {
		desc    string
		results string // + answered, - lost, one each 10 ms
		lost    int
		outages []float64 // ms
	}{
		{"nothing sent", "", 0, nil},
		{"all answered", "++++", 0, nil},
		{"one lost", "++-+", 1, []float64{10}},
		{"two outages", "+--+-++", 3, []float64{20, 10}},
		{"lost from the start", "---+", 3, []float64{30}},
		{"lost to the end", "+---", 3, []float64{30}},
	}
	for _, r := range rows {
		t.Run(r.desc, func(t *testing.T) {
			var results []probeResult
			for i, c := range r.results { // in reverse: answers come in any order
				results = append([]probeResult{{begin.Add(time.Duration(i) * step), c == '+'}}, results...)
			}
			p := summary(results, begin.Add(time.Duration(len(r.results))*step))
			var got []float64
			for _, o := range p.Outages {
				got = append(got, o.DurationMS)
			}
			if p.Lost != r.lost || !reflect.DeepEqual(got, r.outages) {
				t.Errorf("lost %d, outages %v, want %d, %v", p.Lost, got, r.lost, r.outages)
			}
		})
	}
}

func TestProbeSeesTheServerDie(t *testing.T) {
	target, kill := startServer(t, "127.0.0.1", "tcp")
	time.AfterFunc(300*time.Millisecond, kill)
	p, err := RunProbe(t.Context(), ProbeOptions{Target: target, Duration: 600 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	if len(p.Outages) != 1 || p.Outages[0].Lost != p.Lost || p.Lost == 0 || p.Lost == p.Sent {
		t.Errorf("%d of %d lost in outages %+v, want one outage at the end", p.Lost, p.Sent, p.Outages)
	}
}

func TestFirstAnswer(t *testing.T) {
	target, _ := startServer(t, "::1", "udp")
	f, err := RunFirst(t.Context(), ProbeOptions{Target: target, Duration: 5 * time.Second})
	if err != nil || f.Pod != "web" || f.AnsweredNS < f.SentNS {
		t.Errorf("%+v, %v", f, err)
	}
}

func TestNoFirstAnswer(t *testing.T) {
	target, kill := startServer(t, "127.0.0.1", "tcp")
	kill()
	_, err := RunFirst(t.Context(), ProbeOptions{Target: target, Duration: 100 * time.Millisecond})
	if !errors.Is(err, ErrNoAnswer) {
		t.Errorf("got %v, want no answer", err)
	}
}

func TestHeldConnections(t *testing.T) {
	target, kill := startServer(t, "127.0.0.1", "tcp")
	o := HoldOptions{Target: target, N: 50, Interval: 20 * time.Millisecond, Duration: 300 * time.Millisecond}
	for _, o.Size = range []int{0, 100_000} {
		h, err := RunHold(t.Context(), o)
		if err != nil || h.Established != 50 || h.Broken != 0 || h.Requests < 200 {
			t.Errorf("requests of %d bytes: %+v, %v, want 50 connections and none broken", o.Size, h, err)
		}
	}
	o.Duration = 5 * time.Second
	time.AfterFunc(200*time.Millisecond, kill)
	h, err := RunHold(t.Context(), o)
	if err != nil || h.Broken != 50 || h.Kinds["reset"] != 50 || h.Pods[0] != (HoldPod{"web", "n1", 50, 50}) {
		t.Errorf("%+v, %v, want 50 reset", h, err)
	}
}

func TestWhatIsRefused(t *testing.T) {
	target := Target{netip.MustParseAddrPort("127.0.0.1:1"), "tcp"}
	udp := Target{target.Addr, "udp"}
	_, none := RunShares(t.Context(), SharesOptions{Target: target})
	_, many := RunShares(t.Context(), SharesOptions{Target: target, N: MaxFlows + 1})
	_, endless := RunProbe(t.Context(), ProbeOptions{Target: target})
	_, flood := RunProbe(t.Context(), ProbeOptions{Target: target, Duration: time.Second, Interval: time.Microsecond})
	_, noTCP := RunHold(t.Context(), HoldOptions{Target: udp, N: 1, Duration: time.Second})
	_, huge := RunHold(t.Context(), HoldOptions{Target: target, N: 1, Duration: time.Second, Size: 1<<20 + 1})
	_, noAddr := ParseTarget("10.0.0.1", "tcp")
	_, noProto := ParseTarget("10.0.0.1:80", "sctp")
	for want, got := range map[string]error{
		"0 flows": none, "60001 flows": many, "duration 0s": endless, "interval 1µs": flood,
		"1048577 bytes": huge, "only tcp": noTCP, `target "10.0.0.1"`: noAddr, `protocol "sctp"`: noProto,
	} {
		if got == nil || !strings.Contains(got.Error(), want) {
			t.Errorf("got %v, want %s", got, want)
		}
	}
}
