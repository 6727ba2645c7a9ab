package harness

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// startApache formats the directory when it is new and runs Apache Kafka's own broker from the jars.
func startApache(o Options) (*Broker, error) {
	libs, err := Jars()
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(o.DataDir, 0o755); err != nil {
		return nil, err
	}
	port, err := apachePort(o.Listen)
	if err != nil {
		return nil, err
	}
	if o.controllerPort == 0 {
		if o.controllerPort, err = FreePort(); err != nil {
			return nil, err
		}
	}
	conf, err := apacheProperties(o, port, o.controllerPort)
	if err != nil {
		return nil, err
	}
	if _, err := os.Stat(filepath.Join(o.DataDir, "meta.properties")); os.IsNotExist(err) {
		if _, _, err := RunJava(nil, StorageTool, "format", "--standalone", "-t", "c2xpcHN0cmVhbS1jbHVzdA", "-c", conf); err != nil {
			return nil, err
		}
	}
	if o.Ready == 0 {
		o.Ready = 90 * time.Second
	}
	b := &Broker{Kind: Apache, DataDir: o.DataDir, Opts: o, log: &tailBuffer{}, Addr: net.JoinHostPort("127.0.0.1", strconv.Itoa(port))}
	cmd, err := javaCommand(context.Background(), libs, []string{"-Xms256m", "-Xmx1g", "-XX:+UseSerialGC"}, apacheServer, conf)
	if err != nil {
		return nil, err
	}
	if err := b.run(cmd); err != nil {
		return nil, err
	}
	return b, b.awaitDial(o.Ready)
}

func apachePort(listen string) (int, error) {
	if listen == "" {
		return FreePort()
	}
	_, p, err := net.SplitHostPort(listen)
	if err != nil {
		return 0, err
	}
	if n, err := strconv.Atoi(p); err != nil || n != 0 {
		return n, err
	}
	return FreePort()
}

// apacheProperties writes a server.properties beside the data directory and returns its path.
func apacheProperties(o Options, port, cport int) (string, error) {
	root, err := Root()
	if err != nil {
		return "", err
	}
	text, err := os.ReadFile(filepath.Join(root, "internal/clients/java/server.properties"))
	if err != nil {
		return "", err
	}
	filled := strings.NewReplacer("${DATA}", o.DataDir, "${PORT}", strconv.Itoa(port), "${CONTROLLER_PORT}", strconv.Itoa(cport)).Replace(string(text))
	if len(o.MoreDirs) > 0 {
		filled += "log.dirs=" + strings.Join(append([]string{o.DataDir}, o.MoreDirs...), ",") + "\n"
	}
	for _, s := range o.Set {
		name, value, ok := strings.Cut(s, "=")
		if !ok {
			return "", fmt.Errorf("setting %q: want name=value", s)
		}
		filled += name + "=" + value + "\n"
	}
	path := strings.TrimRight(o.DataDir, "/") + ".server.properties"
	return path, os.WriteFile(path, []byte(filled), 0o644)
}
