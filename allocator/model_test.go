package allocator

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/heraldlb/herald/internal/bubble"
	"github.com/heraldlb/herald/internal/cluster"
	"github.com/heraldlb/herald/internal/config"
)

// The model test does to an allocator whatever can happen to it, in random order:
// users, other controllers, an API server that refuses, hangs and loses answers,
// changes during writes, new leaders. What must hold always is looked at after
// each write; what must hold in the end, whenever all was well for a while.

var (
	steps = flag.Int("steps", modelSteps, "random steps for each seed of the model test")
	seeds = flag.Uint64("seeds", 10, "seeds of the model test")
	seed  = flag.Uint64("seed", 0, "the only seed of the model test; 0: all of them")
)

func TestModel(t *testing.T) {
	for n := uint64(1); n <= *seeds; n++ {
		if *seed != 0 && n != *seed {
			continue
		}
		t.Run(fmt.Sprint("seed ", n), func(t *testing.T) {
			bubble.Test(t, func(t *testing.T) { newModel(t, n).run(*steps) })
		})
	}
}

// FuzzModel looks for a seed that fails.
func FuzzModel(f *testing.F) {
	f.Add(uint64(1), uint16(100))
	f.Fuzz(func(t *testing.T, n uint64, steps uint16) {
		bubble.Test(t, func(t *testing.T) { newModel(t, n).run(int(steps) % 500) })
	})
}

// longestWrite is more than a write takes in the model.
const longestWrite = 7 * time.Second

var forever = time.Unix(1<<40, 0)

type model struct {
	*world
	t    *testing.T
	stop func()
	next int // number of the next Service

	own sync.Mutex // of what follows; taken last
	r   *rand.Rand
	log []string

	paused int           // the leader that is
	gate   chan struct{} // before its writes
	stale  bool          // what is written now was decided long ago
	late   time.Time     // when such a write was last; those under way may clash with it

	trouble int // how many of 8 writes go wrong
	slow    bool

	hidden map[string]time.Time // until when a leader may not know what a user or another controller did to a Service

	undone  map[netip.Addr]bool // what others took from a status; its Service has a right to it
	excused map[string]bool     // UIDs of those that a leader wrote which did not lead any more
}

func newModel(t *testing.T, n uint64) *model {
	m := &model{
		world: newWorld(""), t: t, r: rand.New(rand.NewPCG(n, 13)),
		excused: map[string]bool{}, undone: map[netip.Addr]bool{}, hidden: map[string]time.Time{},
	}
	m.write, m.after, m.wrote, m.options.Status = m.before, m.lose, m.look, statusName
	_, m.stop = m.lead(t)
	return m
}

func (m *model) run(steps int) {
	defer func() { m.stop() }()
	for i := range steps {
		writes := m.writeCount()
		m.step()
		time.Sleep(m.while())
		synctest.Wait()
		if n, most := m.writeCount()-writes, 20+4*len(m.snapshot()); n > most {
			m.t.Errorf("%d writes in one step of at most half a minute", n)
		}
		if i%50 == 49 {
			m.heal()
			m.settled()
		}
		if m.t.Failed() {
			m.own.Lock()
			tail := m.log[max(0, len(m.log)-60):]
			m.own.Unlock()
			m.t.Fatalf("step %d; the last steps and writes:\n%s\n%s\n%s", i, strings.Join(tail, "\n"),
				strings.Join(m.status(), "\n"), m.accepted.Data[ConfigKey])
		}
	}
}

// intn is a random number below n. Writes and steps ask for them at the same time.
func (m *model) intn(n int) int {
	m.own.Lock()
	defer m.own.Unlock()
	return m.r.IntN(n)
}

func (m *model) note(format string, args ...any) {
	m.own.Lock()
	defer m.own.Unlock()
	m.log = append(m.log, fmt.Sprintf("%s "+format, append([]any{time.Now().Format("15:04:05.000")}, args...)...))
}

