package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"net/url"
	"slices"
	"sync"
	"time"

	"github.com/heraldlb/herald/internal/explain"
	"github.com/heraldlb/herald/internal/kube"
)

const (
	speakerLabels = "app.kubernetes.io/name=herald,app.kubernetes.io/component=speaker"
	// statePort is that of a speaker's /state where its pod does not name one.
	statePort = 7473
	// answerTime is how long one speaker may take. Through the API server, a node
	// that is dead does not even refuse.
	answerTime = 3 * time.Second
	// askAtOnce bounds the requests under way: 100 dead nodes take 15 s.
	askAtOnce = 20
)

// askAtMost bounds how many nodes are asked of which nothing is expected.
const askAtMost = 100

// askNodes asks the speakers of nodes once each. What a router refuses or does, the
// kernel lacks, the speaker may not do, or gossip and kube-proxy have told it, is known
// there alone.
func askNodes(ctx context.Context, client *kube.Client, q questions) []explain.Answer {
	if len(q.nodes) == 0 {
		return nil
	}
	return askAll(ctx, client, q.nodes, q.service, answerTime)
}

// tellRest writes what the speakers say beside what they have decided.
func tellRest(w io.Writer, q questions, answers []explain.Answer) {
	explain.Sessions(w, of(answers, q.announcing))
	explain.Damping(w, q.addrs, of(answers, q.announcing))
	explain.Shares(w, q.addrs, of(answers, q.announcing))
	explain.Rescue(w, of(answers, q.rescuing))
}

// questions are what nodes alone know of a Service.
type questions struct {
	service              string       // namespace/name
	addrs                []netip.Addr // that are announced by BGP
	announcing, rescuing []string     // nodes
	nodes                []string     // that are asked
}

// questionsAbout asks all nodes of a small cluster: also one that is not expected to
// announce a Service may do so. Of a large one it asks those of which something is
// expected.
func questionsAbout(saved explain.Saved, key string) questions {
	q := questions{service: key, addrs: explain.AnnouncedAddrs(saved, key), announcing: explain.AnnouncingNodes(saved, key), rescuing: explain.RescueNodes(saved, key)}
	if len(explain.Addrs(saved, key)) == 0 {
		return q
	}
	for _, n := range saved.Cluster.Nodes {
		if len(saved.Cluster.Nodes) <= askAtMost || slices.Contains(q.announcing, n.Name) || slices.Contains(q.rescuing, n.Name) {
			q.nodes = append(q.nodes, n.Name)
		}
	}
	return q
}

// of are the answers of some of the nodes that were asked, in their order.
func of(answers []explain.Answer, nodes []string) (out []explain.Answer) {
	for _, n := range nodes {
		i := slices.IndexFunc(answers, func(a explain.Answer) bool { return a.Node == n })
		out = append(out, answers[i])
	}
	return out
}

func askAll(ctx context.Context, client *kube.Client, nodes []string, service string, atMost time.Duration) []explain.Answer {
	speakers, err := speakersByNode(ctx, client)
	answers := make([]explain.Answer, len(nodes))
	room := make(chan struct{}, askAtOnce)
	var wg sync.WaitGroup
	for i, node := range nodes {
		pod, there := speakers[node]
		switch {
		case err != nil:
			answers[i] = explain.Answer{Unknown: err.Error()}
		case !there:
			answers[i] = explain.Answer{Unknown: fmt.Sprintf("no speaker is there: kubectl -n %s describe daemonset -l %s", client.Namespace(), speakerLabels)}
		case !pod.Running:
			answers[i] = explain.Answer{Unknown: fmt.Sprintf("the speaker does not run: kubectl -n %s describe pod", client.Namespace()), Pod: pod.Name}
		default:
			wg.Go(func() {
				room <- struct{}{}
				defer func() { <-room }()
				answers[i] = ask(ctx, client, pod, service, atMost)
			})
		}
	}
	wg.Wait()
	for i, node := range nodes {
		answers[i].Node = node
	}
	return answers
}

// speakersByNode prefers the one that runs where one follows another.
func speakersByNode(ctx context.Context, client *kube.Client) (map[string]kube.Pod, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	pods, err := client.Pods(ctx, speakerLabels)
	out := make(map[string]kube.Pod, len(pods))
	for _, p := range pods {
		if !out[p.Node].Running {
			out[p.Node] = p
		}
	}
	return out, err
}

// ask asks about one Service only: the state of a large cluster is large.
func ask(ctx context.Context, client *kube.Client, pod kube.Pod, service string, atMost time.Duration) explain.Answer {
	ctx, cancel := context.WithTimeout(ctx, atMost)
	defer cancel()
	body, err := client.AskPod(ctx, pod.Name, cmp.Or(pod.Ports["metrics"], statePort), "state", url.Values{"service": {service}})
	switch {
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		return explain.Answer{Unknown: fmt.Sprintf("the speaker does not answer within %s", atMost)}
	case err != nil:
		return explain.Answer{Unknown: "/state of the speaker: " + err.Error()}
	}
	var a explain.Answer
	if err := json.Unmarshal(body, &a.State); err != nil {
		return explain.Answer{Unknown: fmt.Sprintf("/state of the speaker: %v", err)}
	}
	return a
}
