package dataplane

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync/atomic"
	"time"

	"github.com/vishvananda/netlink"
)

const (
	// receiveBuffer holds a burst while we are busy; the default one lost 4,902 of
	// 5,000 events, and its subscription with them.
	receiveBuffer = 4 << 20
	resyncEvery   = 3 * time.Minute
	retryAfter    = time.Second
	// interrupted is how often a listing is repeated at once because the kernel
	// changed it meanwhile.
	interrupted      = 10
	interruptedPause = 5 * time.Millisecond
	// listPause and listShare bound what a host pays whose links change all the
	// time, to a fifth of a CPU. The first event of a burst waits for nothing.
	listPause = 2 * time.Millisecond
	listShare = 4
	// lookEvery is for the carrier. The kernel may tell of a lost one a second
	// late, since it takes no more than one such event a second from the whole
	// host, but it answers with the truth when asked.
	lookEvery = 100 * time.Millisecond
)

// Options of a Watcher.
type Options struct {
	Log    *slog.Logger  // nil: discard
	Resync time.Duration // zero: 3m; how often everything is listed without an event
}

// Watcher knows this host's links. Events only tell it that something changed:
// what is true is listed anew each time, so that no event can be missed.
type Watcher struct {
	log    *slog.Logger
	resync time.Duration
	links  atomic.Pointer[[]Link]
	wake   chan struct{}
	events func(done <-chan struct{}) (*events, error) // in tests: one that breaks
}

// NewWatcher makes a Watcher of the network namespace in which Run will be
// called.
func NewWatcher(o Options) *Watcher {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Resync == 0 {
		o.Resync = resyncEvery
	}
	w := &Watcher{log: o.Log, resync: o.Resync, wake: make(chan struct{}, 1)}
	w.events = w.subscribe
	return w
}

// Links returns the links, sorted by name. Before Run has listed them for the
// first time there are none.
func (w *Watcher) Links() []Link {
	if p := w.links.Load(); p != nil {
		return slices.Clone(*p)
	}
	return nil
}

// Wake is poked whenever Links changes.
func (w *Watcher) Wake() <-chan struct{} { return w.wake }

func poke(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// Run watches until the context ends. It outlives every error of netlink.
func (w *Watcher) Run(ctx context.Context) error {
	for ctx.Err() == nil {
		err := w.watch(ctx)
		if err == nil || ctx.Err() != nil {
			continue
		}
		w.log.Warn("watching links broke off, starting anew", "err", err)
		if !errors.Is(err, errClosed) {
			sleep(ctx, retryAfter)
		}
	}
	return nil
}

var errClosed = errors.New("netlink closed the subscription")

// watch subscribes first and lists then, so that nothing falls between.
func (w *Watcher) watch(ctx context.Context) error {
	done := make(chan struct{})
	defer close(done)
	e, err := w.events(done)
	if err != nil {
		return err
	}
	resync := time.NewTicker(w.resync)
	defer resync.Stop()
	look := time.NewTicker(lookEvery)
	defer look.Stop()
	for {
		began := time.Now()
		if err := w.list(ctx); err != nil {
			return err
		}
		sleep(ctx, max(listPause, listShare*time.Since(began)))
	wait:
		select {
		case <-ctx.Done():
			return nil
		case <-e.closed:
			return errClosed
		case <-e.changed:
		case <-resync.C:
		case <-look.C:
			if !w.unplugged() {
				goto wait
			}
		}
	}
}

// unplugged tells whether a link that could carry an address has lost its
// carrier since the last listing.
func (w *Watcher) unplugged() bool {
	for _, l := range *w.links.Load() {
		if l.Ethernet && l.Carrier && len(l.Prefixes) > 0 && !l.isPort() && !l.isInternal() {
			if now, err := netlink.LinkByIndex(l.Index); err != nil || !carrier(now.Attrs()) {
				return true
			}
		}
	}
	return false
}

func (w *Watcher) list(ctx context.Context) error {
	links, err := list(ctx)
	if err != nil {
		return err
	}
	before := w.links.Load()
	if before != nil && Equal(*before, links) {
		return nil
	}
	w.tell(before, links)
	w.links.Store(&links)
	poke(w.wake)
	return nil
}

// tell logs what decides over announcements.
func (w *Watcher) tell(before *[]Link, now []Link) {
	if before == nil {
		return
	}
	old := make(map[int]Link, len(*before))
	for _, l := range *before {
		old[l.Index] = l
	}
	for _, l := range now {
		if was, ok := old[l.Index]; ok && was.Carrier != l.Carrier && l.Ethernet && l.Kind != "veth" {
			w.log.Info("carrier changed", "link", l.Name, "carrier", l.Carrier)
		}
	}
}

// list lists until it has got a consistent answer.
func list(ctx context.Context) ([]Link, error) {
	for try := 0; ; try++ {
		links, addrs, err := listOnce()
		switch {
		case err == nil:
			return convert(links, addrs), nil
		case !errors.Is(err, netlink.ErrDumpInterrupted) || try == interrupted:
			return nil, err
		}
		sleep(ctx, interruptedPause)
	}
}

// listOnce lists addresses last: a link that is too new for the first list shows
// up by an event, an address without its link would be lost.
func listOnce() ([]netlink.Link, []netlink.Addr, error) {
	links, err := netlink.LinkList()
	if err != nil {
		return nil, nil, fmt.Errorf("list links: %w", err)
	}
	addrs, err := netlink.AddrList(nil, netlink.FAMILY_ALL)
	if err != nil {
		return nil, nil, fmt.Errorf("list addresses: %w", err)
	}
	return links, addrs, nil
}

func sleep(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}
