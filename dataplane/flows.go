package dataplane

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"reflect"
	"slices"
	"time"

	"github.com/google/nftables"
	"golang.org/x/sys/unix"
)

// Flows counts the new flows that come to this host from outside, for each address
// and each router that sends them. It does so in two nftables tables, `ip
// herald-flows` and `ip6 herald-flows`. No other table is touched, and no packet is
// changed or kept.
//
// A flow is a TCP connection or the datagrams of UDP between two ports, and it is
// new when conntrack sees it first. A TCP packet that opens nothing does not count:
// it may be of a connection that a router has moved to this host.
type Flows struct {
	log  *slog.Logger
	last []table
	seen string // what the kernel has of last
	gen  uint32 // the ruleset's generation when it had that
}

// NewFlows makes one for the network namespace in which it will be used. One
// goroutine may use it.
func NewFlows(log *slog.Logger) *Flows {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return &Flows{log: log}
}

// FlowCounts are what was counted of an address since the tables were made.
type FlowCounts struct {
	// All new flows. One that begins again from the same port counts again.
	All uint64
	// ByRouter are those by each of the routers. One that begins again from the same
	// port within five minutes does not count again.
	ByRouter map[RouterMAC]uint64
	// Others are those that came in any other way.
	Others uint64
}

// RouterMAC is the Ethernet address of a router as a map's key.
type RouterMAC [6]byte

func (m RouterMAC) String() string { return net.HardwareAddr(m[:]).String() }

// Probe tells why nothing could be counted in the family of IPv4 or of IPv6. nil:
// it can. It leaves nothing behind.
func (*Flows) Probe(_ context.Context, v6 bool) error {
	f := family4
	addr := loopback4
	if v6 {
		f, addr = family6, loopback6
	}
	// First: a chain of nat would switch it on.
	if err := conntracked(f); err != nil {
		return err
	}
	t := FlowSpec{Addrs: []netip.Addr{addr}, Routers: []net.HardwareAddr{{2, 0, 0, 0, 0, 1}}, Links: []string{"lo"}}.table(f)
	t.name = flowsTable + "-probe"
	for i := range t.chains {
		t.chains[i].hook = nil
	}
	c, err := connect()
	if err != nil {
		return err
	}
	defer func() { _ = c.CloseLasting() }()
	if err := createTable(c, t); err != nil {
		return err
	}
	c.DelTable(t.kernel())
	if err := flowsReason(c.Flush()); err != nil {
		return fmt.Errorf("try the rules of %s in nftables: %w", f.name, err)
	}
	return nil
}

// Set counts what the spec says from now on. What was counted of an address that
// stays is kept. Only where the tables were not there, or somebody has changed
// them, they are made anew and everything begins at zero.
func (f *Flows) Set(_ context.Context, spec FlowSpec) error {
	want := spec.tables()
	intact := f.intact()
	if intact && reflect.DeepEqual(want, f.last) {
		return nil
	}
	if !intact {
		f.last = nil
	}
	if err := f.put(want); err != nil {
		f.last = nil
		return fmt.Errorf("count flows: %w", err)
	}
	return nil
}

// Remove removes our tables.
func (f *Flows) Remove(context.Context) error {
	f.last = nil
	if err := f.put(nil); err != nil {
		return fmt.Errorf("count flows: remove: %w", err)
	}
	return nil
}

// intact tells whether the kernel still has what was put there.
func (f *Flows) intact() bool {
	if f.last == nil {
		return false
	}
	gen, err := generation()
	if err != nil {
		return false
	}
	if gen == f.gen {
		return true
	}
	if seen, _, err := look(f.last); err != nil || seen != f.seen {
		f.log.Warn("somebody has changed the tables that count flows: they are made anew")
		return false
	}
	f.gen = gen
	return true
}

// put makes the kernel's tables those that are wanted, in one batch, and notes how
// the kernel tells of them.
func (f *Flows) put(want []table) (err error) {
	c, err := connect()
	if err != nil {
		return err
	}
	defer func() { _ = c.CloseLasting() }()
	for _, fam := range []family{family4, family6} {
		if err := f.putFamily(c, fam, want); err != nil {
			return err
		}
	}
	if err := flowsReason(c.Flush()); err != nil {
		return err
	}
	if f.gen, err = generation(); err != nil {
		return err
	}
	f.seen, _, err = look(want)
	f.last = want
	return err
}

func (f *Flows) putFamily(c *nftables.Conn, fam family, want []table) error {
	of := func(list []table) *table {
		if i := slices.IndexFunc(list, func(t table) bool { return t.v6 == fam.v6 }); i >= 0 {
			return &list[i]
		}
		return nil
	}
	had, wanted := of(f.last), of(want)
	if had != nil && wanted != nil {
		return changeTable(c, *had, *wanted)
	}
	// One may be left from a process that was killed.
	tables, err := c.ListTablesOfFamily(fam.table)
	if err != nil {
		return fmt.Errorf("list tables: %w", err)
	}
	if slices.ContainsFunc(tables, func(t *nftables.Table) bool { return t.Name == flowsTable }) {
		c.DelTable(&nftables.Table{Name: flowsTable, Family: fam.table})
	}
	if wanted == nil {
		return nil
	}
	return createTable(c, *wanted)
}

