package nodelet

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/heraldlb/herald/e2e/internal/contain"
)

// describe turns a container of a manifest into what is to be run. The reason is
// the one that a kubelet shows for such an error.
func (c *container) describe(ctx context.Context) (s contain.Spec, reason string, err error) {
	w := c.w
	img, err := w.agent.image(c.spec.Image)
	if err != nil {
		return s, "ErrImagePull", err
	}
	base, err := w.agent.apiEnv(ctx)
	if err != nil {
		return s, "CreateContainerConfigError", fmt.Errorf("address of the API server: %w", err)
	}
	env, err := containerEnv(ctx, w.fields(), c.spec, w.agent, base)
	if err != nil {
		return s, "CreateContainerConfigError", err
	}
	s = contain.Spec{
		Root:     filepath.Join(w.dir, "root-"+c.spec.Name),
		Binary:   img.binary,
		Userland: img.userland,
		Hostname: w.fields().hostname(),
		Args:     commandLine(c.spec, img, env.values),
		Env:      env.list(),
		Dir:      c.spec.WorkingDir,
	}
	if n := w.net.Load(); n != nil {
		s.NetNS = n.Path()
	}
	if err := applySecurity(&s, w.manifest, c.spec); err != nil {
		return s, "CreateContainerConfigError", err
	}
	if s.Mounts, err = c.mounts(env.values); err != nil {
		return s, "CreateContainerConfigError", err
	}
	return s, "CreateContainerError", os.MkdirAll(s.Root, 0o755)
}

// commandLine: command replaces the image's entrypoint, args follow either.
func commandLine(c *corev1.Container, img image, vars map[string]string) []string {
	line := expandAll(c.Command, vars)
	if len(line) == 0 {
		line = img.entrypoint()
	}
	return append(line, expandAll(c.Args, vars)...)
}

func (c *container) mounts(vars map[string]string) ([]contain.Mount, error) {
	etc, err := c.w.writeEtc()
	if err != nil {
		return nil, err
	}
	for _, m := range c.spec.VolumeMounts {
		source, ok := c.w.mounts[m.Name]
		if !ok {
			return nil, fmt.Errorf("no volume %s", m.Name)
		}
		if sub := m.SubPath + expand(m.SubPathExpr, vars); sub != "" {
			if source, err = subPath(source, sub); err != nil {
				return nil, err
			}
		}
		etc = append(etc, contain.Mount{Source: source, Target: m.MountPath, ReadOnly: m.ReadOnly})
	}
	return etc, nil
}

// subPath of a volume is made as a directory if it is missing. It may not lead
// out of the volume.
func subPath(volume, sub string) (string, error) {
	if !filepath.IsLocal(sub) {
		return "", fmt.Errorf("subPath %s leads out of the volume", sub)
	}
	path := filepath.Join(volume, sub)
	if _, err := os.Stat(path); err == nil {
		return path, nil
	}
	return path, os.MkdirAll(path, 0o755)
}

// writeEtc makes the few files that programs expect below /etc. There is no DNS
// in the lab: the resolver is told to give up fast.
func (w *worker) writeEtc() ([]contain.Mount, error) {
	f := w.fields()
	hosts := []string{"127.0.0.1 localhost", "::1 localhost"}
	for _, a := range f.pods {
		hosts = append(hosts, a.String()+" "+f.hostname())
	}
	for _, h := range w.manifest.Spec.HostAliases {
		hosts = append(hosts, h.IP+" "+strings.Join(h.Hostnames, " "))
	}
	files := map[string]string{
		"hosts":       strings.Join(hosts, "\n") + "\n",
		"hostname":    f.hostname() + "\n",
		"resolv.conf": "nameserver 127.0.0.1\noptions timeout:1 attempts:1\n",
		"passwd":      "root:x:0:0:root:/:/sbin/nologin\nnobody:x:65534:65534:nobody:/:/sbin/nologin\n",
		"group":       "root:x:0:\nnogroup:x:65534:\n",
	}
	dir := filepath.Join(w.dir, "etc")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	var mounts []contain.Mount
	for name, text := range files {
		path := filepath.Join(dir, name)
		if !exists(path) { // another container of the pod may have it mounted
			if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
				return nil, err
			}
		}
		mounts = append(mounts, contain.Mount{Source: path, Target: "/etc/" + name})
	}
	return mounts, nil
}
