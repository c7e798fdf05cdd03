package bgp

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/osrg/gobgp/v4/pkg/apiutil"
	"github.com/osrg/gobgp/v4/pkg/server"

	"github.com/heraldlb/herald/speaker/bfd"
	"github.com/heraldlb/herald/speaker/plan"
)

// speaker is a gobgp server and what it was told. One goroutine owns it.
type speaker struct {
	log      *slog.Logger
	calls    *calls
	status   *status
	password func(key string) (string, error)

	bfd *bfd.Server

	gobgp    *server.BgpServer // nil: stopped
	unwatch  context.CancelFunc
	asn      uint32
	routerID netip.Addr
	peers    map[string]*peer
	lastVRF  uint32

	port      uint16 // that was asked for; 0: none
	listensOn string
	deaf      error // why it does not listen all the same

	table plan.Table // the last one
	found found

	keyFault atomic.Pointer[string] // why a password could not be set on the listener

	events chan event
	ended  chan struct{} // closed when nobody reads events any more
}

// peer is what gobgp was told of one session.
type peer struct {
	plan.Session
	vrf      uint32
	up       bool   // gobgp has the neighbour; its VRF may be there without
	password string // that gobgp was told
	routes   map[pathName]attributes

	changed   time.Time               // when its routes changed last
	withdrawn map[pathName]attributes // lately
	since     time.Time               // when it came up last
	revived   time.Time               // when it was opened again since it stood still
	notBefore time.Time               // it is opened again
	counted   time.Time               // when gobgp was asked last what it announces
	asked     time.Time               // when a table had it first, or it was closed since BFD was down
	bfdFirst  bool                    // it wants BFD to be Up before a session
	bfdFailed bool                    // its last session ended so
	flapped   time.Time               // when BFD ended a session last that had not lasted
	downs     uint64                  // how often its BFD session went down, as far as followed
}

func (p *peer) name() string { return p.Name }

func newSpeaker(o Options, c *calls, st *status) *speaker {
	s := &speaker{
		log: o.Log, password: o.Password, calls: c, status: st, peers: map[string]*peer{}, found: newFound(),
		events: make(chan event), ended: make(chan struct{}),
	}
	s.bfd = bfd.NewServer(o.Log, func(peer netip.Addr) {
		s.showBFD(peer)
		go s.send(event{bfd: peer}) // BFD must not wait for a loop that is busy
	})
	return s
}

// apply closes sessions first, as their addresses may be needed again. Then it
// gives the routes, and last it opens sessions, so that a new peer gets all of
// its routes in few messages. A table that cannot be right changes nothing.
func (s *speaker) apply(t plan.Table) error {
	if err := check(t); err != nil {
		return err
	}
	want, err := desired(t)
	errs := []error{err}
	if err := s.ready(t, want); err != nil {
		return errors.Join(append(errs, err)...)
	}
	s.dropRanges(t)
	s.table = t
	s.listenOnLinks(want)
	all := plans(want)
	s.found.resolve(want)
	for _, p := range sorted(s.peers) {
		errs = append(errs, s.closeUnless(p, want[p.Name]))
	}
	for _, w := range sorted(want) {
		errs = append(errs, s.open(w))
	}
	s.watchPaths()
	if s.gobgp != nil {
		s.ranges(all)
	}
	return errors.Join(errs...)
}

// ready starts or stops gobgp as the table needs it.
func (s *speaker) ready(t plan.Table, want map[string]*session) error {
	port, on := listenPort(t, want)
	switch {
	case len(want) == 0 || s.asn != t.ASN:
		s.stop(false)
	case s.port != port || s.listensOn != on:
		s.stop(true) // gobgp cannot begin to listen later
	}
	if len(want) == 0 || s.gobgp != nil {
		return nil
	}
	if !t.RouterID.Is4() {
		return fmt.Errorf("bgp: no router ID, since the cluster has no Node %q; is that the name of this one?", t.Self)
	}
	s.asn, s.routerID, s.port, s.listensOn, s.deaf = t.ASN, t.RouterID, port, on, nil
	err := s.start(port, strings.Fields(on))
	if err == nil || port == 0 {
		return err
	}
	// The sessions that this node opens itself need no port.
	s.deaf = notHeard(port, err)
	return s.start(0, nil)
}

// plans are the sessions of a table, in its normal form.
func plans(want map[string]*session) (list []plan.Session) {
	for _, w := range sorted(want) {
		list = append(list, w.Session)
	}
	return list
}

