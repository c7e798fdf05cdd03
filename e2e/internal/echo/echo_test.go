package echo

import (
	"bufio"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"
)

func serve(t *testing.T) *Server {
	t.Helper()
	s, err := Listen(t.Context(), Options{Pod: `web-"1"`, Node: "n1"})
	if err != nil {
		t.Fatal(err)
	}
	go s.Serve(t.Context())
	return s
}

func at(s *Server, host string) string { return net.JoinHostPort(host, strconv.Itoa(s.Port())) }

func decode(t *testing.T, line string) Reply {
	t.Helper()
	var r Reply
	if err := json.Unmarshal([]byte(line), &r); err != nil {
		t.Fatalf("%q: %v", line, err)
	}
	return r
}

func TestRepliesOverEveryProtocol(t *testing.T) {
	s := serve(t)
	for _, network := range []string{"tcp", "udp"} {
		for _, host := range []string{"127.0.0.1", "127.0.0.2", "::1"} {
			t.Run(network+" "+host, func(t *testing.T) {
				c, err := net.Dial(network, at(s, host))
				if err != nil {
					t.Fatal(err)
				}
				defer c.Close()
				_ = c.SetDeadline(time.Now().Add(5 * time.Second))
				in := bufio.NewReader(c)
				for range 2 { // the second request of the same connection too
					if _, err := io.WriteString(c, "?\n"); err != nil {
						t.Fatal(err)
					}
					line, err := in.ReadString('\n')
					if err != nil {
						t.Fatal(err)
					}
					want := Reply{Pod: `web-"1"`, Node: "n1", Client: c.LocalAddr().String(), Proto: network}
					if got := decode(t, line); got != want {
						t.Errorf("got %+v, want %+v", got, want)
					}
				}
			})
		}
	}
}

func TestHTTP(t *testing.T) {
	s := serve(t)
	client := &http.Client{Timeout: 5 * time.Second}
	defer client.CloseIdleConnections()
	steps := []struct {
		method, path string
		code         int
		body         string
	}{
		{"GET", "/healthz", 200, "ok"},
		{"POST", "/unready", 200, "not ready"},
		{"GET", "/healthz", 503, "not ready"},
		{"GET", "/", 200, `"proto":"tcp"`},
		{"POST", "/ready", 200, "ready"},
		{"GET", "/healthz", 200, "ok"},
		{"HEAD", "/", 200, ""},
		{"GET", "/any/path", 200, `"node":"n1"`},
	}
	for _, st := range steps {
		req, err := http.NewRequest(st.method, "http://"+at(s, "127.0.0.1")+st.path, strings.NewReader(""))
		if err != nil {
			t.Fatal(err)
		}
		resp, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		if resp.StatusCode != st.code || !strings.Contains(string(body), st.body) {
			t.Errorf("%s %s: %d %q, want %d with %q", st.method, st.path, resp.StatusCode, body, st.code, st.body)
		}
	}
}

func TestKeepsAnHTTPConnection(t *testing.T) {
	s := serve(t)
	c, err := net.Dial("tcp", at(s, "::1"))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(5 * time.Second))
	in := bufio.NewReader(c)
	for range 3 {
		if _, err := io.WriteString(c, "GET / HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		resp, err := http.ReadResponse(in, nil)
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(resp.Body)
		if got := decode(t, string(body)); got.Client != c.LocalAddr().String() {
			t.Errorf("client %s, want %s", got.Client, c.LocalAddr())
		}
	}
}
