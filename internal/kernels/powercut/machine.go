package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"slipstream/internal/clients/crash"
	"slipstream/internal/clients/harness"
)

// machine is a guest that runs one broker, from its power button to its power cut.
type machine struct {
	addr    string // of the broker, as clients on the host see it
	disk    *disk
	door    net.Listener // of the disk
	cmd     *exec.Cmd
	served  sync.WaitGroup
	console chan string // what init says, word by word (see says); closed when the machine is off

	mu   sync.Mutex
	text []string // the console's last lines
}

// What init says on the console, each on a line behind "POWER ".
const (
	saidMounted   = "mounted"
	saidAsCut     = "as-cut" // and what log verify finds as the cut has left the directory
	saidClean     = "clean"  // log verify found nothing after recovery and a stop
	saidDirty     = "dirty"  // it did
	saidListening = "listening"
	saidFailed    = "failed"
)

// bootUp boots, again where the guest's kernel did not come as far as to the disk: an emulated timer that does not tick in time on a busy
// host ends it in a panic.
func (p *plan) bootUp(verify bool) (m *machine, err error) {
	for range 4 {
		if m, err = p.boot(verify); err != nil {
			return nil, err
		}
		if err = m.await(saidMounted, patience, func(string) {}); err == nil || m.has(saidFailed) {
			return m, err
		}
		p.reboots++
		if _, cutErr := m.cutPower(p); cutErr != nil {
			return nil, cutErr
		}
	}
	return nil, fmt.Errorf("%w\nthe console's last lines:\n%s", err, m.lastLines())
}

// boot switches a guest on with image as its disk.
// verify: log verify is run on it, as it is and after recovery and a stop; otherwise the broker that recovers goes on.
func (p *plan) boot(verify bool) (*machine, error) {
	d, err := openDisk(p.image, p.tear)
	if err != nil {
		return nil, err
	}
	d.forgets = p.lies
	path := filepath.Join(p.dir, "disk.sock")
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	door, err := net.Listen("unix", path)
	if err != nil {
		return nil, err
	}
	port, err := harness.FreePort()
	if err != nil {
		return nil, err
	}
	m := &machine{addr: fmt.Sprint("127.0.0.1:", port), disk: d, door: door, console: make(chan string, 64)}
	m.served.Go(func() {
		for {
			c, err := door.Accept()
			if err != nil {
				return
			}
			m.served.Go(func() { _ = d.serve(c) }) // it ends with the machine
		}
	})
	m.cmd = exec.Command("qemu-system-x86_64", "-accel", "tcg,thread=multi", "-machine", "q35", "-cpu", "max", "-smp", "2", "-m", "768M", "-nodefaults",
		"-display", "none", "-no-reboot", "-serial", "stdio", "-kernel", p.kernel, "-initrd", p.initrd,
		"-append", fmt.Sprintf("console=ttyS0 panic=-1 quiet mitigations=off no_timer_check MODE=power FILESYSTEM=%s PORT=%d VERIFY=%s SETTINGS=%s", p.filesystem, port, map[bool]string{true: "1", false: "0"}[verify], strings.Join(crash.BrokerSettings(), ";")),
		"-blockdev", "driver=nbd,node-name=d0,server.type=unix,server.path="+path, "-device", "virtio-blk-pci,drive=d0",
		"-netdev", fmt.Sprintf("user,id=n0,restrict=on,hostfwd=tcp:127.0.0.1:%d-:9092", port), "-device", "virtio-net-pci,netdev=n0,romfile=")
	m.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	out, err := m.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	m.cmd.Stderr = m.cmd.Stdout
	if err := m.cmd.Start(); err != nil {
		return nil, err
	}
	m.served.Go(func() { m.listen(out) })
	return m, nil
}

// listen keeps the console's lines and passes on what init says.
func (m *machine) listen(out io.Reader) {
	defer close(m.console)
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		line := strings.TrimRight(lines.Text(), "\r")
		m.mu.Lock()
		if m.text = append(m.text, line); len(m.text) > 400 {
			m.text = m.text[200:]
		}
		m.mu.Unlock()
		if _, said, ok := strings.Cut(line, "POWER "); ok {
			m.console <- said
		}
	}
}

// await waits until init says word, and calls each with everything it says until then.
func (m *machine) await(word string, limit time.Duration, each func(said string)) error {
	timer := time.NewTimer(limit)
	defer timer.Stop()
	for {
		select {
		case said, ok := <-m.console:
			if !ok {
				return fmt.Errorf("the machine went off while %q was awaited", word)
			}
			each(said)
			if first, _, _ := strings.Cut(said, " "); first == word {
				return nil
			} else if first == saidFailed {
				return fmt.Errorf("the machine says: %s", said)
			}
		case <-timer.C:
			return fmt.Errorf("%q was not heard within %v", word, limit)
		}
	}
}

// cutPower kills the machine, whatever it is at.
func (m *machine) cutPower(p *plan) (cutCounts, error) {
	_ = m.cmd.Process.Kill() // it may have ended by itself, which whoever waited for it has seen
	_ = m.door.Close()       // nothing is left to be lost with it
	go func() {
		for range m.console { // so that the last lines find room
		}
	}()
	m.served.Wait()
	_ = m.cmd.Wait() // it was killed, and says so
	return m.disk.cut(p.rng)
}

// wrong picks from the console what a file system or a kernel complains of.
func (m *machine) wrong() (out []string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, line := range m.text {
		for _, sign := range []string{"Kernel panic", "EXT4-fs error", "Corruption", "corrupt", "I/O error", "BUG:", "panic: ", "goroutine 1 ["} {
			if strings.Contains(line, sign) {
				out = append(out, line)
				break
			}
		}
	}
	return out
}

// has says whether init has said a word on the console.
func (m *machine) has(word string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, line := range m.text {
		if strings.Contains(line, "POWER "+word) {
			return true
		}
	}
	return false
}

func (m *machine) lastLines() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return strings.Join(m.text[max(len(m.text)-60, 0):], "\n")
}
