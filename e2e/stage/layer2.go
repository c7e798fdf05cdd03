package stage

import (
	"context"
	"crypto/rand"
	"encoding/base64"

	"github.com/heraldlb/herald/e2e/lab"
)

// Layer2Config has a pool in the nodes' own network, and no router.
const Layer2Config = `apiVersion: heraldlb.io/v1
pools:
- name: lan
  ranges: [10.77.0.128/25, "fd77::1000/116"]
  announce: [l2]
`

// InstallLayer2 makes the key of the gossip, applies manifests/overlays/layer2
// and Layer2Config, and waits until every replica runs.
func InstallLayer2(ctx context.Context, l *lab.Lab) (*Stage, error) {
	s := &Stage{l}
	if err := s.MakeGossipKey(ctx); err != nil {
		return nil, err
	}
	if err := s.Manifests(ctx, "overlays/layer2"); err != nil {
		return nil, err
	}
	if err := s.Configure(ctx, Layer2Config); err != nil {
		return nil, err
	}
	return s, s.WaitReplicas(ctx)
}

// MakeGossipKey makes the Secret that overlays with gossip need.
func (s *Stage) MakeGossipKey(ctx context.Context) error {
	key := make([]byte, 32)
	_, _ = rand.Read(key) // never fails
	return s.Secret(ctx, "herald-gossip", map[string]string{"key": base64.StdEncoding.EncodeToString(key)})
}

// Secret makes a Secret in Herald's namespace, and that first.
func (s *Stage) Secret(ctx context.Context, name string, data map[string]string) error {
	for _, o := range []object{
		{"apiVersion": "v1", "kind": "Namespace", "metadata": object{"name": "herald-system"}},
		{
			"apiVersion": "v1", "kind": "Secret", "metadata": object{"name": name, "namespace": "herald-system"},
			"stringData": data,
		},
	} {
		if err := s.apply(ctx, o); err != nil {
			return err
		}
	}
	return nil
}
