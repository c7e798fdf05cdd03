package lab

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// What Herald will be: a Deployment and a DaemonSet that speak to the API with
// their service accounts, here with the node's network.
const workloads = `
apiVersion: v1
kind: Namespace
metadata: {name: works}
---
apiVersion: v1
kind: ServiceAccount
metadata: {name: reader, namespace: works}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: reader, namespace: works}
rules: [{apiGroups: [""], resources: [configmaps], verbs: [get]}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: reader, namespace: works}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: reader}
subjects: [{kind: ServiceAccount, name: reader, namespace: works}]
---
apiVersion: apps/v1
kind: DaemonSet
metadata: {name: agent, namespace: works}
spec:
  selector: {matchLabels: {app: agent}}
  template:
    metadata: {labels: {app: agent}}
    spec:
      hostNetwork: true
      serviceAccountName: reader
      terminationGracePeriodSeconds: 1
      containers: [{name: echo, image: example.test/lab/echo:v1}]
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: server, namespace: works}
spec:
  replicas: 2
  selector: {matchLabels: {app: server}}
  template:
    metadata: {labels: {app: server}}
    spec:
      terminationGracePeriodSeconds: 1
      containers: [{name: echo, image: echo}]
---
apiVersion: v1
kind: Pod
metadata: {name: may, namespace: works}
spec:
  hostNetwork: true
  nodeName: n2
  restartPolicy: Never
  serviceAccountName: reader
  containers: [{name: kubectl, image: kubectl, args: [get, configmap, kube-root-ca.crt, -o, name]}]
---
apiVersion: v1
kind: Pod
metadata: {name: may-not, namespace: works}
spec:
  restartPolicy: Never
  serviceAccountName: reader
  containers: [{name: kubectl, image: kubectl, args: [get, secrets]}]
`

func TestWorkloads(t *testing.T) {
	l := running(t)
	_, err := l.KubectlInput(t.Context(), workloads, "apply", "-f", "-")
	must(t, err)
	for _, what := range []string{"daemonset/agent", "deployment/server"} {
		_, err := l.Kubectl(t.Context(), "-n", "works", "rollout", "status", what, "--timeout=60s")
		must(t, err)
	}
	pods, err := l.Pods(t.Context())
	must(t, err)
	agents := map[string]string{}
	for _, p := range pods {
		if strings.HasPrefix(p.Name, "agent-") {
			agents[p.Node] = p.Addrs[0].String()
		}
	}
	if got := fmt.Sprint(agents); got != "map[n1:10.77.0.11 n2:10.77.0.12 n3:10.77.0.13]" {
		t.Errorf("the DaemonSet's pods and addresses: %s", got)
	}
	waitLogs(t, l, "may", "configmap/kube-root-ca.crt")
	waitLogs(t, l, "may-not", `User "system:serviceaccount:works:reader" cannot list resource "secrets"`)

	_, err = l.Kubectl(t.Context(), "delete", "namespace", "works", "--timeout=60s")
	must(t, err)
}

func waitLogs(t *testing.T, l *Lab, pod, want string) {
	t.Helper()
	eventually(t, 30*time.Second, "output of pod "+pod, func() error {
		out, err := l.Kubectl(t.Context(), "-n", "works", "logs", pod)
		if err == nil && !strings.Contains(out, want) {
			err = fmt.Errorf("it says %q", out)
		}
		return err
	})
}
