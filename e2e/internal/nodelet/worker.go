package nodelet

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/heraldlb/herald/e2e/internal/podnet"
)

// shutdownGrace bounds how long pods may take when the node itself is stopped.
const shutdownGrace = 2 * time.Second

var (
	errDeleted = errors.New("pod is being deleted")
	errGone    = errors.New("pod is gone from the API")
)

// worker lives as long as one pod is bound to this node.
type worker struct {
	agent           *Agent
	uid             types.UID
	namespace, name string
	dir             string
	done            chan struct{} // closed after run
	poke            chan struct{} // capacity 1: the status may have changed

	// stop ends when the containers must end; its cause says why.
	stop     context.Context
	stopNow  context.CancelCauseFunc
	kill     chan struct{} // closed when the grace period is over
	deadline chan struct{} // capacity 1: the grace period may have been changed

	manifest   *corev1.Pod // as it was first seen; its spec does not change
	init, main []*container
	volumes    *volumes
	mounts     map[string]string
	net        atomic.Pointer[podnet.Pod] // nil on the node's network

	mu       sync.Mutex
	pod      *corev1.Pod // the newest that the API has shown
	ready    bool        // sandbox and volumes
	initDone bool
	started  metav1.Time
	isGone   bool
}

func newWorker(a *Agent, pod *corev1.Pod) *worker {
	w := &worker{
		agent: a, uid: pod.UID, namespace: pod.Namespace, name: pod.Name, manifest: pod, pod: pod,
		dir:      filepath.Join(a.podsDir(), string(pod.UID)),
		done:     make(chan struct{}),
		poke:     make(chan struct{}, 1),
		kill:     make(chan struct{}),
		deadline: make(chan struct{}, 1),
		started:  metav1.Now().Rfc3339Copy(),
	}
	if pod.Status.StartTime != nil {
		w.started = *pod.Status.StartTime
	}
	w.stop, w.stopNow = context.WithCancelCause(context.Background())
	for i := range pod.Spec.InitContainers {
		w.init = append(w.init, newContainer(w, &pod.Spec.InitContainers[i], pod.Status.InitContainerStatuses, true))
	}
	for i := range pod.Spec.Containers {
		w.main = append(w.main, newContainer(w, &pod.Spec.Containers[i], pod.Status.ContainerStatuses, false))
	}
	w.noticeDeletion(pod)
	return w
}

// id is the short name of the pod's namespace and link.
func (w *worker) id() string { return string(w.uid)[:8] }

func (w *worker) update(pod *corev1.Pod) {
	w.remember(pod)
	w.noticeDeletion(pod)
	w.statusChanged()
}

func (w *worker) noticeDeletion(pod *corev1.Pod) {
	if pod.DeletionTimestamp == nil {
		return
	}
	w.stopNow(errDeleted)
	select {
	case w.deadline <- struct{}{}:
	default:
	}
}

func (w *worker) gone() {
	w.mu.Lock()
	w.isGone = true
	w.mu.Unlock()
	w.stopNow(errGone)
	select {
	case w.deadline <- struct{}{}:
	default:
	}
}

func (w *worker) statusChanged() {
	select {
	case w.poke <- struct{}{}:
	default:
	}
}

// run takes the pod through its life. It returns when the pod has left the API,
// or after node has ended and the containers with it.
func (w *worker) run(node context.Context) {
	defer context.AfterFunc(node, func() { w.stopNow(context.Cause(node)) })()
	posting, endPosting := context.WithCancel(node)
	var syncing sync.WaitGroup
	syncing.Go(func() { w.syncStatus(posting) })
	w.statusChanged() // that it is being worked on, or that it did not survive a power cut

	w.live(node)

	endPosting()
	syncing.Wait()
	w.tidy()
	w.leave(node)
}

