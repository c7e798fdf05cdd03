package config

import (
	"math"
	"time"
)

func (s spot) port() uint16 {
	n, _ := s.integer(1, math.MaxUint16)
	return uint16(n)
}

// small reads a number of at most 8 bits.
func (s spot) small(low, high uint8) uint8 {
	n, _ := s.integer(int64(low), int64(high))
	return uint8(n)
}

// holdTime gives 0 for a wrong one, so that nothing is compared with it.
func (s spot) holdTime() time.Duration {
	d, ok := s.duration(0, maxTimer, time.Second)
	if ok && d < minHoldTime {
		s.fault("%q: write at least 3s (RFC 4271 section 4.2)", s.node.Value)
		return 0
	}
	return d
}

func (s spot) seconds() time.Duration {
	d, _ := s.duration(time.Second, maxTimer, time.Second)
	return d
}
