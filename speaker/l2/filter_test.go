package l2

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"

	"golang.org/x/net/bpf"
)

// passes runs a filter as the kernel would, without the guard, which asks the
// kernel what only it knows.
func passes(t *testing.T, vm *bpf.VM, frame []byte) bool {
	t.Helper()
	n, err := vm.Run(frame)
	if err != nil {
		t.Fatal(err)
	}
	return n > 0
}

func machine(t *testing.T, ins []bpf.Instruction) *bpf.VM {
	t.Helper()
	if raw, err := bpf.Assemble(guard(ins)); err != nil || len(raw) > 4096 {
		t.Fatalf("%d instructions, error %v", len(raw), err)
	}
	vm, err := bpf.NewVM(ins)
	if err != nil {
		t.Fatal(err)
	}
	return vm
}

// checkAsked makes sure that the kernel would have let through what is answered.
func checkAsked(t *testing.T, tb *table, frame []byte, filter func(*table, int) []bpf.Instruction) {
	t.Helper()
	if !passes(t, machine(t, filter(tb, maxSpans)), frame) {
		t.Fatalf("answered, but the filter drops it: % x", frame)
	}
}

func TestFilters(t *testing.T) {
	four, six := machine(t, arpFilter(ours, maxSpans)), machine(t, ndpFilter(ours, maxSpans))
	for _, c := range []struct {
		name  string
		vm    *bpf.VM
		frame []byte
		want  bool
	}{
		{"asked for our address", four, arpOf(arpAsk, client, host4, broadcast, vip4), true},
		{"our address announced", four, gratuitousARP(stranger, vip4), true},
		{"our address told", four, arpOf(arpTell, stranger, vip4, us, nobody4), true},
		{"asked for another", four, arpOf(arpAsk, client, host4, broadcast, other4), false},
		{"too short", four, make([]byte, 20), false},
		{"solicited", six, solicitation(client, host6, vip6), true},
		{"advertised", six, unsolicitedNA(stranger, vip6), true},
		{"another is solicited", six, solicitation(client, host6, other6), false},
		{"the same end in another network", six, solicitation(client, host6, netip.MustParseAddr("fe80::200")), false},
		{"through a router", six, with(solicitation(client, host6, vip6), set(offHopLimit, 64)), false},
		{"other ICMPv6", six, with(solicitation(client, host6, vip6), set(offICMP, 128)), false},
		{"not ICMPv6", six, with(solicitation(client, host6, vip6), set(offNextHeader, 6)), false},
		{"too short", six, make([]byte, 70), false},
	} {
		if got := passes(t, c.vm, c.frame); got != c.want {
			t.Errorf("%s: passes %v, want %v", c.name, got, c.want)
		}
	}
	empty := &table{}
	for _, vm := range []*bpf.VM{machine(t, arpFilter(empty, maxSpans)), machine(t, ndpFilter(empty, maxSpans))} {
		if passes(t, vm, arpOf(arpAsk, client, host4, broadcast, vip4)) || passes(t, vm, solicitation(client, host6, vip6)) {
			t.Error("a table with nothing in it lets something through")
		}
	}
}

// TestFilterHoldsEverything puts tables of many sizes, with gaps and without,
// into filters of many sizes.
func TestFilterHoldsEverything(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for _, n := range []int{1, 2, 3, 119, 120, 121, 240, 241, 900, 901, 1800, 3000, 10000} {
		for _, spans := range []int{maxSpans, 118, 14} {
			t.Run(fmt.Sprintf("%d addresses in %d spans", n, spans), func(t *testing.T) { holds(t, r, n, spans) })
		}
	}
}

func holds(t *testing.T, r *rand.Rand, n, spans int) {
	var list []netip.Addr
	for range n {
		list = append(list, randomAddrs(r)...)
	}
	tb := newTable(us, list, &table{})
	four, six := machine(t, arpFilter(tb, spans)), machine(t, ndpFilter(tb, spans))
	for _, a := range list {
		vm, ask, tell := six, solicitation(client, host6, a), unsolicitedNA(stranger, a)
		if a.Is4() {
			vm, ask, tell = four, arpOf(arpAsk, client, host4, broadcast, a), gratuitousARP(stranger, a)
		}
		if !passes(t, vm, ask) || !passes(t, vm, tell) {
			t.Fatalf("%v does not pass", a)
		}
	}
	wrong := 0
	for range 1000 {
		for _, a := range randomAddrs(r) {
			if a.Is4() && !tb.has(a) && passes(t, four, arpOf(arpAsk, client, host4, broadcast, a)) {
				wrong++
			}
			if a.Is6() && !tb.has(a) && passes(t, six, solicitation(client, host6, a)) {
				wrong++
			}
		}
	}
	if exact := spans/2 >= n; exact && wrong > 0 {
		t.Errorf("%d of 2,000 strangers pass", wrong)
	}
}

func randomAddrs(r *rand.Rand) []netip.Addr {
	four := [4]byte{10, 0, byte(r.Uint32()), byte(r.Uint32())}
	six := netip.MustParseAddr("2001:db8::").As16()
	six[7] = byte(r.UintN(3))
	binary.BigEndian.PutUint16(six[14:], uint16(r.Uint32()))
	return []netip.Addr{netip.AddrFrom4(four), netip.AddrFrom16(six)}
}

// TestFilterSizes has the kernel's limit kept by what takes the most room.
func TestFilterSizes(t *testing.T) {
	for _, networks := range []int{1, 2, 16, 17, 1000} {
		var list []netip.Addr
		for i := range 4000 {
			six := netip.MustParseAddr("2001:db8::").As16()
			binary.BigEndian.PutUint16(six[6:], uint16(i%networks))
			binary.BigEndian.PutUint16(six[14:], uint16(2*i))
			list = append(list, netip.AddrFrom16(six), netip.AddrFrom4([4]byte{10, 0, six[14], six[15]}))
		}
		tb := newTable(us, list, &table{})
		machine(t, arpFilter(tb, maxSpans))
		vm := machine(t, ndpFilter(tb, maxSpans))
		for _, a := range list {
			if a.Is6() && !passes(t, vm, solicitation(client, host6, a)) {
				t.Fatalf("%d networks: %v does not pass", networks, a)
			}
		}
	}
}

func TestCover(t *testing.T) {
	for _, c := range []struct {
		name   string
		values []uint32
		limit  int
		want   []span
	}{
		{"nothing", nil, 3, nil},
		{"one run", []uint32{3, 1, 2, 2}, 3, []span{{1, 3}}},
		{"as many runs as allowed", []uint32{1, 5, 9}, 3, []span{{1, 1}, {5, 5}, {9, 9}}},
		{"the narrowest gap is bridged", []uint32{1, 5, 6, 8, 20}, 3, []span{{1, 1}, {5, 8}, {20, 20}}},
		{"both ends of the numbers", []uint32{0, 1<<32 - 1}, 2, []span{{0, 0}, {1<<32 - 1, 1<<32 - 1}}},
		{"one span for all", []uint32{0, 7, 1<<32 - 1}, 1, []span{{0, 1<<32 - 1}}},
	} {
		if got := cover(c.values, c.limit); !slices.Equal(got, c.want) {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
}
