package flows

import (
	"fmt"
	"log/slog"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/heraldlb/herald/internal/config"
	"github.com/heraldlb/herald/internal/share"
	"github.com/heraldlb/herald/speaker/plan"
)

// weighted is a node n1 that announces an address with unequal weights to some
// peers, each with a session of its name.
func weighted(sessions []plan.Session, peers []Peer, nodes ...plan.NodeWeight) Situation {
	vip := addr("198.51.100.0")
	s := Situation{Table: plan.Table{
		Sessions:  sessions,
		Decisions: []plan.Decision{{Service: "a/a", Addr: vip, Announce: true, Nodes: nodes}},
	}, Peers: peers}
	for _, x := range sessions {
		s.Table.Routes = append(s.Table.Routes, plan.Route{Peer: x.Name, Prefix: netip.PrefixFrom(vip, 32), Weight: 1})
	}
	return s
}

func up(name string) Peer { return Peer{Name: name, Up: true, Established: true} }

func session(name string, by config.Encodings, form config.LinkBandwidthForm, community uint16) plan.Session {
	s := plan.Session{Name: name, Weights: by, LinkBandwidth: form}
	if community != 0 {
		s.Community = config.CommunityWeights{ASN: community, Base: 10000}
	}
	return s
}

func TestWarnings(t *testing.T) {
	const bandwidth, community, addPath = config.EncodeLinkBandwidth, config.EncodeCommunity, config.EncodeAddPath
	unequal := []plan.NodeWeight{{Node: "n1", Weight: 1}, {Node: "n2", Weight: 3}}
	equal := []plan.NodeWeight{{Node: "n1", Weight: 2}, {Node: "n2", Weight: 2}}
	many := []plan.NodeWeight{{Node: "n1", Weight: 300}}
	for i := range 10 {
		many = append(many, plan.NodeWeight{Node: fmt.Sprintf("n2%d", i), Weight: 1})
	}
	reflector, cut, away, paths := up("tor"), up("tor"), Peer{Name: "tor", Withheld: "none", Reflects: true}, up("a")
	reflector.Reflects, paths.Paths = true, true
	cut.Withheld, cut.Up = "the peer does not take ADD-PATH", false
	half := func(form config.LinkBandwidthForm) []plan.Session {
		return []plan.Session{session("a", bandwidth, config.Transitive, 0), session("b", bandwidth, form, 0)}
	}
	for name, tt := range map[string]struct {
		s    Situation
		want string
	}{
		"nothing":             {weighted([]plan.Session{session("tor", bandwidth|community, config.Both, 64512)}, []Peer{up("tor")}, unequal...), ""},
		"a reflector":         {weighted([]plan.Session{session("tor", bandwidth, config.Both, 0)}, []Peer{reflector}, unequal...), "Reflector peer tor is a route reflector"},
		"no weights":          {weighted([]plan.Session{session("tor", config.EncodeNone, "", 0)}, []Peer{reflector}, unequal...), ""},
		"not negotiated":      {weighted([]plan.Session{session("tor", addPath, "", 0)}, []Peer{cut}, unequal...), "NotNegotiated peer tor: the peer does not take ADD-PATH"},
		"not there":           {weighted([]plan.Session{session("tor", addPath, "", 0)}, []Peer{away}, unequal...), ""},
		"two forms":           {weighted(half(config.NonTransitive), []Peer{up("a"), up("b")}, unequal...), "Differs peer a gets weights by linkBandwidth (transitive), and peer b weights by linkBandwidth (nonTransitive), of 198.51.100.0;"},
		"one has both forms":  {weighted(half(config.Both), []Peer{up("a"), up("b")}, unequal...), ""},
		"equal weights":       {weighted(half(config.NonTransitive), []Peer{up("a"), up("b")}, equal...), ""},
		"one is away":         {weighted(half(config.NonTransitive), []Peer{up("a"), {Name: "b"}}, unequal...), ""},
		"ranges":              {weighted(half(config.NonTransitive), []Peer{up("a 10.0.0.1"), up("a 10.0.0.3"), up("b 10.0.0.2"), up("b 10.0.0.4")}, unequal...), "Differs peer a 10.0.0.1 gets"},
		"by paths":            {weighted([]plan.Session{session("a", addPath, "", 0), session("b", bandwidth, config.Both, 0)}, []Peer{paths, up("b")}, unequal...), ""},
		"paths are not taken": {weighted([]plan.Session{session("a", addPath, "", 0), session("b", bandwidth, config.Both, 0)}, []Peer{up("a"), up("b")}, unequal...), "Differs peer a gets no weights, and peer b weights by linkBandwidth, of 198.51.100.0;"},
		"whole percents":      {weighted([]plan.Session{session("tor", bandwidth, config.Both, 0)}, []Peer{up("tor")}, many...), "WholePercents 198.51.100.0: node n20 should get 0.3 %, and gets 0.9 %"},
	} {
		t.Run(name, func(t *testing.T) {
			var got []string
			for _, w := range tt.s.Warnings("n1") {
				got = append(got, w.Kind+" "+w.Text)
			}
			if all := strings.Join(got, "\n"); !strings.HasPrefix(all, tt.want) || tt.want == "" && all != "" || len(got) > 1 {
				t.Errorf("got %q, want %q", got, tt.want)
			}
			for _, w := range tt.s.Warnings("n2") {
				if w.Kind == share.WholePercents {
					t.Errorf("the second node tells as well: %q", w.Text)
				}
			}
		})
	}
}

// One warning is logged once, when it has lasted, and again when it has come back.
func TestWarningsAreLoggedOnce(t *testing.T) {
	var b strings.Builder
	m, err := New(Options{Node: "n1", Situation: func() Situation { return Situation{} }, Log: slog.New(slog.NewTextHandler(&b, nil))})
	if err != nil {
		t.Fatal(err)
	}
	one, two := share.Warning{Kind: share.Reflector, Text: "one"}, share.Warning{Kind: share.Reflector, Text: "two"}
	for _, now := range [][]share.Warning{{one}, {two}, {two}, {two, one}, {two, one}, {two}, {one}, {one}} {
		m.warn(now)
	}
	var logged []string
	for line := range strings.Lines(b.String()) {
		_, reason, _ := strings.Cut(strings.TrimSpace(line), "reason=")
		logged = append(logged, reason)
	}
	if d := cmp.Diff([]string{"two", "one", "one"}, logged); d != "" {
		t.Errorf("logged (-want +got):\n%s", d)
	}
}

// A thousand addresses with one cause are some lines of log.
func TestManyWarningsAreFewLines(t *testing.T) {
	var b strings.Builder
	m, err := New(Options{Node: "n1", Situation: func() Situation { return Situation{} }, Log: slog.New(slog.NewTextHandler(&b, nil))})
	if err != nil {
		t.Fatal(err)
	}
	var many []share.Warning
	for i := range 1000 {
		many = append(many, share.Warning{Kind: share.WholePercents, Text: fmt.Sprint(i)})
	}
	m.warn(many)
	m.warn(many)
	m.warn(many)
	if n := strings.Count(b.String(), "\n"); n != 11 || !strings.Contains(b.String(), "990 more") {
		t.Errorf("%d lines:\n%s", n, b.String())
	}
}
