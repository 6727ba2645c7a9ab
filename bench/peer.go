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

// startKafka runs Apache Kafka on a fresh directory. Its jars come from Maven
// Central, through the test clients' pom.
func (r *run) startKafka() (*server, error) {
	libs, err := harness.Jars()
	if err != nil {
		return nil, fmt.Errorf("fetching Apache Kafka: %w", err)
	}
	dir, err := os.MkdirTemp(r.dir, "kafka")
	if err != nil {
		return nil, err
	}
	port, controller := freePort(), freePort()
	text := strings.NewReplacer("@DATA@", dir+"/data", "@PORT@", fmt.Sprint(port), "@CPORT@", fmt.Sprint(controller)).Replace(kafkaProperties)
	config := filepath.Join(dir, "server.properties")
	if err := os.WriteFile(config, []byte(text), 0o644); err != nil {
		return nil, err
	}
	id, err := exec.Command("java", "-cp", libs+"/*", "kafka.tools.StorageTool", "random-uuid").Output()
	if err != nil {
		return nil, fmt.Errorf("java is needed for Apache Kafka: %w", err)
	}
	words := strings.Fields(string(id))
	if out, err := exec.Command("java", "-cp", libs+"/*", "kafka.tools.StorageTool", "format", "--standalone",
		"-t", words[len(words)-1], "-c", config).CombinedOutput(); err != nil {
		return nil, fmt.Errorf("format: %w\n%s", err, out)
	}
	cmd := exec.Command("java", "-Xms1g", "-Xmx1g", "-server", "-XX:+UseG1GC", "-XX:MaxGCPauseMillis=20",
		"-XX:InitiatingHeapOccupancyPercent=35", "-cp", libs+"/*", "kafka.Kafka", config)
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	s := &server{name: "kafka", cmd: cmd, port: port, dir: dir + "/data"}
	for range 300 {
		if c, err := net.Dial("tcp", s.address()); err == nil {
			c.Close()
			time.Sleep(2 * time.Second)
			return s, nil
		}
		time.Sleep(100 * time.Millisecond)
	}
	s.stop()
	return nil, fmt.Errorf("Apache Kafka did not listen within 30 s")
}

func freePort() int {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		return 0
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}