func (m *model) snapshot() []cluster.Service {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.truth
}

func (m *model) while() time.Duration {
	return []time.Duration{0, time.Millisecond, 7 * time.Millisecond, time.Second, 30 * time.Second}[m.intn(5)]
}

// step does one thing.
func (m *model) step() {
	do := []func(){
		m.born, m.born, m.born, m.dies, m.leaves, m.asks, m.asks, m.asks, m.shares, m.changesType,
		m.edits, m.edits, m.breaks, m.restarts, m.pauses, m.lags, m.troubles, m.troubles, m.rival, m.rival, m.clears, m.adorns,
	}
	do[m.intn(len(do))]()
}

func (m *model) pick() *cluster.Service {
	all := m.snapshot()
	if len(all) == 0 {
		return nil
	}
	s := all[m.intn(len(all))]
	return &s
}

// change edits one Service of the truth.
func (m *model) change(uid, what string, change func(*cluster.Service)) {
	m.note("%s: %s", uid, what)
	m.edit(func(all *[]cluster.Service) {
		for i := range *all {
			if s := &(*all)[i]; s.UID == uid {
				change(s)
			}
		}
	})
}

func (m *model) born() {
	if len(m.snapshot()) > 14 {
		return
	}
	m.next++
	name := fmt.Sprintf("s%d", m.next)
	s := cluster.Service{
		Namespace: []string{"a", "b"}[m.intn(2)], Name: name, UID: name, LoadBalancer: true,
		Created:  time.Unix(int64(m.next+m.intn(5)), 0),
		Families: []cluster.Family{cluster.IPv4}, FamilyPolicy: cluster.SingleStack,
		Ports:       []cluster.Port{{Protocol: "TCP", Port: uint16(80 + m.intn(2))}},
		Annotations: m.annotations(),
	}
	if m.intn(4) == 0 {
		s.Families, s.FamilyPolicy = []cluster.Family{cluster.IPv4, cluster.IPv6}, cluster.PreferDualStack
	}
	switch m.intn(10) {
	case 0:
		s.Class = "example.com/x"
	case 1:
		s.Class = cluster.Class
	case 2:
		s.Adorned, s.StatusOf = true, "cloud"
	case 3:
		s.Ingress, s.StatusOf = []netip.Addr{m.addr()}, "cloud"
		for _, o := range m.snapshot() { // another controller has addresses of its own
			if slices.Contains(o.Ingress, s.Ingress[0]) {
				s.Ingress = []netip.Addr{netip.MustParseAddr("203.0.113.1")}
			}
		}
		m.hides(name)
	}
	m.note("born %s %v %v %q of %q", name, s.Annotations, s.Ingress, s.Class, s.StatusOf)
	m.edit(func(all *[]cluster.Service) { *all = append(*all, s) })
}

func (m *model) addr() netip.Addr {
	if m.intn(5) == 0 {
		return netip.MustParseAddr(fmt.Sprintf("2001:db8::%x", m.intn(8)))
	}
	return netip.MustParseAddr(fmt.Sprintf("192.0.2.%d", m.intn(20)))
}

func (m *model) annotations() map[string]string {
	switch m.intn(6) {
	case 0:
		return map[string]string{cluster.AnnotationAddresses: m.addr().String()}
	case 1:
		return map[string]string{cluster.AnnotationPool: []string{"one", "two", "none"}[m.intn(3)]}
	case 2:
		return map[string]string{cluster.AnnotationSharingKey: "k"}
	default:
		return nil
	}
}

func (m *model) dies() {
	if s := m.pick(); s != nil {
		m.note("%s is deleted", s.UID)
		m.delete(s.Name)
	}
}

func (m *model) leaves() {
	if s := m.pick(); s != nil {
		m.change(s.UID, "is being deleted", func(s *cluster.Service) { s.Deleting = true })
	}
}

