package dataplane

import "github.com/vishvananda/netlink"

// smallAndStuck subscribes with the smallest buffer, and does not read before
// stuck is closed.
func smallAndStuck(done, stuck <-chan struct{}) (*events, error) {
	e := &events{changed: make(chan struct{}, 1), closed: make(chan struct{}, 1)}
	c := make(chan netlink.AddrUpdate)
	err := netlink.AddrSubscribeWithOptions(c, done, netlink.AddrSubscribeOptions{ReceiveBufferSize: 1})
	if err == nil {
		go func() {
			<-stuck
			drain(e, c)
		}()
	}
	return e, err
}
