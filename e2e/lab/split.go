package lab

import "context"

// Split moves places to a switch of their own: their segment falls apart, and
// nobody loses its carrier. Unite mends it.
func (l *Lab) Split(ctx context.Context, places ...string) error {
	for _, s := range l.segments() {
		if l.hasPort(ctx, s.spare) {
			continue
		}
		if err := ip(ctx, l.ns(lan), "link add "+s.spare+" type bridge forward_delay 0 mcast_snooping 0", "link set "+s.spare+" up"); err != nil {
			return err
		}
	}
	return l.move(ctx, places, func(s segment) string { return s.spare })
}

// Unite moves places back to the others.
func (l *Lab) Unite(ctx context.Context, places ...string) error {
	return l.move(ctx, places, func(s segment) string { return s.bridge })
}

func (l *Lab) move(ctx context.Context, places []string, to func(segment) string) error {
	var lines []string
	for _, p := range places {
		lines = append(lines, "link set "+portName(p)+" master "+to(l.segmentOf(p)))
	}
	return ip(ctx, l.ns(lan), lines...)
}
