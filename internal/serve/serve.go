// Package serve shows how a binary is doing: /metrics, /healthz, /readyz and
// /state, on one address.
package serve

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
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
	State   func() any              // nil: /state is not there; called from many goroutines
	More    map[string]http.Handler // what else there is, by pattern; nil: nothing
	Log     *slog.Logger            // nil: discard
}

// Server is the HTTP server.
type Server struct {
	options Options
}

// New makes a Server that listens only in Run.
func New(o Options) *Server {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return &Server{options: o}
}

// Run serves until ctx ends.
func (s *Server) Run(ctx context.Context) error {
	l, err := net.Listen("tcp", s.options.Address)
	if err != nil {
		return fmt.Errorf("serve metrics and health: %w", err)
	}
	s.options.Log.Info("serving", "address", l.Addr().String())
	h := &http.Server{
		Handler:           s.Handler(),
		ReadHeaderTimeout: 5 * time.Second,
		ErrorLog:          slog.NewLogLogger(s.options.Log.Handler(), slog.LevelDebug),
	}
	stop := context.AfterFunc(ctx, func() { _ = h.Close() })
	defer stop()
	if err := h.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve metrics and health: %w", err)
	}
	return nil
}

// Handler answers requests without a listener.
func (s *Server) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /healthz", probe(s.options.Healthy))
	mux.Handle("GET /readyz", probe(s.options.Ready))
	if s.options.Metrics != nil {
		mux.Handle("GET /metrics", promhttp.HandlerFor(s.options.Metrics, promhttp.HandlerOpts{}))
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

func (s *Server) state(w http.ResponseWriter, _ *http.Request) {
	text, err := json.MarshalIndent(s.options.State(), "", "  ")
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(append(text, '\n'))
}
