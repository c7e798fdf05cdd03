package stage

import (
	"context"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/heraldlb/herald/e2e/lab"
)

// Suite is a package of tests that share one lab.
type Suite struct {
	Number  int           // of the lab's name; those of different packages differ
	AtMost  time.Duration // for all of it
	Options lab.Options   // Name and Log are filled in
	Install func(context.Context, *lab.Lab) (*Stage, error)
	Run     func(*Stage) int
}

// Main is a TestMain: it makes the lab, installs Herald, runs the tests and takes
// the lab down. If they fail it shows what Herald's pods said; with
// $HERALD_KEEP_LAB set it leaves the lab as it is then. $HERALD_LAB_KUBELET gives
// any package nodes with real kubelets, as `lab up -kubelet` does.
func Main(s Suite) int {
	ctx, cancel := context.WithTimeout(context.Background(), s.AtMost)
	defer cancel()
	skip, err := lab.Prepare(ctx, lab.Build)
	if skip != "" {
		fmt.Fprintln(os.Stderr, "skipped:", skip)
		return 0
	}
	if nodes := os.Getenv("HERALD_LAB_KUBELET"); nodes != "" {
		s.Options.Kubelets = strings.Split(nodes, ",")
	}
	if err == nil && len(s.Options.Kubelets) > 0 {
		err = lab.BuildImages(ctx, os.Stderr)
	}
	if err == nil {
		s.Options.Name, s.Options.Log = lab.TestName(s.Number), os.Stderr
		var l *lab.Lab
		if l, err = lab.Up(ctx, s.Options); err == nil {
			return s.on(ctx, l)
		}
	}
	fmt.Fprintln(os.Stderr, err)
	return 1
}

func (s Suite) on(ctx context.Context, l *lab.Lab) (code int) {
	defer func() {
		if code != 0 && os.Getenv("HERALD_KEEP_LAB") != "" {
			fmt.Fprintf(os.Stderr, "lab %s is kept; take it down with: lab -name %[1]s down\n", l.Name())
			return
		}
		if err := l.Down(context.Background()); err != nil {
			fmt.Fprintln(os.Stderr, err)
		}
	}()
	herald, err := s.Install(ctx, l)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	} else {
		code = s.Run(herald)
	}
	if code != 0 {
		dumpLogs(ctx, l)
	}
	return code
}

// mostTroubles bounds what is shown of the logs, so that what the tests have said
// stays in sight.
const mostTroubles = 12

// dumpLogs keeps what Herald's pods said in a file, and shows the last of their
// troubles, so that a failure can be understood also where the file is gone.
func dumpLogs(ctx context.Context, l *lab.Lab) {
	file, err := os.CreateTemp("", "herald-pods-*.log")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return
	}
	defer func() { _ = file.Close() }()
	var troubles []string
	for _, component := range []string{"allocator", "speaker"} {
		out, err := l.Kubectl(ctx, "-n", "herald-system", "logs", "--prefix", "--tail=-1", "-l", "app.kubernetes.io/component="+component)
		fmt.Fprintf(file, "== %s %v\n%s\n", component, err, out)
		for line := range strings.Lines(out) {
			if strings.Contains(line, "level=WARN") || strings.Contains(line, "level=ERROR") {
				troubles = append(troubles, line)
			}
		}
	}
	fmt.Fprintf(os.Stderr, "the logs of Herald's pods are in %s; their last troubles:\n%s", file.Name(), strings.Join(troubles[max(0, len(troubles)-mostTroubles):], ""))
}
