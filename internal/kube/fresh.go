package kube

import (
	"context"
	"fmt"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// catchUpTimeout is more than any list takes; the caller says it and tries again.
const catchUpTimeout = 30 * time.Second

// CatchUp waits until Snapshot shows every Service at least as new as the API
// server has it when CatchUp is called.
//
// A watch may lag. A new leader that has not heard of its predecessor's last
// write yet would hand the same address out again.
func (w *Watcher) CatchUp(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, catchUpTimeout)
	defer cancel()
	newest, err := w.newestService(ctx)
	if err != nil {
		return fmt.Errorf("list Services: %w", err)
	}
	for !w.heardOf(newest) {
		if !sleep(ctx, 5*time.Millisecond) {
			return fmt.Errorf("wait for the watch of Services: %w", ctx.Err())
		}
	}
	return nil
}

// newestService is the highest resource version of any Service. The list's own
// version would be too high to wait for: no event need ever bring it.
func (w *Watcher) newestService(ctx context.Context) (newest string, err error) {
	page := metav1.ListOptions{Limit: 500} // no version: as of now, not out of some cache
	for {
		list, err := w.client.api.CoreV1().Services("").List(ctx, page)
		if err != nil {
			return "", err
		}
		for i := range list.Items {
			if v := list.Items[i].ResourceVersion; newest == "" || older(newest, v) {
				newest = v
			}
		}
		if page.Continue = list.Continue; page.Continue == "" {
			return newest, nil
		}
	}
}

func (w *Watcher) heardOf(version string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.synced() && (version == "" || !older(w.services.heard, version))
}