// closeUnless closes a session that is gone or has other parameters. The routes
// of one that comes back are kept.
func (s *speaker) closeUnless(p *peer, w *session) error {
	if w != nil && transport(w.Session) == transport(p.Session) {
		return nil
	}
	s.status.remove(p.Name) // first: what follows is no loss
	if err := s.deletePeer(p); err != nil {
		return fmt.Errorf("peer %s: close session: %w", p.Name, err)
	}
	s.log.Info("bgp session closed", "peer", p.Name, "address", p.Address)
	if w != nil {
		return nil
	}
	if err := s.withdraw(p, keys(p.routes)); err != nil {
		return fmt.Errorf("peer %s: withdraw its routes: %w", p.Name, err)
	}
	if err := s.deleteVRF(p); err != nil {
		return fmt.Errorf("peer %s: delete VRF: %w", p.Name, err)
	}
	delete(s.peers, p.Name)
	return nil
}

// open makes session and routes equal to w, adding before it deletes.
func (s *speaker) open(w *session) error {
	if p := s.peers[w.Name]; p != nil && p.up && transport(p.Session) != transport(w.Session) {
		return nil // it could not be closed, which has been said
	}
	p, err := s.peer(w)
	if err != nil {
		return fmt.Errorf("peer %s: add VRF: %w", w.Name, err)
	}
	var errs []error
	if err := s.announce(p, w.routes); err != nil {
		errs = append(errs, fmt.Errorf("peer %s: announce routes: %w", p.Name, err))
	}
	if err := s.withdraw(p, surplus(p.routes, w.routes)); err != nil {
		errs = append(errs, fmt.Errorf("peer %s: withdraw routes: %w", p.Name, err))
	}
	p.Session = w.Session
	if err := s.addPeer(p); err != nil {
		errs = append(errs, fmt.Errorf("peer %s: open session: %w", p.Name, err))
	}
	s.status.routes(p.Name, p.routes, w.withheld)
	return errors.Join(errs...)
}

// peer is the peer of a session, with its VRF.
func (s *speaker) peer(w *session) (*peer, error) {
	if p := s.peers[w.Name]; p != nil {
		return p, nil
	}
	s.lastVRF++
	p := &peer{Session: w.Session, vrf: s.lastVRF, routes: map[pathName]attributes{}, withdrawn: map[pathName]attributes{}, asked: time.Now()}
	if err := s.addVRF(p); err != nil {
		return nil, err
	}
	s.peers[p.Name] = p
	return p, nil
}

// announce gives gobgp the routes that it has not or that have changed, all in
// one call. A route that is there is replaced, which is no withdrawal on the
// wire.
func (s *speaker) announce(p *peer, want map[pathName]attributes) error {
	var paths []*apiutil.Path
	var given []pathName
	var errs []error
	for _, r := range inOrder(want) {
		a := want[r]
		if p.routes[r].equal(a) {
			continue
		}
		one, err := path(r, a)
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", r.prefix, err))
			continue
		}
		paths, given = append(paths, one), append(given, r)
	}
	if len(paths) == 0 {
		return errors.Join(errs...)
	}
	err := s.addPaths(p, paths)
	p.changed = time.Now()
	for _, r := range given {
		p.routes[r] = want[r]
		if err != nil {
			p.routes[r] = attributes{} // may be there or not: equals nothing
		}
	}
	return errors.Join(append(errs, err)...)
}

func (s *speaker) withdraw(p *peer, routes []pathName) error {
	if len(routes) == 0 {
		return nil
	}
	paths := make([]*apiutil.Path, len(routes))
	for i, r := range routes {
		var err error
		if paths[i], err = withdrawal(r); err != nil {
			return fmt.Errorf("%s: %w", r.prefix, err)
		}
	}
	if err := s.deletePaths(p, paths); err != nil {
		return err
	}
	if time.Since(p.changed) > time.Second {
		p.withdrawn = map[pathName]attributes{}
	}
	p.changed = time.Now()
	for _, r := range routes {
		p.withdrawn[r] = p.routes[r]
		delete(p.routes, r)
	}
	return nil
}

// surplus are the routes of have that want lacks.
func surplus(have, want map[pathName]attributes) []pathName {
	var list []pathName
	for r := range have {
		if _, wanted := want[r]; !wanted {
			list = append(list, r)
		}
	}
	return list
}

// inOrder are the names of paths, sorted. gobgp numbers the paths of a prefix as
// they come, and after a restart they shall have the same numbers. The last one
// is its best: a peer that takes only one gets the first next hop.
func inOrder(m map[pathName]attributes) []pathName {
	return slices.SortedFunc(maps.Keys(m), func(a, b pathName) int {
		return cmp.Or(a.prefix.Compare(b.prefix), cmp.Compare(b.id, a.id))
	})
}

func keys(m map[pathName]attributes) []pathName { return surplus(m, nil) }

// podCIDRs counts those that are the node's pods'.
func podCIDRs(m map[pathName]attributes) (n int) {
	for r, a := range m {
		if a.pods && r.id <= 1 {
			n++
		}
	}
	return n
}

// prefixes counts the prefixes of routes, each of which may have many paths.
func prefixes(m map[pathName]attributes) (n int) {
	for r := range m {
		if r.id <= 1 {
			n++
		}
	}
	return n
}
