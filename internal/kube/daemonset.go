package kube

import (
	"context"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// DaemonSetGone tells whether a DaemonSet of the Client's namespace has been
// deleted, or is being deleted. It has been, too, if the API server does not know
// who asks any more: kubectl delete -k may take the ServiceAccount away first.
func (c *Client) DaemonSetGone(ctx context.Context, name string) (bool, error) {
	ds, err := c.api.AppsV1().DaemonSets(c.namespace).Get(ctx, name, metav1.GetOptions{})
	switch {
	case apierrors.IsNotFound(err), apierrors.IsUnauthorized(err):
		return true, nil
	case err != nil:
		return false, fmt.Errorf("get daemonset %s/%s: %w", c.namespace, name, err)
	default:
		return ds.DeletionTimestamp != nil, nil
	}
}
