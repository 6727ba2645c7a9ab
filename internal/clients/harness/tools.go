package harness

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// More of Kafka's programs, which Tool runs.
const (
	ConsumerGroupCommand = "org.apache.kafka.tools.consumer.group.ConsumerGroupCommand"
	ShareGroupCommand    = "org.apache.kafka.tools.consumer.group.ShareGroupCommand"
	GroupsCommand        = "org.apache.kafka.tools.GroupsCommand"
	ConsoleShareConsumer = "org.apache.kafka.tools.consumer.ConsoleShareConsumer"
	TransactionsCommand  = "org.apache.kafka.tools.TransactionsCommand"
	StreamsResetter      = "org.apache.kafka.tools.StreamsResetter"
	VerifiableConsumer   = "org.apache.kafka.tools.VerifiableConsumer"
	EndToEndLatency      = "org.apache.kafka.tools.EndToEndLatency"
	ConsumerPerformance  = "org.apache.kafka.tools.ConsumerPerformance"
	DeleteRecords        = "org.apache.kafka.tools.DeleteRecordsCommand"
	LogDirs              = "org.apache.kafka.tools.LogDirsCommand"
	FeatureCommand       = "org.apache.kafka.tools.FeatureCommand"
)

const toolLimit = 3 * time.Minute

// ToolResult is what one of Kafka's programs printed and how it ended.
type ToolResult struct {
	Status      int
	Out, Errors string
}

// Both is all that was printed.
func (r ToolResult) Both() string { return r.Out + r.Errors }

// toolbox is the JVM that runs Kafka's programs one after the other (java/src/Tools.java says how it is spoken to).
type toolbox struct {
	mu  sync.Mutex
	cmd *exec.Cmd
	in  io.WriteCloser
	out io.Reader
}

var tools toolbox

// Tool runs one of Kafka's programs in a JVM that is kept for the next, until a broker of StartT ends: many times faster
// than RunJava, and right for every program of org.apache.kafka.tools and kafka.admin that ends by itself and leaves nothing
// to hooks of the JVM, as VerifiableProducer does. A program that fails is no error.
func Tool(in []byte, main string, args ...string) (ToolResult, error) {
	return tools.run(in, append([]string{main}, args...))
}

// ToolT runs a program that must succeed, and returns what it printed on standard output.
func ToolT(t testing.TB, in []byte, main string, args ...string) string {
	t.Helper()
	r, err := Tool(in, main, args...)
	Need(t, err)
	if r.Status != 0 {
		t.Fatalf("%s %q ended with status %d:\n%s", main, args, r.Status, r.Both())
	}
	return r.Out
}

func (b *toolbox) run(in []byte, command []string) (ToolResult, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.cmd == nil {
		if err := b.start(); err != nil {
			return ToolResult{}, err
		}
	}
	request := binary.BigEndian.AppendUint32(nil, uint32(len(command)))
	for _, word := range command {
		request = append(binary.BigEndian.AppendUint32(request, uint32(len(word))), word...)
	}
	request = append(binary.BigEndian.AppendUint32(request, uint32(len(in))), in...)
	late := time.AfterFunc(toolLimit, b.interrupt)
	r, err := b.exchange(request)
	if !late.Stop() || err != nil {
		b.stop()
		return r, fmt.Errorf("%q did not end within %v, or ended its JVM (%v); see standard error for its threads", command, toolLimit, err)
	}
	return r, nil
}

// interrupt makes the JVM print its threads and ends it, which ends the exchange.
func (b *toolbox) interrupt() {
	b.cmd.Process.Signal(syscall.SIGQUIT)
	time.Sleep(500 * time.Millisecond)
	b.cmd.Process.Kill()
}

func (b *toolbox) exchange(request []byte) (r ToolResult, err error) {
	if _, err := b.in.Write(request); err != nil {
		return r, err
	}
	var status [4]byte
	if _, err := io.ReadFull(b.out, status[:]); err != nil {
		return r, err
	}
	r.Status = int(int32(binary.BigEndian.Uint32(status[:])))
	if r.Out, err = readText(b.out); err != nil {
		return r, err
	}
	r.Errors, err = readText(b.out)
	return r, err
}

