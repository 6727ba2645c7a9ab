package ebpf

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestObjectsAreCurrent: what is committed is what the sources compile to. The same
// compiler must give the same bytes; another must give the same declarations, and
// then the sum says whether the sources have changed.
func TestObjectsAreCurrent(t *testing.T) {
	var sources []byte
	for _, name := range []string{"pagecache.c", "kernel.h", "gen.go"} {
		sources = append(sources, readFile(t, name)...)
	}
	if want := fmt.Sprintf("%x  -\n", sha256.Sum256(sources)); string(readFile(t, "pagecache.sum")) != want {
		t.Error("pagecache.c, kernel.h or gen.go has changed since the objects were made: go generate ./ebpf")
	}
	line := regexp.MustCompile(`(?m)^//go:generate go tool (.*)$`).FindStringSubmatch(string(readFile(t, "gen.go")))
	if line == nil {
		t.Fatal("gen.go does not say how the objects are made")
	}
	command, same := line[1], true
	if _, err := exec.LookPath("clang-14"); err != nil {
		if _, err := exec.LookPath("clang"); err != nil {
			if os.Getenv("CI") == "true" || os.Getenv("SLIPSTREAM_REQUIRE_TOOLS") == "1" {
				t.Fatal("no clang (apt-get install clang-14 llvm-14)")
			}
			t.Skip("no clang (apt-get install clang-14 llvm-14)")
		}
		command = strings.Replace(strings.Replace(command, "clang-14", "clang", 1), "llvm-strip-14", "llvm-strip", 1)
		same = false
	}
	dir := t.TempDir()
	cmd := exec.Command("sh", "-c", "go tool "+strings.Replace(command, "bpf2go ", "bpf2go -output-dir "+dir+" ", 1))
	cmd.Env = append(os.Environ(), "GOPACKAGE=ebpf")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if !same {
		t.Log("this compiler is not the one that the objects are made with: only declarations are compared")
	}
	for _, name := range []string{"pagecache_bpfel.go", "pagecache_bpfel.o"} {
		if strings.HasSuffix(name, ".o") && !same {
			continue
		}
		if !bytes.Equal(readFile(t, name), readFile(t, filepath.Join(dir, name))) {
			t.Errorf("%s is not what the sources compile to: go generate ./ebpf", name)
		}
	}
}

func readFile(t *testing.T, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return b
}
