package cluster

import "errors"

// How a write to the cluster can fail. An error that is neither leaves open
// whether the write took place: the answer may have been lost.
var (
	// ErrGone: what the write was decided on is not there any more. The object is
	// deleted, has become another, or another of its name has taken its place.
	ErrGone = errors.New("the object is gone")

	// ErrRefused: the server has said no, and nothing was written.
	ErrRefused = errors.New("refused by the API server")
)