func (m *model) asks() {
	if s := m.pick(); s != nil {
		a := m.annotations()
		m.change(s.UID, fmt.Sprint("asks for ", a), func(s *cluster.Service) { s.Annotations = a })
	}
}

func (m *model) shares() {
	if s := m.pick(); s != nil {
		port := uint16(80 + m.intn(3))
		m.hides(s.UID)
		m.change(s.UID, fmt.Sprint("has port ", port), func(s *cluster.Service) { s.Ports = []cluster.Port{{Protocol: "TCP", Port: port}} })
	}
}

// hides notes that something is not known until the watch shows it, and not to writes
// that were decided on before.
func (m *model) hides(uid string) {
	m.set(func() {
		m.hidden[uid] = time.Now().Add(longestWrite)
		if m.lagging {
			m.hidden[uid] = forever
		}
	})
}

// changesType does to a status what the API server does.
func (m *model) changesType() {
	if s := m.pick(); s != nil {
		m.change(s.UID, "changes its type", func(s *cluster.Service) {
			if s.LoadBalancer = !s.LoadBalancer; !s.LoadBalancer {
				s.Ingress, s.StatusOf, s.Adorned = nil, "", false
			}
		})
		m.set(func() { m.excused[s.UID] = true })
	}
}

func (m *model) edits() {
	some := func(of ...string) string { return of[m.intn(len(of))] }
	text := "apiVersion: heraldlb.io/v1\npools:\n- {name: one, ranges: [" + some("192.0.2.0/30", "192.0.2.0/29", "192.0.2.4/30", "192.0.2.1-192.0.2.2") + "]" +
		some("", ", sharing: acrossNamespaces", ", avoidBuggyIPs: true") + some("", ", quarantine: 0s") + "}\n"
	if m.intn(3) > 0 {
		text += "- {name: two, ranges: [" + some("192.0.2.8/30", "192.0.2.9-192.0.2.12") + `, "2001:db8::/126"]` +
			some("", ", autoAssign: false", ", priority: 1", ", namespaces: [a]") + some("", ", quarantine: 0s") + "}\n"
	}
	text += some("", "", "", "classless: ignore\n")
	m.note("configured: %s", text)
	m.configure(text)
}

func (m *model) breaks() {
	m.note("a broken configuration")
	m.configure(broken)
}

func (m *model) restarts() {
	m.note("another leader")
	m.stop()
	_, m.stop = m.lead(m.t)
}

// pauses has the leader sleep between a decision and its writes, while another one
// leads.
func (m *model) pauses() {
	m.note("the leader is paused while another one leads")
	gate, ended, stop := make(chan struct{}), make(chan struct{}), m.stop
	m.set(func() { m.paused, m.gate = m.leaders, gate })
	go func() { stop(); close(ended) }() // it decides nothing any more, but what was begun goes on at the gate
	synctest.Wait()
	_, m.stop = m.lead(m.t)
	time.Sleep(m.while())
	synctest.Wait()
	m.set(func() { m.stale = true })
	close(gate)
	<-ended
	m.set(func() { m.stale = false })
}

func (m *model) lags() {
	m.note("the watch lags: %v", !m.lagging)
	m.set(func() { m.lagging = !m.lagging })
	m.edit(func(*[]cluster.Service) {})
	m.shows()
}

// shows ends what was hidden while the watch lagged.
func (m *model) shows() {
	m.set(func() {
		for uid, until := range m.hidden {
			if until.Equal(forever) && !m.lagging {
				m.hidden[uid] = time.Now().Add(longestWrite)
			}
		}
	})
}

func (m *model) troubles() {
	m.set(func() { m.trouble, m.slow = m.intn(9), m.intn(4) == 0 })
	m.note("trouble %d of 8, slow %v", m.trouble, m.slow)
}

// rival is another controller that writes into any status.
func (m *model) rival() {
	s := m.pick()
	if s == nil || !s.LoadBalancer {
		return
	}
	addr := netip.MustParseAddr(fmt.Sprintf("203.0.113.%d", 1+m.intn(9)))
	m.undoes(s)
	m.change(s.UID, "a rival gives it "+addr.String(), func(s *cluster.Service) {
		s.Ingress, s.StatusOf, s.Adorned = []netip.Addr{addr}, "rival", false
	})
}