func createTable(c *nftables.Conn, t table) error {
	kernel := c.AddTable(t.kernel())
	for _, s := range t.sets {
		if err := fill(c, kernel, s, false); err != nil {
			return err
		}
	}
	for _, ch := range t.chains {
		c.AddChain(ch.kernel(kernel))
	}
	for _, ch := range t.chains {
		for _, r := range ch.rules {
			c.AddRule(&nftables.Rule{Table: kernel, Chain: ch.kernel(kernel), Exprs: r.exprs()})
		}
	}
	return nil
}

// changeTable adds and deletes elements alone: those that stay count on.
func changeTable(c *nftables.Conn, had, want table) error {
	kernel := want.kernel()
	for i, s := range want.sets {
		if err := elements(c.SetDeleteElements, s.kernel(kernel), without(had.sets[i].elements, s.elements)); err != nil {
			return fmt.Errorf("set %s: %w", s.name, err)
		}
		if err := elements(c.SetAddElements, s.kernel(kernel), without(s.elements, had.sets[i].elements)); err != nil {
			return fmt.Errorf("set %s: %w", s.name, err)
		}
	}
	return nil
}

func without(list, other []element) (out []element) {
	has := make(map[string]bool, len(other))
	for _, e := range other {
		has[string(e.key)] = true
	}
	for _, e := range list {
		if !has[string(e.key)] {
			out = append(out, e)
		}
	}
	return out
}

func elements(do func(*nftables.Set, []nftables.SetElement) error, s *nftables.Set, list []element) error {
	for some := range slices.Chunk(list, perMessage) {
		var out []nftables.SetElement
		for _, e := range some {
			out = append(out, nftables.SetElement{Key: e.key})
		}
		if err := do(s, out); err != nil {
			return err
		}
	}
	return nil
}

// Read returns what was counted of each address of the last spec.
func (f *Flows) Read(context.Context) (map[netip.Addr]FlowCounts, error) {
	c, err := connect()
	if err != nil {
		return nil, err
	}
	defer func() { _ = c.CloseLasting() }()
	out := map[netip.Addr]FlowCounts{}
	for _, t := range f.last {
		if err := t.read(c, out); err != nil {
			return nil, fmt.Errorf("read the counts of flows: %w", err)
		}
	}
	return out, nil
}

func (t table) read(c *nftables.Conn, into map[netip.Addr]FlowCounts) error {
	for _, s := range t.sets {
		if !s.counter {
			continue
		}
		got, err := c.GetSetElements(s.kernel(t.kernel()))
		if err != nil {
			return fmt.Errorf("set %s of %s: %w", s.name, t.family.name, err)
		}
		for _, e := range got {
			a, ok := netip.AddrFromSlice(e.Key[:min(len(e.Key), int(t.addrLen))])
			if !ok || e.Counter == nil {
				continue
			}
			n := into[a]
			n.add(s.name, e.Key[t.addrLen:], e.Counter.Packets)
			into[a] = n
		}
	}
	return nil
}

// add notes what an element of a set has counted; rest is its key behind the
// address.
func (n *FlowCounts) add(set string, rest []byte, packets uint64) {
	switch {
	case set == "addresses":
		n.All = packets
	case set == "others":
		n.Others = packets
	case set == "routers" && len(rest) >= len(RouterMAC{}):
		if n.ByRouter == nil {
			n.ByRouter = map[RouterMAC]uint64{}
		}
		n.ByRouter[RouterMAC(rest[:len(RouterMAC{})])] = packets
	}
}

// Forget has flows to these addresses count again that were seen before. It is
// needed when a router has reason to send them elsewhere: else only those that
// have moved would count, and these are no fair sample.
func (f *Flows) Forget(_ context.Context, addrs []netip.Addr) error {
	c, err := connect()
	if err != nil {
		return err
	}
	defer func() { _ = c.CloseLasting() }()
	for _, t := range f.last {
		if !slices.ContainsFunc(addrs, func(a netip.Addr) bool { return a.Is6() == t.v6 }) {
			continue
		}
		i := slices.IndexFunc(t.sets, func(s set) bool { return s.name == "seen" })
		seen := t.sets[i].kernel(t.kernel())
		got, err := c.GetSetElements(seen)
		if err != nil {
			return fmt.Errorf("forget flows: %w", err)
		}
		got = slices.DeleteFunc(got, func(e nftables.SetElement) bool {
			a, ok := t.destination(e.Key)
			// One that is about to go by itself cannot be deleted any more.
			return !ok || !slices.Contains(addrs, a) || e.Expires < 2*time.Second
		})
		for some := range slices.Chunk(got, perMessage) {
			var keys []nftables.SetElement
			for _, e := range some {
				keys = append(keys, nftables.SetElement{Key: bytes.Clone(e.Key)})
			}
			if err := c.SetDeleteElements(seen, keys); err != nil {
				return fmt.Errorf("forget flows: %w", err)
			}
		}
	}
	if err := c.Flush(); err != nil {
		return fmt.Errorf("forget flows: %w", err)
	}
	return nil
}

// flowsReason says what a person can do about an error.
func flowsReason(err error) error {
	switch {
	case errors.Is(err, unix.EPERM), errors.Is(err, unix.EACCES):
		return fmt.Errorf("no right to change nftables, which takes the capability NET_ADMIN: %w", err)
	case errors.Is(err, unix.ENOENT):
		return fmt.Errorf("the kernel lacks a part of nftables: it takes nft_chain_nat, counters in sets and Linux 5.7: %w", err)
	}
	return reason(err)
}
