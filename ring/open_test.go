package ring

import (
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// TestOpenNowait opens what is cached, and says what is wrong with what is not there. (Nothing can be made to be not
// cached without root.)
func TestOpenNowait(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	if err := os.WriteFile(path, []byte("abc"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, refused := range []bool{false, true} {
		before := noCachedOpen.Swap(refused)
		defer noCachedOpen.Store(before)
		k := NewLinux()
		fd, errno := k.OpenNowait(path, unix.O_RDWR)
		if errno != 0 {
			t.Fatal(errno)
		}
		b := make([]byte, 3)
		if n, errno := k.ReadNow(fd, b, 0); n != 3 || errno != 0 || string(b) != "abc" {
			t.Errorf("read %q, %v", b[:n], errno)
		}
		if flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err != nil || flags&unix.FD_CLOEXEC == 0 {
			t.Errorf("flags %x, %v", flags, err)
		}
		k.CloseNow(fd)
		if _, errno := k.OpenNowait(path+"x", unix.O_RDWR); errno != unix.ENOENT && errno != unix.EAGAIN {
			t.Errorf("a file that is not there: %v", errno)
		}
	}
}
