package main

import (
	"context"
	"log/slog"
	"time"
)

// A speaker looks after itself: the kubelet would have to ask on a port that some
// other program may have, and would end what announces for want of a place to say
// so.
const (
	aliveEvery = 10 * time.Second
	aliveTimes = 3
)

// watch calls exit when something has not been healthy for a while. It does not wait
// for anything to end in good order: what hangs does not.
func watch(ctx context.Context, healthy func() error, exit func(), log *slog.Logger) {
	ticks := time.NewTicker(aliveEvery)
	defer ticks.Stop()
	for failed := 0; ; {
		select {
		case <-ctx.Done():
			return
		case <-ticks.C:
		}
		err := healthy()
		if err == nil {
			failed = 0
			continue
		}
		failed++
		log.Error("not healthy", "err", err, "times", failed, "most", aliveTimes)
		if failed >= aliveTimes {
			exit()
			return
		}
	}
}
