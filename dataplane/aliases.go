package dataplane

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net/netip"
	"slices"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// Alias is a second address of this host, by which a router can be made to send
// it a second share of the traffic.
type Alias struct {
	Addr netip.Addr
	Near netip.Addr // an address of this host; the alias goes onto the link that has it
}

// aliasProtocol tags our addresses (IFA_PROTO, Linux 5.18), so that a later
// process finds them, and nobody else's are ever touched. `ip address` shows it
// as "proto 0x48".
const aliasProtocol = 0x48

// ifaProto is IFA_PROTO of linux/if_addr.h.
const ifaProto = 11

// Aliases makes the aliases of this host those that are wanted.
type Aliases struct {
	log    *slog.Logger
	have   map[held]bool // of ours, also where the kernel keeps no tags
	looked bool
}

// held is an address on a link.
type held struct {
	addr netip.Addr
	link int
}

// NewAliases makes one for the network namespace in which it will be used. One
// goroutine may use it.
func NewAliases(log *slog.Logger) *Aliases {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return &Aliases{log: log, have: map[held]bool{}}
}

// Add adds what is missing. What cannot be added is in the error; the rest is.
func (a *Aliases) Add(ctx context.Context, want []Alias) error {
	if len(want) == 0 {
		return nil
	}
	present, err := a.look(ctx)
	if err != nil {
		return err
	}
	var errs []error
	for _, w := range want {
		errs = append(errs, a.add(w, present))
	}
	return errors.Join(errs...)
}

// Keep removes our aliases but those that are wanted.
func (a *Aliases) Keep(ctx context.Context, want []Alias) error {
	if !a.looked {
		// An earlier process may have left some.
		if _, err := a.look(ctx); err != nil {
			return err
		}
	}
	var errs []error
	for h := range a.have {
		if slices.ContainsFunc(want, func(w Alias) bool { return w.Addr == h.addr }) {
			continue
		}
		if err := changeAddress(unix.RTM_DELADDR, 0, h); err != nil && !errors.Is(err, unix.EADDRNOTAVAIL) && !errors.Is(err, unix.ENODEV) {
			errs = append(errs, fmt.Errorf("remove alias %s: %w", h.addr, err))
			continue
		}
		delete(a.have, h)
		a.log.Info("alias removed", "address", h.addr)
	}
	return errors.Join(errs...)
}

// look lists all addresses, and notes which are ours.
func (a *Aliases) look(ctx context.Context) (map[held]bool, error) {
	present, err := addresses(ctx)
	if err != nil {
		return nil, err
	}
	a.looked = true
	for h, tagged := range present {
		if tagged {
			a.have[h] = true
		}
	}
	return present, nil
}

func (a *Aliases) add(w Alias, present map[held]bool) error {
	link := 0
	for h := range present {
		if h.addr == w.Near {
			link = h.link
		}
	}
	if link == 0 {
		return fmt.Errorf("add alias %s: no link of this host has %s, beside which it should be", w.Addr, w.Near)
	}
	h := held{w.Addr, link}
	tagged, there := present[h]
	switch {
	case there && (tagged || a.have[h]):
		return nil
	case there:
		return fmt.Errorf("add alias %s: the host has this address already, and not from us; choose another prefix", w.Addr)
	}
	if err := changeAddress(unix.RTM_NEWADDR, unix.NLM_F_CREATE|unix.NLM_F_EXCL, h); err != nil {
		return fmt.Errorf("add alias %s: %w", w.Addr, err)
	}
	a.have[h] = true
	a.log.Info("alias added", "address", w.Addr)
	return nil
}

// addresses are all of this host, and whether each has our tag.
func addresses(ctx context.Context) (map[held]bool, error) {
	for try := 0; ; try++ {
		req := nl.NewNetlinkRequest(unix.RTM_GETADDR, unix.NLM_F_DUMP)
		req.AddData(nl.NewIfAddrmsg(unix.AF_UNSPEC))
		msgs, err := req.Execute(unix.NETLINK_ROUTE, unix.RTM_NEWADDR)
		switch {
		case err == nil:
			return parseAddresses(msgs), nil
		case !errors.Is(err, netlink.ErrDumpInterrupted) && !errors.Is(err, nl.ErrDumpInterrupted) || try == interrupted:
			return nil, fmt.Errorf("list addresses: %w", err)
		}
		sleep(ctx, interruptedPause)
	}
}

func parseAddresses(msgs [][]byte) map[held]bool {
	out := make(map[held]bool, len(msgs))
	for _, m := range msgs {
		head := nl.DeserializeIfAddrmsg(m)
		attrs, err := nl.ParseRouteAttr(m[head.Len():])
		if err != nil {
			continue
		}
		// IFA_LOCAL is the host's own; IPv6 has only IFA_ADDRESS.
		var local, address netip.Addr
		tagged := false
		for _, a := range attrs {
			switch a.Attr.Type {
			case unix.IFA_LOCAL:
				local, _ = netip.AddrFromSlice(a.Value)
			case unix.IFA_ADDRESS:
				address, _ = netip.AddrFromSlice(a.Value)
			case ifaProto:
				tagged = len(a.Value) > 0 && a.Value[0] == aliasProtocol
			}
		}
		if !local.IsValid() {
			local = address
		}
		out[held{local, int(head.Index)}] = tagged
	}
	return out
}

// changeAddress adds or removes one address, as wide as itself so that it brings
// no route. An IPv6 one skips the detection of duplicates, for which the router
// would have to wait, and is deprecated, so that nothing sends from it.
func changeAddress(kind, flags int, h held) error {
	req := nl.NewNetlinkRequest(kind, flags|unix.NLM_F_ACK)
	family := unix.AF_INET
	if h.addr.Is6() {
		family = unix.AF_INET6
	}
	msg := nl.NewIfAddrmsg(family)
	msg.Index, msg.Prefixlen = uint32(h.link), uint8(h.addr.BitLen())
	req.AddData(msg)
	req.AddData(nl.NewRtAttr(unix.IFA_LOCAL, h.addr.AsSlice()))
	req.AddData(nl.NewRtAttr(unix.IFA_ADDRESS, h.addr.AsSlice()))
	if kind == unix.RTM_NEWADDR {
		req.AddData(nl.NewRtAttr(ifaProto, []byte{aliasProtocol}))
		if h.addr.Is6() {
			req.AddData(nl.NewRtAttr(unix.IFA_FLAGS, binary.NativeEndian.AppendUint32(nil, unix.IFA_F_NODAD)))
			// struct ifa_cacheinfo: preferred, valid, and two that the kernel fills in.
			life := binary.NativeEndian.AppendUint32(nil, 0)
			life = binary.NativeEndian.AppendUint32(life, math.MaxUint32)
			req.AddData(nl.NewRtAttr(unix.IFA_CACHEINFO, append(life, make([]byte, 8)...)))
		}
	}
	_, err := req.Execute(unix.NETLINK_ROUTE, 0)
	return err
}

// List returns our aliases, sorted.
func (a *Aliases) List() []netip.Addr {
	var out []netip.Addr
	for h := range a.have {
		out = append(out, h.addr)
	}
	slices.SortFunc(out, netip.Addr.Compare)
	return out
}
