package dataplane

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"github.com/google/nftables"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// Probe tells why the tables cannot be made, or would do nothing, in the family
// of IPv4 or of IPv6. nil: they can. It leaves nothing behind.
//
// It cannot tell whether the packets for a service pass conntrack: where eBPF
// takes kube-proxy's place they may not, although conntrack is at work for others.
func (r *Rescue) Probe(_ context.Context, v6 bool) error {
	f := family4
	if v6 {
		f = family6
	}
	// First: a rule about ct would switch it on.
	if err := conntracked(f); err != nil {
		return err
	}
	if err := f.trial(); err != nil {
		return fmt.Errorf("try the rules of %s in nftables: %w", f.name, err)
	}
	return nil
}

var errNoConntrack = errors.New("the kernel does not track connections here (no nf_conntrack in use), as is so where eBPF takes kube-proxy's place")

// conntracked asks for the hooks, of which conntrack's is the one with its
// priority. A kernel that tells of no hooks is asked for the number of connections.
func conntracked(f family) error {
	priorities, err := hooks(f)
	if err == nil {
		for _, p := range priorities {
			if p == int32(*nftables.ChainPriorityConntrack) {
				return nil
			}
		}
		return errNoConntrack
	}
	text, err := os.ReadFile("/proc/sys/net/netfilter/nf_conntrack_count")
	if errors.Is(err, os.ErrNotExist) {
		return errNoConntrack
	}
	if err != nil {
		return fmt.Errorf("how many connections are tracked: %w", err)
	}
	if n, err := strconv.Atoi(strings.TrimSpace(string(text))); err != nil || n == 0 {
		return errNoConntrack
	}
	return nil
}

// From linux/netfilter/nfnetlink_hook.h, Linux 5.14.
const (
	subsystemHook = 12
	hookGet       = 0
	hookNumber    = 1 // attributes
	hookPriority  = 2
)

// hooks are the priorities of all that is hooked into prerouting.
func hooks(f family) ([]int32, error) {
	req := nl.NewNetlinkRequest(subsystemHook<<8|hookGet, unix.NLM_F_DUMP)
	req.AddRawData([]byte{byte(f.table), unix.NFNETLINK_V0, 0, 0})
	req.AddData(nl.NewRtAttr(hookNumber, binary.BigEndian.AppendUint32(nil, unix.NF_INET_PRE_ROUTING)))
	msgs, err := req.Execute(unix.NETLINK_NETFILTER, 0)
	if err != nil {
		return nil, err
	}
	var out []int32
	const head = 4 // struct nfgenmsg
	for _, m := range msgs {
		attrs, err := nl.ParseRouteAttr(m[min(head, len(m)):])
		if err != nil {
			return nil, err
		}
		for _, a := range attrs {
			if a.Attr.Type == hookPriority && len(a.Value) == 4 {
				out = append(out, int32(binary.BigEndian.Uint32(a.Value)))
			}
		}
	}
	return out, nil
}

// trial makes our table with all kinds of rules under another name, hooked to
// nothing, and deletes it, in one batch. The loopback's index is as good as any.
func (f family) trial() error {
	var peers []RescuePeer
	for i := range byte(2) { // one's denial need not be counted
		peers = append(peers, RescuePeer{Name: "probe", MAC: []byte{2, 0, 0, 0, 0, i}, IPv4: loopback4, IPv6: loopback6, Link: "lo", Ask: true})
	}
	addr := loopback4
	if f.v6 {
		addr = loopback6
	}
	spec := RescueSpec{Services: []RescueService{{addr, 1}}, Peers: peers}
	t := spec.table(f, map[string]int{"lo": 1})
	t.name = tableName + "-probe"
	for i := range t.chains {
		t.chains[i].hook = nil
	}
	c, err := connect()
	if err != nil {
		return err
	}
	defer func() { _ = c.CloseLasting() }()
	if err := putTable(c, t, present{}); err != nil {
		return err
	}
	c.DelTable(t.kernel())
	return reason(c.Flush())
}
