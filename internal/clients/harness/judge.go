package harness

import (
	"fmt"
	"maps"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// Judge has DumpLogSegments look at files, one mode (a flag such as --deep-iteration) for all of them, and returns what it has to say
// against each: nothing of those that it has no word against. The program stops at a file that it cannot read, and says what it found in those before only
// at its end; so it is run again without such a file.
func Judge(files []string, flags ...string) (map[string][]string, error) {
	verdicts := map[string][]string{}
	files = slices.Clone(files)
	for len(files) > 0 {
		args := append([]string{"--files", strings.Join(files, ",")}, flags...)
		r, err := Tool(nil, DumpLogSegments, args...)
		if err != nil {
			return nil, err
		}
		broke := exception(r)
		if broke == "" && nameless.MatchString(r.Errors) && len(files) > 1 {
			return verdicts, halves(files, flags, verdicts)
		}
		if broke == "" {
			sayings(r, verdicts)
			return verdicts, nil
		}
		at := lastDumped(r.Out)
		if at == "" || !slices.Contains(files, at) {
			return nil, fmt.Errorf("DumpLogSegments %q ends without having begun: %s", args, r.Both())
		}
		verdicts[at] = append(verdicts[at], broke)
		files = slices.DeleteFunc(files, func(f string) bool { return f == at })
	}
	return verdicts, nil
}

// nameless begins what is said of a snapshot of producers, and not of which.
var nameless = regexp.MustCompile(`(?m)^Snapshot (failed|is corrupt)`)

// halves judges files by halves, until who is meant is alone.
func halves(files, flags []string, verdicts map[string][]string) error {
	for _, half := range [][]string{files[:len(files)/2], files[len(files)/2:]} {
		word, err := Judge(half, flags...)
		if err != nil {
			return err
		}
		maps.Copy(verdicts, word)
	}
	return nil
}

// exception is the first line of what ended the program, "" if nothing did.
func exception(r ToolResult) string {
	if r.Status == 0 {
		return ""
	}
	for line := range strings.Lines(r.Errors) {
		if strings.Contains(line, "Exception") || strings.Contains(line, "Error") {
			return strings.TrimSpace(line)
		}
	}
	return fmt.Sprintf("status %d: %.200s", r.Status, r.Both())
}

func lastDumped(out string) string {
	at := strings.LastIndex(out, "Dumping ")
	if at < 0 {
		return ""
	}
	line, _, _ := strings.Cut(out[at+len("Dumping "):], "\n")
	return line
}

var (
	summaryOf    = regexp.MustCompile(`^(Mismatches in :?|Found timestamp mismatch in :?|Found out of order timestamp in :?|The following indexed offsets are not found in :?|Non-consecutive offsets in) ?(.*)$`)
	notFoundIn   = regexp.MustCompile(`^Indexed offset: \d+, found log offset: -?\d+`)
	followedBy   = regexp.MustCompile(`^\s*(-?\d+) is followed by (\d+)$`)
	invalidBytes = regexp.MustCompile(`^Found \d+ invalid bytes at the end of (.*)$`)
)

// sayings sorts what was said by file. That the first offset of a segment follows -1 is said of every segment that does not begin
// at 0; and that offsets are not consecutive, of whatever was compacted: it is returned as "gap", for the caller to judge.
func sayings(r ToolResult, verdicts map[string][]string) {
	file, about := "", ""
	for line := range strings.Lines(r.Out + "\n" + r.Errors) {
		line = strings.TrimRight(line, "\n")
		if f, ok := strings.CutPrefix(line, "Dumping "); ok {
			file = f
			continue
		}
		if m := invalidBytes.FindStringSubmatch(line); m != nil {
			verdicts[file] = append(verdicts[file], line)
			continue
		}
		if m := summaryOf.FindStringSubmatch(line); m != nil {
			about = strings.TrimSpace(m[2])
			if !strings.HasPrefix(line, "Non-consecutive") {
				verdicts[about] = append(verdicts[about], line)
			}
			continue
		}
		if m := followedBy.FindStringSubmatch(line); m != nil {
			if m[1] != "-1" {
				verdicts[about] = append(verdicts[about], "gap: "+strings.TrimSpace(line))
			}
			continue
		}
		if notFoundIn.MatchString(line) && about != "" {
			verdicts[about] = append(verdicts[about], line)
			continue
		}
		said := strings.ReplaceAll(line, filepath.Dir(file), "")
		if strings.Contains(said, "isvalid: false") || nameless.MatchString(said) {
			verdicts[file] = append(verdicts[file], strings.TrimSpace(line))
		}
	}
}
