package nodelet_test

import (
	"context"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/heraldlb/herald/e2e/lab"
)

var (
	cluster *lab.Lab
	bring   = sync.OnceValues(func() (skip string, err error) {
		ctx := context.Background()
		if skip, err = lab.Prepare(ctx, lab.BuildLab); skip != "" || err != nil {
			return skip, err
		}
		cluster, err = lab.Up(ctx, lab.Options{
			Name: lab.TestName(50), Nodes: 1, NodeMonitorGracePeriod: 5 * time.Second, Heartbeat: time.Second, Log: os.Stderr,
		})
		return "", err
	})
)

func TestMain(m *testing.M) {
	code := m.Run()
	if err := lab.Down(context.Background(), lab.TestName(50)); err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

// node is a real control plane with one node for the tests to share.
type node struct {
	t *testing.T
	*lab.Lab
}

func oneNode(t *testing.T) node {
	t.Helper()
	skip, err := bring()
	if err != nil {
		t.Fatal(err)
	}
	if skip != "" {
		t.Skip(skip)
	}
	return node{t, cluster}
}

func (n node) kubectl(args ...string) string {
	n.t.Helper()
	out, err := n.Kubectl(n.t.Context(), args...)
	if err != nil {
		n.t.Fatalf("kubectl %v: %v", args, err)
	}
	return strings.TrimSpace(out)
}

// apply creates a pod with the rest of its specification, and removes it at the
// end of the test.
func (n node) apply(name, spec string) {
	n.t.Helper()
	text := "apiVersion: v1\nkind: Pod\nmetadata: {name: " + name + "}\nspec:\n  nodeName: n1\n" + spec
	if out, err := n.KubectlInput(n.t.Context(), text, "apply", "-f", "-"); err != nil {
		n.t.Fatalf("%v\n%s", err, out)
	}
	n.t.Cleanup(func() {
		_, _ = n.Kubectl(context.Background(), "delete", "pod", name, "--ignore-not-found", "--grace-period=1")
	})
}

func (n node) show(pod, path string) string {
	n.t.Helper()
	return n.kubectl("get", "pod", pod, "-o", "jsonpath={.status."+path+"}")
}

// becomes waits until a part of a pod's status has a value.
func (n node) becomes(pod, path, want string) {
	n.t.Helper()
	var got string
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
		if got = n.show(pod, path); got == want {
			return
		}
	}
	n.t.Fatalf("%s: %s is %q, want %q", pod, path, got, want)
}

const (
	first    = "containerStatuses[0]."
	readyIs  = `conditions[?(@.type=="Ready")].status`
	shellPod = "  terminationGracePeriodSeconds: 1\n  containers:\n  - {name: main, image: userland, command: [sh, -c, %q]}\n"
)

func shell(line string) string { return fmt.Sprintf(shellPod, line) }

func TestWhatCannotRunSaysWhy(t *testing.T) {
	n := oneNode(t)
	rows := []struct{ name, spec, path, want string }{
		{"no-image", "  containers: [{name: main, image: registry.example/none:1}]", first + "state.waiting.reason", "ErrImagePull"},
		{
			"root", "  containers: [{name: main, image: echo, securityContext: {runAsNonRoot: true}}]",
			first + "state.waiting.reason", "CreateContainerConfigError",
		},
		{
			"no-configmap", "  containers: [{name: main, image: echo, envFrom: [{configMapRef: {name: none}}]}]",
			first + "state.waiting.reason", "CreateContainerConfigError",
		},
		{
			"no-volume", "  volumes: [{name: v, configMap: {name: none}}]\n  containers: [{name: main, image: echo}]",
			first + "state.waiting.reason", "ContainerCreating",
		},
		{
			"no-program", "  containers: [{name: main, image: echo, command: [/none]}]",
			first + "lastState.terminated.reason", "StartError",
		},
		{"crash", shell("exit 3"), first + "lastState.terminated.exitCode", "3"},
	}
	for _, r := range rows {
		n.apply(r.name, r.spec)
	}
	for _, r := range rows {
		n.t = t
		n.becomes(r.name, r.path, r.want)
	}
	n.becomes("crash", first+"restartCount", "3")
}

func TestPodThatEnds(t *testing.T) {
	n := oneNode(t)
	n.apply("once", `  restartPolicy: Never
  volumes: [{name: s, emptyDir: {}}]
  initContainers:
  - {name: first, image: userland, command: [sh, -c, 'echo from init > /s/x'], volumeMounts: [{name: s, mountPath: /s}]}
  containers:
  - name: main
    image: userland
    command: [sh, -c, 'cat /s/x; echo $(WHO); hostname']
    env: [{name: WHO, valueFrom: {fieldRef: {fieldPath: metadata.name}}}]
    volumeMounts: [{name: s, mountPath: /s, readOnly: true}]
`)
	n.becomes("once", "phase", "Succeeded")
	if got, want := n.kubectl("logs", "once"), "from init\nonce\nonce"; !strings.HasSuffix(got, want) {
		t.Errorf("log %q, want %q", got, want)
	}
}

