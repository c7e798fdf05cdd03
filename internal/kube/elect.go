package kube

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	coordinationclient "k8s.io/client-go/kubernetes/typed/coordination/v1"
)

// Election says what is elected for.
type Election struct {
	Name     string // required; of the Lease, in the client's namespace
	Identity string // required; two candidates must never have the same

	LeaseDuration time.Duration // zero: 8s; others wait that long for a leader that died
	RenewDeadline time.Duration // zero: 5s; a leader that cannot renew for that long stops
	RetryPeriod   time.Duration // zero: 1s; between two renewals, and two attempts
}

// Elect competes for a Lease and calls lead while it holds it, again after it
// lost and regained it. It returns when ctx ends, or with lead's error.
//
// client-go's own elector gives its Lease back while the led function may still
// be writing. Here the order is fixed: lead's context ends, lead returns, the
// Lease is given back. A leader that cannot renew stops LeaseDuration minus
// RenewDeadline before anybody else may begin, by its own clock alone.
func (c *Client) Elect(ctx context.Context, e Election, lead func(context.Context) error) error {
	if e.Name == "" || e.Identity == "" {
		return errors.New("election: name and identity are required")
	}
	e.LeaseDuration = orDefault(e.LeaseDuration, 8*time.Second)
	e.RenewDeadline = orDefault(e.RenewDeadline, 5*time.Second)
	e.RetryPeriod = orDefault(e.RetryPeriod, time.Second)
	if e.RenewDeadline >= e.LeaseDuration || e.RetryPeriod >= e.RenewDeadline {
		return fmt.Errorf("election: want retry %v < renew %v < lease %v", e.RetryPeriod, e.RenewDeadline, e.LeaseDuration)
	}
	el := &elector{
		Election: e,
		leases:   c.api.CoordinationV1().Leases(c.namespace),
		log:      c.log.With("lease", c.namespace+"/"+e.Name, "identity", e.Identity),
	}
	for el.campaign(ctx) {
		if err := el.term(ctx, lead); err != nil {
			return err
		}
	}
	return nil
}

func orDefault(d, otherwise time.Duration) time.Duration {
	if d == 0 {
		return otherwise
	}
	return d
}

type elector struct {
	Election
	leases coordinationclient.LeaseInterface
	log    *slog.Logger

	lease   *coordinationv1.Lease // as last seen or written
	renewed time.Time             // when our last successful write of it was begun
	since   time.Time             // when lease was first seen as it is
	problem string                // gist of the last error, which is logged once
}

// campaign returns true as soon as the Lease is ours, or false when ctx ends.
func (e *elector) campaign(ctx context.Context) bool {
	for ctx.Err() == nil {
		won, err := e.try(ctx)
		e.note(ctx, err)
		if won {
			return true
		}
		// jitter, so that followers do not ask in step
		sleep(ctx, e.RetryPeriod+rand.N(e.RetryPeriod/4))
	}
	return false
}

// try takes the Lease if it is free, or if its holder has not renewed it in time.
func (e *elector) try(ctx context.Context) (won bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, e.RenewDeadline)
	defer cancel()
	lease, err := e.leases.Get(ctx, e.Name, metav1.GetOptions{})
	switch {
	case apierrors.IsNotFound(err):
		return e.write(ctx, &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Name: e.Name}})
	case err != nil:
		return false, err
	}
	if e.lease == nil || e.lease.ResourceVersion != lease.ResourceVersion {
		e.lease, e.since = lease, time.Now()
	}
	holder := deref(lease.Spec.HolderIdentity)
	// The time by our clock since we first saw it so: the holder's may be wrong.
	expired := time.Since(e.since) > time.Duration(deref(lease.Spec.LeaseDurationSeconds))*time.Second
	if holder != "" && holder != e.Identity && !expired {
		return false, nil
	}
	return e.write(ctx, lease)
}

