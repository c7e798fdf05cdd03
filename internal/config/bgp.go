package config

import "time"

// maxDamping bounds the damping: a weight that is a day late is no weight.
const maxDamping = 24 * time.Hour

func defaultBGP() BGP {
	return BGP{Weights: Weights{
		Interval:      5 * time.Minute,
		MinChange:     25,
		DecreaseDelay: 2 * time.Minute,
		SettleTime:    30 * time.Second,
	}}
}

// readBGP also says where the AS number is, if anywhere.
func readBGP(s spot, b *BGP) (asn spot) {
	s.object(fields{
		"asn":     func(s spot) { asn = s; b.ASN = s.asn() },
		"weights": func(s spot) { readWeights(s, &b.Weights) },
	})
	return asn
}

func readWeights(s spot, w *Weights) {
	s.object(fields{
		"interval":      func(s spot) { w.Interval = s.damping() },
		"minChange":     func(s spot) { w.MinChange = s.percent() },
		"decreaseDelay": func(s spot) { w.DecreaseDelay = s.damping() },
		"settleTime":    func(s spot) { w.SettleTime = s.damping() },
	})
}

func (s spot) damping() time.Duration {
	d, _ := s.duration(0, maxDamping, 1)
	return d
}

func (s spot) percent() int {
	n, _ := s.integer(0, 1000)
	return int(n)
}
