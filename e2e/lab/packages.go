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
	"debian-archive-keyring", "iproute2", "nftables", "iptables", "curl", "jq", "util-linux", "tcpdump", "ethtool", "procps", "conntrack",
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
	if err := aptGet(ctx, w, "update", "-qq"); err != nil {
		return err
	}
	return aptGet(ctx, w, append([]string{"install", "-qq", "-y", "--no-install-recommends"}, missing...)...)
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
