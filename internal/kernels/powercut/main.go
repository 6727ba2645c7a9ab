// Command powercut runs the broker in a virtual machine whose power is cut, again and again, on one disk image, under a
// load from outside (internal/clients/crash) whose ledger the cut does not touch. internal/kernels/run.sh powercut makes
// the kernel and the initramfs that it wants.
//
//	powercut -kernel K -initrd I -filesystem ext4 -image disk.img -rounds 50
//
// Each round: the machine boots and mounts the disk, a broker recovers, the ledger is held against it, load runs, QEMU is killed.
// In every other round, about, the broker that recovers is stopped, `slipstream log verify` finds nothing, and a second broker goes on. In
// some rounds the machine is killed before the load: while the file system or the broker recovers.
//
// The disk (disk.go) is harsher than an image file, which keeps every write that QEMU has made: it has a volatile cache
// that only a flush empties, and at the cut a drawn part of it is dropped or torn. -lies makes flushes do nothing, which must be noticed.
//
// The last line printed is "powercut: ok ..." or the exit status is 1.
package main

import (
	"errors"
	"flag"
	"fmt"
	"math/rand"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"slipstream/internal/clients/crash"
)

// plan is what the command line asks for, and what came of it so far.
type plan struct {
	kernel, initrd, filesystem, image, dir string
	rounds, perSecond                      int
	tear                                   int64
	lies                                   bool

	rng      *rand.Rand
	ledger   *crash.Ledger
	begun    bool // the topics are made
	limit    time.Duration
	done     int // rounds
	reboots  int // of guests whose kernel did not come up
	cuts     cutCounts
	early    int // cuts before any load
	verified int // rounds in which log verify was run
	asCut    int // rounds in which log verify had problems with what the cut had left, all of them healed
}

func main() {
	p := &plan{}
	flag.StringVar(&p.kernel, "kernel", "", "bzImage")
	flag.StringVar(&p.initrd, "initrd", "", "initramfs with internal/kernels/init")
	flag.StringVar(&p.filesystem, "filesystem", "ext4", "ext4 or xfs")
	flag.StringVar(&p.image, "image", "", "disk image; it is made anew")
	flag.IntVar(&p.rounds, "rounds", 10, "power cuts")
	flag.IntVar(&p.perSecond, "per-second", 100, "records a second of each producer")
	flag.DurationVar(&p.limit, "limit", 0, "no round but the last begins later than this; 0: any time")
	flag.BoolVar(&p.lies, "lies", false, "the disk answers flushes and does nothing")
	seed := flag.Int64("seed", time.Now().UnixNano(), "of the moments and of what the cuts take")
	flag.Parse()
	p.rng = rand.New(rand.NewSource(*seed))
	p.ledger = crash.New(crash.Options{Seed: *seed, Power: true, PerSecond: p.perSecond})
	p.dir = filepath.Dir(p.image)
	// Both file systems rely on a block of theirs being written whole: ext4 for its superblock, XFS when the recovery of its log is
	// cut (a block whose first sector alone is new counts as done). With 512, a round on XFS ended with a directory that had a wrong CRC.
	p.tear = map[string]int64{"ext4": 4096, "xfs": 4096}[p.filesystem]
	begun := time.Now()
	fmt.Printf("powercut: %s, %d rounds, seed %d\n", p.filesystem, p.rounds, *seed)
	if err := p.run(); err != nil {
		fmt.Fprintln(os.Stderr, "powercut:", err)
		os.Exit(1)
	}
	c := p.ledger.Counts()
	fmt.Printf("powercut: ok %s: %d cuts in %v, %d of them before any load; log verify clean after recovery in %d; writes not flushed: %d kept, %d dropped, %d torn; %d records acknowledged, %d of them flushed, all there; %d lost in page-cache topics, suffixes; %d found that were not acknowledged; %d rounds with damage that recovery healed\n",
		p.filesystem, p.done, time.Since(begun).Round(time.Second), p.early, p.verified, p.cuts.kept, p.cuts.dropped, p.cuts.torn, c.Acknowledged, c.Flushed, c.Lost, c.Adopted, p.asCut)
	fmt.Printf("%+v\n", c)
}

