package nodelet

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	authv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// refreshPeriod is how soon a running pod sees a change of a ConfigMap or
// Secret that it has mounted; a kubelet takes about a minute.
const refreshPeriod = 20 * time.Second

// volumes are one pod's. They are plain directories below the pod's, so nothing
// is mounted outside of the containers.
type volumes struct {
	agent *Agent
	pod   *corev1.Pod
	dir   string
	field fieldSource

	mu     sync.Mutex
	tokens map[tokenKey]token
}

type tokenKey struct{ volume, path string }

type token struct {
	text  string
	renew time.Time // a fifth of its life before its end, as a kubelet does
}

// prepare fills every volume and returns where each is on the machine.
func (v *volumes) prepare(ctx context.Context) (map[string]string, error) {
	paths := map[string]string{}
	for _, vol := range v.pod.Spec.Volumes {
		path, err := v.prepareOne(ctx, vol)
		if err != nil {
			return nil, fmt.Errorf("volume %s: %w", vol.Name, err)
		}
		paths[vol.Name] = path
	}
	return paths, nil
}

func (v *volumes) prepareOne(ctx context.Context, vol corev1.Volume) (string, error) {
	dir := filepath.Join(v.dir, vol.Name)
	switch {
	case vol.EmptyDir != nil:
		return dir, v.emptyDir(dir)
	case vol.HostPath != nil:
		return hostPath(v.agent.diskDir(), vol.HostPath)
	}
	return dir, v.write(ctx, vol)
}

// refresh writes again what has changed, until ctx ends.
func (v *volumes) refresh(ctx context.Context) {
	for sleep(ctx, refreshPeriod) {
		for _, vol := range v.pod.Spec.Volumes {
			if vol.EmptyDir != nil || vol.HostPath != nil {
				continue
			}
			if err := v.write(ctx, vol); err != nil && ctx.Err() == nil {
				v.agent.Log.Warn("volume not refreshed", "pod", v.pod.Name, "volume", vol.Name, "err", err)
			}
		}
	}
}

func (v *volumes) emptyDir(dir string) error {
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return err
	}
	if err := os.Chmod(dir, 0o777); err != nil {
		return err
	}
	return v.giveToGroup(dir)
}

// write makes a volume whose files come from the API.
func (v *volumes) write(ctx context.Context, vol corev1.Volume) error {
	p := payload{}
	if err := v.fill(ctx, p, vol); err != nil {
		return err
	}
	dir := filepath.Join(v.dir, vol.Name)
	if err := p.write(dir); err != nil {
		return err
	}
	return v.giveToGroup(dir)
}

func (v *volumes) fill(ctx context.Context, p payload, vol corev1.Volume) error {
	switch {
	case vol.ConfigMap != nil:
		s := vol.ConfigMap
		return v.addConfigMap(ctx, p, s.Name, s.Items, mode(s.DefaultMode), s.Optional)
	case vol.Secret != nil:
		s := vol.Secret
		return v.addSecret(ctx, p, s.SecretName, s.Items, mode(s.DefaultMode), s.Optional)
	case vol.DownwardAPI != nil:
		return v.addDownward(p, vol.DownwardAPI.Items, mode(vol.DownwardAPI.DefaultMode))
	case vol.Projected != nil:
		for _, s := range vol.Projected.Sources {
			if err := v.addProjected(ctx, p, vol.Name, s, mode(vol.Projected.DefaultMode)); err != nil {
				return err
			}
		}
		return nil
	}
	return errors.New("kind is not supported")
}

func (v *volumes) addProjected(ctx context.Context, p payload, volume string, s corev1.VolumeProjection, m os.FileMode) error {
	switch {
	case s.ServiceAccountToken != nil:
		text, err := v.token(ctx, volume, s.ServiceAccountToken)
		p.add(s.ServiceAccountToken.Path, []byte(text), m)
		return err
	case s.ConfigMap != nil:
		return v.addConfigMap(ctx, p, s.ConfigMap.Name, s.ConfigMap.Items, m, s.ConfigMap.Optional)
	case s.Secret != nil:
		return v.addSecret(ctx, p, s.Secret.Name, s.Secret.Items, m, s.Secret.Optional)
	case s.DownwardAPI != nil:
		return v.addDownward(p, s.DownwardAPI.Items, m)
	}
	return errors.New("kind of source is not supported")
}

func (v *volumes) addConfigMap(ctx context.Context, p payload, name string, items []corev1.KeyToPath, m os.FileMode, optional *bool) error {
	cm, err := v.agent.configMap(ctx, v.pod.Namespace, name)
	if err != nil {
		return unlessOptional(err, optional)
	}
	data := map[string][]byte{}
	for k, text := range cm.Data {
		data[k] = []byte(text)
	}
	for k, b := range cm.BinaryData {
		data[k] = b
	}
	return p.addItems(data, items, m, deref(optional))
}

