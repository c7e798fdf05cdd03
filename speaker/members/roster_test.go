package members

import (
	"bytes"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"testing"

	"github.com/hashicorp/memberlist"
)

func node(name, addr string) *memberlist.Node {
	ap := netip.MustParseAddrPort(addr)
	return &memberlist.Node{Name: name, Addr: net.IP(ap.Addr().AsSlice()), Port: ap.Port()}
}

// TestRoster tells what is reported of n2 after a sequence of messages.
func TestRoster(t *testing.T) {
	n2, moved := node("n2", "10.0.0.2:7946"), node("n2", "10.0.0.22:7946")
	join := func(r *roster) { r.NotifyJoin(n2) }
	dead := func(r *roster) { r.NotifyLeave(n2) }
	bye := func(r *roster) { r.NotifyMsg(farewell("n2")) }
	ask := func(r *roster) { r.takeDoubted() }
	silence := func(r *roster) { r.settle("n2") }
	for _, tt := range []struct {
		what  string
		steps []func(*roster)
		alive bool
		lost  bool // looked for
	}{
		{"nothing", nil, false, false},
		{"it joined", []func(*roster){join}, true, false},
		{"said to be dead", []func(*roster){join, dead}, true, false},
		{"said to be dead, and silent", []func(*roster){join, dead, ask, silence}, false, true},
		{"said to be dead, and contradicts while we ask", []func(*roster){join, dead, ask, join, silence}, true, false},
		{"it says farewell", []func(*roster){join, bye}, true, false},
		{"it leaves", []func(*roster){join, bye, dead}, false, false},
		{"it leaves, and the farewell comes late", []func(*roster){join, dead, bye}, false, false},
		{"it leaves and comes back", []func(*roster){join, bye, dead, join}, true, false},
		{"it leaves, comes back and is said to be dead", []func(*roster){join, bye, dead, join, dead}, true, false},
		{"a farewell of a stranger", []func(*roster){bye, join, dead}, true, false},
		{"it comes back with another address", []func(*roster){join, dead, ask, silence, func(r *roster) { r.NotifyJoin(moved) }}, true, false},
		{"a message from the future", []func(*roster){join, func(r *roster) { r.NotifyMsg([]byte("hello")) }}, true, false},
		{"we leave ourselves", []func(*roster){join, func(r *roster) { r.NotifyLeave(node("n1", "10.0.0.1:7946")) }}, true, false},
	} {
		r := newRoster("n1", nil)
		for _, step := range tt.steps {
			step(r)
		}
		_, lost := r.lost["n2"]
		if alive := r.alive(); alive["n2"] != tt.alive || lost != tt.lost || !alive["n1"] {
			t.Errorf("%s: alive %v, lost %v", tt.what, alive, lost)
		}
	}
}

func TestMissing(t *testing.T) {
	addr := netip.MustParseAddrPort
	self, two, three, six := addr("10.0.0.1:7946"), addr("10.0.0.2:7946"), addr("10.0.0.3:7946"), addr("[fd00::2]:7946")
	with := func(steps ...func(*roster)) *roster {
		r := newRoster("n1", nil)
		for _, s := range steps {
			s(r)
		}
		return r
	}
	joined := func(r *roster) { r.NotifyJoin(node("n2", two.String())) }
	failed := func(r *roster) { r.lost["n3"] = three }
	for _, tt := range []struct {
		what  string
		r     *roster
		peers []netip.AddrPort
		want  string
	}{
		{"nobody is known", with(), nil, ""},
		{"one is known", with(), []netip.AddrPort{self, two}, "10.0.0.2:7946"},
		{"it is a member", with(joined), []netip.AddrPort{self, two}, ""},
		{"its other family", with(joined), []netip.AddrPort{self, two, six}, ""},
		{"an IPv4 address in IPv6 clothes", with(joined), []netip.AddrPort{addr("[::ffff:10.0.0.2]:7946")}, ""},
		{"one failed", with(joined, failed), []netip.AddrPort{self, two, three}, "10.0.0.3:7946"},
		{"one failed, the API is silent", with(joined, failed), nil, "10.0.0.3:7946"},
		{"one failed and was deleted", with(joined, failed), []netip.AddrPort{self, two}, ""},
	} {
		var got []string
		for _, a := range tt.r.missing(tt.peers, self) {
			got = append(got, a.String())
		}
		if strings.Join(got, " ") != tt.want {
			t.Errorf("%s: %v is missing, not %q", tt.what, got, tt.want)
		}
	}
}

