package clients

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"slipstream/internal/clients/harness"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// oneSentence requires that a refused start says what is wrong in one line that names what it is about, and not with a
// panic or a stack.
func oneSentence(t testing.TB, code int, out string, err error, about string) {
	t.Helper()
	if err != nil {
		t.Fatalf("%v:\n%s", err, out)
	}
	if code == 0 || code > 125 {
		t.Errorf("exit status %d", code)
	}
	if strings.Contains(out, "goroutine ") || strings.Contains(out, "panic") {
		t.Errorf("a stack instead of a sentence:\n%s", out)
	}
	for _, line := range strings.Split(out, "\n") {
		if strings.Contains(line, about) {
			t.Log(line)
			return
		}
	}
	t.Errorf("nothing it printed names %s:\n%s", about, out)
}

// TestDataDirectoryInUse starts a second broker on a directory that one is using.
func TestDataDirectoryInUse(t *testing.T) {
	harness.SlipstreamOnly(t)
	b := harness.StartT(t, harness.Options{})
	in := startInnocent(t, b)
	code, out, err := harness.RunFailing(10*time.Second, "serve", "--data-dir", b.DataDir, "--listen", "127.0.0.1:0")
	oneSentence(t, code, out, err, b.DataDir)
	time.Sleep(100 * time.Millisecond)
	in.finish(10)
	harness.StopT(t, b)
	harness.RestartT(t, b) // the lock is not left behind
}

// TestPortInUse starts a broker on a port that somebody listens on.
func TestPortInUse(t *testing.T) {
	harness.SlipstreamOnly(t)
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	dir := filepath.Join(t.TempDir(), "data")
	code, out, err := harness.RunFailing(10*time.Second, "serve", "--data-dir", dir, "--listen", l.Addr().String())
	oneSentence(t, code, out, err, l.Addr().String())
}

// TestRefusedStarts covers what else a start can be refused for.
func TestRefusedStarts(t *testing.T) {
	harness.SlipstreamOnly(t)
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, []byte("x"), 0o644); err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "data")
	for _, c := range []struct {
		name, about string
		args        []string
	}{
		{"an unknown setting", "num.partitions", []string{"--data-dir", dir, "--set", "num.partition=3"}},
		{"a bad value", "num.partitions", []string{"--data-dir", dir, "--set", "num.partitions=many"}},
		{"a config file that is not there", "nowhere.properties", []string{"--data-dir", dir, "--config", "nowhere.properties"}},
		{"a data directory that is a file", file, []string{"--data-dir", file}},
		{"an address that is none", "127.0.0.1:notaport", []string{"--data-dir", dir, "--listen", "127.0.0.1:notaport"}},
		{"an unknown flag", "--nonsense", []string{"--nonsense"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			args := append([]string{"serve"}, c.args...)
			if !strings.Contains(strings.Join(args, " "), "--listen") {
				args = append(args, "--listen", "127.0.0.1:0")
			}
			code, out, err := harness.RunFailing(10*time.Second, args...)
			oneSentence(t, code, out, err, c.about)
		})
	}
}

// TestCorruptIndex damages the index files of a stopped broker in every way that a file system or a person can, and
// wants everything readable from every offset and time afterwards, and sound indexes once the broker has stopped again.
func TestCorruptIndex(t *testing.T) {
	harness.OwnBroker(t)
	corpus, err := harness.GoSource(1, 80_000)
	if err != nil {
		t.Fatal(err)
	}
	truncate := func(n int64) func(string) error {
		return func(path string) error {
			info, err := os.Stat(path)
			if err != nil {
				return err
			}
			return os.Truncate(path, max(0, info.Size()-n))
		}
	}
	fill := func(with func(n int) []byte) func(string) error {
		return func(path string) error {
			info, err := os.Stat(path)
			if err != nil {
				return err
			}
			return os.WriteFile(path, with(int(info.Size())), 0o644)
		}
	}
	for _, c := range []struct {
		name   string
		apache bool // Apache copes too; else it trusts what has a plausible size after a clean stop, or loses times
		damage func(path string) error
	}{
		{"missing", true, os.Remove},
		{"cut within an entry", false, truncate(3)},
		{"empty", false, func(path string) error { return os.Truncate(path, 0) }},
		{"random bytes", false, fill(randomBytes)},
		{"zeros", false, fill(func(n int) []byte { return make([]byte, n) })},
		{"all ones", false, fill(func(n int) []byte { return bytes.Repeat([]byte{0xff}, n) })},
		{"an entry past the log's end", false, func(path string) error {
			f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
			if err != nil {
				return err
			}
			defer f.Close()
			_, err = f.Write([]byte{0x7f, 0, 0, 0, 0x7f, 0, 0, 0, 0x7f, 0, 0, 0, 0x7f, 0, 0, 0, 0x7f, 0, 0, 0, 0x7f, 0, 0, 0})
			return err
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			if harness.DefaultKind() == harness.Apache && !c.apache {
				t.Skip("Apache does not cope with this one after a clean stop")
			}
			corruptIndex(t, corpus, c.damage)
		})
	}
}

