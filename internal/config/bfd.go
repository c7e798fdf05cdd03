package config

import (
	"slices"
	"time"
)

// defaultBFD is the profile that is always there, unless the file has its own of
// that name.
const defaultBFD = "default"

const (
	minBFDInterval = 10 * time.Millisecond
	maxBFDInterval = time.Minute
)

func defaultProfile() BFDProfile {
	return BFDProfile{Name: defaultBFD, ReceiveInterval: 300 * time.Millisecond, TransmitInterval: 300 * time.Millisecond, DetectMultiplier: 3}
}

func readBFDProfiles(s spot) (profiles []BFDProfile) {
	names := map[string]string{}
	s.items(func(s spot) {
		p := defaultProfile()
		p.Name = ""
		s.object(fields{
			"name":             func(s spot) { p.Name = s.name(); s.unique(names, p.Name) },
			"receiveInterval":  func(s spot) { p.ReceiveInterval = s.bfdInterval() },
			"transmitInterval": func(s spot) { p.TransmitInterval = s.bfdInterval() },
			"detectMultiplier": func(s spot) { p.DetectMultiplier = s.small(1, 255) },
			"strict":           func(s spot) { s.boolean(&p.Strict) },
		}, "name")
		profiles = append(profiles, p)
	})
	return profiles
}

func (s spot) bfdInterval() time.Duration {
	d, _ := s.duration(minBFDInterval, maxBFDInterval, time.Millisecond)
	return d
}

// withDefaultProfile puts the default first, if the file has none.
func withDefaultProfile(profiles []BFDProfile) []BFDProfile {
	if slices.ContainsFunc(profiles, func(p BFDProfile) bool { return p.Name == defaultBFD }) {
		return profiles
	}
	return slices.Insert(profiles, 0, defaultProfile())
}

func bfdNames(profiles []BFDProfile) (names []string) {
	for _, p := range profiles {
		names = append(names, p.Name)
	}
	return names
}
