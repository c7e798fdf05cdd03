package kube

import (
	"context"
	"log/slog"
	"time"

	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"

	"github.com/heraldlb/herald/internal/cluster"
)

// Types of Event.
const (
	Normal  = corev1.EventTypeNormal
	Warning = corev1.EventTypeWarning
)

const (
	eventQueue  = 2000                  // more than that are dropped: they are advice, not state
	eventPace   = 10 * time.Millisecond // at most 100 a second, so that statuses go first
	eventRepeat = 10 * time.Minute      // what was said last about an object is not said again in this time
	eventNote   = 1024                  // the API's limit on a note, in bytes
)

// events sends Events one after the other, and drops rather than blocks. Only
// the right to create is needed: nothing is counted up in place.
type events struct {
	api    kubernetes.Interface
	sender string
	log    *slog.Logger
	queue  chan event
}

type event struct {
	about              cluster.Ref
	kind, reason, note string
}

func newEvents(api kubernetes.Interface, sender string, log *slog.Logger) *events {
	return &events{api: api, sender: sender, log: log, queue: make(chan event, eventQueue)}
}

// Event says something about an object, once RunEvents runs. It never blocks.
func (c *Client) Event(about cluster.Ref, kind, reason, note string) {
	select {
	case c.events.queue <- event{about, kind, reason, note}:
	default:
		c.log.Debug("event dropped", "object", about.Namespace+"/"+about.Name, "reason", reason)
	}
}

// RunEvents sends Events until ctx ends.
func (c *Client) RunEvents(ctx context.Context) error {
	return c.events.run(ctx)
}

// saying is what was said last about an object.
type saying struct {
	event
	at time.Time
}

func (e *events) run(ctx context.Context) error {
	last := make(map[cluster.Ref]saying)
	for {
		select {
		case <-ctx.Done():
			return nil
		case ev := <-e.queue:
			now := time.Now()
			// Only what was said last is a repetition: broken, mended and broken again
			// are three Events.
			if l := last[ev.about]; l.event == ev && now.Sub(l.at) < eventRepeat {
				continue
			}
			forget(last, now)
			if e.send(ctx, ev, now) {
				last[ev.about] = saying{ev, now}
			}
			sleep(ctx, eventPace)
		}
	}
}

// forget bounds the memory of what was said.
func forget(last map[cluster.Ref]saying, now time.Time) {
	if len(last) < 2*eventQueue {
		return
	}
	for about, l := range last {
		if now.Sub(l.at) >= eventRepeat {
			delete(last, about)
		}
	}
	if len(last) >= 2*eventQueue {
		clear(last)
	}
}

// send tells whether the API server took the Event.
func (e *events) send(ctx context.Context, ev event, now time.Time) bool {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	namespace := ev.about.Namespace
	if namespace == "" {
		namespace = metav1.NamespaceDefault // where Events about cluster-wide objects go
	}
	_, err := e.api.EventsV1().Events(namespace).Create(ctx, &eventsv1.Event{
		ObjectMeta:          metav1.ObjectMeta{GenerateName: ev.about.Name + "-", Namespace: namespace},
		EventTime:           metav1.NewMicroTime(now),
		ReportingController: "heraldlb.io/" + e.sender,
		ReportingInstance:   hostname(),
		Action:              ev.reason,
		Reason:              ev.reason,
		Regarding: corev1.ObjectReference{
			APIVersion: "v1",
			Kind:       ev.about.Kind,
			Namespace:  ev.about.Namespace,
			Name:       ev.about.Name,
			UID:        types.UID(ev.about.UID),
		},
		Note: cluster.Cut(ev.note, eventNote),
		Type: ev.kind,
	}, metav1.CreateOptions{})
	if err != nil && ctx.Err() == nil {
		e.log.Warn("event not sent", "object", ev.about.Namespace+"/"+ev.about.Name, "reason", ev.reason, "err", err)
	}
	return err == nil
}
