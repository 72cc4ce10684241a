//go:build unix

package security

import (
	"fmt"
	"io/fs"
	"syscall"
)

// inodeOf tells a file that was renamed into place from the one before.
func inodeOf(fi fs.FileInfo) string {
	if st, ok := fi.Sys().(*syscall.Stat_t); ok {
		return fmt.Sprintf("%d/%d", st.Dev, st.Ino)
	}
	return ""
}
