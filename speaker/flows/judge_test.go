package flows

import (
	"context"
	"errors"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/heraldlb/herald/internal/bubble"
	"github.com/heraldlb/herald/internal/share"
)

// report is of a node with one of three equal weights that counts so many flows.
func report(flows uint32, addrs ...netip.Addr) share.Report {
	r := share.Report{Every: 10 * time.Second}
	for _, a := range addrs {
		r.Addresses = append(r.Addresses, share.Address{
			Addr: a, Nodes: []share.Weight{{Node: "n1", Weight: 1}, {Node: "n2", Weight: 1}, {Node: "n3", Weight: 1}}, Samples: 30,
			Offers: []share.Offer{{Peer: "tor", Router: "10.0.0.1", Weight: 1, Up: true}},
			Flows:  []share.Series{{Router: "10.0.0.1", Counts: share.Counts{0, 0, flows, 0, 0}}},
		})
	}
	return r
}

// TestTheFirstNodeJudges has the others answer over HTTP, and their counts change.
func TestTheFirstNodeJudges(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		counts := map[string]uint32{"n1": 1000, "n2": 1000, "n3": 1000}
		away := map[string]bool{}
		at := map[string]netip.Addr{"n2": addr("10.0.0.2"), "n3": addr("10.0.0.3")}
		var events []string
		m, err := New(Options{
			Node: "n1", Situation: func() Situation { return Situation{Nodes: at} },
			Ask: func(_ context.Context, a netip.Addr) (share.Report, error) {
				for node, where := range at {
					if where == a && away[node] {
						return share.Report{}, errors.New("refused")
					}
					if where == a {
						return report(counts[node], vip), nil
					}
				}
				return share.Report{}, errors.New("nobody is there")
			},
			Wrong: func(v share.Verdict) { events = append(events, v.Says()) },
		})
		if err != nil {
			t.Fatal(err)
		}
		kind := func() string {
			m.told.Store(&told{report: report(counts["n1"], vip), at: time.Now()})
			m.round(t.Context())
			v := m.Verdicts()
			if len(v) != 1 || v[0].Addr != vip {
				t.Fatalf("the verdicts are %+v", v)
			}
			return string(v[0].Kind)
		}
		step := func(what, want string, many int) {
			t.Helper()
			if got := kind(); got != want || len(events) != many {
				t.Errorf("%s: %s, not %s; told were %q", what, got, want, events)
			}
		}
		step("all the same", "right", 0)
		counts["n1"] = 100
		step("n1 gets less", "wrong", 1)
		step("and still", "wrong", 1)
		counts = map[string]uint32{}
		step("no flows", "too few", 1)
		counts = map[string]uint32{"n1": 1000}
		step("n1 gets all", "wrong", 1)
		counts = map[string]uint32{"n1": 1000, "n2": 1000, "n3": 1000}
		step("right again", "right", 1)
		counts["n3"] = 100
		step("n3 gets less", "wrong", 2)
		away["n3"] = true
		step("n3 does not answer", "right", 2)
		if u := m.Unheard(); len(u) != 1 || u["n3"] != "refused" {
			t.Errorf("unheard are %v", u)
		}
		delete(at, "n2")
		step("nor is n2 to be found", "unknown", 2)

		m.told.Store(&told{report: report(100, addr("198.51.100.9"))})
		if got := First(m.Report(), "n2").Addresses; len(got) > 0 {
			t.Errorf("n2 would judge %+v", got)
		}
	})
}

func TestAskOverHTTP(t *testing.T) {
	m, err := New(Options{Node: "n2", Situation: func() Situation { return Situation{} }})
	if err != nil {
		t.Fatal(err)
	}
	m.told.Store(&told{report: report(7, vip), at: time.Now().Add(-3 * time.Second)})
	server := httptest.NewServer(m.Handler())
	defer server.Close()
	u, _ := url.Parse(server.URL)
	port, _ := strconv.ParseUint(u.Port(), 10, 16)
	got, err := Asker("n1", uint16(port))(t.Context(), addr("127.0.0.1"))
	if err != nil {
		t.Fatal(err)
	}
	if a, ok := got.Of(vip); !ok || a.Flows[0].Counts[2] != 7 || got.Age < 3*time.Second || got.Age > time.Minute {
		t.Errorf("got %+v", got)
	}
	if got, err := Asker("n3", uint16(port))(t.Context(), addr("127.0.0.1")); err != nil || len(got.Addresses) != 0 {
		t.Errorf("n3 gets %+v, %v", got, err)
	}
	gone := httptest.NewServer(nil)
	u, _ = url.Parse(gone.URL)
	port, _ = strconv.ParseUint(u.Port(), 10, 16)
	if _, err := Asker("n1", uint16(port))(t.Context(), addr("127.0.0.1")); err == nil || !strings.Contains(err.Error(), "older version") {
		t.Errorf("one that does not know the question: %v", err)
	}
	gone.Close()
	if _, err := Asker("n1", uint16(port))(t.Context(), addr("127.0.0.1")); err == nil {
		t.Error("nobody answers, and there is no error")
	}
}
