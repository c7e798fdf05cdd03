package lab

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"github.com/heraldlb/herald/e2e/internal/machine"
	"github.com/heraldlb/herald/e2e/internal/ociimage"
)

// labImages are those of the lab's own pods, by the program that is in them.
var labImages = map[string]string{
	"pause": machine.PauseImage,
	"echo":  "docker.io/library/echo:latest", // what a kubelet makes of the image "echo"
}

// BuildImages writes the images that nodes with a kubelet run, to images in BinDir:
// Herald's are the archives that `make images` writes, made by the same program.
func BuildImages(ctx context.Context, w io.Writer) error {
	dir, err := ModuleDir()
	if err != nil {
		return err
	}
	bin := filepath.Join(dir, "bin")
	images := filepath.Join(bin, "images")
	if err := os.MkdirAll(images, 0o755); err != nil {
		return err
	}
	unlock, err := lock(images, time.Hour)
	if err != nil {
		return err
	}
	defer unlock()
	for program, name := range labImages {
		if err := ociimage.Write(filepath.Join(images, program+".tar"), name, filepath.Join(bin, program)); err != nil {
			return fmt.Errorf("image %s: %w", name, err)
		}
	}
	fmt.Fprintln(w, "building Herald's images")
	cmd := goCommand(ctx, filepath.Dir(dir), "run", "./internal/tools/images", "-platforms", "linux/"+runtime.GOARCH, "-out", images)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build Herald's images: %w\n%s", err, out)
	}
	return nil
}