func readText(in io.Reader) (string, error) {
	var n [4]byte
	if _, err := io.ReadFull(in, n[:]); err != nil {
		return "", err
	}
	var text bytes.Buffer
	_, err := io.CopyN(&text, in, int64(binary.BigEndian.Uint32(n[:])))
	return text.String(), err
}

func (b *toolbox) start() error {
	cmd, err := OurJava("Tools")
	if err != nil {
		return err
	}
	if b.in, err = cmd.StdinPipe(); err != nil {
		return err
	}
	if b.out, err = cmd.StdoutPipe(); err != nil {
		return err
	}
	cmd.Stderr = os.Stderr
	if err := onStarter(cmd.Start); err != nil {
		return err
	}
	b.cmd = cmd
	atExit(endTools)
	return nil
}

// endTools ends the JVM of Tool, and with it the clients that programs have left open in it.
func endTools() {
	tools.mu.Lock()
	defer tools.mu.Unlock()
	tools.stop()
}

func (b *toolbox) stop() {
	if b.cmd != nil {
		b.in.Close()
		b.cmd.Process.Kill()
		b.cmd.Wait()
		b.cmd = nil
	}
}

// OurJava is a command that runs one of the classes of internal/clients/java/src. It ends with this process.
func OurJava(main string, args ...string) (*exec.Cmd, error) {
	libs, err := Jars()
	if err != nil {
		return nil, err
	}
	classes, err := classesOnce()
	if err != nil {
		return nil, err
	}
	root, err := Root()
	if err != nil {
		return nil, err
	}
	all := append([]string{}, javaFlags...)
	all = append(all, "-Dlog4j2.configurationFile="+filepath.Join(root, "internal/clients/java/log4j2.xml"), "-cp", classes+":"+libs+"/*", main)
	cmd := exec.Command("java", append(all, args...)...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	return cmd, nil
}

var classesOnce = sync.OnceValues(compileClasses)

// compileClasses compiles internal/clients/java/src into build/java, unless these very sources were.
func compileClasses() (string, error) {
	if _, err := exec.LookPath("javac"); err != nil {
		return "", &Missing{"javac", "apt-get install default-jdk-headless"}
	}
	libs, err := Jars()
	if err != nil {
		return "", err
	}
	root, err := Root()
	if err != nil {
		return "", err
	}
	sources, err := filepath.Glob(filepath.Join(root, "internal/clients/java/src/*.java"))
	if err != nil || len(sources) == 0 {
		return "", fmt.Errorf("no sources in internal/clients/java/src: %w", err)
	}
	services, err := filepath.Glob(filepath.Join(root, "internal/clients/java/src/META-INF/services/*"))
	if err != nil {
		return "", err
	}
	sum := sha256.New()
	for _, source := range append(sources, services...) {
		text, err := os.ReadFile(source)
		if err != nil {
			return "", err
		}
		sum.Write(text)
	}
	classes := filepath.Join(root, "build", "java", "classes-"+hex.EncodeToString(sum.Sum(nil)[:6]))
	unlock, err := lockFile(filepath.Join(root, "build", "java", ".lock"))
	if err != nil {
		return "", err
	}
	defer unlock()
	if _, err := os.Stat(classes); err == nil {
		return classes, nil
	}
	part := classes + ".part"
	out, err := exec.Command("javac", append([]string{"-Werror", "-d", part, "-cp", libs + "/*"}, sources...)...).CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("javac: %w\n%s", err, strings.TrimSpace(string(out)))
	}
	// By these files Kafka Connect finds its plug-ins.
	if err := CopyDir(filepath.Join(part, "META-INF"), filepath.Join(root, "internal/clients/java/src/META-INF")); err != nil {
		return "", err
	}
	return classes, os.Rename(part, classes)
}
