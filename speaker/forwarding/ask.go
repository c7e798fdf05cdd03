package forwarding

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"
)

// answer is what kube-proxy said about one target.
type answer struct {
	weight int // -1: not told

	// Of a Service with a port of its own.
	own    bool
	status int
	err    error

	proxy proxy
}

// proxy is the whole of kube-proxy.
type proxy struct {
	heard   bool // it said something
	healthy bool
	why     string
	updated time.Time     // when it has written last, as its healthz says; the zero time: that does not say
	told    bool          // whether metrics told the next
	behind  bool          // it has been told what it has not written yet
	age     time.Duration // if so, since it has written last what it is behind with
	queued  time.Duration // since it was told something last
}

// heard tells whether anybody said anything.
func (a answer) heard() bool { return a.own && a.err == nil || a.proxy.heard }

// forwards judges an answer about a target.
//
//	its own port says that there is no ready endpoint    -> no
//	it said so before, and says otherwise now            -> yes: kube-proxy has written since
//	it never said anything else                          -> it may be of before there was the address:
//	                                                        the whole of kube-proxy is asked as well
//	nobody answers on it, but kube-proxy is well         -> so it is, after a while
func (a answer) forwards(t *target, now time.Time) (bool, string) {
	waited := now.Sub(t.since)
	switch {
	case a.own && a.err != nil && (waited < ownFor || !a.proxy.healthy):
		return false, "kube-proxy does not answer on the Service's healthCheckNodePort: " + a.err.Error()
	case a.own && a.err == nil && a.status != http.StatusOK:
		return false, fmt.Sprintf("kube-proxy answers %d on the Service's healthCheckNodePort: it has no ready endpoint on this node in its rules", a.status)
	case a.own && a.err == nil && (t.shut || !a.proxy.heard && waited >= blindFor):
		return true, ""
	case a.own && a.err == nil && !a.proxy.heard:
		return false, "kube-proxy may not have heard of the Service's address yet"
	default:
		return a.proxy.wrote(waited)
	}
}

// wrote judges whether kube-proxy has written what we heard of so long ago.
func (p proxy) wrote(heard time.Duration) (bool, string) {
	switch {
	case !p.healthy:
		return false, p.why
	// Where something changes all the time it is always behind; what it wrote long
	// after we heard of the Service has the Service in it.
	case p.told && p.behind && heard-p.age < blindFor:
		return false, "kube-proxy has changes to write yet"
	case p.told && heard >= calmFor, p.told && heard >= soonFor && p.queued <= heard, heard >= blindFor:
		return true, ""
	default:
		return false, "kube-proxy may not have heard of the Service yet"
	}
}

// depth is what is asked of the whole of kube-proxy.
type depth int

const (
	nothing depth = iota
	life          // whether it is alive
	work          // and whether it has written what it was told, which costs it milliseconds
)

// ask asks about all targets, a few at a time, and about the whole of kube-proxy.
func (p *Prober) ask(ctx context.Context, due []Target, d depth) (map[Key]answer, proxy) {
	var whole proxy
	if d != nothing {
		whole = p.askProxy(ctx, d)
	}
	answers := make(map[Key]answer, len(due))
	var mu sync.Mutex
	var wg sync.WaitGroup
	tokens := make(chan struct{}, 16)
	for _, t := range due {
		if !t.Health.IsValid() {
			mu.Lock()
			answers[t.Key] = answer{weight: -1, proxy: whole}
			mu.Unlock()
			continue
		}
		tokens <- struct{}{}
		wg.Go(func() {
			a := p.askService(ctx, t)
			a.proxy = whole
			mu.Lock()
			answers[t.Key] = a
			mu.Unlock()
			<-tokens
		})
	}
	wg.Wait()
	return answers, whole
}

// weightHeader is that of KEP-3836.
const weightHeader = "X-Load-Balancing-Endpoint-Weight"

func (p *Prober) askService(ctx context.Context, t Target) answer {
	a := answer{own: true, weight: -1}
	r, err := p.client.get(ctx, "http://"+t.Health.String()+"/")
	if err != nil {
		a.err = err
		return a
	}
	defer r.Body.Close()
	_, _ = io.Copy(io.Discard, io.LimitReader(r.Body, 4096)) // what it says in words is not needed
	a.status = r.StatusCode
	if n, err := strconv.Atoi(r.Header.Get(weightHeader)); err == nil {
		a.weight = n
	}
	return a
}

