package kube

import (
	"context"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	applycorev1 "k8s.io/client-go/applyconfigurations/core/v1"

	"github.com/heraldlb/herald/internal/cluster"
)

// ReadConfigMap reads a ConfigMap of the client's namespace from the API server,
// and tells whether there is one.
func (c *Client) ReadConfigMap(ctx context.Context, name string) (cluster.ConfigMap, bool, error) {
	ctx, cancel := context.WithTimeout(ctx, writeTimeout)
	defer cancel()
	got, err := c.api.CoreV1().ConfigMaps(c.namespace).Get(ctx, name, metav1.GetOptions{})
	switch {
	case apierrors.IsNotFound(err):
		return cluster.ConfigMap{}, false, nil
	case err != nil:
		return cluster.ConfigMap{}, false, fmt.Errorf("read ConfigMap %s/%s: %w", c.namespace, name, classify(err))
	}
	return toConfigMap(got), true, nil
}

// PublishConfigMap makes a ConfigMap of the client's namespace hold this data
// and these annotations, and creates it if there is none.
func (c *Client) PublishConfigMap(ctx context.Context, name string, annotations, data map[string]string) error {
	ctx, cancel := context.WithTimeout(ctx, writeTimeout)
	defer cancel()
	apply := applycorev1.ConfigMap(name, c.namespace).
		WithLabels(map[string]string{"app.kubernetes.io/managed-by": Manager}).
		WithAnnotations(annotations).
		WithData(data)
	_, err := c.api.CoreV1().ConfigMaps(c.namespace).Apply(ctx, apply,
		metav1.ApplyOptions{FieldManager: Manager, Force: true})
	if err != nil {
		return fmt.Errorf("publish ConfigMap %s/%s: %w", c.namespace, name, classify(err))
	}
	return nil
}
