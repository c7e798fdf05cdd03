package nodelet

import (
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
)

// watchRetry is the pause after a broken watch. An informer would back off for
// up to half a minute, and tests that stop the API server would wait for it.
const watchRetry = 300 * time.Millisecond

// watchPods hands every change of this node's pods to the pod's worker.
func (a *Agent) watchPods(ctx context.Context) {
	said := false
	for ctx.Err() == nil {
		err := a.followPods(ctx)
		if err == nil {
			said = false
			continue
		}
		if !said && ctx.Err() == nil {
			a.Log.Warn("pods not watched", "err", err)
			said = true
		}
		sleep(ctx, watchRetry)
	}
}

// followPods lists the pods, and watches them until the server ends the watch.
func (a *Agent) followPods(ctx context.Context) error {
	pods := a.Client.CoreV1().Pods(metav1.NamespaceAll)
	mine := fields.OneTermEqualSelector("spec.nodeName", a.Node).String()
	list, err := pods.List(ctx, metav1.ListOptions{FieldSelector: mine})
	if err != nil {
		return fmt.Errorf("list pods: %w", err)
	}
	a.replacePods(ctx, list.Items)
	events, err := pods.Watch(ctx, metav1.ListOptions{FieldSelector: mine, ResourceVersion: list.ResourceVersion})
	if err != nil {
		return fmt.Errorf("watch pods: %w", err)
	}
	defer events.Stop()
	for e := range events.ResultChan() {
		pod, ok := e.Object.(*corev1.Pod)
		if !ok {
			return fmt.Errorf("watch pods: %w", apierrors.FromObject(e.Object))
		}
		if e.Type == watch.Deleted {
			a.podGone(pod.UID)
			continue
		}
		a.podChanged(ctx, pod)
	}
	return nil
}

// replacePods also finds the pods that have left the API unseen.
func (a *Agent) replacePods(ctx context.Context, pods []corev1.Pod) {
	there := map[types.UID]bool{}
	for i := range pods {
		there[pods[i].UID] = true
		a.podChanged(ctx, &pods[i])
	}
	for _, uid := range a.podUIDs() {
		if !there[uid] {
			a.podGone(uid)
		}
	}
}

func (a *Agent) podUIDs() []types.UID {
	a.mu.Lock()
	defer a.mu.Unlock()
	var uids []types.UID
	for uid := range a.workers {
		uids = append(uids, uid)
	}
	return uids
}

func (a *Agent) podChanged(ctx context.Context, pod *corev1.Pod) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if w, ok := a.workers[pod.UID]; ok {
		w.update(pod)
		return
	}
	if ctx.Err() != nil {
		return
	}
	w := newWorker(a, pod)
	a.workers[pod.UID] = w
	go func() {
		defer close(w.done)
		w.run(ctx)
		a.mu.Lock()
		delete(a.workers, pod.UID)
		a.mu.Unlock()
	}()
}

func (a *Agent) podGone(uid types.UID) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if w, ok := a.workers[uid]; ok {
		w.gone()
	}
}
