package dataplane

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"github.com/google/nftables/userdata"
	mdnetlink "github.com/mdlayher/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// batchBuffer holds a batch for hundreds of peers, which is sent in one piece, and
// the kernel's answers to it.
const batchBuffer = 16 << 20

func connect() (*nftables.Conn, error) {
	grow := func(c *mdnetlink.Conn) error {
		return errors.Join(c.SetReadBuffer(batchBuffer), c.SetWriteBuffer(batchBuffer))
	}
	c, err := nftables.New(nftables.AsLasting(), nftables.WithSockOptions(grow))
	if err != nil {
		return nil, fmt.Errorf("open nftables: %w", err)
	}
	return c, nil
}

func (t table) kernel() *nftables.Table {
	return &nftables.Table{Name: t.name, Family: t.table}
}

func (s set) kernel(t *nftables.Table) *nftables.Set {
	k := &nftables.Set{
		Table: t, Name: s.name, KeyType: s.key, Concatenation: s.concat, IsMap: s.isMap(), DataType: s.data,
		KeyByteOrder: binaryutil.BigEndian, Counter: s.counter,
	}
	if s.key.Name == nftables.TypeIFName.Name {
		k.KeyByteOrder = binaryutil.NativeEndian // else nft shows no names
	}
	if s.dynamic() {
		k.Dynamic, k.HasTimeout, k.Timeout, k.Size = true, true, s.timeout, s.size
	}
	return k
}

func (c chain) kernel(t *nftables.Table) *nftables.Chain {
	k := &nftables.Chain{Name: c.name, Table: t}
	if c.hook != nil {
		accept := nftables.ChainPolicyAccept
		k.Type, k.Hooknum, k.Priority, k.Policy = nftables.ChainTypeFilter, c.hook, nftables.ChainPriorityMangle, &accept
		if c.first {
			k.Type, k.Priority = nftables.ChainTypeNAT, nftables.ChainPriorityRef(firstPriority)
		}
	}
	return k
}

// write makes our tables those that are wanted, in one batch: packets see all of
// it or nothing. Unless they are made anew, the sets that packets fill stay.
func write(want []table, anew bool) error {
	c, err := connect()
	if err != nil {
		return err
	}
	defer func() { _ = c.CloseLasting() }()
	for _, f := range []family{family4, family6} {
		i := slices.IndexFunc(want, func(t table) bool { return t.v6 == f.v6 })
		had, err := have(c, f)
		if err != nil {
			return err
		}
		if had.table && (anew || i < 0) {
			c.DelTable(&nftables.Table{Name: tableName, Family: f.table})
			had = present{}
		}
		if i >= 0 {
			if err := putTable(c, want[i], had); err != nil {
				return err
			}
		}
	}
	return reason(c.Flush())
}

// present is what the kernel has of our table.
type present struct {
	table        bool
	chains, sets []string
}

func have(c *nftables.Conn, f family) (present, error) {
	var p present
	tables, err := c.ListTablesOfFamily(f.table)
	if err != nil {
		return p, fmt.Errorf("list tables: %w", err)
	}
	p.table = slices.ContainsFunc(tables, func(t *nftables.Table) bool { return t.Name == tableName })
	if !p.table {
		return p, nil
	}
	chains, err := c.ListChainsOfTableFamily(f.table)
	if err != nil {
		return p, fmt.Errorf("list chains: %w", err)
	}
	for _, ch := range chains {
		if ch.Table.Name == tableName {
			p.chains = append(p.chains, ch.Name)
		}
	}
	sets, err := c.GetSets(&nftables.Table{Name: tableName, Family: f.table})
	if err != nil {
		return p, fmt.Errorf("list sets: %w", err)
	}
	for _, s := range sets {
		p.sets = append(p.sets, s.Name)
	}
	return p, nil
}

