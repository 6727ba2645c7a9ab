package harness

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sort"
	"strconv"
	"strings"
	"time"
)

// Dump is what Kafka's DumpLogSegments found in a stopped broker's data directory.
type Dump struct {
	Partitions map[string]*DumpedPartition // by directory name
	Complaints []string                    // every line that is not plain data; empty is what is wanted
}

// DumpedPartition sums a partition directory's segments.
type DumpedPartition struct {
	Segments    int
	FirstOffset int64
	NextOffset  int64
	Batches     int
	Records     int // counted one by one inside the batches
	Codecs      map[string]int
	IndexFiles  int // offset and time indexes that passed
}

// Lines of DumpLogSegments that say something is wrong. Its exit status stays 0 for these.
var complaints = []string{"isvalid: false", "Mismatches in", "mismatch", "not found in the log", "out of order", "invalid bytes",
	"Exception", "Corrupt", "Could not", "should not contain"}

// DumpDir runs DumpLogSegments --deep-iteration over every .log, .index and .timeindex of the data directory, and
// --index-sanity-check over the indexes. The broker must have stopped.
func DumpDir(dataDir string) (*Dump, error) {
	d := &Dump{Partitions: map[string]*DumpedPartition{}}
	files, err := segmentFiles(dataDir)
	if err != nil {
		return nil, err
	}
	var logs, indexes []string
	for _, f := range files {
		if strings.HasSuffix(f, ".log") {
			logs = append(logs, f)
		} else {
			indexes = append(indexes, f)
		}
	}
	if err := d.run(append(logs, indexes...), "--deep-iteration"); err != nil {
		return nil, err
	}
	return d, d.run(indexes, "--index-sanity-check")
}

// segmentFiles lists data and indexes of topic partitions. The metadata log is left to DumpMetadata. A time index of
// zero bytes beside an empty log is what Kafka leaves too, and DumpLogSegments cannot read an index of an empty log at
// all (it takes the first batch without looking whether there is one), so those are left out.
func segmentFiles(dataDir string) ([]string, error) {
	logs, err := filepath.Glob(filepath.Join(dataDir, "*-*", "*.log"))
	if err != nil {
		return nil, err
	}
	sort.Strings(logs)
	var files []string
	for _, log := range logs {
		if strings.HasPrefix(filepath.Base(filepath.Dir(log)), "__cluster_metadata") {
			continue
		}
		files = append(files, log)
		base := strings.TrimSuffix(log, ".log")
		for _, ext := range []string{".index", ".timeindex"} {
			info, err := os.Stat(base + ext)
			if err != nil {
				return nil, fmt.Errorf("a segment without its index: %w", err)
			}
			if info.Size() > 0 {
				files = append(files, base+ext)
			}
		}
	}
	return files, nil
}

// run gives the files to DumpLogSegments, some hundred at a time, and reads what it prints.
func (d *Dump) run(files []string, flag string) error {
	for len(files) > 0 {
		n := min(len(files), 300)
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
		cmd, err := Java(ctx, DumpLogSegments, flag, "--files", strings.Join(files[:n], ","))
		if err != nil {
			cancel()
			return err
		}
		var errs bytes.Buffer
		cmd.Stderr = &errs
		out, err := cmd.StdoutPipe()
		if err == nil {
			err = cmd.Start()
		}
		if err != nil {
			cancel()
			return err
		}
		readErr := d.read(out, flag == "--index-sanity-check")
		err = cmd.Wait()
		cancel()
		d.Complaints = append(d.Complaints, realComplaints(errs.String())...)
		if err != nil {
			d.Complaints = append(d.Complaints, fmt.Sprintf("DumpLogSegments %s: %v", flag, err))
		}
		if readErr != nil {
			return readErr
		}
		files = files[n:]
	}
	return nil
}

