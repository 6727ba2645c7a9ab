package harness

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// Corpus is real text, as lines, spread over partitions file by file: what the clients carry through the broker.
// A line is a record's value; its newline is not part of it.
type Corpus struct {
	Files      int
	Lines      int
	Bytes      int64 // newlines included
	Longest    int   // bytes of the longest line
	Partitions []Part
}

// Part is one partition's share: its lines, each ended by '\n', and the SHA-256 of exactly those bytes.
type Part struct {
	Data  []byte
	Lines int
	Sum   [sha256.Size]byte
}

// GoSource is every line of every text file of the Go distribution's source tree (a file with a NUL byte is not text).
// maxLines > 0 stops after the file that reaches that many lines.
func GoSource(partitions, maxLines int) (*Corpus, error) {
	out, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		return nil, fmt.Errorf("go env GOROOT: %w", err)
	}
	// The root may be a symbolic link, which WalkDir would not follow.
	root, err := filepath.EvalSymlinks(filepath.Join(strings.TrimSpace(string(out)), "src"))
	if err != nil {
		return nil, err
	}
	return LoadCorpus(root, partitions, maxLines)
}

// LoadCorpus is GoSource over any directory. Files come in lexical order, so equal trees give equal corpora.
func LoadCorpus(root string, partitions, maxLines int) (*Corpus, error) {
	c := &Corpus{Partitions: make([]Part, partitions)}
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		if bytes.IndexByte(text, 0) >= 0 || len(text) == 0 {
			return nil
		}
		c.add(&c.Partitions[c.Files%partitions], text)
		if maxLines > 0 && c.Lines >= maxLines {
			return fs.SkipAll
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	if c.Lines == 0 {
		return nil, fmt.Errorf("no text under %s", root)
	}
	for i := range c.Partitions {
		c.Partitions[i].Sum = sha256.Sum256(c.Partitions[i].Data)
	}
	return c, nil
}

func (c *Corpus) add(p *Part, text []byte) {
	c.Files++
	if text[len(text)-1] != '\n' {
		text = append(text, '\n')
	}
	for rest := text; len(rest) > 0; {
		n := bytes.IndexByte(rest, '\n')
		c.Longest = max(c.Longest, n)
		c.Lines++
		p.Lines++
		rest = rest[n+1:]
	}
	c.Bytes += int64(len(text))
	p.Data = append(p.Data, text...)
}

// Each calls f with every line of the partition in order. The line aliases Data.
func (p *Part) Each(f func(line []byte) error) error {
	for rest := p.Data; len(rest) > 0; {
		n := bytes.IndexByte(rest, '\n')
		if err := f(rest[:n:n]); err != nil {
			return err
		}
		rest = rest[n+1:]
	}
	return nil
}

// MaxMessageBytes is a topic's max.message.bytes (and a producer's limit) that holds any one line of the corpus.
const MaxMessageBytes = 8 << 20