// TestCrowd: a thousand members must not knock at one dead node all together.
func TestCrowd(t *testing.T) {
	m := &Members{roster: newRoster("n0", nil)}
	for i := range 999 {
		m.roster.members[string(rune(i+1))] = &member{}
	}
	dead, asked := []netip.AddrPort{netip.MustParseAddrPort("10.0.0.1:7946")}, 0
	for range 1000 * 20 {
		asked += len(m.pick(dead))
	}
	if asked < 20 || asked > 20*perRound*2 {
		t.Errorf("1000 members asked %d times in 20 rounds", asked)
	}
}

func TestOptions(t *testing.T) {
	good := func() Options {
		return Options{Node: "n1", Bind: netip.MustParseAddrPort("10.0.0.1:7946"), Key: testKey}
	}
	for want, change := range map[string]func(*Options){
		"":                                       func(*Options) {},
		"members: no node name":                  func(o *Options) { o.Node = "" },
		"members: no address to bind to":         func(o *Options) { o.Bind = netip.AddrPort{} },
		"members: key has 16 bytes, not 32":      func(o *Options) { o.Key = o.Key[:16] },
		"members: key has 5 bytes, not 32":       func(o *Options) { o.Accept = [][]byte{testKey, []byte("short")} },
		"members: further keys need a first one": func(o *Options) { o.Accept, o.Key, o.Insecure = [][]byte{testKey}, nil, true },
		"members: bound to ::: needs an address to advertise":                                                func(o *Options) { o.Bind = netip.MustParseAddrPort("[::]:7946") },
		"members: no key: gossip decides who owns addresses, so it is encrypted with 32 bytes from a Secret": func(o *Options) { o.Key = nil },
	} {
		o := good()
		change(&o)
		got := ""
		if _, err := New(o); err != nil {
			got = err.Error()
		}
		if got != want {
			t.Errorf("got %q, not %q", got, want)
		}
	}
	o := good()
	o.Key, o.Insecure = nil, true
	if _, err := New(o); err != nil {
		t.Errorf("insecure on purpose: %v", err)
	}
}

func TestParseLine(t *testing.T) {
	for in, want := range map[string]line{
		"[ERR] memberlist: Decrypt packet failed: No installed keys could decrypt the message from=10.0.0.3:7946": {
			slog.LevelWarn, "Decrypt packet failed", "Decrypt packet failed: No installed keys could decrypt the message", netip.MustParseAddr("10.0.0.3"),
		},
		"[DEBUG] memberlist: Stream connection from=[fd00::2]:4711": {
			slog.LevelDebug, "Stream connection", "Stream connection", netip.MustParseAddr("fd00::2"),
		},
		"[WARN] memberlist: Refuting a suspect message (from: n2)": {
			slog.LevelInfo, "Refuting a suspect message (from", "Refuting a suspect message (from: n2)", netip.Addr{},
		},
		"no tag": {slog.LevelWarn, "no tag", "no tag", netip.Addr{}},
	} {
		if got := parseLine(in); got != want {
			t.Errorf("%s\ngives %+v\n not  %+v", in, got, want)
		}
	}
}

func TestJoinProblem(t *testing.T) {
	for in, want := range map[string]string{
		"failed to join 10.0.0.1:7946: No installed keys could decrypt the message":         "it has another key",
		"failed to join 10.0.0.1:7946: dial tcp 10.0.0.1:7946: i/o timeout":                 "no answer",
		"failed to join 10.0.0.1:7946: dial tcp 10.0.0.1:7946: connect: connection refused": "nobody listens",
		"failed to join 10.0.0.1:7946: EOF":                                                 "it does not speak our gossip",
		"1 error occurred:\n\t* dial: no route to host\n\n":                                 "no route to host",
	} {
		if got := joinProblem(errors.New(in)); got != want {
			t.Errorf("%s: %q, not %q", in, got, want)
		}
	}
}

func TestParseKeys(t *testing.T) {
	const a, b = "YWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWE=", "YmJiYmJiYmJiYmJiYmJiYmJiYmJiYmJiYmJiYmJiYmI="
	as, bs := strings.Repeat("a", KeySize), strings.Repeat("b", KeySize)
	for in, want := range map[string]string{
		a + "\n":            as,
		as:                  as,
		b + "\n" + a + "\n": bs + as,
		"":                  "gossip key in line 1: has 0 bytes, not 32: make it by openssl rand -base64 32",
		"!":                 "gossip key in line 1: not base64",
		a + "\nYQ==":        "gossip key in line 2: has 1 bytes, not 32: make it by openssl rand -base64 32",
	} {
		keys, err := ParseKeys([]byte(in))
		got := string(bytes.Join(keys, nil))
		if err != nil {
			got = err.Error()
		}
		if got != want {
			t.Errorf("%q: %q, not %q", in, got, want)
		}
	}
}
