package serve

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"reflect"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func streamed(t *testing.T, v any) string {
	t.Helper()
	var out bytes.Buffer
	w := bufio.NewWriter(&out)
	if err := newStream(w).value(reflect.ValueOf(v)); err != nil {
		t.Fatal(err)
	}
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

type inner struct {
	Name string `json:"name"`
	Skip string `json:",omitempty"`
	no   int
}

type share struct {
	Node   string
	Weight uint32
}

type everything struct {
	inner
	Text    string
	Number  float64
	On      bool
	At      time.Time
	Lasts   time.Duration
	Addr    netip.Addr
	Nowhere *time.Time
	There   *inner
	Bytes   []byte
	None    []string
	Empty   []string
	List    []inner
	Map     map[netip.Addr]inner
	Numbers map[int]string
	Any     any
	Nothing any
	Array   [2]int
	Hidden  string `json:"-"`
}

func TestAStreamIsWhatTheStandardLibraryWrites(t *testing.T) {
	at := time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC)
	v := everything{
		inner: inner{Name: "x", no: 1}, Text: "a <b> \"c\" \x00", Number: 1.5, On: true, At: at, Lasts: time.Second,
		Addr: netip.MustParseAddr("2001:db8::1"), There: &inner{Skip: "there"}, Bytes: []byte("bytes"), Empty: []string{},
		List: []inner{{Name: "1"}, {Name: "2"}}, Any: map[string]any{"k": []int{1, 2, 3}}, Array: [2]int{1, 2}, Hidden: "h",
		Map:     map[netip.Addr]inner{netip.MustParseAddr("10.0.0.2"): {}, netip.MustParseAddr("10.0.0.1"): {Name: "1"}},
		Numbers: map[int]string{1: "one", 2: "two"},
	}
	want, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), streamed(t, v)); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

func nodes(n int) []share {
	out := make([]share, n)
	for i := range out {
		out[i] = share{fmt.Sprintf("node-%04d", i), 1}
	}
	return out
}

func TestAListIsWrittenOnce(t *testing.T) {
	all := nodes(longList)
	type service struct{ Nodes []share }
	got := streamed(t, struct{ Services []service }{[]service{{all}, {all}, {nodes(longList)}, {nodes(2)}, {nodes(2)}}})
	const again = `[{"As":"Services[0].Nodes"}]`
	if n := strings.Count(got, again); n != 2 {
		t.Errorf("%d references %s, want 2:\n%s", n, again, got)
	}
	if n := strings.Count(got, `"node-0000"`); n != 3 {
		t.Errorf("the first node is there %d times, want 3: a short list is written each time", n)
	}
}

// bigState is that of 10,000 Cluster Services on so many nodes.
func bigState(nodeCount int) any {
	type decision struct {
		Service string
		Nodes   []share
	}
	all := nodes(nodeCount)
	decisions := make([]decision, 10000)
	for i := range decisions {
		decisions[i] = decision{fmt.Sprintf("default/service-%d", i), all}
	}
	return struct{ Decisions []decision }{decisions}
}

// counter is a client that keeps nothing, and knows how much memory there was.
type counter struct {
	http.ResponseWriter
	n, most uint64
}

func (c *counter) Write(b []byte) (int, error) {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	c.n, c.most = c.n+uint64(len(b)), max(c.most, m.HeapInuse)
	return len(b), nil
}

func TestALargeStateCostsLittle(t *testing.T) {
	big := bigState(1000)
	var before runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	c := &counter{ResponseWriter: httptest.NewRecorder()}
	s := New(Options{State: func(*http.Request) any { return big }})
	s.Handler().ServeHTTP(c, httptest.NewRequest(http.MethodGet, "/state", nil))
	grown := int64(c.most) - int64(before.HeapInuse)
	t.Logf("%d bytes, %d more of heap", c.n, grown)
	if c.n > 4<<20 || grown > 16<<20 {
		t.Errorf("%d bytes and %d bytes of heap for 10,000 Services on 1,000 nodes", c.n, grown)
	}
}

func TestOneStateAtATime(t *testing.T) {
	begun, end := make(chan bool, 1), make(chan bool)
	s := New(Options{State: func(r *http.Request) any {
		if r.URL.Query().Get("service") == "slow" {
			begun <- true
			<-end
		}
		return 1
	}})
	server := httptest.NewServer(s.Handler())
	defer server.Close()
	done := make(chan int, 1)
	go func() { done <- get(t, server.URL+"/state?service=slow") }()
	<-begun
	asked := time.Now()
	if code := get(t, server.URL+"/state"); code != http.StatusServiceUnavailable || time.Since(asked) < stateWaits/2 {
		t.Errorf("%d after %s while another is answered, want %d after %s", code, time.Since(asked), http.StatusServiceUnavailable, stateWaits)
	}
	close(end)
	if code := <-done; code != http.StatusOK {
		t.Errorf("the first got %d", code)
	}
	if code := get(t, server.URL+"/state"); code != http.StatusOK {
		t.Errorf("the next got %d", code)
	}
}

func get(t *testing.T, url string) int {
	t.Helper()
	r, err := http.Get(url)
	if err != nil {
		t.Error(err)
		return 0
	}
	defer r.Body.Close()
	_, _ = io.Copy(io.Discard, r.Body)
	return r.StatusCode
}

// Programs ask about one Service. They need not follow references.
func TestAStateAboutOneServiceIsWhole(t *testing.T) {
	nodes := make([]share, longList)
	s := New(Options{State: func(*http.Request) any { return map[string][]share{"A": nodes, "B": nodes} }})
	for query, refers := range map[string]bool{"": true, "?service=default/web": false} {
		w := httptest.NewRecorder()
		s.Handler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/state"+query, nil))
		if got := strings.Contains(w.Body.String(), `"As"`); got != refers || w.Code != http.StatusOK {
			t.Errorf("%q: %d, %s", query, w.Code, w.Body)
		}
	}
}
