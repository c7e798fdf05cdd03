package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"strings"

	"github.com/heraldlb/herald/internal/config"
	"github.com/heraldlb/herald/internal/router"
)

const routerHelp = `KIND is BIRD or FRR. FILE is as for heraldctl check.

It prints what to add to the configuration of the routers: the sessions with the
nodes, multipath, what weights need, BFD, and a filter that lets in the addresses
of the pools and nothing else. Each peer has a section of its own, and so has each
of its overrides that asks for something else. What was assumed, and why weights
do not count, stands in comments, and is repeated on the standard error.

  --peer NAME     the section of this peer alone
  --nodes LIST    addresses of the nodes, as the router sees them, or prefixes in
                  which they are, with commas between; default: the /24, or /64,
                  of the peer's own address
  --asn NUMBER    the router's AS number, where the file says external or asnFrom

The exit status is as for heraldctl check.`

func routerCommand() command {
	return command{
		name:  "router",
		args:  "[FLAGS] KIND FILE",
		about: "print what a router needs for a configuration",
		help:  routerHelp,
		run:   runRouter,
	}
}

func runRouter(_ context.Context, std streams, args []string) error {
	f := newFlags("router")
	var o router.Options
	f.StringVar(&o.Peer, "peer", "", "")
	f.Func("nodes", "", func(s string) error { return nodes(s, &o) })
	asn := f.Uint("asn", 0, "")
	rest, err := parseFlags(f, args)
	if err != nil {
		return err
	}
	if len(rest) != 2 {
		return usageError{"router takes a kind and a file, such as router FRR herald.yaml"}
	}
	if o.ASN = uint32(*asn); uint(o.ASN) != *asn {
		return usageError{fmt.Sprintf("router: --asn %d: more than 32 bits", *asn)}
	}
	data, err := read(std, rest[1])
	if err != nil {
		return err
	}
	c, _, err := config.ExamineFile(data)
	if problems, ok := errors.AsType[config.Problems](err); ok {
		printProblems(std.err, rest[1], "", problems)
		return errFaults
	}
	if err != nil {
		return err
	}
	sections, err := router.Write(rest[0], c, o)
	if missing, ok := errors.AsType[router.Error](err); ok || errors.Is(err, router.ErrUnknownKind) {
		if !ok {
			missing.Text = err.Error()
		}
		return usageError{"router: " + missing.Text}
	}
	if err != nil {
		return err
	}
	return printSections(std, sections)
}

// nodes reads addresses and prefixes.
func nodes(list string, o *router.Options) error {
	for item := range strings.SplitSeq(list, ",") {
		item = strings.TrimSpace(item)
		if a, err := netip.ParseAddr(item); err == nil && a.Zone() == "" {
			o.Nodes = append(o.Nodes, a.Unmap())
			continue
		}
		p, err := netip.ParsePrefix(item)
		if err != nil {
			return fmt.Errorf("%q is neither an address nor a prefix", item)
		}
		if p != p.Masked() {
			return fmt.Errorf("%s has host bits; write %s", p, p.Masked())
		}
		o.Ranges = append(o.Ranges, p)
	}
	return nil
}

func printSections(std streams, sections []router.Section) error {
	for i, s := range sections {
		if i > 0 {
			if _, err := io.WriteString(std.out, "\n"); err != nil {
				return err
			}
		}
		if _, err := io.WriteString(std.out, s.Text); err != nil {
			return err
		}
		for _, n := range s.Notes {
			_, _ = fmt.Fprintf(std.err, "%s: %s\n", s.Peer, n) // it is in the text as well
		}
	}
	return nil
}
