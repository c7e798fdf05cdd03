package kubelet

import (
	"context"
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/heraldlb/herald/e2e/stage"
	"github.com/heraldlb/herald/e2e/stage/stagetest"
)

// container is what a kubelet says of a speaker.
type container struct {
	RestartCount int
	Ready        bool
	State        struct{ Waiting struct{ Reason string } }
	LastState    struct {
		Terminated struct {
			Reason   string
			ExitCode int
		}
	}
}

func containerOf(t *testing.T, pod string) (container, error) {
	t.Helper()
	var p struct {
		Status struct{ ContainerStatuses []container }
	}
	ns, name, _ := strings.Cut(pod, "/")
	if err := herald.Get(t.Context(), "/api/v1/namespaces/"+ns+"/pods/"+name, &p); err != nil {
		return container{}, err
	}
	if len(p.Status.ContainerStatuses) != 1 {
		return container{}, fmt.Errorf("%s has %d containers", pod, len(p.Status.ContainerStatuses))
	}
	return p.Status.ContainerStatuses[0], nil
}

// waitRestarted waits until a speaker was started again so often and is ready.
func waitRestarted(t *testing.T, atMost time.Duration, pod string, times int) container {
	t.Helper()
	var c container
	must(t, stage.Wait(t.Context(), atMost, func() (err error) {
		c, err = containerOf(t, pod)
		if err == nil && (c.RestartCount < times || !c.Ready) {
			err = fmt.Errorf("%s: %d restarts, ready: %v, %+v", pod, c.RestartCount, c.Ready, c.LastState)
		}
		return err
	}))
	return c
}

// newSpeakerOn replaces a node's speaker: the kubelet remembers how often another
// test has ended a pod, and lets it wait for that.
func newSpeakerOn(t *testing.T, node string) string {
	t.Helper()
	ns, name, _ := strings.Cut(stagetest.SpeakerOn(t, herald, node), "/")
	kubectl(t, "-n "+ns+" delete pod "+name)
	must(t, herald.WaitReplicas(t.Context()))
	must(t, herald.Calm(t.Context()))
	return stagetest.SpeakerOn(t, herald, node)
}

// The kernel ends a speaker when its cgroup wants more memory than it may have.
func TestASpeakerRunsOutOfMemory(t *testing.T) {
	begin(t)
	a := serve(t, "memory")
	pod := newSpeakerOn(t, "n2")
	stagetest.Unmoved(t, herald, a, func() {
		stagetest.NothingLost(t, traffic(t, a, func() {
			must(t, herald.OutOfMemory(t.Context(), pod))
			c := waitRestarted(t, 30*time.Second, pod, 1)
			if got := c.LastState.Terminated; got.Reason != "OOMKilled" || got.ExitCode != 137 {
				t.Errorf("the kubelet says that the speaker ended with %+v, want OOMKilled", got)
			}
			time.Sleep(5 * time.Second)
		}))
	})
}

// A kubelet lets a container that ends soon wait, twice as long each time. Longer
// than restartTime, and routers drop the node's routes.
func TestASpeakerCrashesAgainAndAgain(t *testing.T) {
	begin(t)
	a := serve(t, "crash")
	pod := newSpeakerOn(t, "n2")
	wantOthersServed(t, traffic(t, a, func() {
		var waits []string
		for i := range 4 {
			must(t, herald.KillPod(pod))
			died := time.Now()
			if i > 0 {
				must(t, stage.Wait(t.Context(), 30*time.Second, func() error {
					c, err := containerOf(t, pod)
					if err == nil && c.State.Waiting.Reason != "CrashLoopBackOff" {
						err = fmt.Errorf("%s: %+v", pod, c)
					}
					return err
				}))
			}
			waitRestarted(t, 90*time.Second, pod, i+1)
			waits = append(waits, time.Since(died).Round(100*time.Millisecond).String())
		}
		t.Logf("ready again after %s", strings.Join(waits, ", "))
		must(t, herald.WaitWeights(t.Context(), 30*time.Second, a, everyNode))
	}), "n2")
}

// A speaker that hangs answers neither the kubelet nor the router. It has no liveness
// probe, so it stays what it is; the other nodes serve.
func TestASpeakerHangs(t *testing.T) {
	begin(t)
	a := serve(t, "hang")
	pod := stagetest.SpeakerOn(t, herald, "n2")
	wantOthersServed(t, traffic(t, a, func() {
		signal(t, pod, syscall.SIGSTOP)
		begun := time.Now()
		waitUnready(t, 20*time.Second, pod)
		t.Logf("not ready after %s", time.Since(begun).Round(100*time.Millisecond))
		must(t, herald.WaitWeights(t.Context(), 30*time.Second, a, withoutN2))
		signal(t, pod, syscall.SIGCONT)
		waitRestarted(t, time.Minute, pod, 0)
		must(t, herald.WaitWeights(t.Context(), 30*time.Second, a, everyNode))
	}), "n2")
}

// An allocator that hangs is found out by its liveness probe, which takes 30 s.
// Before that another one leads.
func TestAnAllocatorHangs(t *testing.T) {
	begin(t)
	ctx := t.Context()
	metrics, err := herald.AllocatorMetrics(ctx)
	must(t, err)
	var leader string
	for pod, m := range metrics {
		if m.Sum("herald_allocator_leader") == 1 {
			leader = pod
		}
	}
	before, err := containerOf(t, leader)
	must(t, err)
	signal(t, leader, syscall.SIGSTOP)
	begun := time.Now()
	must(t, herald.Create(ctx, stage.Service{Name: "meanwhile"}))
	t.Cleanup(func() { must(t, herald.Delete(context.Background(), "meanwhile")) })
	_, err = herald.WaitAddrsWithin(ctx, 30*time.Second, "meanwhile", 2)
	must(t, err)
	served := time.Since(begun)
	waitUnready(t, 20*time.Second, leader)
	waitRestarted(t, 90*time.Second, leader, before.RestartCount+1)
	t.Logf("another one gave an address after %s; it was started again and ready after %s",
		served.Round(100*time.Millisecond), time.Since(begun).Round(100*time.Millisecond))
}

func signal(t *testing.T, pod string, sig syscall.Signal) {
	t.Helper()
	pids, err := herald.PodPIDs(pod)
	must(t, err)
	must(t, syscall.Kill(pids[0], sig))
}

func waitUnready(t *testing.T, atMost time.Duration, pod string) {
	t.Helper()
	must(t, stage.Wait(t.Context(), atMost, func() error {
		c, err := containerOf(t, pod)
		if err == nil && c.Ready {
			err = fmt.Errorf("%s is ready", pod)
		}
		return err
	}))
}
