package members

import (
	"fmt"
	"log"
	"time"

	"github.com/hashicorp/memberlist"
)

// label keeps other users of memberlist on the same port apart from us.
const label = "herald"

// Timings decide how soon a death is known, and how patient with the living we
// are. Zero fields have the defaults, which were measured: see
// docs/adr/0006-detect-a-dead-node-by-gossip.md.
type Timings struct {
	ProbeInterval    time.Duration // zero: 100ms; each member is asked in turn
	ProbeTimeout     time.Duration // zero: half of ProbeInterval; then others are asked to ask
	GossipInterval   time.Duration // zero: 20ms; costs nothing while there is no news
	SuspicionMult    int           // zero: 3; a suspect has this many intervals (times log10 of the members) to refute
	SuspicionMaxMult int           // zero: 2; and this many times longer while only one member suspects it
	AwarenessMax     int           // zero: 4; a member that notices its own slowness asks this many times slower
	IndirectChecks   int           // zero: 3
	Questions        int           // zero: 4; unanswered before a death is reported. Negative: report without asking
	Rejoin           time.Duration // zero: 300ms; between attempts to find those who are not members
}

func (t Timings) withDefaults() Timings {
	t.ProbeInterval = or(t.ProbeInterval, 100*time.Millisecond)
	t.ProbeTimeout = or(t.ProbeTimeout, t.ProbeInterval/2)
	t.GossipInterval = or(t.GossipInterval, 20*time.Millisecond)
	t.SuspicionMult = or(t.SuspicionMult, 3)
	t.SuspicionMaxMult = or(t.SuspicionMaxMult, 2)
	t.AwarenessMax = or(t.AwarenessMax, 4)
	t.IndirectChecks = or(t.IndirectChecks, 3)
	t.Questions = or(t.Questions, 4)
	t.Rejoin = or(t.Rejoin, 300*time.Millisecond)
	return t
}

func or[T comparable](v, otherwise T) T {
	var zero T
	if v == zero {
		return otherwise
	}
	return v
}

func (m *Members) config() (*memberlist.Config, error) {
	t := m.o.Timings
	c := memberlist.DefaultLANConfig()
	if len(m.o.Key) > 0 {
		keys, err := memberlist.NewKeyring(m.o.Accept, m.o.Key)
		if err != nil {
			return nil, fmt.Errorf("key: %w", err)
		}
		c.Keyring = keys
	}
	c.Name = m.o.Node
	c.BindAddr = m.o.Bind.Addr().String()
	c.BindPort = int(m.o.Bind.Port())
	c.AdvertiseAddr = m.o.Advertise.Addr().String()
	c.AdvertisePort = int(m.o.Advertise.Port())
	c.Label = label
	c.Events = m.roster
	c.Delegate = m.roster
	c.Logger = log.New(m.bridge, "", 0)

	c.ProbeInterval = t.ProbeInterval
	c.ProbeTimeout = t.ProbeTimeout
	c.GossipInterval = t.GossipInterval
	c.SuspicionMult = t.SuspicionMult
	c.SuspicionMaxTimeoutMult = t.SuspicionMaxMult
	c.AwarenessMaxMultiplier = t.AwarenessMax
	c.IndirectChecks = t.IndirectChecks
	c.TCPTimeout = 2 * time.Second
	c.PushPullInterval = 10 * time.Second
	// The dead are told of their death for as long, so that one who is not can
	// contradict.
	c.GossipToTheDeadTime = 5 * time.Second
	// A node that comes back with another address is the same node.
	c.DeadNodeReclaimTime = time.Millisecond
	// Fits the smallest IPv6 path.
	c.UDPBufferSize = 1200
	c.EnableCompression = false
	return c, nil
}