func (m *model) undoes(s *cluster.Service) {
	m.set(func() {
		for _, a := range s.Ingress {
			m.undone[a] = true
		}
	})
}

func (m *model) clears() {
	if s := m.pick(); s != nil && s.StatusOf == "" {
		m.undoes(s)
		m.change(s.UID, "somebody empties its status", func(s *cluster.Service) { s.Ingress = nil })
	}
}

func (m *model) adorns() {
	if s := m.pick(); s != nil && s.StatusOf == "" && len(s.Ingress) > 0 {
		m.change(s.UID, "somebody adds a hostname", func(s *cluster.Service) { s.Adorned = true })
	}
}

// before is called before each write, by the goroutine that writes.
func (m *model) before(ctx context.Context, key string) error {
	m.mu.Lock()
	what, took := m.intn(8), time.Duration(0)
	if m.slow {
		took = time.Duration(m.intn(6000)) * time.Millisecond
	}
	trouble := m.trouble
	m.mu.Unlock()
	select {
	case <-ctx.Done():
		m.mu.Lock()
		gate, paused := m.gate, ctx.Value(leaderKey{}) == m.paused
		m.mu.Unlock()
		if !paused {
			return ctx.Err()
		}
		<-gate
	case <-time.After(took):
	}
	switch {
	case what >= trouble:
		return nil
	case what%2 == 0:
		return fmt.Errorf("%w: %s", cluster.ErrRefused, key)
	default:
		return errLost
	}
}

// lose is called after a write has taken place, with mu held.
func (m *model) lose(string) error {
	if m.intn(8) < m.trouble {
		return errLost
	}
	return nil
}

// look is called after each write with what it was and is, and with mu held.
func (m *model) look(was, is cluster.Service) {
	m.note("%s", fmt.Sprintf("    write %s: %v of %q %s -> %v %s", is.UID, was.Ingress, was.StatusOf, was.Condition.Reason, is.Ingress, is.Condition.Reason))
	if m.stale {
		m.late, m.excused[is.UID] = time.Now(), true
	}
	clear := time.Since(m.late) > longestWrite
	same := slices.Equal(was.Ingress, is.Ingress) && was.StatusOf == is.StatusOf
	if clear && was.StatusOf == "" && is.LoadBalancer && asksNothing(is) && is.Condition.Reason != "" {
		for _, a := range was.Ingress {
			conflict := slices.ContainsFunc(m.truth, func(o cluster.Service) bool { return o.UID != is.UID && slices.Contains(o.Ingress, a) })
			if !slices.Contains(is.Ingress, a) && !conflict && !m.undone[a] {
				m.t.Errorf("%s has lost %s without a cause: %s", is.UID, a, is.Condition.Message)
			}
		}
	}
	switch {
	case was.Deleting:
		m.t.Errorf("%s: written to while it is being deleted", is.UID)
	case was.StatusOf != "" && !same && (!was.Ours() || was.Another()):
		m.t.Errorf("%s: the status of %s was replaced by %v", is.UID, was.StatusOf, is.Ingress)
	case !was.Ours() && is.Condition.Reason != "":
		m.t.Errorf("%s: not ours, and told %s", is.UID, is.Condition.Reason)
	}
	if !same && clear {
		m.once(was, is)
	}
}

func asksNothing(s cluster.Service) bool {
	return s.Annotations[cluster.AnnotationAddresses] == "" && s.Annotations[cluster.AnnotationPool] == ""
}

