package bgp

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/osrg/gobgp/v4/pkg/packet/bgp"

	"github.com/heraldlb/herald/internal/netlab"
)

// wireRouter is a BGP speaker of a few lines on a loopback address. It keeps
// what it was sent, counts what a real router would not tell apart, and may send
// any bytes at all.
type wireRouter struct {
	tb       testing.TB
	asn      uint32
	addr     netip.AddrPort
	listener net.Listener
	open     []byte // sent instead of a good OPEN

	mu           sync.Mutex
	conn         net.Conn // nil: no session is established
	sessions     int      // that were established
	updates      int
	withdrawals  int // prefixes withdrawn
	table        map[netip.Prefix]got
	notification *bgp.BGPNotification
}

// got is a route as it came in.
type got struct {
	nextHop    netip.Addr
	bandwidths string // extended communities, such as "4004:64513:3"
	attrs      string // the types of all other attributes
}

// listen starts a router on a loopback address of its own.
func listen(tb testing.TB, addr string, asn uint32) *wireRouter {
	tb.Helper()
	return listenWith(tb, addr, asn, nil)
}

// listenWith starts a router that sends something of its own for an OPEN.
func listenWith(tb testing.TB, addr string, asn uint32, open []byte) *wireRouter {
	tb.Helper()
	l, err := net.Listen("tcp", net.JoinHostPort(addr, "0"))
	if err != nil {
		tb.Fatal(err)
	}
	r := &wireRouter{
		tb: tb, asn: asn, listener: l, open: open,
		addr:  l.Addr().(*net.TCPAddr).AddrPort(),
		table: map[netip.Prefix]got{},
	}
	tb.Cleanup(r.close)
	go r.serve()
	return r
}

func (r *wireRouter) close() {
	r.listener.Close()
	r.cut()
}

// cut ends the session without a word.
func (r *wireRouter) cut() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.conn != nil {
		r.conn.Close()
	}
}

func (r *wireRouter) serve() {
	for {
		conn, err := r.listener.Accept()
		if err != nil {
			return
		}
		r.session(conn)
		conn.Close()
		r.mu.Lock()
		r.conn, r.table = nil, map[netip.Prefix]got{}
		r.mu.Unlock()
	}
}

// session speaks BGP over one connection until it ends.
func (r *wireRouter) session(conn net.Conn) {
	first := r.open
	if first == nil {
		first = openMessage(r.asn, 90)
	}
	if _, err := readMessage(conn); err != nil {
		return
	}
	conn.Write(first)
	conn.Write(keepalive)
	for {
		raw, err := readMessage(conn)
		if err != nil {
			return
		}
		if done := r.take(conn, raw); done {
			return
		}
	}
}

func (r *wireRouter) take(conn net.Conn, raw []byte) (done bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch raw[18] {
	case bgp.BGP_MSG_KEEPALIVE:
		if r.conn == nil {
			r.conn = conn
			r.sessions++
		}
		conn.Write(keepalive)
	case bgp.BGP_MSG_NOTIFICATION:
		if m, err := bgp.ParseBGPMessage(raw); err == nil {
			r.notification = m.Body.(*bgp.BGPNotification)
		}
		return true
	case bgp.BGP_MSG_UPDATE:
		if r.open != nil {
			return false // who knows what was agreed on
		}
		m, err := bgp.ParseBGPMessage(raw)
		if err != nil {
			r.tb.Errorf("%s was sent a malformed UPDATE: %v", r.addr, err)
			return true
		}
		r.update(m.Body.(*bgp.BGPUpdate), linkBandwidths(raw))
	}
	return false
}

// linkBandwidths are the extended communities of an UPDATE, read by hand because
// gobgp's decoder makes one form of both.
func linkBandwidths(raw []byte) string {
	b := raw[19:]
	b = b[2+binary.BigEndian.Uint16(b):]
	b = b[2 : 2+binary.BigEndian.Uint16(b)]
	var all []string
	for len(b) > 0 {
		head, n := 3, 0
		if b[0]&0x10 != 0 {
			head, n = 4, int(binary.BigEndian.Uint16(b[2:]))
		} else {
			n = int(b[2])
		}
		value := b[head : head+n]
		for c := range slices.Chunk(value, 8) {
			if b[1] == byte(bgp.BGP_ATTR_TYPE_EXTENDED_COMMUNITIES) {
				all = append(all, fmt.Sprintf("%x:%d:%g", c[:2], binary.BigEndian.Uint16(c[2:]), math.Float32frombits(binary.BigEndian.Uint32(c[4:]))))
			}
		}
		b = b[head+n:]
	}
	return strings.Join(all, " ")
}

