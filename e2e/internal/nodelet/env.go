package nodelet

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

const defaultPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:/"

// environment collects variables in the order in which they are set; a later
// one replaces an earlier one of its name.
type environment struct {
	names  []string
	values map[string]string
}

func (e *environment) set(name, value string) {
	if e.values == nil {
		e.values = map[string]string{}
	}
	if _, ok := e.values[name]; !ok {
		e.names = append(e.names, name)
	}
	e.values[name] = value
}

func (e *environment) list() []string {
	var out []string
	for _, n := range e.names {
		out = append(out, n+"="+e.values[n])
	}
	return out
}

// objects reads what variables and volumes refer to.
type objects interface {
	configMap(ctx context.Context, namespace, name string) (*corev1.ConfigMap, error)
	secret(ctx context.Context, namespace, name string) (*corev1.Secret, error)
}

func (a *Agent) configMap(ctx context.Context, namespace, name string) (*corev1.ConfigMap, error) {
	return a.Client.CoreV1().ConfigMaps(namespace).Get(ctx, name, metav1.GetOptions{})
}

func (a *Agent) secret(ctx context.Context, namespace, name string) (*corev1.Secret, error) {
	return a.Client.CoreV1().Secrets(namespace).Get(ctx, name, metav1.GetOptions{})
}

// containerEnv sets first what every container has, then envFrom, then env.
func containerEnv(ctx context.Context, f fieldSource, c *corev1.Container, src objects, base []corev1.EnvVar) (*environment, error) {
	env := &environment{}
	env.set("PATH", defaultPath)
	env.set("HOSTNAME", f.hostname())
	for _, v := range base {
		env.set(v.Name, v.Value)
	}
	for _, from := range c.EnvFrom {
		if err := addEnvFrom(ctx, env, f.pod.Namespace, from, src); err != nil {
			return nil, err
		}
	}
	for _, v := range c.Env {
		value, ok, err := envValue(ctx, env, f, c, v, src)
		if err != nil {
			return nil, fmt.Errorf("env %s: %w", v.Name, err)
		}
		if ok {
			env.set(v.Name, value)
		}
	}
	return env, nil
}

func addEnvFrom(ctx context.Context, env *environment, namespace string, from corev1.EnvFromSource, src objects) error {
	data := map[string]string{}
	switch {
	case from.ConfigMapRef != nil:
		cm, err := src.configMap(ctx, namespace, from.ConfigMapRef.Name)
		if err := unlessOptional(err, from.ConfigMapRef.Optional); err != nil {
			return fmt.Errorf("envFrom: %w", err)
		}
		if err == nil {
			data = cm.Data
		}
	case from.SecretRef != nil:
		s, err := src.secret(ctx, namespace, from.SecretRef.Name)
		if err := unlessOptional(err, from.SecretRef.Optional); err != nil {
			return fmt.Errorf("envFrom: %w", err)
		}
		if err == nil {
			data = textOf(s.Data)
		}
	}
	for _, k := range slices.Sorted(maps.Keys(data)) {
		env.set(from.Prefix+k, data[k])
	}
	return nil
}

// unlessOptional forgives that an optional object is not there.
func unlessOptional(err error, optional *bool) error {
	if deref(optional) && apierrors.IsNotFound(err) {
		return nil
	}
	return err
}

func textOf(data map[string][]byte) map[string]string {
	out := map[string]string{}
	for k, v := range data {
		out[k] = string(v)
	}
	return out
}

// envValue returns false where an optional source is missing.
func envValue(ctx context.Context, env *environment, f fieldSource, c *corev1.Container, v corev1.EnvVar, src objects) (string, bool, error) {
	from := v.ValueFrom
	switch {
	case from == nil:
		return expand(v.Value, env.values), true, nil
	case from.FieldRef != nil:
		value, err := f.field(from.FieldRef.FieldPath)
		return value, true, err
	case from.ResourceFieldRef != nil:
		value, err := f.resource(from.ResourceFieldRef, c)
		return value, true, err
	case from.ConfigMapKeyRef != nil:
		ref := from.ConfigMapKeyRef
		cm, err := src.configMap(ctx, f.pod.Namespace, ref.Name)
		if err != nil {
			return "", false, unlessOptional(err, ref.Optional)
		}
		return keyOf(cm.Data, ref.Key, ref.Optional)
	case from.SecretKeyRef != nil:
		ref := from.SecretKeyRef
		s, err := src.secret(ctx, f.pod.Namespace, ref.Name)
		if err != nil {
			return "", false, unlessOptional(err, ref.Optional)
		}
		return keyOf(textOf(s.Data), ref.Key, ref.Optional)
	}
	return "", false, errors.New("source is not supported")
}

func keyOf(data map[string]string, key string, optional *bool) (string, bool, error) {
	value, ok := data[key]
	if !ok && !deref(optional) {
		return "", false, fmt.Errorf("no key %s", key)
	}
	return value, ok, nil
}

// expand replaces $(NAME) by the variable's value. Unknown names stay as they
// are, and $$ is one dollar, so that $$(NAME) escapes.
func expand(s string, vars map[string]string) string {
	var out strings.Builder
	for {
		before, rest, found := strings.Cut(s, "$")
		out.WriteString(before)
		if !found {
			return out.String()
		}
		s = rest
		if after, ok := strings.CutPrefix(rest, "$"); ok {
			out.WriteByte('$')
			s = after
			continue
		}
		name, after, closed := strings.Cut(rest, ")")
		value, known := vars[strings.TrimPrefix(name, "(")]
		if strings.HasPrefix(rest, "(") && closed && known {
			out.WriteString(value)
			s = after
			continue
		}
		out.WriteByte('$')
	}
}

func expandAll(list []string, vars map[string]string) []string {
	var out []string
	for _, s := range list {
		out = append(out, expand(s, vars))
	}
	return out
}

// apiEnv tells containers where the API server is. The Service is made by the
// API server itself a moment after it starts.
func (a *Agent) apiEnv(ctx context.Context) ([]corev1.EnvVar, error) {
	a.serviceEnvOnce.Lock()
	defer a.serviceEnvOnce.Unlock()
	if a.serviceEnv != nil {
		return a.serviceEnv, nil
	}
	svc, err := a.Client.CoreV1().Services(metav1.NamespaceDefault).Get(ctx, "kubernetes", metav1.GetOptions{})
	if err != nil {
		return nil, err
	}
	port := fmt.Sprint(svc.Spec.Ports[0].Port)
	a.serviceEnv = []corev1.EnvVar{
		{Name: "KUBERNETES_SERVICE_HOST", Value: svc.Spec.ClusterIP},
		{Name: "KUBERNETES_SERVICE_PORT", Value: port},
		{Name: "KUBERNETES_SERVICE_PORT_HTTPS", Value: port},
	}
	return a.serviceEnv, nil
}
