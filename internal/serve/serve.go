// Package serve shows how a binary is doing: /metrics, /healthz, /readyz and
// /state, on one address.
package serve

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"reflect"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Options say what is shown, and where.
type Options struct {
	Address string                  // required; such as :7472
	Metrics prometheus.Gatherer     // nil: /metrics is not there
	Healthy func() error            // nil: always; an error makes /healthz fail, and the kubelet restart us
	Ready   func() error            // nil: always; an error makes /readyz fail
	State   State                   // nil: /state is not there
	More    map[string]http.Handler // what else there is, by pattern; nil: nothing
	// Failed is told why the address cannot be listened on, once for each reason. nil:
	// nothing.
	Failed func(why string)
	Log    *slog.Logger // nil: discard
}

// State returns what /state answers to a request. It is called from many
// goroutines.
type State func(r *http.Request) any

// A neighbour that asks for too much, or reads too slowly, must cost little.
const (
	// stateWaits is how long a request for /state waits for the one before it: one at
	// a time is answered.
	stateWaits = 2 * time.Second
	// readWithin is how long a client may take to read what stateBuffer holds, and
	// readAtMost how long for all.
	readWithin  = 10 * time.Second
	readAtMost  = time.Minute
	stateBuffer = 64 << 10
	// metricsAtOnce is how many requests for /metrics are answered at a time.
	metricsAtOnce = 4
)

// Server is the HTTP server.
type Server struct {
	options Options
	turn    chan struct{} // held by the one request for /state that is answered
}

// New makes a Server that listens only in Run.
func New(o Options) *Server {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return &Server{options: o, turn: make(chan struct{}, 1)}
}

// Run serves until ctx ends. An address that something else has is waited for: who
// works without an audience works all the same.
func (s *Server) Run(ctx context.Context) error {
	l, err := s.listen(ctx)
	if l == nil {
		return err
	}
	s.options.Log.Info("serving", "address", l.Addr().String())
	h := &http.Server{
		Handler:           s.Handler(),
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       10 * time.Second,
		IdleTimeout:       30 * time.Second,
		MaxHeaderBytes:    16 << 10,
		ErrorLog:          slog.NewLogLogger(s.options.Log.Handler(), slog.LevelDebug),
	}
	stop := context.AfterFunc(ctx, func() { _ = h.Close() })
	defer stop()
	if err := h.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve metrics and health: %w", err)
	}
	return nil
}

// tryAgain is how long an address that is in use is left alone.
const tryAgain = 5 * time.Second

// listen returns nil when ctx ends before the address is free.
func (s *Server) listen(ctx context.Context) (net.Listener, error) {
	said := ""
	for ctx.Err() == nil {
		l, err := new(net.ListenConfig).Listen(ctx, "tcp", s.options.Address)
		switch {
		case err == nil:
			return l, nil
		case !errors.Is(err, syscall.EADDRINUSE) && !errors.Is(err, syscall.EADDRNOTAVAIL):
			return nil, fmt.Errorf("serve metrics and health: %w", err)
		}
		if said != err.Error() {
			said = err.Error()
			s.options.Log.Error("no metrics, health or state are served; all else goes on", "err", err, "again", tryAgain)
			if s.options.Failed != nil {
				s.options.Failed(said)
			}
		}
		select {
		case <-ctx.Done():
		case <-time.After(tryAgain):
		}
	}
	return nil, nil
}

// Handler answers requests without a listener.
func (s *Server) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /healthz", probe(s.options.Healthy))
	mux.Handle("GET /readyz", probe(s.options.Ready))
	if s.options.Metrics != nil {
		mux.Handle("GET /metrics", promhttp.HandlerFor(s.options.Metrics, promhttp.HandlerOpts{MaxRequestsInFlight: metricsAtOnce}))
	}
	if s.options.State != nil {
		mux.HandleFunc("GET /state", s.state)
	}
	for pattern, h := range s.options.More {
		mux.Handle(pattern, h)
	}
	return mux
}

func probe(check func() error) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		if check != nil {
			if err := check(); err != nil {
				http.Error(w, err.Error(), http.StatusServiceUnavailable)
				return
			}
		}
		_, _ = fmt.Fprintln(w, "ok") // a client that has gone misses nothing
	}
}

// state streams. What fails before the first bytes are on their way is an error of
// HTTP; later the answer just ends.
func (s *Server) state(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), stateWaits)
	defer cancel()
	select {
	case s.turn <- struct{}{}:
		defer func() { <-s.turn }()
	case <-ctx.Done():
		w.Header().Set("Retry-After", "1")
		http.Error(w, "another request for /state is being answered; try again, with ?service=NAMESPACE/NAME if one is enough", http.StatusServiceUnavailable)
		return
	}
	out := &patient{w: w, control: http.NewResponseController(w), until: time.Now().Add(readAtMost)}
	b := bufio.NewWriterSize(out, stateBuffer)
	w.Header().Set("Content-Type", "application/json")
	text := newStream(b)
	text.all = r.URL.Query().Has("service") // programs read it, and it is short
	err := text.value(reflect.ValueOf(s.options.State(r)))
	switch {
	case err == nil:
		_ = b.WriteByte('\n')
		_ = b.Flush() // a client that has gone misses nothing
	case !out.begun:
		http.Error(w, err.Error(), http.StatusInternalServerError)
	default:
		s.options.Log.Debug("state not written to its end", "err", err)
		panic(http.ErrAbortHandler) // so that the client sees that it is not whole
	}
}

// patient gives a client some time for each piece, and not for ever.
type patient struct {
	w       io.Writer
	control *http.ResponseController
	until   time.Time
	begun   bool
}

func (p *patient) Write(b []byte) (int, error) {
	p.begun = true
	deadline := time.Now().Add(readWithin)
	if p.until.Before(deadline) {
		deadline = p.until
	}
	// A writer that is no connection has no deadlines.
	if err := p.control.SetWriteDeadline(deadline); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return 0, err
	}
	return p.w.Write(b)
}