func (r *wireRouter) update(u *bgp.BGPUpdate, bandwidths string) {
	r.updates++
	for _, w := range u.WithdrawnRoutes {
		r.withdraw(w.NLRI)
	}
	route := got{bandwidths: bandwidths}
	var reach []bgp.PathNLRI
	for _, a := range u.PathAttributes {
		switch a := a.(type) {
		case *bgp.PathAttributeNextHop:
			route.nextHop = a.Value
		case *bgp.PathAttributeMpReachNLRI:
			route.nextHop, reach = a.Nexthop, a.Value
		case *bgp.PathAttributeMpUnreachNLRI:
			for _, n := range a.Value {
				r.withdraw(n.NLRI)
			}
		case *bgp.PathAttributeExtendedCommunities:
		default:
			route.attrs += a.GetType().String() + " "
		}
	}
	for _, n := range append(u.NLRI, reach...) {
		r.table[n.NLRI.(*bgp.IPAddrPrefix).Prefix] = route
	}
}

func (r *wireRouter) withdraw(n bgp.NLRI) {
	r.withdrawals++
	delete(r.table, n.(*bgp.IPAddrPrefix).Prefix)
}

// send writes bytes to the established session.
func (r *wireRouter) send(b []byte) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.conn == nil {
		return errors.New("no session")
	}
	r.conn.SetWriteDeadline(time.Now().Add(time.Second))
	_, err := r.conn.Write(b)
	return err
}

// seen reads the counters.
func (r *wireRouter) seen() (sessions, updates, withdrawals int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.sessions, r.updates, r.withdrawals
}

// farewell is the last notification that the router was sent, as code and
// subcode.
func (r *wireRouter) farewell() (code, subcode uint8) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.notification == nil {
		return 0, 0
	}
	return r.notification.ErrorCode, r.notification.ErrorSubcode
}

func (r *wireRouter) established() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.conn != nil
}

// has is what the router was sent, as "prefix next-hop bandwidth" lines.
func (r *wireRouter) has() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	var lines []string
	for _, p := range slices.SortedFunc(maps.Keys(r.table), func(a, b netip.Prefix) int { return a.Addr().Compare(b.Addr()) }) {
		one := r.table[p]
		lines = append(lines, fmt.Sprintf("%s %s %s", p, one.nextHop, one.bandwidths))
	}
	return lines
}

// wants waits until the router has exactly these routes.
func (r *wireRouter) wants(want ...string) {
	r.tb.Helper()
	netlab.Eventually(r.tb, 10*time.Second, func() string {
		if got := r.has(); !slices.Equal(got, want) {
			return fmt.Sprintf("%s has %q, want %q", r.addr, got, want)
		}
		return ""
	})
}

// attributes are the types of a route's attributes, but for those that has shows.
func (r *wireRouter) attributes(prefix string) string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.table[netip.MustParsePrefix(prefix)].attrs
}

func (r *wireRouter) awaitSession(limit time.Duration) {
	r.tb.Helper()
	netlab.Eventually(r.tb, limit, func() string {
		if !r.established() {
			return fmt.Sprintf("no session with %s", r.addr)
		}
		return ""
	})
}

var keepalive = message(bgp.BGP_MSG_KEEPALIVE)

// message is a BGP message around a body.
func message(kind byte, body ...byte) []byte {
	m := make([]byte, 19, 19+len(body))
	for i := range 16 {
		m[i] = 0xff
	}
	binary.BigEndian.PutUint16(m[16:], uint16(19+len(body)))
	m[18] = kind
	return append(m, body...)
}

// openMessage is a good OPEN for both families and 4-octet AS numbers.
func openMessage(asn uint32, hold uint16) []byte {
	caps := []byte{1, 4, 0, 1, 0, 1, 1, 4, 0, 2, 0, 1, 65, 4}
	caps = binary.BigEndian.AppendUint32(caps, asn)
	return openWith(asn, hold, append([]byte{byte(len(caps) + 2), 2, byte(len(caps))}, caps...)...)
}

// openWith is an OPEN with the given optional parameters, their length first.
func openWith(asn uint32, hold uint16, parameters ...byte) []byte {
	short := uint16(asTrans)
	if asn <= math.MaxUint16 {
		short = uint16(asn)
	}
	body := []byte{4}
	body = binary.BigEndian.AppendUint16(body, short)
	body = binary.BigEndian.AppendUint16(body, hold)
	body = append(body, 192, 0, 2, 77)
	return message(bgp.BGP_MSG_OPEN, append(body, parameters...)...)
}

func readMessage(conn net.Conn) ([]byte, error) {
	head := make([]byte, 19)
	if _, err := io.ReadFull(conn, head); err != nil {
		return nil, err
	}
	m := make([]byte, binary.BigEndian.Uint16(head[16:]))
	copy(m, head)
	_, err := io.ReadFull(conn, m[19:])
	return m, err
}
