// Package explain answers "why is this Service announced where it is?" by
// running the allocator's and the speakers' own pure functions again, for every
// node, on the cluster as it is or as it was saved.
package explain

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"strings"

	"github.com/heraldlb/herald/allocator/assign"
	"github.com/heraldlb/herald/internal/cluster"
	"github.com/heraldlb/herald/internal/config"
	"github.com/heraldlb/herald/speaker/plan"
)

// Saved is a cluster and its accepted configuration at one moment: what
// heraldctl snapshot writes, as JSON.
type Saved struct {
	Config  string // the accepted configuration's text; empty: there is none
	Cluster cluster.Snapshot
}

// ErrNotFound says that the cluster has no such Service.
var ErrNotFound = errors.New("no such Service")

// Service writes what becomes of one Service, given as namespace/name. What a node's
// speaker says of itself counts; of a node that has not answered it writes what is to
// be expected, and says so. Without any answers all is expected.
func Service(w io.Writer, in Saved, key string, answers []Answer) error {
	svc, err := find(in.Cluster.Services, key)
	if err != nil {
		return err
	}
	c, hash, err := parse(in.Config)
	if err != nil {
		return err
	}
	fmt.Fprintf(w, "%s  type %s  externalTrafficPolicy %s  config %s\n", key, kind(svc), policy(svc), hash)
	if c != nil {
		in.Cluster.Services = c.Scope.Own(in.Cluster.Services)
		svc, _ = find(in.Cluster.Services, key)
	}
	if !svc.Ours() {
		fmt.Fprintf(w, "not Herald's: it takes care of Services of type LoadBalancer %s\n", whose(c))
		return nil
	}
	if svc.Deleting {
		fmt.Fprintln(w, "it is being deleted: no node announces it, and its address is free as soon as it is gone")
		return nil
	}
	allocation(w, c, in.Cluster, svc)
	near := cluster.Snapshot{Services: sharers(in.Cluster.Services, svc), Nodes: in.Cluster.Nodes}
	for _, a := range svc.Ingress {
		address(w, c, near, key, a, answers)
	}
	return nil
}

// whose says which Services are Herald's.
func whose(c *config.Config) string {
	switch {
	case c == nil:
		return "without a class or with class " + cluster.Class
	case c.Scope.SkipClassless:
		return "with class " + cmp.Or(c.Scope.Class, cluster.Class) + ", and of those without a class that have an address of it"
	default:
		return "without a class or with class " + cmp.Or(c.Scope.Class, cluster.Class)
	}
}

// sharers are the Services that a decision about svc can depend on.
func sharers(services []cluster.Service, svc cluster.Service) []cluster.Service {
	var out []cluster.Service
	for _, s := range services {
		if slices.ContainsFunc(s.Ingress, func(a netip.Addr) bool { return slices.Contains(svc.Ingress, a) }) {
			out = append(out, s)
		}
	}
	return out
}

func find(services []cluster.Service, key string) (cluster.Service, error) {
	i := slices.IndexFunc(services, func(s cluster.Service) bool { return s.Key() == key })
	if i >= 0 {
		return services[i], nil
	}
	_, name, _ := strings.Cut(key, "/")
	for _, s := range services {
		if s.Name == name {
			return s, fmt.Errorf("%s: %w; did you mean %s?", key, ErrNotFound, s.Key())
		}
	}
	return cluster.Service{}, fmt.Errorf("%s: %w", key, ErrNotFound)
}

func parse(text string) (*config.Config, string, error) {
	if text == "" {
		return nil, "none accepted yet", nil
	}
	c, err := config.Parse([]byte(text))
	if err != nil {
		return nil, "", fmt.Errorf("accepted configuration: %w", err)
	}
	return c, c.Hash(), nil
}

func kind(s cluster.Service) string {
	switch {
	case !s.LoadBalancer:
		return "other than LoadBalancer"
	case s.Class != "":
		return "LoadBalancer class " + s.Class
	default:
		return "LoadBalancer"
	}
}

func policy(s cluster.Service) string {
	if s.LocalOnly {
		return "Local"
	}
	return "Cluster"
}

// allocation is the allocator's answer. It differs from the status for a moment
// after a change, and for longer only if the allocator does not run.
func allocation(w io.Writer, c *config.Config, s cluster.Snapshot, svc cluster.Service) {
	for _, a := range assign.Compute(c, s.Services, s.Nodes, nil).Assignments {
		if a.Service != svc.Key() {
			continue
		}
		fmt.Fprintf(w, "allocation: %s: %s\n", a.Reason, a.Message)
		if !a.Allocated {
			fmt.Fprintf(w, "  to do: %s\n", a.Reason.Remedy())
		}
		if !a.Untouched && !sameAddrs(a.Addrs, svc.Ingress) {
			fmt.Fprintf(w, "  the status still says %s: is the allocator running?\n", list(svc.Ingress))
		}
	}
}

func sameAddrs(a, b []netip.Addr) bool {
	x, y := slices.SortedFunc(slices.Values(a), netip.Addr.Compare), slices.SortedFunc(slices.Values(b), netip.Addr.Compare)
	return slices.Equal(x, y)
}

func list(addrs []netip.Addr) string {
	if len(addrs) == 0 {
		return "no address"
	}
	text := make([]string, 0, len(addrs))
	for _, a := range addrs {
		text = append(text, a.String())
	}
	return strings.Join(text, ", ")
}

// address is every node's decision about one address.
func address(w io.Writer, c *config.Config, snapshot cluster.Snapshot, key string, a netip.Addr, answers []Answer) {
	var rows []row
	var all peers
	var ports []string
	pool := "none"
	for _, n := range snapshot.Nodes {
		in := plan.Input{Self: n.Name, Config: c, Cluster: snapshot, Gateways: gateways}
		t := plan.Compute(in)
		for _, d := range t.Decisions {
			if d.Service == key && d.Addr == a {
				rows = append(rows, told(n.Name, d, answers))
				pool = cmp.Or(d.Pool, pool)
			}
		}
		all.add(n.Name, t)
		if len(ports) == 0 {
			ports = rescues(in, t, a)
		}
	}
	fmt.Fprintf(w, "\n%s  pool %s  peers %s\n", a, pool, cmp.Or(strings.Join(all.names, ", "), "none"))
	table(w, rows)
	for _, r := range all.refused {
		fmt.Fprintln(w, "  "+r)
	}
	if text := rescue(c, snapshot.Services, a, ports); text != "" {
		fmt.Fprintln(w, "  flow rescue: "+text)
	}
}

// gateways stand for the nodes' default routes, which the cluster does not know.
var gateways = map[cluster.Family]netip.Addr{
	cluster.IPv4: netip.IPv4Unspecified(), cluster.IPv6: netip.IPv6Unspecified(),
}

// peers are those of all nodes.
type peers struct {
	names   []string // with where they are; once each, in the order of the nodes
	refused []string
}

func (p *peers) add(node string, t plan.Table) {
	for _, s := range t.Sessions {
		if name := fmt.Sprintf("%s (%s)", s.Name, where(s)); !slices.Contains(p.names, name) {
			p.names = append(p.names, name)
		}
	}
	for _, r := range t.Refused {
		p.refused = append(p.refused, fmt.Sprintf("%s  no session with %s: %s", node, r.Name, r.Problem))
	}
}

func where(s plan.Session) string {
	switch {
	case s.Range.IsValid():
		return s.Range.String()
	case !s.Address.IsValid():
		return s.Interface
	case s.Address.IsUnspecified():
		return "the default gateway"
	default:
		return s.Address.String()
	}
}
