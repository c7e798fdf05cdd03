package main

import (
	"bytes"
	"context"
	"fmt"
	"io"

	"github.com/heraldlb/herald/internal/migrate"
)

const migrateHelp = `Printed is a configuration of Herald that does what the IPAddressPools, BGPPeers,
BGPAdvertisements, L2Advertisements, BFDProfiles and Communities do: those of the FILEs
(- is standard input), or of the cluster if there is no FILE. Notes on standard error name
what has no equal, and what is to be done by hand. Nothing is changed. docs/migration.md
has the whole way from MetalLB to Herald.

The exit status is 0 if the allocator would take the configuration, 1 if it would not,
2 if the command line is wrong, and 3 if a file or the cluster could not be read.

  --strict                 exit with 1 if there is a note
` + clusterHelp

func migrateCommand() command {
	return command{
		name:  "migrate",
		args:  "[FLAGS] metallb [FILE...]",
		about: "print a configuration that does what MetalLB's objects do",
		help:  migrateHelp,
		run:   runMigrate,
	}
}

func runMigrate(ctx context.Context, std streams, args []string) error {
	var c clusterFlags
	f := newFlags("migrate")
	c.into(f)
	strict := f.Bool("strict", false, "")
	rest, err := parseFlags(f, args)
	if err != nil {
		return err
	}
	if len(rest) == 0 || rest[0] != "metallb" {
		return usageError{"migrate knows metallb alone: write heraldctl migrate metallb"}
	}
	var text []byte
	if files := rest[1:]; len(files) > 0 {
		text, err = readAll(std, files)
	} else {
		text, err = metalLBOf(ctx, std, c)
	}
	if err != nil {
		return err
	}
	r, err := migrate.MetalLB(text)
	if err != nil {
		return fmt.Errorf("migrate: %w", err)
	}
	if _, err := std.out.Write(r.YAML); err != nil {
		return err
	}
	for _, n := range r.Notes {
		_, _ = fmt.Fprintf(std.err, "note: %s\n", n)
	}
	printProblems(std.err, "what is printed", "", r.Problems)
	if len(r.Problems) > 0 || *strict && len(r.Notes) > 0 {
		return errFaults
	}
	return nil
}

// readAll joins files to one text of several documents.
func readAll(std streams, files []string) ([]byte, error) {
	var all bytes.Buffer
	for _, name := range files {
		text, err := read(std, name)
		if err != nil {
			return nil, err
		}
		document(&all, text)
	}
	return all.Bytes(), nil
}

func document(w io.Writer, text []byte) { _, _ = fmt.Fprintf(w, "---\n%s\n", text) }

// metalLBOf reads MetalLB's objects from the cluster.
func metalLBOf(ctx context.Context, std streams, c clusterFlags) ([]byte, error) {
	client, err := c.client(std)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	var all bytes.Buffer
	for _, r := range migrate.Resources {
		text, err := client.Objects(ctx, migrate.Group, r.Version, r.Name)
		if err != nil {
			return nil, err
		}
		if text != nil {
			document(&all, text)
		}
	}
	return all.Bytes(), nil
}
