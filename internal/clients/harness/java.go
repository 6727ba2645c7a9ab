package harness

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"time"
)

// Java's heap and compiler flags for short-lived tools: they start in half the time without the second compiler.
var javaFlags = []string{"-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xshare:auto"}

var jarsOnce = sync.OnceValues(fetchJars)

// Jars is the directory with Kafka's jars, fetched by Maven the first time into build/java under the repository.
func Jars() (string, error) { return jarsOnce() }

func fetchJars() (string, error) {
	if _, err := exec.LookPath("java"); err != nil {
		return "", &Missing{"java", "apt-get install openjdk-17-jre-headless"}
	}
	root, err := Root()
	if err != nil {
		return "", err
	}
	pom := filepath.Join(root, "internal/clients/java/pom.xml")
	text, err := os.ReadFile(pom)
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(text)
	base := filepath.Join(root, "build", "java")
	libs := filepath.Join(base, "libs-"+hex.EncodeToString(sum[:6]))
	if err := os.MkdirAll(base, 0o755); err != nil {
		return "", err
	}
	unlock, err := lockFile(filepath.Join(base, ".lock")) // two test processes may want them at once
	if err != nil {
		return "", err
	}
	defer unlock()
	if _, err := os.Stat(libs); err == nil {
		return libs, nil
	}
	if _, err := exec.LookPath("mvn"); err != nil {
		return "", &Missing{"mvn", "apt-get install maven"}
	}
	tmp := libs + ".part"
	os.RemoveAll(tmp)
	cmd := exec.Command("mvn", "-q", "-B", "-f", pom, "dependency:copy-dependencies", "-DincludeScope=runtime", "-DoutputDirectory="+tmp)
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("mvn dependency:copy-dependencies: %w\n%s", err, out)
	}
	return libs, os.Rename(tmp, libs)
}

func lockFile(path string) (unlock func(), err error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX); err != nil {
		f.Close()
		return nil, err
	}
	return func() { f.Close() }, nil
}

// Names of the Java programs the tests run.
const (
	TopicCommand         = "org.apache.kafka.tools.TopicCommand"
	ConsoleProducer      = "org.apache.kafka.tools.ConsoleProducer"
	ConsoleConsumer      = "org.apache.kafka.tools.consumer.ConsoleConsumer"
	ProducerPerformance  = "org.apache.kafka.tools.ProducerPerformance"
	VerifiableProducer   = "org.apache.kafka.tools.VerifiableProducer"
	GetOffsetShell       = "org.apache.kafka.tools.GetOffsetShell"
	DumpLogSegments      = "org.apache.kafka.tools.DumpLogSegments"
	ConfigCommand        = "kafka.admin.ConfigCommand"
	BrokerApiVersions    = "org.apache.kafka.tools.BrokerApiVersionsCommand"
	MetadataQuorum       = "org.apache.kafka.tools.MetadataQuorumCommand"
	StorageTool          = "kafka.tools.StorageTool"
	apacheServer         = "kafka.Kafka"
	javaCommandLineLimit = 10 * time.Minute
)

// Java is a command that runs one of Kafka's programs. MAIN is a class name; stdout and stderr are the caller's to set.
func Java(ctx context.Context, main string, args ...string) (*exec.Cmd, error) {
	libs, err := Jars()
	if err != nil {
		return nil, err
	}
	return javaCommand(ctx, libs, javaFlags, main, args...)
}

func javaCommand(ctx context.Context, libs string, flags []string, main string, args ...string) (*exec.Cmd, error) {
	root, err := Root()
	if err != nil {
		return nil, err
	}
	all := append([]string{}, flags...)
	all = append(all, "-Dlog4j2.configurationFile="+filepath.Join(root, "internal/clients/java/log4j2.xml"),
		"-cp", libs+"/*", main)
	return exec.CommandContext(ctx, "java", append(all, args...)...), nil
}

// RunJava runs one of Kafka's programs to its end and returns what it printed on standard output and on standard error.
// A non-zero exit is an error that carries both.
func RunJava(in io.Reader, main string, args ...string) (stdout, stderr string, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), javaCommandLineLimit)
	defer cancel()
	cmd, err := Java(ctx, main, args...)
	if err != nil {
		return "", "", err
	}
	var out, errs bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = in, &out, &errs
	if err = cmd.Run(); err != nil {
		err = fmt.Errorf("%s %q: %w\n%s%s", main, args, err, out.String(), errs.String())
	}
	return out.String(), errs.String(), err
}
