package lab

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
)

// packages are what the lab needs of Debian.
var packages = []string{
	"frr", "bird2", "iproute2", "nftables", "iptables", "curl", "jq", "util-linux", "tcpdump", "ethtool", "procps", "conntrack",
}

// EnsurePackages installs the Debian packages that are missing, and says so.
func EnsurePackages(ctx context.Context, w io.Writer) error {
	missing := missingPackages(ctx)
	if len(missing) == 0 {
		return nil
	}
	if os.Geteuid() != 0 {
		return fmt.Errorf("install packages %s: not root", strings.Join(missing, " "))
	}
	fmt.Fprintf(w, "installing with apt-get: %s\n", strings.Join(missing, " "))
	defer startNothing()()
	if err := aptGet(ctx, w, "update", "-qq"); err != nil {
		return err
	}
	if err := aptGet(ctx, w, append([]string{"install", "-qq", "-y", "--no-install-recommends"}, missing...)...); err != nil {
		return err
	}
	disableServices(ctx, missing)
	return nil
}

// units are what a package would start at the next boot.
var units = map[string]string{"frr": "frr.service", "bird2": "bird.service"}

// disableServices does so for packages that nobody had before the lab. It fails
// where there is no systemd, and so no next start either.
func disableServices(ctx context.Context, installed []string) {
	for _, p := range installed {
		if unit, ok := units[p]; ok {
			_, _ = run(ctx, "", "systemctl", "disable", "--quiet", unit)
		}
	}
}

const (
	policyFile = "/usr/sbin/policy-rc.d"
	policy     = "#!/bin/sh\n# Made by Herald's lab while it installs packages.\nexit 101\n"
)

// startNothing keeps packages from starting their routing daemons in the host's
// own namespace, where the lab has no business, until the returned function is
// called.
func startNothing() (end func()) {
	if text, err := os.ReadFile(policyFile); err == nil && string(text) == policy {
		_ = os.Remove(policyFile) // of a lab that was killed
	}
	f, err := os.OpenFile(policyFile, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o755)
	if err != nil {
		return func() {} // the machine has a policy already
	}
	fmt.Fprint(f, policy)
	f.Close()
	return func() { _ = os.Remove(policyFile) }
}

func missingPackages(ctx context.Context) []string {
	var missing []string
	for _, p := range packages {
		out, _ := run(ctx, "", "dpkg-query", "-W", "-f", "${db:Status-Status}", p)
		if out != "installed" {
			missing = append(missing, p)
		}
	}
	return missing
}

func aptGet(ctx context.Context, w io.Writer, args ...string) error {
	cmd := exec.CommandContext(ctx, "apt-get", args...)
	cmd.Env = append(os.Environ(), "DEBIAN_FRONTEND=noninteractive")
	cmd.Stdout, cmd.Stderr = w, w
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("apt-get %s: %w", strings.Join(args, " "), err)
	}
	return nil
}
