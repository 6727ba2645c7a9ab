package harness

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
)

// Usage is what a process holds at one moment.
type Usage struct {
	ResidentBytes int64 // VmRSS
	PeakBytes     int64 // VmHWM
	Descriptors   int
	Threads       int
}

// Usage reads the broker's own accounts from /proc.
func (b *Broker) Usage() (Usage, error) {
	var u Usage
	dir := fmt.Sprintf("/proc/%d", b.PID())
	text, err := os.ReadFile(dir + "/status")
	if err != nil {
		return u, err
	}
	for _, line := range bytes.Split(text, []byte{'\n'}) {
		f := bytes.Fields(line)
		if len(f) < 2 {
			continue
		}
		n, err := strconv.ParseInt(string(f[1]), 10, 64)
		if err != nil {
			continue
		}
		switch string(f[0]) {
		case "VmRSS:":
			u.ResidentBytes = n << 10
		case "VmHWM:":
			u.PeakBytes = n << 10
		case "Threads:":
			u.Threads = int(n)
		}
	}
	fds, err := os.ReadDir(dir + "/fd")
	u.Descriptors = len(fds)
	return u, err
}

func (u Usage) String() string {
	return fmt.Sprintf("%.1f MB resident (peak %.1f MB), %d descriptors, %d threads",
		float64(u.ResidentBytes)/1e6, float64(u.PeakBytes)/1e6, u.Descriptors, u.Threads)
}