func corruptIndex(t *testing.T, corpus *harness.Corpus, damage func(path string) error) {
	b := harness.StartT(t, harness.Options{})
	topic := topicName(t, "index")
	createTopic(t, b, topic, 1, "segment.bytes", "1048576", "index.interval.bytes", "1000")
	if err := harness.KgoProduce(b.Addr, topic, "none", corpus, kgo.ProducerBatchMaxBytes(8<<10)); err != nil {
		t.Fatal(err)
	}
	harness.StopT(t, b)
	dir := filepath.Join(b.DataDir, topic+"-0")
	files, err := filepath.Glob(filepath.Join(dir, "*index"))
	if err != nil || len(files) < 4 {
		t.Fatalf("%d index files in %s, want those of two segments: %v", len(files), dir, err)
	}
	for _, f := range files {
		if err := damage(f); err != nil {
			t.Fatal(err)
		}
	}
	b = harness.RestartT(t, b)
	lines := corpus.Partitions[0].Lines
	sum, err := harness.KgoConsume(b.Addr, topic, "none", 0, lines)
	if err != nil || sum != corpus.Partitions[0].Sum {
		t.Errorf("reading it all: %v, equal: %v", err, sum == corpus.Partitions[0].Sum)
	}
	for _, offset := range []int{1, lines / 7, lines / 2, lines - 1} {
		err := harness.EachRecord(b.Addr, topic, 0, int64(offset), 1, func(r *kgo.Record) error {
			if r.Offset != int64(offset) {
				return fmt.Errorf("asked for offset %d, got %d", offset, r.Offset)
			}
			// A lookup by the record's own time must find it or one before it with the same time.
			if at := offsetOf(t, b, topic, 0, r.Timestamp.UnixMilli()); at < 0 || at > r.Offset {
				return fmt.Errorf("the time of offset %d is looked up at offset %d", offset, at)
			}
			return nil
		})
		if err != nil {
			t.Error(err)
		}
	}
	harness.StopT(t, b)
	dump, err := harness.DumpDir(b.DataDir)
	harness.Need(t, err)
	requireNoComplaint(t, dump.Complaints)
}

// TestFullDisk fills a small file system under a broker: producers are told KAFKA_STORAGE_ERROR, readers read on, nothing
// acknowledged is lost, and once there is room again the same broker takes records again.
func TestFullDisk(t *testing.T) {
	harness.SlipstreamOnly(t) // Apache halts when its only log directory fails
	for _, fs := range []string{"ext4", "xfs"} {
		t.Run(fs, func(t *testing.T) { fullDisk(t, fs) })
	}
}

func fullDisk(t *testing.T, fs string) {
	mnt := loopMount(t, fs)
	filler := filepath.Join(mnt, "filler")
	fillUp(t, filler, 120<<20)
	b := harness.StartT(t, harness.Options{DataDir: filepath.Join(mnt, "data")})
	topic := topicName(t, "full")
	createTopic(t, b, topic, 2, "segment.bytes", "16777216")
	w, err := harness.Dial(b.Addr)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	value := strings.Repeat("full disk ", 50_000)
	var acked [2]int64
	send := func(partition int) int16 {
		t.Helper()
		resp, err := w.Do(harness.Produce(9, topic, [16]byte{}, int32(partition), -1, harness.NewBatch(value).Bytes()), 20*time.Second)
		if err != nil {
			t.Fatalf("producing to partition %d after %v: %v", partition, acked, err)
		}
		p := resp.(*kmsg.ProduceResponse).Topics[0].Partitions[0]
		if p.ErrorCode == 0 {
			if p.BaseOffset != acked[partition] {
				t.Fatalf("partition %d: offset %d where %d was due", partition, p.BaseOffset, acked[partition])
			}
			acked[partition]++
		}
		return p.ErrorCode
	}
	refused := 0
	for i := 0; refused < 6; i++ {
		if i > 2000 {
			t.Fatal("a gigabyte went into a file system of a quarter of that")
		}
		switch code := send(i % 2); code {
		case 0:
		case 56:
			refused++
		default:
			t.Fatalf("error %d, want KAFKA_STORAGE_ERROR (56)", code)
		}
	}
	t.Logf("%v batches were acknowledged, then %d refused", acked, refused)
	readAll := func() {
		t.Helper()
		for p := range acked {
			for i, v := range readBack(t, b.Addr, topic, p, int(acked[p]), false) {
				if string(v) != value {
					t.Fatalf("partition %d offset %d differs", p, i)
				}
			}
		}
	}
	readAll()
	if err := os.Remove(filler); err != nil {
		t.Fatal(err)
	}
	for p := range acked {
		for deadline := time.Now().Add(10 * time.Second); send(p) != 0; time.Sleep(100 * time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("partition %d is still refused although there is room again", p)
			}
		}
	}
	readAll()
	w.Close()
	harness.StopT(t, b)
	b = harness.RestartT(t, b)
	readAll()
	harness.StopT(t, b)
	dump, err := harness.DumpDir(b.DataDir)
	harness.Need(t, err)
	requireNoComplaint(t, dump.Complaints)
}

