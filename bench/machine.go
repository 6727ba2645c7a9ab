package main

import (
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"runtime"
	"strings"

	"golang.org/x/sys/unix"
)

// machine is what the figures were measured on.
type machine struct {
	Processors int     `json:"processors"`
	Model      string  `json:"model"`
	MemoryGB   float64 `json:"memoryGB"`
	Kernel     string  `json:"kernel"`
	FileSystem string  `json:"fileSystem"` // of the data directories
	Load       string  `json:"loadAverage"`
}

func describeMachine(dir string) machine {
	m := machine{Processors: runtime.NumCPU(), Model: "unknown processor", FileSystem: "unknown"}
	var u unix.Utsname
	if unix.Uname(&u) == nil {
		m.Kernel = "Linux " + unix.ByteSliceToString(u.Release[:])
	}
	if b, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		if found := regexp.MustCompile(`model name\s*: (.*)`).FindSubmatch(b); found != nil {
			m.Model = string(found[1])
		}
	}
	var info unix.Sysinfo_t
	if unix.Sysinfo(&info) == nil {
		m.MemoryGB = float64(info.Totalram) * float64(info.Unit) / 1e9
	}
	var fs unix.Statfs_t
	if unix.Statfs(dir, &fs) == nil {
		m.FileSystem = fmt.Sprintf("%#x", fs.Type)
		if name, ok := fileSystems[int64(fs.Type)]; ok {
			m.FileSystem = name
		}
	}
	if b, err := os.ReadFile("/proc/loadavg"); err == nil {
		m.Load = strings.Join(strings.Fields(string(b))[:3], " ")
	}
	return m
}

var fileSystems = map[int64]string{
	unix.EXT4_SUPER_MAGIC: "ext4", unix.XFS_SUPER_MAGIC: "xfs", unix.BTRFS_SUPER_MAGIC: "btrfs",
	unix.TMPFS_MAGIC: "tmpfs", unix.OVERLAYFS_SUPER_MAGIC: "overlayfs",
}

func (m machine) String() string {
	return fmt.Sprintf("%d processors (%s), %.0f GB, %s, %s, load %s", m.Processors, m.Model, m.MemoryGB, m.Kernel, m.FileSystem, m.Load)
}

// versions are those of what was measured and what measured it.
func (r *run) versions() map[string]string {
	v := map[string]string{"go": runtime.Version(), "slipstream": firstLine(exec.Command(r.binary, "version"))}
	if commit := firstLine(exec.Command("git", "rev-parse", "--short=12", "HEAD")); commit != "" {
		if firstLine(exec.Command("git", "status", "--porcelain", "--untracked-files=no")) != "" {
			commit += ", with changes that are not committed"
		}
		v["commit"] = commit
	}
	if r.peer {
		v["Apache Kafka"] = kafkaVersion()
		v["java"] = javaVersion()
	}
	return v
}

func firstLine(cmd *exec.Cmd) string {
	out, err := cmd.Output()
	if err != nil {
		return ""
	}
	line, _, _ := strings.Cut(string(out), "\n")
	return strings.TrimSpace(line)
}

func javaVersion() string {
	out, _ := exec.Command("java", "-version").CombinedOutput()
	if m := regexp.MustCompile(`version "([^"]+)"`).FindSubmatch(out); m != nil {
		return string(m[1])
	}
	return "unknown"
}

// raiseDescriptors lifts the limit of open files as far as it goes, for the
// connections that the generator holds, and returns it.
func raiseDescriptors() uint64 {
	var l unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_NOFILE, &l) != nil {
		return 1024
	}
	l.Cur = l.Max
	unix.Setrlimit(unix.RLIMIT_NOFILE, &l)
	unix.Getrlimit(unix.RLIMIT_NOFILE, &l)
	return l.Cur
}
