package dataplane

import (
	"slices"
	"strings"

	"github.com/vishvananda/netlink"
)

// depth bounds how many links may stand on each other: more is not worth a look,
// and a loop ends.
const depth = 8

// tower knows which link stands on which.
type tower struct {
	byIndex map[int]netlink.Link
	ports   map[int][]netlink.Link // by the index of their master
}

func towerOf(links []netlink.Link) tower {
	t := tower{byIndex: make(map[int]netlink.Link, len(links)), ports: map[int][]netlink.Link{}}
	for _, l := range links {
		a := l.Attrs()
		t.byIndex[a.Index] = l
		if a.MasterIndex != 0 {
			t.ports[a.MasterIndex] = append(t.ports[a.MasterIndex], l)
		}
	}
	return t
}

// active names the ports by which the bonds send that a link is or stands on.
func (t tower) active(l netlink.Link) string {
	names := t.below(l, depth)
	slices.Sort(names)
	return strings.Join(names, " ")
}

func (t tower) below(l netlink.Link, depth int) (names []string) {
	if depth == 0 {
		return nil
	}
	switch l := l.(type) {
	case *netlink.Bond:
		if port, ok := t.byIndex[l.ActiveSlave]; ok {
			names = append(names, port.Attrs().Name)
		}
	case *netlink.Vlan, *netlink.Macvlan:
		if parent, ok := t.byIndex[l.Attrs().ParentIndex]; ok {
			names = t.below(parent, depth-1)
		}
	case *netlink.Bridge:
		for _, port := range t.ports[l.Attrs().Index] {
			names = append(names, t.below(port, depth-1)...)
		}
	}
	return names
}
