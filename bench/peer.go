package main

import (
	_ "embed"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"slipstream/internal/clients/harness"
)

// Apache Kafka as the peer: one node, broker and controller in one process, the
// heap and collector settings of its own start script.

//go:embed kafka.properties
var kafkaProperties string

// sharedKafka is the one Apache Kafka that most scenarios measure. It runs from
// the first to the last of them, so that its compilers have done their work.
func (r *run) sharedKafka() (*server, error) {
	if r.kafka == nil {
		s, err := r.startKafka(filepath.Join(r.dir, "kafka"), nil)
		if err != nil {
			return nil, err
		}
		r.kafka = s
	}
	r.kafka.resume()
	return r.kafka, nil
}

// startKafka runs Apache Kafka on a fresh directory, in a memory cgroup if there is
// one, with further lines of its properties file. Its jars come from Maven Central,
// through the test clients' pom.
func (r *run) startKafka(dir string, group *memoryCgroup, lines ...string) (*server, error) {
	libs, err := harness.Jars()
	if err != nil {
		return nil, fmt.Errorf("fetching Apache Kafka: %w", err)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	config, port, err := kafkaConfig(dir, lines)
	if err != nil {
		return nil, err
	}
	format := exec.Command("java", "-cp", libs+"/*", "kafka.tools.StorageTool", "format", "--standalone", "-t", "c2xpcHN0cmVhbS1jbHVzdA", "-c", config)
	if out, err := format.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("formatting Apache Kafka's directory (java is needed): %w\n%s", err, out)
	}
	return r.runKafka(dir, config, port, group)
}

// runKafka runs Apache Kafka on a directory that is formatted, until it listens.
func (r *run) runKafka(dir, config string, port int, group *memoryCgroup) (*server, error) {
	libs, err := harness.Jars()
	if err != nil {
		return nil, err
	}
	cmd := exec.Command("java", "-Xms1g", "-Xmx1g", "-server", "-XX:+UseG1GC", "-XX:MaxGCPauseMillis=20",
		"-XX:InitiatingHeapOccupancyPercent=35", "-cp", libs+"/*", "kafka.Kafka", config)
	cmd.SysProcAttr = deathSignal
	s := &server{cmd: cmd, port: port, dir: filepath.Join(dir, "data"), said: &tail{}}
	cmd.Stderr = s.said
	begun := time.Now()
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	r.killAtEnd(s)
	if err := group.add(cmd.Process.Pid); err != nil {
		s.stop()
		return nil, err
	}
	for time.Since(begun) < time.Minute {
		if c, err := net.Dial("tcp", s.address()); err == nil {
			c.Close()
			s.ready = time.Since(begun)
			return s, nil
		}
		time.Sleep(20 * time.Millisecond)
	}
	s.stop()
	return nil, fmt.Errorf("Apache Kafka did not listen within a minute: %s", s.said)
}

func kafkaConfig(dir string, lines []string) (config string, port int, err error) {
	port, err = harness.FreePort()
	if err != nil {
		return "", 0, err
	}
	controller, err := harness.FreePort()
	if err != nil {
		return "", 0, err
	}
	text := strings.NewReplacer("@DATA@", filepath.Join(dir, "data"), "@PORT@", itoa(port), "@CPORT@", itoa(controller)).Replace(kafkaProperties)
	text += strings.Join(lines, "\n") + "\n"
	config = filepath.Join(dir, "server.properties")
	return config, port, os.WriteFile(config, []byte(text), 0o644)
}

// kafkaVersion is in the name of its main jar.
func kafkaVersion() string {
	libs, err := harness.Jars()
	if err != nil {
		return "unknown"
	}
	jars, _ := filepath.Glob(filepath.Join(libs, "kafka_2.13-*.jar"))
	for _, jar := range jars {
		return strings.TrimSuffix(strings.TrimPrefix(filepath.Base(jar), "kafka_2.13-"), ".jar")
	}
	return "unknown"
}
