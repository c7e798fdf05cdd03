package dataplane

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"sync/atomic"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Gateways are the next hops of this host's default routes. An invalid one: there
// is none. A link-local one has its link as zone.
type Gateways struct{ IPv4, IPv6 netip.Addr }

// GatewayWatcher knows the Gateways. Like Watcher, it takes events only as a hint
// to list anew.
type GatewayWatcher struct {
	log  *slog.Logger
	now  atomic.Pointer[Gateways]
	wake chan struct{}
}

// NewGatewayWatcher makes one for the network namespace in which Run will be
// called.
func NewGatewayWatcher(log *slog.Logger) *GatewayWatcher {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return &GatewayWatcher{log: log, wake: make(chan struct{}, 1)}
}

// Gateways returns what is known; false: nothing yet.
func (w *GatewayWatcher) Gateways() (Gateways, bool) {
	if g := w.now.Load(); g != nil {
		return *g, true
	}
	return Gateways{}, false
}

// Wake is poked whenever Gateways changes.
func (w *GatewayWatcher) Wake() <-chan struct{} { return w.wake }

// Run watches until the context ends. It outlives every error of netlink.
func (w *GatewayWatcher) Run(ctx context.Context) error {
	for ctx.Err() == nil {
		if err := w.watch(ctx); err != nil && ctx.Err() == nil {
			w.log.Warn("watching routes broke off, starting anew", "err", err)
			sleep(ctx, retryAfter)
		}
	}
	return nil
}

// routePause bounds the cost where routes change all the time: a node with a
// routing daemon may have many.
const routePause = 100 * time.Millisecond

func (w *GatewayWatcher) watch(ctx context.Context) error {
	done := make(chan struct{})
	defer close(done)
	e := &events{changed: make(chan struct{}, 1), closed: make(chan struct{}, 1)}
	if err := withBuffer(func(force bool) error { return e.routes(done, force, w.complain) }); err != nil {
		return fmt.Errorf("subscribe to routes: %w", err)
	}
	resync := time.NewTicker(resyncEvery)
	defer resync.Stop()
	for {
		if err := w.list(ctx); err != nil {
			return err
		}
		sleep(ctx, routePause)
		select {
		case <-ctx.Done():
			return nil
		case <-e.closed:
			return errClosed
		case <-e.changed:
		case <-resync.C:
		}
	}
}

func (w *GatewayWatcher) complain(err error) { w.log.Debug("netlink", "err", err) }

func (e *events) routes(done <-chan struct{}, force bool, complain func(error)) error {
	c := make(chan netlink.RouteUpdate, 64)
	err := netlink.RouteSubscribeWithOptions(c, done, netlink.RouteSubscribeOptions{
		ErrorCallback: complain, ReceiveBufferSize: receiveBuffer, ReceiveBufferForceSize: force,
	})
	if err == nil {
		go drain(e, c)
	}
	return err
}

func (w *GatewayWatcher) list(ctx context.Context) error {
	var g Gateways
	for _, f := range []struct {
		family int
		into   *netip.Addr
	}{{netlink.FAMILY_V4, &g.IPv4}, {netlink.FAMILY_V6, &g.IPv6}} {
		routes, err := defaults(ctx, f.family)
		if err != nil {
			return err
		}
		*f.into = best(routes)
	}
	if before := w.now.Load(); before != nil && *before == g {
		return nil
	}
	w.now.Store(&g)
	poke(w.wake)
	return nil
}

// defaults lists the default routes of the main table.
func defaults(ctx context.Context, family int) ([]netlink.Route, error) {
	for try := 0; ; try++ {
		routes, err := netlink.RouteListFiltered(family, &netlink.Route{Table: unix.RT_TABLE_MAIN, Dst: nil}, netlink.RT_FILTER_TABLE|netlink.RT_FILTER_DST)
		switch {
		case err == nil:
			return routes, nil
		case !errors.Is(err, netlink.ErrDumpInterrupted) || try == interrupted:
			return nil, fmt.Errorf("list default routes: %w", err)
		}
		sleep(ctx, interruptedPause)
	}
}

// best is the next hop of the route with the lowest metric. Of several next hops
// the lowest address is taken, so that the answer does not depend on an order.
func best(routes []netlink.Route) netip.Addr {
	slices.SortStableFunc(routes, func(a, b netlink.Route) int { return cmp.Compare(a.Priority, b.Priority) })
	for _, r := range routes {
		var hops []netip.Addr
		hops = appendHop(hops, r.Gw, r.LinkIndex)
		for _, h := range r.MultiPath {
			hops = appendHop(hops, h.Gw, h.LinkIndex)
		}
		if len(hops) > 0 {
			return slices.MinFunc(hops, netip.Addr.Compare)
		}
	}
	return netip.Addr{}
}

func appendHop(hops []netip.Addr, gw []byte, link int) []netip.Addr {
	a, ok := netip.AddrFromSlice(gw)
	if !ok {
		return hops
	}
	if a = a.Unmap(); a.IsLinkLocalUnicast() && a.Is6() {
		l, err := netlink.LinkByIndex(link)
		if err != nil {
			return hops // gone meanwhile
		}
		a = a.WithZone(l.Attrs().Name)
	}
	return append(hops, a)
}
