package config

import "time"

// The words of nodes.cordoned.
const (
	cordonedKeep  = "keep"
	cordonedLeave = "leave"
)

const (
	drainKey = "heraldlb.io/drain"

	maxDrainTime   = time.Hour
	maxFuseHold    = time.Hour
	maxStateMaxAge = 30 * 24 * time.Hour
)

func defaultNodes() Nodes {
	return Nodes{
		DrainTaint:      drainKey,
		DrainAnnotation: drainKey,
		DrainTime:       5 * time.Second,
		ForwardingGate:  true,
		Fuse:            Fuse{Percent: 50, HoldTime: 30 * time.Second},
		StateMaxAge:     24 * time.Hour,
	}
}

func readNodes(s spot, n *Nodes) {
	s.object(fields{
		"cordoned": func(s spot) {
			word, _ := s.oneOf(cordonedKeep, cordonedLeave)
			n.CordonedLeave = word == cordonedLeave
		},
		"drainTaint":      func(s spot) { n.DrainTaint = s.labelKey() },
		"drainAnnotation": func(s spot) { n.DrainAnnotation = s.labelKey() },
		"drainTime":       func(s spot) { n.DrainTime, _ = s.duration(0, maxDrainTime, 1) },
		"forwardingGate":  func(s spot) { n.ForwardingGate = s.autoOrOff() },
		"stateMaxAge":     func(s spot) { n.StateMaxAge, _ = s.duration(0, maxStateMaxAge, 1) },
		"fuse":            func(s spot) { readFuse(s, &n.Fuse) },
	})
}

func readFuse(s spot, f *Fuse) {
	s.object(fields{
		"percent":  func(s spot) { f.Percent = s.number(1, 100) },
		"holdTime": func(s spot) { f.HoldTime, _ = s.duration(0, maxFuseHold, 1) },
	})
}
