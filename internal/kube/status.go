package kube

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"reflect"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/heraldlb/herald/internal/cluster"
)

// writeTimeout bounds one write. A server that takes longer has most likely
// lost the request; the caller tries again.
const writeTimeout = 5 * time.Second

// An applied Service is the part of it that Herald owns. It is written by hand
// since client-go's apply configurations cannot say "ingress is empty".
type appliedService struct {
	APIVersion string          `json:"apiVersion"`
	Kind       string          `json:"kind"`
	Metadata   appliedMetadata `json:"metadata"`
	Status     appliedStatus   `json:"status"`
}

type appliedMetadata struct {
	Name      string `json:"name"`
	Namespace string `json:"namespace"`
	UID       string `json:"uid,omitempty"`             // makes a Service of another UID a conflict
	Version   string `json:"resourceVersion,omitempty"` // makes any other version one
}

type appliedStatus struct {
	LoadBalancer *appliedLoadBalancer `json:"loadBalancer,omitempty"`
	Conditions   []metav1.Condition   `json:"conditions,omitempty"`
}

type appliedLoadBalancer struct {
	Ingress []appliedIngress `json:"ingress"` // present even when empty
}

type appliedIngress struct {
	IP     string                    `json:"ip"`
	IPMode corev1.LoadBalancerIPMode `json:"ipMode"`
}

// ApplyStatus makes a Service's ingress and its condition of type
// cluster.ConditionAllocated what is said here. The ingress list is one field,
// and ours by the Service's class: whoever wrote it before loses it. Other
// conditions stay.
//
// When it returns nil, the next Snapshot shows the write. Else the error tells
// by cluster.ErrGone and cluster.ErrRefused how it failed.
func (w *Watcher) ApplyStatus(ctx context.Context, svc cluster.Service, ingress []netip.Addr, c cluster.Condition) error {
	lb := &appliedLoadBalancer{Ingress: []appliedIngress{}}
	for _, a := range ingress {
		lb.Ingress = append(lb.Ingress, appliedIngress{IP: a.String(), IPMode: corev1.LoadBalancerIPModeVIP})
	}
	return w.apply(ctx, svc, appliedStatus{LoadBalancer: lb, Conditions: []metav1.Condition{w.condition(svc, c)}})
}

// ApplyCondition is ApplyStatus for a Service whose ingress is another's: it makes
// the condition what is said here, and leaves the ingress to whoever wrote it.
func (w *Watcher) ApplyCondition(ctx context.Context, svc cluster.Service, c cluster.Condition) error {
	return w.apply(ctx, svc, appliedStatus{Conditions: []metav1.Condition{w.condition(svc, c)}})
}

// ReleaseStatus takes away from a Service's status what Herald wrote there, and
// nothing else: an address that somebody else wrote as well stays.
func (w *Watcher) ReleaseStatus(ctx context.Context, svc cluster.Service) error {
	return w.apply(ctx, svc, appliedStatus{})
}

func (w *Watcher) apply(ctx context.Context, svc cluster.Service, status appliedStatus) error {
	version, err := w.version(svc)
	if err != nil {
		return fmt.Errorf("status of Service %s: %w", svc.Key(), err)
	}
	body, err := json.Marshal(appliedService{
		APIVersion: "v1",
		Kind:       "Service",
		Metadata:   appliedMetadata{Name: svc.Name, Namespace: svc.Namespace, UID: svc.UID, Version: version},
		Status:     status,
	})
	if err != nil {
		return fmt.Errorf("status of Service %s: %w", svc.Key(), err)
	}
	ctx, cancel := context.WithTimeout(ctx, writeTimeout)
	defer cancel()
	force := true
	got, err := w.client.api.CoreV1().Services(svc.Namespace).Patch(ctx, svc.Name, types.ApplyPatchType, body,
		metav1.PatchOptions{FieldManager: Manager, Force: &force}, "status")
	if err != nil {
		return fmt.Errorf("apply status of Service %s: %w", svc.Key(), classify(err))
	}
	w.services.observe(got)
	return nil
}

// version is the resource version of a Service that is still what svc says: the
// server refuses the write if it has changed by then. It need not be the version
// that svc was taken of, since most changes of a Service are of no concern to us.
func (w *Watcher) version(svc cluster.Service) (string, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.services.synced {
		return "", nil
	}
	r, ok := w.services.rows[svc.Key()]
	if svc.Endpoints, svc.NamespaceLabels = nil, nil; !ok || !reflect.DeepEqual(r.value.Service, svc) {
		return "", cluster.ErrGone
	}
	return r.version, nil
}

// condition is c as the API has it. The time of the last transition moves only
// when the status does.
func (w *Watcher) condition(svc cluster.Service, c cluster.Condition) metav1.Condition {
	out := metav1.Condition{
		Type:               cluster.ConditionAllocated,
		Status:             metav1.ConditionFalse,
		Reason:             c.Reason,
		Message:            c.Message,
		LastTransitionTime: metav1.Now(),
	}
	if c.Allocated {
		out.Status = metav1.ConditionTrue
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	r, ok := w.services.rows[svc.Key()]
	if !ok || r.uid != svc.UID {
		return out
	}
	out.ObservedGeneration = r.value.generation
	if was := r.value.condition; was.Status == out.Status {
		out.LastTransitionTime = was.LastTransitionTime
	}
	return out
}

// classify adds to an error how far the write has come.
func classify(err error) error {
	var status apierrors.APIStatus
	if !errors.As(err, &status) {
		return err // the connection: who knows
	}
	switch code := status.Status().Code; {
	case code == http.StatusNotFound, code == http.StatusConflict, isOtherUID(status.Status().Details):
		return fmt.Errorf("%w: %w", cluster.ErrGone, err)
	case code >= 400 && code < 500:
		return fmt.Errorf("%w: %w", cluster.ErrRefused, err)
	}
	return err
}

// isOtherUID tells whether the write was for an object that has given its name
// to another: the server says that a UID cannot change. When there is no other
// it says so by a conflict, and with force there are no other conflicts.
func isOtherUID(d *metav1.StatusDetails) bool {
	return d != nil && slices.ContainsFunc(d.Causes, func(c metav1.StatusCause) bool {
		return c.Field == "metadata.uid"
	})
}
