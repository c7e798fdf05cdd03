package kube

import (
	"context"
	"errors"
	"log/slog"
	"math"
	"time"

	"github.com/go-logr/logr"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/tools/cache"
	"k8s.io/klog/v2"
)

// backoff paces a reflector whose server does not answer. client-go's default
// grows to a minute, and then new Services wait for a minute after each outage
// of the API server. An attempt on a dead server costs nobody anything, and one
// that struggles says 429 with a time to wait, which client-go obeys.
var backoff = wait.Backoff{
	Duration: 100 * time.Millisecond,
	Factor:   2,
	Cap:      time.Second,
	Steps:    math.MaxInt32,
	Jitter:   0.5,
}

type reflector struct {
	*cache.Reflector
	log *slog.Logger
}

func (r reflector) run(ctx context.Context) {
	r.RunWithContext(klog.NewContext(ctx, clientLog(r.log)))
}

// reflect makes a reflector of one kind of object into a table.
// away is told, again and again, that the API server has been away for a while.
func (c *Client) reflect(kind string, example runtime.Object, into cache.ReflectorStore, lw *cache.ListWatch, away func()) reflector {
	log := c.log.With("kind", kind)
	chatter := clientLog(log)
	said := &lastError{log: log, away: away}
	// With the client as its semantics, the reflector may ask for a streamed list.
	source := cache.ToListWatcherWithWatchListSemantics(said.listen(lw), c.api)
	return reflector{
		Reflector: cache.NewReflectorWithOptions(source, example, into, cache.ReflectorOptions{
			Logger: &chatter, Name: kind, Backoff: &backoff,
		}),
		log: log,
	}
}

// clientLog turns client-go's log lines into debug ones: during an outage it
// repeats itself with each attempt. lastError says what an operator needs.
func clientLog(log *slog.Logger) klog.Logger {
	return logr.FromSlogHandler(demoted{log.Handler()})
}

type demoted struct{ slog.Handler }

func (d demoted) Enabled(ctx context.Context, _ slog.Level) bool {
	return d.Handler.Enabled(ctx, slog.LevelDebug)
}

func (d demoted) Handle(ctx context.Context, r slog.Record) error {
	r.Level = slog.LevelDebug
	if !d.Enabled(ctx, r.Level) {
		return nil // errors come without having asked
	}
	return d.Handler.Handle(ctx, r)
}

func (d demoted) WithAttrs(a []slog.Attr) slog.Handler { return demoted{d.Handler.WithAttrs(a)} }
func (d demoted) WithGroup(g string) slog.Handler      { return demoted{d.Handler.WithGroup(g)} }

// lastError logs when lists and watches begin to fail, when they fail for
// another reason, and when they work again. A reflector calls it from one
// goroutine at a time.
type lastError struct {
	log   *slog.Logger
	away  func()
	text  string // what was said; empty: all is well
	since time.Time
}

// awayAfter is how long lists and watches must fail to count as an outage.
const awayAfter = 5 * time.Second

func (l *lastError) listen(lw *cache.ListWatch) *cache.ListWatch {
	return &cache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) {
			list, err := lw.ListWithContext(ctx, o)
			l.note(ctx, err)
			return list, err
		},
		WatchFuncWithContext: func(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) {
			w, err := lw.WatchWithContext(ctx, o)
			l.note(ctx, err)
			return w, err
		},
	}
}

func (l *lastError) note(ctx context.Context, err error) {
	text := gist(err)
	if l.text != "" && time.Since(l.since) >= awayAfter {
		l.away()
	}
	switch {
	case ctx.Err() != nil || text == l.text:
	case err == nil:
		l.log.Info("watch works again", "away", time.Since(l.since).Round(time.Millisecond))
	default:
		if l.text == "" {
			l.since = time.Now()
		}
		l.log.Warn("watch fails; what is known stays in force", "err", err)
	}
	l.text = text
}

// gist is the same for errors that are worth saying once: all that is not the
// server's own answer is one, since ports and times differ in each.
func gist(err error) string {
	if err == nil {
		return ""
	}
	var status apierrors.APIStatus
	if errors.As(err, &status) {
		return status.Status().Message
	}
	return "no answer"
}

// typed wraps the List and Watch methods of a typed client.
func typed[L runtime.Object](
	list func(context.Context, metav1.ListOptions) (L, error),
	watcher func(context.Context, metav1.ListOptions) (watch.Interface, error),
) *cache.ListWatch {
	return &cache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) {
			return list(ctx, o)
		},
		WatchFuncWithContext: watcher,
	}
}

// onlyNamed restricts to one object. RBAC grants list and watch of a single
// name only to requests with exactly this selector.
func onlyNamed(name string, lw *cache.ListWatch) *cache.ListWatch {
	selector := fields.OneTermEqualSelector(metav1.ObjectNameField, name).String()
	return &cache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) {
			o.FieldSelector = selector
			return lw.ListWithContext(ctx, o)
		},
		WatchFuncWithContext: func(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) {
			o.FieldSelector = selector
			return lw.WatchWithContext(ctx, o)
		},
	}
}