// once checks that nobody else has an address and port that was just given.
func (m *model) once(was, s cluster.Service) {
	for i := range m.truth {
		o := &m.truth[i]
		if o.UID == s.UID || !o.LoadBalancer || o.StatusOf == "rival" || time.Now().Before(m.hidden[o.UID]) {
			continue
		}
		for _, a := range s.Ingress {
			if !slices.Contains(was.Ingress, a) && slices.Contains(o.Ingress, a) && slices.ContainsFunc(s.Ports, func(p cluster.Port) bool { return slices.Contains(o.Ports, p) }) && !m.exchange(s, *o) {
				m.t.Errorf("%s got %s, which %s has, on the same port", s.UID, a, o.UID)
			}
		}
	}
}

// exchange tells whether two Services ask for each other's addresses, or may be in
// such a circle.
func (m *model) exchange(x, y cluster.Service) bool {
	asks := func(s cluster.Service) bool { return s.Annotations[cluster.AnnotationAddresses] != "" }
	return asks(x) && asks(y)
}

// heal lets everything be well until all has come to rest.
func (m *model) heal() {
	m.note("all is well")
	m.set(func() { m.trouble, m.slow, m.lagging = 0, false, false })
	m.edit(func(*[]cluster.Service) {})
	m.shows()
	for range 3 {
		time.Sleep(21 * time.Minute) // a quarrel is over after 15
		synctest.Wait()
	}
}

// settled checks what must be so now.
func (m *model) settled() {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := m.truth
	if m.accepted == nil {
		return
	}
	c, err := config.Parse([]byte(acceptedText(m.accepted)))
	if err != nil {
		m.t.Fatal(err)
	}
	users := map[netip.Addr][]cluster.Service{}
	for _, s := range now {
		if s.LoadBalancer {
			for _, a := range s.Ingress {
				users[a] = append(users[a], s)
			}
		}
	}
	for _, s := range c.Scope.Own(now) {
		switch {
		case !s.Ours() || s.Deleting || s.Another():
			continue
		case s.StatusOf == "" && s.Adorned || s.StatusOf != "" && s.Condition.Allocated:
			m.t.Errorf("%s: not repaired", s.UID)
		case s.Condition.Allocated != (len(s.Ingress) > 0) && s.StatusOf == "":
			m.t.Errorf("%s: %s with %v", s.UID, s.Condition.Reason, s.Ingress)
		}
		m.place(c, s)
		m.waits(c, s, users)
	}
	for a, all := range users {
		for i, x := range all {
			for _, y := range all[:i] {
				if x.StatusOf == "" && y.StatusOf == "" && slices.ContainsFunc(x.Ports, func(p cluster.Port) bool { return slices.Contains(y.Ports, p) }) &&
					!x.Deleting && !y.Deleting && x.Ours() && y.Ours() {
					m.t.Errorf("%s and %s have %s, on the same port", x.UID, y.UID, a)
				}
			}
		}
	}
}

// place checks that a Service's addresses are in pools.
func (m *model) place(c *config.Config, s cluster.Service) {
	for _, a := range s.Ingress {
		if s.StatusOf == "" && c.PoolOf(a) == nil && !m.excused[s.UID] {
			m.t.Errorf("%s has %s, which is in no pool: %s", s.UID, a, s.Condition.Message)
		}
	}
}

// waits checks that a Service that asks for nothing has an address if there is one.
func (m *model) waits(c *config.Config, s cluster.Service, users map[netip.Addr][]cluster.Service) {
	if len(s.Ingress) > 0 || s.Annotations[cluster.AnnotationAddresses] != "" || s.Annotations[cluster.AnnotationPool] != "" {
		return
	}
	for _, p := range c.Pools {
		if !p.AutoAssign || !p.Serves(&s) {
			continue
		}
		for a := range p.Addrs(cluster.IPv4) {
			if len(users[a]) == 0 {
				m.t.Errorf("%s waits (%s), and %s is free", s.UID, s.Condition.Reason, a)
				return
			}
		}
	}
}

func acceptedText(cm *cluster.ConfigMap) string {
	if cm == nil {
		return ""
	}
	return cm.Data[ConfigKey]
}