// putTable adds to the batch what makes the kernel's table this one. What is there
// already and the same is left, so nothing has to be compared. The order is that
// of references: chains before the maps that lead to them, and what is not wanted
// any more last.
func putTable(c *nftables.Conn, t table, had present) error {
	kernel := c.AddTable(t.kernel())
	if had.table {
		c.FlushTable(kernel) // the rules, and nothing else
	}
	for _, name := range counters {
		c.AddObj(&nftables.NamedObj{Table: kernel, Name: name, Type: nftables.ObjTypeCounter, Obj: &expr.Counter{}})
	}
	for _, ch := range t.chains {
		c.AddChain(ch.kernel(kernel))
	}
	for _, s := range t.sets {
		if err := fill(c, kernel, s, slices.Contains(had.sets, s.name)); err != nil {
			return err
		}
	}
	for _, ch := range t.chains {
		for _, r := range ch.rules {
			c.AddRule(&nftables.Rule{Table: kernel, Chain: ch.kernel(kernel), Exprs: r.exprs(), UserData: r.userData()})
		}
	}
	for _, name := range had.sets {
		if !slices.ContainsFunc(t.sets, func(s set) bool { return s.name == name }) {
			c.DelSet(&nftables.Set{Table: kernel, Name: name})
		}
	}
	for _, name := range had.chains {
		if !slices.ContainsFunc(t.chains, func(ch chain) bool { return ch.name == name }) {
			c.DelChain(&nftables.Chain{Table: kernel, Name: name})
		}
	}
	return nil
}

// perMessage elements fit into an attribute of netlink, which has 64 KiB.
const perMessage = 500

func fill(c *nftables.Conn, t *nftables.Table, s set, had bool) error {
	kernel := s.kernel(t)
	if err := c.AddSet(kernel, nil); err != nil {
		return fmt.Errorf("set %s: %w", s.name, err)
	}
	if s.dynamic() {
		return nil
	}
	if had {
		c.FlushSet(kernel)
	}
	for some := range slices.Chunk(s.elements, perMessage) {
		var out []nftables.SetElement
		for _, e := range some {
			n := nftables.SetElement{Key: e.key}
			if e.chain != "" {
				n.VerdictData = &expr.Verdict{Kind: expr.VerdictGoto, Chain: e.chain}
			}
			out = append(out, n)
		}
		if err := c.SetAddElements(kernel, out); err != nil {
			return fmt.Errorf("set %s: %w", s.name, err)
		}
	}
	return nil
}

func (r rule) userData() []byte {
	if r.comment == "" {
		return nil
	}
	return userdata.AppendString(nil, userdata.TypeComment, r.comment)
}

// generation is a number that the kernel counts up with each change of any ruleset
// in this namespace.
func generation() (uint32, error) {
	req := nl.NewNetlinkRequest(unix.NFNL_SUBSYS_NFTABLES<<8|unix.NFT_MSG_GETGEN, 0)
	req.AddRawData([]byte{unix.AF_UNSPEC, unix.NFNETLINK_V0, 0, 0})
	msgs, err := req.Execute(unix.NETLINK_NETFILTER, 0)
	if err != nil {
		return 0, fmt.Errorf("ask for nftables' generation: %w", err)
	}
	const head = 4 // struct nfgenmsg
	for _, m := range msgs {
		if len(m) < head {
			continue
		}
		attrs, err := nl.ParseRouteAttr(m[head:])
		if err != nil {
			return 0, fmt.Errorf("nftables' generation: %w", err)
		}
		for _, a := range attrs {
			if a.Attr.Type == unix.NFTA_GEN_ID && len(a.Value) == 4 {
				return binary.BigEndian.Uint32(a.Value), nil
			}
		}
	}
	return 0, errors.New("nftables tells no generation")
}

// reason says what a person can do about an error.
func reason(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, unix.EPERM), errors.Is(err, unix.EACCES):
		return fmt.Errorf("no right to change nftables, which takes the capability NET_ADMIN, and a table herald that no other program owns: %w", err)
	case errors.Is(err, unix.ENOENT):
		return fmt.Errorf("the kernel lacks a part of nftables: it takes nft_dup_ipv4 and nft_dup_ipv6, nft_ct, nft_limit and Linux 5.4: %w", err)
	case errors.Is(err, unix.EAFNOSUPPORT), errors.Is(err, unix.EPROTONOSUPPORT):
		return fmt.Errorf("the kernel has no nftables for this family: %w", err)
	}
	return err
}