// realComplaints leaves out the one thing the tool says of every sound segment that does not start at offset 0: it
// begins counting at -1, and calls the segment's own first offset non-consecutive.
func realComplaints(stderr string) []string {
	var out []string
	lines := strings.Split(strings.TrimRight(stderr, "\n"), "\n")
	for i := 0; i < len(lines); i++ {
		path, ok := strings.CutPrefix(lines[i], "Non-consecutive offsets in ")
		if ok && i+1 < len(lines) {
			base, err := strconv.ParseInt(strings.TrimSuffix(filepath.Base(path), ".log"), 10, 64)
			if err == nil && strings.TrimSpace(lines[i+1]) == fmt.Sprintf("-1 is followed by %d", base) {
				i++
				continue
			}
		}
		if strings.TrimSpace(lines[i]) != "" {
			out = append(out, lines[i])
		}
	}
	return out
}

func (d *Dump) read(out io.Reader, sanity bool) error {
	in := bufio.NewScanner(out)
	in.Buffer(make([]byte, 64<<10), 64<<20)
	var p *DumpedPartition
	var file string
	for in.Scan() {
		line := in.Text()
		switch {
		case strings.HasPrefix(line, "Dumping "):
			file = strings.TrimPrefix(line, "Dumping ")
			p = d.partition(file, sanity)
			continue
		case strings.HasPrefix(line, "| offset: "):
			p.Records++
		case strings.HasPrefix(line, "baseOffset: "):
			if text := p.batch(line); text != "" {
				d.Complaints = append(d.Complaints, file+": "+text)
			}
		}
		said := strings.ReplaceAll(line, filepath.Dir(file), "") // the path may hold any word
		for _, c := range complaints {
			// A record's payload is printed only with a decoder, so a match is the tool's own word.
			if strings.Contains(said, c) {
				d.Complaints = append(d.Complaints, file+": "+line)
				break
			}
		}
	}
	return in.Err()
}

func (d *Dump) partition(file string, sanity bool) *DumpedPartition {
	name := filepath.Base(filepath.Dir(file))
	p := d.Partitions[name]
	if p == nil {
		p = &DumpedPartition{FirstOffset: -1, Codecs: map[string]int{}}
		d.Partitions[name] = p
	}
	switch {
	case strings.HasSuffix(file, ".log"):
		p.Segments++
	case sanity:
		p.IndexFiles++
	}
	return p
}

// batch takes a batch's line in and says what is wrong with its offsets.
func (p *DumpedPartition) batch(line string) (wrong string) {
	base, last, count := field(line, "baseOffset: "), field(line, "lastOffset: "), field(line, " count: ")
	p.Batches++
	if i := strings.Index(line, "compresscodec: "); i >= 0 {
		p.Codecs[strings.Fields(line[i:])[1]]++
	}
	if p.FirstOffset < 0 {
		p.FirstOffset, p.NextOffset = base, base
	}
	if base != p.NextOffset || last-base+1 != count {
		wrong = fmt.Sprintf("batch of %d records at offsets %d to %d where offset %d was due", count, base, last, p.NextOffset)
	}
	p.NextOffset = last + 1
	return wrong
}

func field(line, name string) int64 {
	i := strings.Index(line, name)
	if i < 0 {
		return -1
	}
	word, _, _ := strings.Cut(line[i+len(name):], " ")
	n, err := strconv.ParseInt(word, 10, 64)
	if err != nil {
		return -1
	}
	return n
}

// DumpMetadata runs DumpLogSegments --cluster-metadata-decoder over the metadata log and returns what it printed and
// which of its lines are complaints.
func DumpMetadata(dataDir string) (text string, wrong []string, err error) {
	logs, err := filepath.Glob(filepath.Join(dataDir, "__cluster_metadata-0", "*.log"))
	if err != nil {
		return "", nil, err
	}
	if len(logs) == 0 {
		return "", nil, fmt.Errorf("no metadata log in %s", dataDir)
	}
	sort.Strings(logs)
	snapshots, _ := filepath.Glob(filepath.Join(dataDir, "__cluster_metadata-0", "*.checkpoint"))
	out, errs, err := RunJava(nil, DumpLogSegments, "--cluster-metadata-decoder", "--files", strings.Join(append(logs, snapshots...), ","))
	if err != nil {
		return out, nil, err
	}
	for _, line := range strings.Split(out, "\n") {
		for _, c := range append([]string{"Error at", "skipping"}, complaints...) {
			if strings.Contains(line, c) {
				wrong = append(wrong, line)
				break
			}
		}
	}
	return out, append(wrong, realComplaints(errs)...), nil
}
