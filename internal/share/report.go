package share

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Report is what one node's speaker has counted, and what it announces. It tells of
// ages, not of times, so that clocks need not agree.
type Report struct {
	Off       string        // why nothing is counted; empty: it is
	Every     time.Duration // from one sample to the next
	Age       time.Duration // of the newest sample
	Addresses []Address     // sorted
}

// Address is what a node knows of one address that it announces.
type Address struct {
	Addr   netip.Addr
	Nodes  []Weight // of all that announce it, as last announced, sorted
	Offers []Offer  // of this node, one for each peer
	Layer2 bool     // neighbours find the address without a router, too
	Total  uint64   // all new flows that this node has counted, since its speaker began

	// Samples is how many there are since something changed that a router's choice
	// may depend on, and routers had the time to follow.
	Samples int
	Flows   []Series
}

// Weight is the weight that a node has for an address.
type Weight struct {
	Node   string
	Weight uint32
}

// Offer is what a node announces of an address to one peer.
type Offer struct {
	Peer   string // its name in the configuration
	Router string // which router that is: nodes that name the same one speak to the same
	Weight uint32 // as the peer can understand it
	// Preference is what a router looks at before the weight. It spreads flows only
	// over nodes with the same.
	Preference string
	Up         bool // the session is established
}

// Series are the new flows that came by one router, sample by sample.
type Series struct {
	Router string // as in an Offer; empty: none of the peers
	Counts Counts
}

// Counts are of samples, the newest first. What is missing at the end is zero.
type Counts []uint32

// MarshalText writes them in a line.
func (c Counts) MarshalText() ([]byte, error) {
	for len(c) > 0 && c[len(c)-1] == 0 {
		c = c[:len(c)-1]
	}
	var b []byte
	for i, n := range c {
		if i > 0 {
			b = append(b, ' ')
		}
		b = strconv.AppendUint(b, uint64(n), 10)
	}
	return b, nil
}

// maxCounts bounds what is read of somebody else.
const maxCounts = 1000

// UnmarshalText reads what MarshalText wrote.
func (c *Counts) UnmarshalText(text []byte) error {
	fields := strings.Fields(string(text))
	if len(fields) > maxCounts {
		return fmt.Errorf("%d samples: at most %d can be", len(fields), maxCounts)
	}
	*c = nil
	for _, f := range fields {
		n, err := strconv.ParseUint(f, 10, 32)
		if err != nil {
			return fmt.Errorf("a sample %q: %w", f, err)
		}
		*c = append(*c, uint32(n))
	}
	return nil
}

// sum adds up the samples from one to before another.
func (c Counts) sum(from, to int) (n uint64) {
	from = min(max(from, 0), len(c))
	for _, x := range c[from:min(max(to, from), len(c))] {
		n += uint64(x)
	}
	return n
}

// fresh tells whether a report is about now, and whether its numbers can be.
func (r Report) fresh() bool {
	return r.Off == "" && r.Every > 0 && r.Age >= 0 && r.Age < stale*r.Every
}

// stale is the age, in samples, from which a speaker that still answers is taken not
// to count any more.
const stale = 6

// Of is what the report says of an address; false: nothing.
func (r Report) Of(a netip.Addr) (Address, bool) {
	i, ok := slices.BinarySearchFunc(r.Addresses, a, func(x Address, a netip.Addr) int { return x.Addr.Compare(a) })
	if !ok {
		return Address{}, false
	}
	return r.Addresses[i], true
}

// Expected is the share of a node that this report's weights ask for.
func (a Address) Expected(node string) (share float64, ok bool) {
	var sum uint64
	for _, w := range a.Nodes {
		sum += uint64(w.Weight)
		if w.Node == node {
			share, ok = float64(w.Weight), true
		}
	}
	return share / float64(max(sum, 1)), ok
}
