package harness

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"time"
)

// kcat drops empty lines of its input. Every line therefore gets an empty key before this delimiter, which makes an
// empty line a record with an empty value, and is not part of the record.
const kcatKeyDelimiter = '\x01'

// Kcat is a kcat command, or a Missing error.
func Kcat(args ...string) (*exec.Cmd, error) {
	path, err := exec.LookPath("kcat")
	if err != nil {
		return nil, &Missing{"kcat", "apt-get install kcat"}
	}
	return exec.Command(path, args...), nil
}

// KcatInput writes each partition of the corpus as a file that KcatProduce takes.
func KcatInput(dir string, c *Corpus) ([]string, error) {
	var paths []string
	for i := range c.Partitions {
		path := filepath.Join(dir, fmt.Sprintf("partition-%d", i))
		f, err := os.Create(path)
		if err != nil {
			return nil, err
		}
		w := bufio.NewWriterSize(f, 1<<20)
		err = c.Partitions[i].Each(func(line []byte) error {
			w.WriteByte(kcatKeyDelimiter)
			w.Write(line)
			return w.WriteByte('\n')
		})
		if err == nil {
			err = w.Flush()
		}
		if err2 := f.Close(); err == nil {
			err = err2
		}
		if err != nil {
			return nil, err
		}
		paths = append(paths, path)
	}
	return paths, nil
}

// KcatProduce sends the lines of a KcatInput file to one partition. Extra arguments go to kcat.
func KcatProduce(addr, topic string, partition int, codec, path string, extra ...string) error {
	args := append([]string{"-P", "-b", addr, "-t", topic, "-p", strconv.Itoa(partition), "-z", codec,
		"-K", string(kcatKeyDelimiter), "-X", "message.max.bytes=" + strconv.Itoa(MaxMessageBytes)}, extra...)
	cmd, err := Kcat(append(args, "-l", path)...)
	if err != nil {
		return err
	}
	out, err := runFor(cmd, 5*time.Minute)
	if err != nil {
		return fmt.Errorf("kcat producing to %s-%d: %w\n%s", topic, partition, err, out)
	}
	if len(bytes.TrimSpace(out)) > 0 {
		return fmt.Errorf("kcat producing to %s-%d complained:\n%s", topic, partition, out)
	}
	return nil
}

// KcatConsume reads one partition from the beginning to its end and hashes the values, each followed by '\n'.
func KcatConsume(addr, topic string, partition int, extra ...string) (sum [sha256.Size]byte, lines int, err error) {
	args := append([]string{"-C", "-b", addr, "-t", topic, "-p", strconv.Itoa(partition), "-o", "beginning", "-e", "-q"}, extra...)
	cmd, err := Kcat(args...)
	if err != nil {
		return sum, 0, err
	}
	return HashOutput(cmd, 5*time.Minute)
}

// HashOutput runs the command and hashes its standard output, counting newlines.
func HashOutput(cmd *exec.Cmd, limit time.Duration) (sum [sha256.Size]byte, lines int, err error) {
	var errs bytes.Buffer
	cmd.Stderr = &errs
	out, err := cmd.StdoutPipe()
	if err != nil {
		return sum, 0, err
	}
	if err := cmd.Start(); err != nil {
		return sum, 0, err
	}
	timer := time.AfterFunc(limit, func() { cmd.Process.Kill() })
	h := sha256.New()
	buf := make([]byte, 256<<10)
	for {
		n, err := out.Read(buf)
		h.Write(buf[:n])
		lines += bytes.Count(buf[:n], []byte{'\n'})
		if err == io.EOF {
			break
		}
		if err != nil {
			cmd.Process.Kill()
			break
		}
	}
	err = cmd.Wait()
	if !timer.Stop() {
		err = fmt.Errorf("still running after %v", limit)
	}
	if err != nil {
		err = fmt.Errorf("%s: %w\n%s", filepath.Base(cmd.Path), err, errs.String())
	}
	h.Sum(sum[:0])
	return sum, lines, err
}

// runFor runs the command and returns its standard error, killing it when it takes longer than limit.
func runFor(cmd *exec.Cmd, limit time.Duration) ([]byte, error) {
	var errs bytes.Buffer
	cmd.Stderr = &errs
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	timer := time.AfterFunc(limit, func() { cmd.Process.Kill() })
	err := cmd.Wait()
	if !timer.Stop() {
		err = fmt.Errorf("still running after %v", limit)
	}
	return errs.Bytes(), err
}
