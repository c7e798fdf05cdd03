package nodelet

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/heraldlb/herald/e2e/internal/contain"
)

const (
	logsPort   = 10250
	followStep = 100 * time.Millisecond
)

func (a *Agent) listenLogs() (net.Listener, error) {
	cert, err := selfSigned(a.Node)
	if err != nil {
		return nil, err
	}
	return tls.Listen("tcp", fmt.Sprintf("[::]:%d", logsPort), &tls.Config{Certificates: []tls.Certificate{cert}})
}

// serveLogs is the part of a kubelet's server that kubectl logs needs. It asks
// nobody who they are: the lab has no strangers.
func (a *Agent) serveLogs(ctx context.Context, l net.Listener) {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /containerLogs/{namespace}/{pod}/{container}", a.containerLogs)
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "ok") })
	srv := &http.Server{
		Handler:           mux,
		ReadHeaderTimeout: 5 * time.Second,
		BaseContext:       func(net.Listener) context.Context { return ctx },
	}
	defer context.AfterFunc(ctx, func() { srv.Close() })()
	if err := srv.Serve(l); err != nil && ctx.Err() == nil {
		a.Log.Error("logs are not served", "err", err)
	}
}

func (a *Agent) containerLogs(rw http.ResponseWriter, r *http.Request) {
	w, ok := a.find(r.PathValue("namespace"), r.PathValue("pod"))
	if !ok {
		http.Error(rw, "no such pod on this node", http.StatusNotFound)
		return
	}
	c, ok := w.container(r.PathValue("container"))
	if !ok {
		http.Error(rw, "no such container", http.StatusNotFound)
		return
	}
	life := c.shownLife()
	if r.FormValue("previous") == "true" {
		life--
	}
	f, err := os.Open(c.logFile(life))
	if err != nil {
		http.Error(rw, "no log of this life of the container", http.StatusBadRequest)
		return
	}
	defer f.Close()
	if n, err := strconv.Atoi(r.FormValue("tailLines")); err == nil {
		if err := seekTail(f, n); err != nil {
			http.Error(rw, err.Error(), http.StatusInternalServerError)
			return
		}
	}
	rw.Header().Set("Content-Type", "text/plain")
	copyLog(r.Context(), rw, f, func() bool {
		return r.FormValue("follow") == "true" && c.shownLife() == life && !c.isOver()
	})
}

// openLog opens the log of the coming life; the program must be able to open
// it again by /dev/stdout, so it is its own.
func (c *container) openLog(s contain.Spec) (*os.File, error) {
	file := c.logFile(c.coming())
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(file, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return nil, err
	}
	if err := f.Chown(int(s.UID), int(s.GID)); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// coming is the restart count of the life that is about to begin.
func (c *container) coming() int32 {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.lives > 0 {
		return c.restarts + 1
	}
	return c.restarts
}

func (c *container) logFile(life int32) string {
	w := c.w
	dir := fmt.Sprintf("%s_%s_%s", w.namespace, w.name, w.id())
	return filepath.Join(w.agent.logsDir(), dir, fmt.Sprintf("%s.%d.log", c.spec.Name, life))
}

func (w *worker) container(name string) (*container, bool) {
	for _, list := range [][]*container{w.init, w.main} {
		for _, c := range list {
			if c.spec.Name == name {
				return c, true
			}
		}
	}
	return nil, false
}

// shownLife is the restart count of the life that runs or ran last.
func (c *container) shownLife() int32 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.restarts
}

// copyLog sends what there is, and for as long as more says so what comes.
func copyLog(ctx context.Context, rw http.ResponseWriter, f io.Reader, more func() bool) {
	for {
		goOn := more() // asked before the copy, so that the last words are not missed
		if _, err := io.Copy(rw, f); err != nil {
			return
		}
		_ = http.NewResponseController(rw).Flush()
		if !goOn || !sleep(ctx, followStep) {
			return
		}
	}
}

// seekTail goes to the start of the last n lines.
func seekTail(f io.ReadSeeker, n int) error {
	text, err := io.ReadAll(f)
	if err != nil {
		return err
	}
	_, err = f.Seek(int64(tailStart(text, n)), io.SeekStart)
	return err
}

func tailStart(text []byte, n int) int {
	if n <= 0 {
		return len(text)
	}
	at := len(bytes.TrimSuffix(text, []byte("\n")))
	for ; n > 0; n-- {
		at = bytes.LastIndexByte(text[:at], '\n')
		if at < 0 {
			return 0
		}
	}
	return at + 1
}

func selfSigned(name string) (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, err
	}
	t := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()),
		Subject:      pkix.Name{CommonName: name},
		DNSNames:     []string{name},
		NotBefore:    time.Now().Add(-time.Hour),
		NotAfter:     time.Now().Add(365 * 24 * time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, t, t, key.Public(), key)
	if err != nil {
		return tls.Certificate{}, err
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, nil
}