func TestProbesDecide(t *testing.T) {
	n := oneNode(t)
	n.apply("probed", `  terminationGracePeriodSeconds: 1
  containers:
  - name: main
    image: echo
    args: [--unready]
    ports: [{name: http, containerPort: 8080}]
    startupProbe: {tcpSocket: {port: http}, periodSeconds: 1}
    readinessProbe: {httpGet: {path: /healthz, port: http}, periodSeconds: 1, failureThreshold: 1}
`)
	n.becomes("probed", first+"started", "true")
	n.becomes("probed", readyIs, "False")
	for _, ready := range []bool{true, false, true} {
		if err := n.SetReady(t.Context(), "probed", ready); err != nil {
			t.Fatal(err)
		}
		n.becomes("probed", readyIs, map[bool]string{true: "True", false: "False"}[ready])
	}
	if got := n.show("probed", first+"restartCount"); got != "0" {
		t.Errorf("%s restarts; readiness must not restart a container", got)
	}
	n.apply("sick", `  terminationGracePeriodSeconds: 1
  containers:
  - name: main
    image: echo
    args: [--unready]
    livenessProbe: {httpGet: {path: /healthz, port: 8080}, periodSeconds: 1, failureThreshold: 1}
`)
	n.becomes("sick", first+"lastState.terminated.exitCode", "137")
}

// A user that is not root reads its token, and the API server knows the pod by it.
func TestTokenOfAnotherUser(t *testing.T) {
	n := oneNode(t)
	n.apply("api", `  terminationGracePeriodSeconds: 1
  securityContext: {runAsUser: 1000, runAsNonRoot: true}
  containers:
  - name: main
    image: userland
    securityContext: {readOnlyRootFilesystem: true, allowPrivilegeEscalation: false, capabilities: {drop: [ALL]}}
    command:
    - sh
    - -c
    - |
      cd /var/run/secrets/kubernetes.io/serviceaccount
      curl -s --cacert ca.crt -H "Authorization: Bearer $(cat token)" -H 'Content-Type: application/json' \
        -d '{"apiVersion":"authentication.k8s.io/v1","kind":"SelfSubjectReview"}' \
        https://$KUBERNETES_SERVICE_HOST:$KUBERNETES_SERVICE_PORT/apis/authentication.k8s.io/v1/selfsubjectreviews
      sleep 1000
`)
	n.becomes("api", "phase", "Running")
	var log string
	for range 50 {
		if log = n.kubectl("logs", "api"); strings.Contains(log, "}") {
			break
		}
		time.Sleep(100 * time.Millisecond)
	}
	for _, want := range []string{"system:serviceaccount:default:default", `"api"`} {
		if !strings.Contains(log, want) {
			t.Errorf("no %s in %s", want, log)
		}
	}
}

func TestDeletionIsGraceful(t *testing.T) {
	n := oneNode(t)
	rows := []struct {
		desc, line string
		least      time.Duration
		most       time.Duration
	}{
		{"obeys", "trap 'exit 0' TERM; echo up; while :; do sleep 0.1; done", 0, 3 * time.Second},
		{"ignores", "trap '' TERM; echo up; while :; do sleep 0.1; done", 3 * time.Second, 9 * time.Second},
	}
	for _, r := range rows {
		t.Run(r.desc, func(t *testing.T) {
			n.t = t
			n.apply(r.desc, strings.Replace(shell(r.line), "Seconds: 1", "Seconds: 3", 1))
			n.becomes(r.desc, readyIs, "True")
			netns, err := n.Netns(t.Context(), "pod:default/"+r.desc)
			if err != nil {
				t.Fatal(err)
			}
			begin := time.Now()
			n.kubectl("delete", "pod", r.desc)
			if took := time.Since(begin); took < r.least || took > r.most {
				t.Errorf("took %v, want %v to %v", took, r.least, r.most)
			}
			if _, err := os.Stat("/run/netns/" + netns); !os.IsNotExist(err) {
				t.Errorf("%s is still there: %v", netns, err)
			}
		})
	}
}

func TestSurvivesAPowerCut(t *testing.T) {
	n := oneNode(t)
	n.apply("web", "  terminationGracePeriodSeconds: 1\n  containers: [{name: main, image: echo}]\n")
	n.apply("host", "  terminationGracePeriodSeconds: 1\n  hostNetwork: true\n  containers: [{name: main, image: echo, args: [--port=8090]}]\n")
	n.apply("never", "  restartPolicy: Never\n"+shell("sleep 1000"))
	for _, pod := range []string{"web", "host", "never"} {
		n.becomes(pod, readyIs, "True")
	}
	ctx := t.Context()
	if err := n.PowerOff(ctx, "n1"); err != nil {
		t.Fatal(err)
	}
	n.becomes("web", readyIs, "False") // by the node lifecycle controller
	if err := n.PowerOn(ctx, "n1"); err != nil {
		t.Fatal(err)
	}
	for _, pod := range []string{"web", "host"} {
		n.becomes(pod, readyIs, "True")
		n.becomes(pod, first+"restartCount", "1")
		n.becomes(pod, first+"lastState.terminated.reason", "ContainerStatusUnknown")
	}
	n.becomes("never", "phase", "Failed")
	if got, err := n.Exec(ctx, "pod:default/web", "curl", "-sm2", "http://[::1]:8080/healthz"); err != nil || got != "ok\n" {
		t.Errorf("after the cut web answers %q, %v", got, err)
	}
}

func TestHeartbeatStopsAndComesBack(t *testing.T) {
	n := oneNode(t)
	n.apply("beat", "  terminationGracePeriodSeconds: 1\n  containers: [{name: main, image: echo}]\n")
	n.becomes("beat", readyIs, "True")
	if err := n.StopHeartbeat("n1"); err != nil {
		t.Fatal(err)
	}
	n.becomes("beat", readyIs, "False")
	if err := n.ResumeHeartbeat("n1"); err != nil {
		t.Fatal(err)
	}
	n.becomes("beat", readyIs, "True")
	if got := n.show("beat", first+"restartCount"); got != "0" {
		t.Errorf("%s restarts, want none", got)
	}
}
