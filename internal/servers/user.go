package servers

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
)

// PostgreSQL, OpenSearch and Elasticsearch refuse to run as root. When this program is root, they run in a user namespace in which
// root is called nobody: files keep their owner, and no folder has to be opened. Where the machine forbids that (a chroot, most
// containers) they run as the user nobody itself: then their data folder is given to nobody, and the cache has to lie where nobody
// gets at it, which root's home is not.

const nobody = 65534

type dropping int

const (
	dropNothing   dropping = iota // not root
	dropNamespace                 // a user namespace in which root is nobody
	dropIdentity                  // setuid to nobody
)

// dropMode tries once what the machine allows.
var dropMode = sync.OnceValue(func() dropping {
	if os.Geteuid() != 0 {
		return dropNothing
	}
	probe, err := exec.LookPath("true")
	if err != nil {
		return dropIdentity
	}
	cmd := exec.Command(probe)
	cmd.SysProcAttr = attrsFor(dropNamespace)
	if cmd.Run() != nil {
		return dropIdentity
	}
	return dropNamespace
})

// attrs makes a child die with this process and, when drop is set and we are root, run as one who is not root.
func attrs(drop bool) *syscall.SysProcAttr {
	if !drop {
		return attrsFor(dropNothing)
	}
	return attrsFor(dropMode())
}

func attrsFor(mode dropping) *syscall.SysProcAttr {
	a := &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	switch mode {
	case dropNamespace:
		a.Cloneflags = syscall.CLONE_NEWUSER
		a.UidMappings = []syscall.SysProcIDMap{{ContainerID: nobody, HostID: 0, Size: 1}}
		a.GidMappings = []syscall.SysProcIDMap{{ContainerID: nobody, HostID: 0, Size: 1}}
	case dropIdentity:
		a.Credential = &syscall.Credential{Uid: nobody, Gid: nobody}
	case dropNothing:
	}
	return a
}

// handOver gives dir and all in it to nobody when servers run as nobody, and opens the folders of the machine's scratch folder
// that lead to it.
func handOver(dir string) error {
	if dropMode() != dropIdentity {
		return nil
	}
	tmp := filepath.Clean(os.TempDir())
	for up := filepath.Dir(dir); up != tmp && strings.HasPrefix(up, tmp+"/"); up = filepath.Dir(up) {
		fi, err := os.Stat(up)
		if err != nil {
			return err
		}
		if fi.Mode().Perm()&0o001 == 0 {
			if err := os.Chmod(up, fi.Mode().Perm()|0o011); err != nil {
				return err
			}
		}
	}
	if shut := shutFolder(filepath.Dir(dir)); shut != "" {
		return fmt.Errorf("%s is not open to the user nobody, as whom servers run that refuse root: open it (chmod o+x) or use another folder", shut)
	}
	err := filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := os.Lchown(path, nobody, nobody); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("give %s to the user nobody: %w", dir, err)
	}
	return nil
}

// shutFolder returns the first folder on the way to dir that others may not pass, or "".
func shutFolder(dir string) string {
	path := "/"
	for _, part := range strings.Split(filepath.Clean(dir), "/") {
		path = filepath.Join(path, part)
		if fi, err := os.Stat(path); err == nil && fi.IsDir() && fi.Mode().Perm()&0o001 == 0 {
			return path
		}
	}
	return ""
}

// openToAll lets everybody read what was fetched, whatever the umask.
func openToAll(dir string) error {
	return filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.Type()&fs.ModeSymlink != 0 {
			return err
		}
		fi, err := d.Info()
		if err != nil {
			return err
		}
		want := fi.Mode().Perm() | 0o044
		if want&0o100 != 0 {
			want |= 0o011
		}
		if want == fi.Mode().Perm() {
			return nil
		}
		return os.Chmod(path, want)
	})
}

// runDropped is run, in dir, for a program that refuses root.
func runDropped(ctx context.Context, dir string, env []string, name string, args ...string) error {
	if err := handOver(dir); err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), env...)
	cmd.SysProcAttr = attrs(true)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w\n%s", filepath.Base(name), err, bytes.TrimSpace(out))
	}
	return nil
}
