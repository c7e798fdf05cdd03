package dataplane

import (
	"errors"
	"fmt"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// events is a subscription without content.
type events struct {
	changed chan struct{} // poked
	closed  chan struct{} // poked when either half broke; the library ends it after one lost event
}

// subscribe hears of links and addresses until done is closed.
func (w *Watcher) subscribe(done <-chan struct{}) (*events, error) {
	e := &events{changed: make(chan struct{}, 1), closed: make(chan struct{}, 1)}
	if err := withBuffer(func(force bool) error { return e.links(done, force, w.complain) }); err != nil {
		return nil, fmt.Errorf("subscribe to links: %w", err)
	}
	if err := withBuffer(func(force bool) error { return e.addrs(done, force, w.complain) }); err != nil {
		return nil, fmt.Errorf("subscribe to addresses: %w", err)
	}
	return e, nil
}

func (w *Watcher) complain(err error) { w.log.Debug("netlink", "err", err) }

// withBuffer asks for more buffer than net.core.rmem_max, which needs
// CAP_NET_ADMIN, and is content with less.
func withBuffer(subscribe func(force bool) error) error {
	err := subscribe(true)
	if errors.Is(err, unix.EPERM) {
		return subscribe(false)
	}
	return err
}

func (e *events) links(done <-chan struct{}, force bool, complain func(error)) error {
	c := make(chan netlink.LinkUpdate, 64)
	err := netlink.LinkSubscribeWithOptions(c, done, netlink.LinkSubscribeOptions{
		ErrorCallback: complain, ReceiveBufferSize: receiveBuffer, ReceiveBufferForceSize: force,
	})
	if err == nil {
		go drain(e, c)
	}
	return err
}

func (e *events) addrs(done <-chan struct{}, force bool, complain func(error)) error {
	c := make(chan netlink.AddrUpdate, 64)
	err := netlink.AddrSubscribeWithOptions(c, done, netlink.AddrSubscribeOptions{
		ErrorCallback: complain, ReceiveBufferSize: receiveBuffer, ReceiveBufferForceSize: force,
	})
	if err == nil {
		go drain(e, c)
	}
	return err
}

func drain[T any](e *events, c <-chan T) {
	for range c {
		poke(e.changed)
	}
	poke(e.closed)
}