// imageBytes of the disk, sparse.
const imageBytes = 2 << 30

func (p *plan) run() error {
	if p.tear == 0 {
		return fmt.Errorf("no file system %q", p.filesystem)
	}
	if err := os.Remove(p.image); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	if err := os.WriteFile(p.image, nil, 0o644); err != nil {
		return err
	}
	if err := os.Truncate(p.image, imageBytes); err != nil {
		return err
	}
	if out, err := exec.Command("mkfs."+p.filesystem, "-q", p.image).CombinedOutput(); err != nil {
		return fmt.Errorf("mkfs.%s: %w: %s", p.filesystem, err, out)
	}
	until := time.Now().Add(p.limit)
	for last := false; !last; p.done++ {
		n := p.done
		last = n >= p.rounds-1 || p.limit > 0 && time.Now().After(until)
		if err := p.round(n, last); err != nil {
			return fmt.Errorf("round %d: %w\nthe disk is in %s", n, err, p.image)
		}
	}
	return os.Remove(p.image)
}

// patience is how long a machine that is emulated may take for a step.
const patience = 3 * time.Minute

// round is one life of the machine.
func (p *plan) round(n int, last bool) (err error) {
	at := time.Now()
	verify := n > 0 && (last || p.rng.Intn(2) == 0)
	m, err := p.bootUp(verify)
	if m == nil {
		return err
	}
	note, loaded := "", time.Duration(0)
	defer func() {
		c, cutErr := m.cutPower(p)
		p.cuts.kept, p.cuts.dropped, p.cuts.torn = p.cuts.kept+c.kept, p.cuts.dropped+c.dropped, p.cuts.torn+c.torn
		counts := p.ledger.Counts()
		fmt.Printf("round %d: %v, load %v, %d flushes, unflushed writes %+v; acknowledged %d, lost %d%s\n", n, time.Since(at).Round(100*time.Millisecond), loaded.Round(10*time.Millisecond), m.disk.flushes, c, counts.Acknowledged, counts.Lost, note)
		if err = errors.Join(err, cutErr); err != nil {
			err = fmt.Errorf("%w\nthe console's last lines:\n%s", err, m.lastLines())
		}
	}()
	heard := func(said string) {
		if len(said) > len(saidAsCut) && said[:len(saidAsCut)] == saidAsCut {
			p.asCut++
			note += "; as cut: " + said[len(saidAsCut)+1:]
		}
	}
	if err != nil {
		return err
	}
	mounted := time.Since(at)
	if !last && n > 0 && p.rng.Intn(6) == 0 { // while the broker recovers, stops or starts
		p.early++
		time.Sleep(time.Duration(p.rng.Intn(4000)) * time.Millisecond)
		return nil
	}
	if err := m.await(saidListening, patience, heard); err != nil {
		return err
	}
	up := time.Since(at)
	note += fmt.Sprintf("; mounted after %v", mounted.Round(100*time.Millisecond))
	if !p.begun {
		if err := p.ledger.Setup(m.addr); err != nil {
			return err
		}
		p.begun = true
	}
	if verify {
		p.verified++
	}
	for _, f := range p.ledger.Check(m.addr, last || n%10 == 9) {
		err = errors.Join(err, errors.New(f))
	}
	for _, line := range m.wrong() {
		err = errors.Join(err, errors.New(line))
	}
	if err != nil {
		return err
	}
	note += fmt.Sprintf("; up after %v, checked after %v", up.Round(100*time.Millisecond), time.Since(at).Round(100*time.Millisecond))
	load := p.ledger.Load(m.addr)
	loaded = time.Duration(300+p.rng.Intn(5700)) * time.Millisecond
	time.Sleep(loaded)
	_ = m.cmd.Process.Kill() // the cut itself; the rest of it is cutPower's
	load.Stop()
	return nil
}
