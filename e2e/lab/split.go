package lab

import "context"

// Split moves places to a switch of their own: the segment falls apart, and
// nobody loses its carrier. Unite mends it.
func (l *Lab) Split(ctx context.Context, places ...string) error {
	if _, err := run(ctx, "", "ip", "-n", l.ns(lan), "link", "show", "br1"); err != nil {
		if err := ip(ctx, l.ns(lan), "link add br1 type bridge forward_delay 0 mcast_snooping 0", "link set br1 up"); err != nil {
			return err
		}
	}
	return l.move(ctx, "br1", places)
}

// Unite moves places back to the others.
func (l *Lab) Unite(ctx context.Context, places ...string) error { return l.move(ctx, "br0", places) }

func (l *Lab) move(ctx context.Context, bridge string, places []string) error {
	var lines []string
	for _, p := range places {
		lines = append(lines, "link set "+portName(p)+" master "+bridge)
	}
	return ip(ctx, l.ns(lan), lines...)
}
