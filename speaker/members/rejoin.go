package members

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/netip"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/memberlist"
)

const (
	// perRound is how often all members together ask for one who is missing, in
	// each round: a node that is off for weeks must not draw a crowd.
	perRound = 4
	// inRound bounds what one member asks in a round, when half of them are gone.
	inRound = 8
	// knockEvery is the rounds between two attempts to join without asking first.
	// They tell why somebody does not answer, and wait longer for one who is slow.
	knockEvery = 4
)

// rejoin looks for ever for nodes that are not members: it is how the first
// members meet, and how the halves of a partition find each other.
func (m *Members) rejoin(ctx context.Context, list *memberlist.Memberlist) error {
	var busy sync.Map
	for round := 0; ctx.Err() == nil; round++ {
		for _, addr := range m.pick(m.missing()) {
			if _, already := busy.LoadOrStore(addr, true); already {
				continue
			}
			// Nobody waits for it: it ends by itself, and a Leave must be quick.
			go func() {
				defer busy.Delete(addr)
				m.approach(list, addr, round%knockEvery == 0)
			}()
		}
		sleep(ctx, jitter(m.o.Timings.Rejoin))
	}
	return nil
}

func jitter(d time.Duration) time.Duration { return d*3/4 + rand.N(d/2) }

// missing returns where somebody should be who is not a member.
func (m *Members) missing() []netip.AddrPort {
	var peers []netip.AddrPort
	if m.o.Peers != nil {
		peers = m.o.Peers()
	}
	return m.roster.missing(peers, m.o.Advertise)
}

// missing joins the peers with those who failed. Where the peers are known, they
// decide who may come back.
func (r *roster) missing(peers []netip.AddrPort, self netip.AddrPort) []netip.AddrPort {
	r.mu.Lock()
	defer r.mu.Unlock()
	wanted := make(map[netip.AddrPort]bool)
	for _, p := range peers {
		p = netip.AddrPortFrom(p.Addr().Unmap(), p.Port())
		wanted[p] = p.Addr().Is4() == self.Addr().Unmap().Is4()
	}
	for name, addr := range r.lost {
		if _, known := wanted[addr]; len(peers) > 0 && !known {
			delete(r.lost, name)
			continue
		}
		wanted[addr] = true
	}
	wanted[self] = false
	for _, member := range r.members {
		wanted[member.addr] = false
	}
	var out []netip.AddrPort
	for addr, yes := range wanted {
		if yes {
			out = append(out, addr)
		}
	}
	return out
}

// pick chooses at random which of the missing are approached in this round.
func (m *Members) pick(missing []netip.AddrPort) []netip.AddrPort {
	rand.Shuffle(len(missing), func(i, j int) { missing[i], missing[j] = missing[j], missing[i] })
	var out []netip.AddrPort
	for _, addr := range missing {
		if len(out) < inRound && rand.IntN(m.roster.count()) < perRound {
			out = append(out, addr)
		}
	}
	return out
}

func (r *roster) count() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.members) + 1
}

// approach asks whether somebody is there, and exchanges the whole state if so.
// One packet that gets no answer costs less than a connection that gets none.
func (m *Members) approach(list *memberlist.Memberlist, addr netip.AddrPort, knock bool) {
	if _, err := list.Ping("", net.UDPAddrFromAddrPort(addr)); err != nil && !knock {
		return
	}
	_, err := list.Join([]string{addr.String()})
	m.joins.note(m.log, addr, err)
}

// joinLog says once why a peer cannot be joined, and again when that changes.
type joinLog struct {
	mu   sync.Mutex
	said map[netip.AddrPort]said
}

type said struct {
	what string
	when time.Time
}

// sayAgain is when an unchanged reason is told again.
const sayAgain = 10 * time.Minute

func (j *joinLog) note(log *slog.Logger, addr netip.AddrPort, err error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if err == nil {
		delete(j.said, addr)
		return
	}
	what := joinProblem(err)
	if last := j.said[addr]; last.what == what && time.Since(last.when) < sayAgain {
		return
	}
	j.said[addr] = said{what, time.Now()}
	log.Warn("cannot join peer", "peer", addr, "problem", what)
}

// joinProblem is the cause without what differs from attempt to attempt.
func joinProblem(err error) string {
	text := err.Error()
	switch {
	case strings.Contains(text, "decrypt"):
		return "it has another key"
	case strings.Contains(text, "label"), strings.Contains(text, "EOF"), strings.Contains(text, "reset"):
		return "it does not speak our gossip"
	case strings.Contains(text, "timeout"):
		return "no answer"
	case strings.Contains(text, "refused"):
		return "nobody listens"
	}
	return strings.TrimSpace(text[strings.LastIndex(text, ": ")+1:])
}
