package bgp

import (
	"context"
	"errors"
	"fmt"

	"github.com/osrg/gobgp/v4/api"

	"github.com/heraldlb/herald/speaker/plan"
)

// secret is the Secret that has the passwords.
const secret = "herald-bgp"

// maxPassword is what the kernel takes (TCP_MD5SIG_MAXKEYLEN).
const maxPassword = 80

// passwordOf is empty for a session without one.
func (s *speaker) passwordOf(of plan.Session) (string, error) {
	if of.PasswordKey == "" {
		return "", nil
	}
	password, err := "", errors.New("this speaker was given no passwords")
	if s.password != nil {
		password, err = s.password(of.PasswordKey)
	}
	switch {
	case err != nil:
		return "", fmt.Errorf("no password: key %q of the Secret %s: %w", of.PasswordKey, secret, err)
	case password == "":
		return "", fmt.Errorf("no password: key %q of the Secret %s is empty", of.PasswordKey, secret)
	case len(password) > maxPassword:
		return "", fmt.Errorf("password too long: key %q of the Secret %s has %d bytes, and TCP MD5 takes at most %d", of.PasswordKey, secret, len(password), maxPassword)
	}
	return password, nil
}

// dropKey takes the password off the listener. gobgp does so only where it changes
// a neighbor, and a key that stays would lock out a peer that needs none any more.
func (s *speaker) dropKey(p *peer) error {
	if s.port == 0 || p.password == "" {
		return nil
	}
	return s.calls.do("update peer", func() error {
		_, err := s.gobgp.UpdatePeer(context.Background(), &api.UpdatePeerRequest{Peer: neighbor(p.Session, p.vrfName(), "")})
		return err
	})
}

// changePassword closes a session whose password is another one now. If there is
// none any more the session stays: that may well be a moment's disorder, and the
// peer still takes the old one.
func (s *speaker) changePassword(p *peer) error {
	if !p.up {
		return nil
	}
	// The error of one that is gone is for those who open the session next.
	if password, err := s.passwordOf(p.Session); err != nil || password == p.password {
		return nil //nolint:nilerr // see above
	}
	s.log.Info("bgp password changed", "peer", p.Name, "key", p.PasswordKey)
	s.status.remove(p.Name)
	return s.deletePeer(p)
}