func (p *Prober) askProxy(ctx context.Context, d depth) proxy {
	r, err := p.client.get(ctx, p.o.Healthz)
	if err != nil {
		return proxy{why: "kube-proxy's healthz does not answer: " + err.Error()}
	}
	defer r.Body.Close()
	whole := proxy{heard: true, healthy: r.StatusCode == http.StatusOK, updated: updated(r.Body)}
	if !whole.healthy {
		whole.why = fmt.Sprintf("kube-proxy's healthz answers %d", r.StatusCode)
		return whole
	}
	if d == work && p.o.Metrics != "" {
		p.askMetrics(ctx, &whole)
	}
	return whole
}

// updated reads from healthz when kube-proxy has written last, the first of its
// families. Those before 1.33 do not tell.
func updated(body io.Reader) (first time.Time) {
	var said struct {
		Status map[string]struct {
			LastUpdated time.Time `json:"lastUpdated"`
		} `json:"status"`
	}
	if err := json.NewDecoder(io.LimitReader(body, 1<<16)).Decode(&said); err != nil {
		return time.Time{}
	}
	for _, s := range said.Status {
		if first.IsZero() || s.LastUpdated.After(first) {
			first = s.LastUpdated
		}
	}
	return first
}

// The metrics of kube-proxy that tell what it has to write.
const (
	queuedMetric   = "kubeproxy_sync_proxy_rules_last_queued_timestamp_seconds"
	writtenMetric  = "kubeproxy_sync_proxy_rules_last_timestamp_seconds"
	servicesMetric = "kubeproxy_sync_proxy_rules_service_changes_pending"
	slicesMetric   = "kubeproxy_sync_proxy_rules_endpoint_changes_pending"
)

// askMetrics tells whether kube-proxy has written all that it was told. Both
// families have a gauge of their own: the last word of the one and the first of the
// other count.
func (p *Prober) askMetrics(ctx context.Context, into *proxy) {
	r, err := p.client.get(ctx, p.o.Metrics)
	if err != nil {
		return
	}
	defer r.Body.Close()
	if r.StatusCode != http.StatusOK {
		return
	}
	now := time.Now()
	gauges := map[string]map[string]float64{queuedMetric: {}, writtenMetric: {}, servicesMetric: {}, slicesMetric: {}}
	lines := bufio.NewScanner(io.LimitReader(r.Body, 4<<20))
	for lines.Scan() {
		for name, values := range gauges {
			gauge(lines.Bytes(), name, values)
		}
	}
	_, _ = io.Copy(io.Discard, io.LimitReader(r.Body, 1<<10)) // so that the connection can be used again
	for _, name := range []string{servicesMetric, slicesMetric} {
		for _, n := range gauges[name] {
			if n > 0 {
				p.pending = now
			}
		}
	}
	p.tell(into, gauges[queuedMetric], gauges[writtenMetric], now)
}

// tell judges by when kube-proxy was told something and when it has written, in
// seconds.
//
//	told since it has written                        -> behind
//	never written                                    -> behind
//	changes were pending, and none has written since -> behind; which family they are of is not told
func (p *Prober) tell(into *proxy, queued, written map[string]float64, now time.Time) {
	var wroteLast, toldLast time.Time
	late := func(wrote time.Time) { into.behind, into.age = true, max(into.age, now.Sub(wrote)) }
	for labels, at := range written {
		wrote, told := seconds(at), seconds(queued[labels])
		if at == 0 || told.After(wrote) {
			late(wrote)
		}
		into.told, wroteLast, toldLast = true, latest(wroteLast, wrote), latest(toldLast, told)
	}
	if p.pending.After(wroteLast) {
		late(wroteLast)
	}
	into.queued = now.Sub(toldLast)
}

func latest(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

func seconds(at float64) time.Time { return time.UnixMicro(int64(at * 1e6)) }

// gauge reads a line of the text format, if it is of that name.
func gauge(line []byte, name string, into map[string]float64) {
	if len(line) <= len(name) || string(line[:len(name)]) != name || line[len(name)] != '{' && line[len(name)] != ' ' {
		return
	}
	rest := string(line[len(name):])
	i := strings.LastIndexByte(rest, ' ')
	if v, err := strconv.ParseFloat(rest[i+1:], 64); err == nil {
		into[rest[:i]] = v
	}
}

type client struct{ http.Client }

// newClient asks this host and other nodes only, so a proxy of the environment has
// no say. What is asked each few milliseconds is asked over one connection.
func newClient() client {
	return client{http.Client{
		Timeout: time.Second,
		Transport: &http.Transport{
			Proxy:               nil,
			MaxIdleConnsPerHost: 1,
			IdleConnTimeout:     2 * time.Second,
			DisableCompression:  true,
			DialContext:         (&net.Dialer{Timeout: 500 * time.Millisecond}).DialContext,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

func (c *client) get(ctx context.Context, url string) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	return c.Do(req)
}