// write puts our name, or a renewal, into a Lease. The version that it was read
// with makes sure that nobody else has done so meanwhile.
func (e *elector) write(ctx context.Context, lease *coordinationv1.Lease) (won bool, err error) {
	begin := time.Now()
	lease = lease.DeepCopy()
	now := metav1.NewMicroTime(begin)
	seconds := int32((e.LeaseDuration + time.Second - 1) / time.Second)
	if deref(lease.Spec.HolderIdentity) != e.Identity {
		transitions := deref(lease.Spec.LeaseTransitions) + 1
		lease.Spec.LeaseTransitions, lease.Spec.AcquireTime = &transitions, &now
	}
	lease.Spec.HolderIdentity, lease.Spec.RenewTime, lease.Spec.LeaseDurationSeconds = &e.Identity, &now, &seconds
	if lease.ResourceVersion == "" {
		lease, err = e.leases.Create(ctx, lease, metav1.CreateOptions{})
	} else {
		lease, err = e.leases.Update(ctx, lease, metav1.UpdateOptions{})
	}
	switch {
	case apierrors.IsConflict(err), apierrors.IsAlreadyExists(err):
		return false, nil // somebody was faster
	case err != nil:
		return false, err
	}
	e.lease, e.since, e.renewed = lease, begin, begin
	return true, nil
}

// term leads until ctx ends, the Lease is lost, or lead returns.
func (e *elector) term(ctx context.Context, lead func(context.Context) error) error {
	e.log.Info("leadership gained")
	leading, stop := context.WithCancel(ctx)
	defer stop()
	done := make(chan error, 1)
	go func() { done <- lead(leading) }()

	lost := e.renew(ctx, done)
	stop()
	err := <-done
	if lost {
		e.log.Warn("leadership lost", "unrenewed_for", time.Since(e.renewed).Round(time.Millisecond))
		return nil
	}
	e.release(ctx)
	if err == nil && ctx.Err() == nil {
		err = errors.New("led function has ended by itself")
	}
	if ctx.Err() != nil {
		return nil
	}
	return err
}

// renew returns true when the Lease is lost, and false when ctx or lead ends.
func (e *elector) renew(ctx context.Context, done chan error) (lost bool) {
	tick := time.NewTicker(e.RetryPeriod)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return false
		case err := <-done:
			done <- err // for term
			return false
		case <-tick.C:
		}
		until := e.renewed.Add(e.RenewDeadline)
		attempt, cancel := context.WithDeadline(ctx, until)
		held, err := e.write(attempt, e.lease)
		if !held && err == nil {
			held, err = e.reread(attempt)
		}
		cancel()
		e.note(ctx, err)
		if ctx.Err() == nil && (!held && err == nil || time.Now().After(until)) {
			return true
		}
	}
}

// reread tells after a conflict whether the Lease is still ours. It may be: an
// earlier renewal may have arrived although its answer did not, or somebody may
// have put a label on it.
func (e *elector) reread(ctx context.Context) (held bool, err error) {
	lease, err := e.leases.Get(ctx, e.Name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	if deref(lease.Spec.HolderIdentity) != e.Identity {
		return false, nil
	}
	return e.write(ctx, lease)
}

// release lets the next candidate begin at once. Failing that, it waits for the
// Lease to expire.
func (e *elector) release(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
	defer cancel()
	err := e.giveBack(ctx)
	// A renewal whose answer we did not wait for may arrive in between.
	for apierrors.IsConflict(err) {
		err = e.giveBack(ctx)
	}
	if err != nil {
		e.log.Warn("lease not given back; others wait for its end", "err", err)
		return
	}
	e.log.Info("leadership given back")
}

func (e *elector) giveBack(ctx context.Context) error {
	lease, err := e.leases.Get(ctx, e.Name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) || (err == nil && deref(lease.Spec.HolderIdentity) != e.Identity) {
		return nil // it is nobody's, or somebody else's already
	}
	if err != nil {
		return err
	}
	nobody := ""
	lease.Spec.HolderIdentity = &nobody
	_, err = e.leases.Update(ctx, lease, metav1.UpdateOptions{})
	return err
}

func (e *elector) note(ctx context.Context, err error) {
	if ctx.Err() != nil {
		return
	}
	if text := gist(err); text != e.problem {
		e.problem = text
		if err != nil {
			e.log.Warn("lease out of reach", "err", err)
		}
	}
}
