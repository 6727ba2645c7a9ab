package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// bar is a progress bar on a terminal; elsewhere it shows nothing. Any goroutine may move it.
type bar struct {
	mu    sync.Mutex
	to    *os.File // nil: no terminal
	begun time.Time
	drawn time.Time
}

const (
	barWidth = 40
	barPause = 100 * time.Millisecond
)

func newBar(w io.Writer) *bar { return &bar{to: openTerminal(w), begun: time.Now()} }

func isTerminal(fd int) bool {
	_, err := unix.IoctlGetTermios(fd, unix.TCGETS)
	return err == nil
}

// show draws how many of total bytes are done, some times a second.
func (b *bar) show(done, total int64) {
	if b.to == nil {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	now := time.Now()
	if now.Sub(b.drawn) < barPause || total <= 0 {
		return
	}
	b.drawn = now
	full := int(done * barWidth / total)
	rate := float64(done) / max(now.Sub(b.begun).Seconds(), 1e-3)
	fmt.Fprintf(b.to, "\r[%s%s] %3d%%  %s of %s, %s/s \x1b[K", strings.Repeat("#", full), strings.Repeat(".", barWidth-full), done*100/total, size(done), size(total), size(int64(rate)))
}

// clear takes the bar off the screen.
func (b *bar) clear() {
	if b.to != nil && !b.drawn.IsZero() {
		fmt.Fprint(b.to, "\r\x1b[K")
	}
}