func (v *volumes) addSecret(ctx context.Context, p payload, name string, items []corev1.KeyToPath, m os.FileMode, optional *bool) error {
	s, err := v.agent.secret(ctx, v.pod.Namespace, name)
	if err != nil {
		return unlessOptional(err, optional)
	}
	return p.addItems(s.Data, items, m, deref(optional))
}

func (v *volumes) addDownward(p payload, items []corev1.DownwardAPIVolumeFile, m os.FileMode) error {
	for _, item := range items {
		if item.FieldRef == nil {
			return fmt.Errorf("item %s: only fieldRef is supported", item.Path)
		}
		text, err := v.field.field(item.FieldRef.FieldPath)
		if err != nil {
			return err
		}
		if item.Mode != nil {
			m = os.FileMode(*item.Mode)
		}
		p.add(item.Path, []byte(text), m)
	}
	return nil
}

// token asks for one that ends with the pod, and keeps it until it is due.
func (v *volumes) token(ctx context.Context, volume string, s *corev1.ServiceAccountTokenProjection) (string, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	key := tokenKey{volume, s.Path}
	if t, ok := v.tokens[key]; ok && time.Now().Before(t.renew) {
		return t.text, nil
	}
	req := &authv1.TokenRequest{Spec: authv1.TokenRequestSpec{
		ExpirationSeconds: s.ExpirationSeconds,
		BoundObjectRef:    &authv1.BoundObjectReference{APIVersion: "v1", Kind: "Pod", Name: v.pod.Name, UID: v.pod.UID},
	}}
	if s.Audience != "" {
		req.Spec.Audiences = []string{s.Audience}
	}
	accounts := v.agent.Client.CoreV1().ServiceAccounts(v.pod.Namespace)
	got, err := accounts.CreateToken(ctx, v.pod.Spec.ServiceAccountName, req, metav1.CreateOptions{})
	if err != nil {
		return "", fmt.Errorf("token of %s: %w", v.pod.Spec.ServiceAccountName, err)
	}
	life := time.Until(got.Status.ExpirationTimestamp.Time)
	if v.tokens == nil {
		v.tokens = map[tokenKey]token{}
	}
	v.tokens[key] = token{text: got.Status.Token, renew: time.Now().Add(life * 4 / 5)}
	return got.Status.Token, nil
}

// giveToGroup lets the pod's fsGroup write to a volume.
func (v *volumes) giveToGroup(dir string) error {
	sc := v.pod.Spec.SecurityContext
	if sc == nil || sc.FSGroup == nil {
		return nil
	}
	gid := int(*sc.FSGroup)
	return filepath.WalkDir(dir, func(path string, e os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if err := os.Lchown(path, -1, gid); err != nil || e.Type()&os.ModeSymlink != 0 {
			return err
		}
		st, err := os.Stat(path)
		if err != nil {
			return err
		}
		add := os.FileMode(0o060)
		if e.IsDir() {
			add = 0o070 | os.ModeSetgid
		}
		return os.Chmod(path, st.Mode()|add)
	})
}

func mode(m *int32) os.FileMode {
	if m == nil {
		return 0o644
	}
	return os.FileMode(*m)
}

// hostPath is on the node's own disk, a directory of this node: what pods of
// one node write there survives them, and no other node sees it. Only what that
// disk lacks and the pod does not ask to create is the machine's.
func hostPath(disk string, h *corev1.HostPathVolumeSource) (string, error) {
	own := filepath.Join(disk, h.Path)
	kind := deref(h.Type)
	switch kind {
	case corev1.HostPathDirectoryOrCreate:
		return own, os.MkdirAll(own, 0o755)
	case corev1.HostPathFileOrCreate:
		return own, touch(own)
	default:
		return existingHostPath(own, h.Path, kind)
	}
}

func touch(file string) error {
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return err
	}
	f, err := os.OpenFile(file, os.O_CREATE, 0o644)
	if err != nil {
		return err
	}
	return f.Close()
}

func existingHostPath(own, machine string, kind corev1.HostPathType) (string, error) {
	for _, path := range []string{own, machine} {
		if st, err := os.Stat(path); err == nil && rightKind(st, kind) {
			return path, nil
		}
	}
	if kind == corev1.HostPathUnset {
		return own, os.MkdirAll(own, 0o755)
	}
	return "", fmt.Errorf("no %s at %s", kind, machine)
}

func rightKind(st os.FileInfo, kind corev1.HostPathType) bool {
	switch kind {
	case corev1.HostPathDirectory:
		return st.IsDir()
	case corev1.HostPathFile:
		return st.Mode().IsRegular()
	case corev1.HostPathSocket:
		return st.Mode()&os.ModeSocket != 0
	default:
		return true
	}
}