// loopMount is a fresh file system of its own in a file, about a quarter of a gigabyte large.
func loopMount(t *testing.T, fs string) string {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("mounting a loop file system needs root")
	}
	mkfs := "mkfs." + fs
	if _, err := exec.LookPath(mkfs); err != nil {
		harness.Need(t, &harness.Missing{What: mkfs, Install: "apt-get install e2fsprogs xfsprogs"})
	}
	dir := t.TempDir()
	image, mnt := filepath.Join(dir, "image"), filepath.Join(dir, "mnt")
	if err := os.Mkdir(mnt, 0o755); err != nil {
		t.Fatal(err)
	}
	f, err := os.Create(image)
	if err == nil {
		err = f.Truncate(320 << 20) // XFS takes 300 MiB at least
		f.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{mkfs, "-q", image}, {"mount", "-o", "loop", image, mnt}} {
		if out, err := exec.Command(args[0], args[1:]...).CombinedOutput(); err != nil {
			t.Fatalf("%v: %v\n%s", args, err, out)
		}
	}
	t.Cleanup(func() {
		if out, err := exec.Command("umount", mnt).CombinedOutput(); err != nil {
			exec.Command("umount", "-l", mnt).Run()
			t.Errorf("umount: %v\n%s", err, out)
		}
	})
	return mnt
}

func fillUp(t testing.TB, path string, n int) {
	t.Helper()
	if err := os.WriteFile(path, make([]byte, n), 0o644); err != nil {
		t.Fatal(err)
	}
}

// TestWrongOwner starts a broker as a user that the data directory does not belong to, and on directories that
// this user may not write to: one sentence, and nothing is changed.
func TestWrongOwner(t *testing.T) {
	harness.SlipstreamOnly(t)
	if os.Getuid() != 0 {
		t.Skip("running a broker as another user needs root")
	}
	const nobody = 65534
	bin, err := harness.Binary()
	if err != nil {
		t.Fatal(err)
	}
	b := harness.StartT(t, harness.Options{})
	createTopic(t, b, "t", 2)
	harness.StopT(t, b)
	root := t.TempDir()
	program := filepath.Join(root, "slipstream")
	if out, err := exec.Command("cp", bin, program).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, path := range []string{root, filepath.Dir(root), filepath.Dir(b.DataDir), filepath.Dir(filepath.Dir(b.DataDir))} {
		if err := os.Chmod(path, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	chown := func(args ...string) {
		t.Helper()
		if out, err := exec.Command("chown", args...).CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
	}
	refused := func(name, dir string) {
		t.Helper()
		before := listing(t, dir)
		cmd := exec.Command(program, "serve", "--data-dir", dir, "--listen", "127.0.0.1:0", "--set", "slipstream.ebpf=off")
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
		stop := time.AfterFunc(10*time.Second, func() { cmd.Process.Kill() })
		out, _ := cmd.CombinedOutput()
		stop.Stop()
		t.Log(name)
		oneSentence(t, cmd.ProcessState.ExitCode(), string(out), nil, dir)
		if !strings.Contains(string(out), "permission denied") {
			t.Errorf("%s: it does not say why:\n%s", name, out)
		}
		if after := listing(t, dir); after != before {
			t.Errorf("%s: the refused start has changed something:\n%s\nwas\n%s", name, after, before)
		}
	}
	refused("another's directory", b.DataDir)
	chown(fmt.Sprint(nobody), b.DataDir)
	refused("another's partitions", b.DataDir)
	chown("-R", fmt.Sprint(nobody), b.DataDir)
	if err := os.Chmod(b.DataDir, 0o555); err != nil {
		t.Fatal(err)
	}
	refused("a read-only directory", b.DataDir)
	if err := os.Chmod(b.DataDir, 0o000); err != nil {
		t.Fatal(err)
	}
	refused("an unreadable directory", b.DataDir)
	os.Chmod(b.DataDir, 0o755)
	fresh := filepath.Join(root, "fresh")
	refused("where it may not make one", fresh)
}

// listing is all that is below a directory, with sizes, times of change and sums.
func listing(t *testing.T, dir string) string {
	t.Helper()
	out, err := exec.Command("sh", "-c", `find "$0" -printf '%p %m %s %T@\n' | sort; find "$0" -type f -exec sha256sum {} + | sort`, dir).CombinedOutput()
	if err != nil && !strings.Contains(string(out), "No such file") {
		t.Fatalf("%v\n%s", err, out)
	}
	return string(out)
}
