package kube

import (
	"context"
	"errors"
	"fmt"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// MayRead tries, one object each, the lists that a Watcher for people makes. It tells
// at once of all rights that are missing, in one line, or that nobody answers: a
// Watcher would try again and again.
func (c *Client) MayRead(ctx context.Context, configMap string) error {
	one := metav1.ListOptions{Limit: 1}
	named := metav1.ListOptions{Limit: 1, FieldSelector: "metadata.name=" + configMap}
	var missing []string
	for _, l := range []struct {
		what string
		try  func() error
	}{
		{"services", func() error { _, err := c.api.CoreV1().Services("").List(ctx, one); return err }},
		{"endpointslices.discovery.k8s.io", func() error { _, err := c.api.DiscoveryV1().EndpointSlices("").List(ctx, one); return err }},
		{"namespaces", func() error { _, err := c.api.CoreV1().Namespaces().List(ctx, one); return err }},
		{"nodes", func() error { _, err := c.api.CoreV1().Nodes().List(ctx, one); return err }},
		{"the ConfigMap " + configMap + " in " + c.namespace, func() error {
			_, err := c.api.CoreV1().ConfigMaps(c.namespace).List(ctx, named)
			return err
		}},
	} {
		switch err := l.try(); {
		case apierrors.IsForbidden(err):
			missing = append(missing, l.what)
		case apierrors.IsUnauthorized(err):
			return fmt.Errorf("the API server does not know who you are: %w", err)
		case errors.Is(err, context.DeadlineExceeded):
			return errors.New("the API server does not answer")
		case err != nil:
			return fmt.Errorf("ask the API server: %w", err)
		}
	}
	if len(missing) > 0 {
		return fmt.Errorf("you have no right to list %s; the roles herald-viewer of Herald's manifests give it", strings.Join(missing, ", "))
	}
	return nil
}

// Objects lists the objects of a custom resource in all namespaces, as JSON. It is
// nil where the cluster does not have the resource.
func (c *Client) Objects(ctx context.Context, group, version, resource string) ([]byte, error) {
	text, err := c.api.Discovery().RESTClient().Get().AbsPath("/apis", group, version, resource).SetHeader("Accept", "application/json").DoRaw(ctx)
	switch {
	case apierrors.IsNotFound(err):
		return nil, nil
	case apierrors.IsForbidden(err):
		return nil, fmt.Errorf("you have no right to list %s.%s", resource, group)
	case err != nil:
		return nil, fmt.Errorf("list %s.%s: %w", resource, group, err)
	}
	return text, nil
}
