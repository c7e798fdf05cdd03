package flows

import (
	"cmp"
	"net/netip"
	"slices"

	"github.com/heraldlb/herald/e2e/internal/echo"
)

// PodCount is how many flows one pod has answered.
type PodCount struct {
	Pod   string  `json:"pod"`
	Node  string  `json:"node"`
	Flows int     `json:"flows"`
	Share float64 `json:"share"` // of all answered
}

type server struct{ pod, node string }

// tally counts answers and failures. Its zero value is empty; it is not safe
// for concurrent use.
type tally struct {
	servers map[server]int
	clients map[string]int
	errors  map[string]int
	good    int
}

func (t *tally) add(r echo.Reply, err error) {
	if t.servers == nil {
		t.servers, t.clients, t.errors = map[server]int{}, map[string]int{}, map[string]int{}
	}
	if err != nil {
		t.errors[kindOf(err)]++
		return
	}
	t.good++
	t.servers[server{r.Pod, r.Node}]++
	client := r.Client
	if ap, err := netip.ParseAddrPort(r.Client); err == nil {
		client = ap.Addr().String()
	}
	t.clients[client]++
}

func (t *tally) failed() int {
	n := 0
	for _, c := range t.errors {
		n += c
	}
	return n
}

// pods are sorted by node and name.
func (t *tally) pods() []PodCount {
	out := []PodCount{}
	for s, n := range t.servers {
		out = append(out, PodCount{s.pod, s.node, n, float64(n) / float64(t.good)})
	}
	slices.SortFunc(out, func(a, b PodCount) int {
		return cmp.Or(cmp.Compare(a.Node, b.Node), cmp.Compare(a.Pod, b.Pod))
	})
	return out
}
