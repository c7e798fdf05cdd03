package stage

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Metrics is the text of /metrics.
type Metrics string

// Sum is the value of a metric, over all its series or those with labels like
// peer="router". What is not there is 0; see Has.
func (m Metrics) Sum(name string, labels ...string) float64 {
	sum, _ := m.sum(name, labels)
	return sum
}

// Has tells whether there is a series of that name with these labels.
func (m Metrics) Has(name string, labels ...string) bool {
	_, n := m.sum(name, labels)
	return n > 0
}

func (m Metrics) sum(name string, labels []string) (sum float64, n int) {
	for line := range strings.Lines(string(m)) {
		rest, ok := strings.CutPrefix(strings.TrimSpace(line), name)
		if !ok || rest == "" || rest[0] != ' ' && rest[0] != '{' {
			continue // of another name, or its help
		}
		has := func(label string) bool { return strings.Contains(rest, label) }
		if slices.ContainsFunc(labels, func(l string) bool { return !has(l) }) {
			continue
		}
		if v, err := strconv.ParseFloat(rest[strings.LastIndexByte(rest, ' ')+1:], 64); err == nil {
			sum, n = sum+v, n+1
		}
	}
	return sum, n
}

// SpeakerMetrics are those of the speaker on a node.
func (s *Stage) SpeakerMetrics(ctx context.Context, node string) (Metrics, error) {
	out, err := s.Exec(ctx, node, "curl", "-sfm3", "http://127.0.0.1:7473/metrics")
	return Metrics(out), err
}

// AllocatorMetrics are those of each allocator, by pod.
func (s *Stage) AllocatorMetrics(ctx context.Context) (map[string]Metrics, error) {
	pods, err := s.HeraldPods(ctx, "allocator")
	if err != nil {
		return nil, err
	}
	all := map[string]Metrics{}
	for _, p := range pods {
		out, err := s.Exec(ctx, "pod:"+p, "curl", "-sfm3", "http://127.0.0.1:7472/metrics")
		if err != nil {
			return nil, fmt.Errorf("allocator %s: %w", p, err)
		}
		all[p] = Metrics(out)
	}
	return all, nil
}

// WaitMetric waits until a metric of the speaker on a node is right.
func (s *Stage) WaitMetric(ctx context.Context, atMost time.Duration, node string, right func(float64) bool, name string, labels ...string) error {
	return Wait(ctx, atMost, func() error {
		m, err := s.SpeakerMetrics(ctx, node)
		if err != nil {
			return err
		}
		if v := m.Sum(name, labels...); !m.Has(name, labels...) || !right(v) {
			return fmt.Errorf("%s%v of %s is %v, there: %v", name, labels, node, v, m.Has(name, labels...))
		}
		return nil
	})
}

// Is is for WaitMetric.
func Is(want float64) func(float64) bool { return func(v float64) bool { return v == want } }

// Above is for WaitMetric.
func Above(least float64) func(float64) bool { return func(v float64) bool { return v > least } }
