package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
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

// rescueCheck asks each node on which the flows of a Service should be rescued
// whether they are: what the kernel lacks, or the speaker may not do, is known
// there alone.
func rescueCheck(ctx context.Context, w io.Writer, client *kube.Client, nodes []string) {
	if len(nodes) > 0 {
		explain.Rescue(w, askAll(ctx, client, nodes, answerTime))
	}
}

func askAll(ctx context.Context, client *kube.Client, nodes []string, atMost time.Duration) []explain.Answer {
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
			answers[i] = explain.Answer{Unknown: "no speaker is there"}
		case !pod.Running:
			answers[i] = explain.Answer{Unknown: "the speaker does not run"}
		default:
			wg.Go(func() {
				room <- struct{}{}
				defer func() { <-room }()
				answers[i] = askRescue(ctx, client, pod, atMost)
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

func askRescue(ctx context.Context, client *kube.Client, pod kube.Pod, atMost time.Duration) explain.Answer {
	ctx, cancel := context.WithTimeout(ctx, atMost)
	defer cancel()
	body, err := client.AskPod(ctx, pod.Name, cmp.Or(pod.Ports["metrics"], statePort), "state")
	switch {
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		return explain.Answer{Unknown: fmt.Sprintf("the speaker does not answer within %s", atMost)}
	case err != nil:
		return explain.Answer{Unknown: "/state of the speaker: " + err.Error()}
	}
	var state struct {
		Rescue *struct {
			On  bool
			Why string
		}
	}
	if err := json.Unmarshal(body, &state); err != nil {
		return explain.Answer{Unknown: fmt.Sprintf("/state of the speaker: %v", err)}
	}
	if state.Rescue == nil {
		return explain.Answer{Unknown: "/state of the speaker does not tell: its version has no flow rescue"}
	}
	return explain.Answer{On: state.Rescue.On, Why: state.Rescue.Why}
}
