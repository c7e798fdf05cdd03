package nodelet

import (
	"path"
	"strings"
)

// userlandImage is the one image that is not a file: the machine's own /usr and
// /bin, for pods that need a shell.
const userlandImage = "userland"

type image struct {
	binary   string
	userland bool
}

// imageBase is the last element of an image's name without tag and digest.
func imageBase(name string) string {
	name, _, _ = strings.Cut(name, "@")
	base, _, _ := strings.Cut(path.Base(name), ":")
	return base
}

// entrypoint is what the image runs when the pod gives no command.
func (i image) entrypoint() []string {
	if i.userland {
		return []string{"/bin/sh"}
	}
	return []string{"/" + path.Base(i.binary)}
}
