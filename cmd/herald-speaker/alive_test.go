package main

import (
	"context"
	"errors"
	"log/slog"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/heraldlb/herald/internal/bubble"
)

func TestWhatHangsIsEnded(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		var sick atomic.Bool
		exits := 0
		healthy := func() error {
			if sick.Load() {
				return errors.New("gobgp has not answered")
			}
			return nil
		}
		ctx, cancel := context.WithCancel(t.Context())
		go watch(ctx, healthy, func() { exits++ }, slog.New(slog.DiscardHandler))
		time.Sleep(time.Hour + aliveEvery/2)
		sick.Store(true)
		time.Sleep((aliveTimes - 1) * aliveEvery)
		sick.Store(false)
		time.Sleep(time.Hour)
		synctest.Wait()
		if exits != 0 {
			t.Error("it ends what has recovered")
		}
		sick.Store(true)
		time.Sleep(aliveTimes*aliveEvery + time.Second)
		synctest.Wait()
		if exits != 1 {
			t.Errorf("%d exits, want one", exits)
		}
		cancel()
	})
}
