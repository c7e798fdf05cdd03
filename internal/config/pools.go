package config

import (
	"slices"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/heraldlb/herald/internal/cluster"
)

// poolReader reads the pools and remembers what must be unique among them.
type poolReader struct {
	names  map[string]string
	at     []spot
	ranges []rangeAt
}

func (r *poolReader) read(s spot) (pools []Pool) {
	r.names = map[string]string{}
	if s.isEmptyList() {
		s.fault("required%s", remedies["pools"])
	}
	s.items(func(s spot) { pools, r.at = append(pools, r.pool(s)), append(r.at, s) })
	return pools
}

func (r *poolReader) pool(s spot) Pool {
	p := Pool{AutoAssign: true, Quarantine: defaultQuarantine, Weights: true, FlowRescue: true, BGP: true}
	var layer2 []spot
	var family string
	var ranges, retired, reserved []rangeAt
	var has bool
	s.object(fields{
		"name":            func(s spot) { p.Name = s.name(); s.unique(r.names, p.Name) },
		"ranges":          func(s spot) { has, ranges = true, s.ranges() },
		"retired":         func(s spot) { has, retired = true, s.ranges() },
		"reserved":        func(s spot) { reserved = s.ranges() },
		"ipFamily":        func(s spot) { family, _ = s.oneOf(string(cluster.IPv4), string(cluster.IPv6)) },
		"autoAssign":      func(s spot) { s.boolean(&p.AutoAssign) },
		"avoidBuggyIPs":   func(s spot) { s.boolean(&p.AvoidBuggyIPs) },
		"priority":        func(s spot) { p.Priority = s.priority() },
		"quarantine":      func(s spot) { p.Quarantine, _ = s.duration(0, maxQuarantine, time.Second) },
		"namespaces":      func(s spot) { p.Namespaces = s.namespaces() },
		"serviceSelector": func(s spot) { p.ServiceSelector = s.selector() },
		"namespaceSelector": func(s spot) {
			if p.NamespaceSelector = s.selector(); p.NamespaceSelector.empty() {
				s.fault("empty; leave it out to serve every namespace")
			}
		},
		"sharing":    func(s spot) { p.SharingAcross = s.sharing() },
		"weights":    func(s spot) { p.Weights = s.autoOrOff() },
		"flowRescue": func(s spot) { p.FlowRescue = s.autoOrOff() },

		"announce":          func(s spot) { p.BGP, p.L2 = s.announce() },
		"interfaces":        func(s spot) { layer2 = append(layer2, s); p.Interfaces = s.interfaces() },
		"excludeInterfaces": func(s spot) { layer2 = append(layer2, s); p.ExcludeInterfaces = s.interfaces() },
		"nodeSelector":      func(s spot) { p.NodeSelector = s.selector() },
	}, "name")
	if s.node.Kind == yaml.MappingNode && !has {
		s.faults.add(s.node, join(s.path, "ranges"), "required%s", remedies["ranges"])
	}
	if !p.L2 {
		refuseWithoutLayer2(layer2)
	}

	for _, at := range ranges {
		at.pool = p.Name
		at.wantFamily(cluster.Family(family))
		r.ranges = append(r.ranges, at)
		p.Ranges = append(p.Ranges, at.Range)
	}
	for _, at := range retired {
		at.pool = p.Name
		r.ranges = append(r.ranges, at)
		p.Retired = append(p.Retired, at.Range)
	}
	slices.SortFunc(p.Ranges, compareRanges)
	slices.SortFunc(p.Retired, compareRanges)
	if len(ranges) > 0 && p.Size(cluster.IPv4) == 0 && p.Size(cluster.IPv6) == 0 {
		ranges[0].fault("%q: nothing in the pool can be handed out: avoidBuggyIPs leaves out .0 and .255, and at layer 2 an IPv6 subnet's first address belongs to its routers; write a larger range", ranges[0].node.Value)
	}
	p.reserve(reserved)
	return p
}

// reserve takes in ranges that lie within those of the pool.
func (p *Pool) reserve(reserved []rangeAt) {
	for _, at := range reserved {
		if !slices.ContainsFunc(p.Ranges, func(r Range) bool { return r.Contains(at.From) && r.Contains(at.To) }) {
			at.fault("%q: is within no range of the pool; write addresses of one of its ranges", at.node.Value)
			continue
		}
		p.Reserved = append(p.Reserved, at.Range)
	}
	refuseOverlaps(reserved)
	slices.SortFunc(p.Reserved, compareRanges)
}

const (
	// A node's conntrack remembers a closed TCP connection for two minutes, and a stream
	// of UDP for two or three (nf_conntrack_tcp_timeout_time_wait, _udp_timeout_stream).
	defaultQuarantine = 5 * time.Minute
	maxQuarantine     = 30 * 24 * time.Hour
)

func (r *poolReader) refuseOverlaps() { refuseOverlaps(r.ranges) }

func (s spot) ranges() (ranges []rangeAt) {
	if s.isEmptyList() {
		s.fault("required%s", remedies["ranges"])
	}
	s.items(func(s spot) {
		if got, ok := s.readRange(); ok {
			ranges = append(ranges, rangeAt{Range: got, spot: s})
		}
	})
	return ranges
}

func (r rangeAt) wantFamily(f cluster.Family) {
	if f != "" && r.Family() != f {
		r.fault("%q: is %s, but the pool's ipFamily is %s; move it to another pool or leave ipFamily out", r.node.Value, r.Family(), f)
	}
}

// sharing tells whether Services of different namespaces may share an address.
func (s spot) sharing() bool {
	how, _ := s.oneOf(withinNamespace, acrossNamespaces)
	return how == acrossNamespaces
}

const (
	withinNamespace  = "withinNamespace"
	acrossNamespaces = "acrossNamespaces"
)

func (s spot) priority() int {
	n, _ := s.integer(-1000, 1000)
	return int(n)
}

func (s spot) namespaces() (namespaces []string) {
	// A template that renders to nothing would open the pool to everyone.
	if s.isEmptyList() {
		s.fault("empty; leave it out to serve every namespace")
	}
	seen := map[string]string{}
	s.items(func(s spot) {
		n := s.name()
		s.unique(seen, n)
		namespaces = append(namespaces, n)
	})
	return namespaces
}