// live runs the containers until the pod must stop, and waits for their end.
func (w *worker) live(node context.Context) {
	// A pod that is to be deleted is not begun: this may be the last event of one
	// that has just been taken down.
	if w.stop.Err() != nil || !w.mayRun() {
		<-w.stop.Done()
		return
	}
	if err := w.agent.retry(w.stop, "set up pod "+w.name, w.setUp); err != nil {
		return
	}
	w.statusChanged()
	refresh, endRefresh := context.WithCancel(node)
	defer endRefresh()
	go w.volumes.refresh(refresh)
	go w.watchGrace()

	if w.runInit() {
		var running sync.WaitGroup
		for _, c := range w.main {
			running.Go(func() { c.run(w.stop) })
		}
		running.Wait()
	}
	w.statusChanged()
	<-w.stop.Done() // a pod that has finished stays until it is deleted
}

// mayRun is false for a pod that has finished, also in an earlier run of this
// node. A pod that is never to be restarted fails if the node went down under it.
func (w *worker) mayRun() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.pod.Status.Phase == corev1.PodSucceeded || w.pod.Status.Phase == corev1.PodFailed {
		return false
	}
	if w.pod.Spec.RestartPolicy != corev1.RestartPolicyNever {
		return true
	}
	for _, c := range w.main {
		if c.isOver() {
			return false
		}
	}
	return true
}

func (w *worker) fields() fieldSource {
	return fieldSource{pod: w.manifest, node: w.agent.Node, pods: w.addrs(), hosts: w.agent.Addrs}
}

// runInit runs the init containers one after the other, and returns false if
// the pod ends with them.
func (w *worker) runInit() bool {
	for _, c := range w.init {
		if !c.run(w.stop) {
			return false
		}
	}
	w.mu.Lock()
	w.initDone = true
	w.mu.Unlock()
	return w.stop.Err() == nil
}

// watchGrace closes kill when the containers have had the time that they were
// given. A second deletion may shorten that time.
func (w *worker) watchGrace() {
	<-w.stop.Done()
	begin := time.Now()
	for {
		t := time.NewTimer(time.Until(begin.Add(w.grace())))
		select {
		case <-w.done:
			t.Stop()
			return
		case <-w.deadline:
			t.Stop()
		case <-t.C:
			close(w.kill)
			return
		}
	}
}

func (w *worker) grace() time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case w.isGone:
		return time.Second
	case errors.Is(context.Cause(w.stop), errDeleted):
		return time.Duration(deref(w.pod.DeletionGracePeriodSeconds)) * time.Second
	}
	return min(shutdownGrace, time.Duration(deref(w.manifest.Spec.TerminationGracePeriodSeconds))*time.Second)
}

// tidy removes what the pod has on the machine. Its logs stay.
func (w *worker) tidy() {
	if n := w.net.Load(); n != nil {
		if err := w.agent.net.Remove(context.Background(), *n); err != nil {
			w.agent.Log.Warn("pod's network not removed", "pod", w.name, "err", err)
		}
	}
	if err := os.RemoveAll(w.dir); err != nil {
		w.agent.Log.Warn("pod's directory not removed", "pod", w.name, "err", err)
	}
}

// leave confirms a deletion: the last status, then the object itself.
func (w *worker) leave(node context.Context) {
	if !errors.Is(context.Cause(w.stop), errDeleted) {
		return
	}
	_ = w.agent.retry(node, "confirm the deletion of pod "+w.name, func(ctx context.Context) error {
		if err := w.postStatus(ctx); err != nil && !apierrors.IsNotFound(err) {
			return err
		}
		none := int64(0)
		err := w.agent.Client.CoreV1().Pods(w.namespace).Delete(ctx, w.name, metav1.DeleteOptions{
			GracePeriodSeconds: &none,
			Preconditions:      &metav1.Preconditions{UID: &w.uid},
		})
		if apierrors.IsNotFound(err) || apierrors.IsConflict(err) {
			return nil
		}
		return err
	})
}

func (w *worker) event(kind, reason, message string) {
	w.agent.events.Event(w.manifest, kind, reason, message)
}

func (w *worker) eventf(kind, reason, format string, args ...any) {
	w.event(kind, reason, fmt.Sprintf(format, args...))
}
