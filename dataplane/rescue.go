package dataplane

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"reflect"
	"slices"
	"strings"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"github.com/vishvananda/netlink"
)

// Rescue saves TCP connections whose packets a router has begun to send to
// another node: this node asks its peers who knows such a connection, and from
// then on sends its packets there. All of it happens in two nftables tables, `ip
// herald` and `ip6 herald`, which stay at work when the process ends. No other
// table is touched.
type Rescue struct {
	log  *slog.Logger
	last []table
	seen string // what the kernel has of last
	gen  uint32 // the ruleset's generation when it had that
}

// NewRescue makes one for the network namespace in which it will be used. One
// goroutine may use it; Counters is for any.
func NewRescue(log *slog.Logger) *Rescue {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return &Rescue{log: log}
}

// Set makes the tables what the spec says, in one step. What packets have left in
// them stays. It does next to nothing where they are so already, and makes them
// anew where somebody has changed them. Peers on links that are not there are left
// out, and in the error.
func (r *Rescue) Set(_ context.Context, spec RescueSpec) error {
	links, missing := linkIndexes(spec.links())
	want := spec.tables(links)
	if reflect.DeepEqual(want, r.last) && r.intact() {
		return missing
	}
	if err := r.put(want); err != nil {
		r.last = nil
		return fmt.Errorf("rescue tables: %w", err)
	}
	return missing
}

// Remove removes our tables.
func (r *Rescue) Remove(context.Context) error {
	if err := r.put(nil); err != nil {
		r.last = nil
		return fmt.Errorf("rescue tables: remove: %w", err)
	}
	return nil
}

// linkIndexes finds interfaces. Those that are missing are in the error.
func linkIndexes(names []string) (map[string]int, error) {
	out := map[string]int{}
	var errs []error
	for _, name := range names {
		l, err := netlink.LinkByName(name)
		if err != nil {
			errs = append(errs, fmt.Errorf("link %q of peers: %w", name, err))
			continue
		}
		out[name] = l.Attrs().Index
	}
	return out, errors.Join(errs...)
}

// put writes the tables, and notes how the kernel tells of them.
func (r *Rescue) put(want []table) error {
	err := write(want, false)
	if err != nil {
		// An older version of us, or somebody, has left sets of another make.
		again := write(want, true)
		if again != nil {
			return again
		}
		r.log.Info("rescue tables made anew", "because", err)
	}
	if r.gen, err = generation(); err != nil {
		return err
	}
	seen, rules, err := look(want)
	if err != nil {
		return err
	}
	for _, t := range want {
		for _, c := range t.chains {
			rules -= len(c.rules)
		}
	}
	if rules != 0 {
		return errors.New("somebody changes them at the same time")
	}
	r.last, r.seen = want, seen
	return nil
}

// intact tells whether the kernel still has what was put there. As long as nobody
// changes any ruleset that is one question.
func (r *Rescue) intact() bool {
	gen, err := generation()
	if err != nil {
		return false
	}
	if gen == r.gen {
		return true
	}
	seen, _, err := look(r.last)
	if err != nil || seen != r.seen {
		r.log.Warn("somebody has changed the rescue tables")
		return false
	}
	r.gen = gen
	return true
}

// look describes what the kernel has of tables: each rule by its handle, which no
// other rule ever gets, and each set that the spec fills by its elements.
func look(tables []table) (seen string, rules int, err error) {
	c, err := connect()
	if err != nil {
		return "", 0, err
	}
	defer func() { _ = c.CloseLasting() }()
	var b strings.Builder
	for _, t := range tables {
		kernel := t.kernel()
		for _, ch := range t.chains {
			got, err := c.GetRules(kernel, &nftables.Chain{Name: ch.name})
			if err != nil {
				return "", 0, fmt.Errorf("list chain %s: %w", ch.name, err)
			}
			rules += len(got)
			for _, g := range got {
				fmt.Fprintf(&b, "%s %s %d\n", t.family.name, ch.name, g.Handle)
			}
		}
		for _, s := range t.sets {
			if s.dynamic() {
				continue
			}
			got, err := c.GetSetElements(s.kernel(kernel))
			if err != nil {
				return "", 0, fmt.Errorf("list set %s: %w", s.name, err)
			}
			keys := make([]string, 0, len(got))
			for _, e := range got {
				keys = append(keys, string(e.Key))
			}
			slices.Sort(keys)
			fmt.Fprintf(&b, "%s %s %q\n", t.family.name, s.name, keys)
		}
	}
	return b.String(), rules, nil
}

// RescueCounters count since the tables were made.
type RescueCounters struct {
	Asked    uint64 // packets about which all peers were asked
	Claimed  uint64 // answers of owners
	Directed uint64 // packets sent to their owner alone
	GivenUp  uint64 // packets that nobody claimed, left to this node's kube-proxy
	Limited  uint64 // packets dropped because there were too many to ask about
}

// Counters returns the sum of both families; all are zero without our tables.
func (r *Rescue) Counters() (RescueCounters, error) {
	c, err := connect()
	if err != nil {
		return RescueCounters{}, err
	}
	defer func() { _ = c.CloseLasting() }()
	var out RescueCounters
	for _, f := range []family{family4, family6} {
		objects, err := c.GetNamedObjects(&nftables.Table{Name: tableName, Family: f.table})
		if err != nil {
			return RescueCounters{}, fmt.Errorf("rescue counters: %w", err)
		}
		for _, o := range objects {
			out.count(o)
		}
	}
	return out, nil
}

func (n *RescueCounters) count(o nftables.Obj) {
	named, ok := o.(*nftables.NamedObj)
	if !ok {
		return
	}
	c, ok := named.Obj.(*expr.Counter)
	if !ok {
		return
	}
	into := map[string]*uint64{
		"asked": &n.Asked, "claimed": &n.Claimed, "directed": &n.Directed, "given-up": &n.GivenUp, "limited": &n.Limited,
	}[named.Name]
	if into != nil {
		*into += c.Packets
	}
}
