package main

import (
	"errors"
	"fmt"
	"log/slog"
	"strings"

	"slipstream/ebpf"
	"slipstream/internal/broker"
)

// pageCache is what sees the page cache for this broker, if anything does.
type pageCache struct {
	attribution *ebpf.Attribution // nil: nothing
	line        string            // for the screen
	refused     error             // why there are figures missing
}

// figures are what there is none of without BPF. Residency is known all the same.
const figures = "hits, demand misses, readahead, inserts and evictions by partition and client"

// observePageCache attaches the programs as slipstream.ebpf says (auto, on or off)
// and gives the cores their observers. With auto, a refusal is told and no error.
func observePageCache(mode string, s *broker.Settings, log *slog.Logger) (*pageCache, error) {
	p := &pageCache{line: "off (slipstream.ebpf)"}
	if mode == "off" {
		return p, nil
	}
	a, err := ebpf.New(s.Cores, ebpf.Options{})
	missing, partly := []string{figures}, err
	if err == nil {
		missing, partly = a.Missing()
	}
	if partly != nil && mode == "on" {
		if a != nil {
			a.Close()
		}
		return nil, fmt.Errorf("slipstream.ebpf is on, and there would be no %s: %w%s", strings.Join(missing, ", "), partly, granting(partly))
	}
	if err == nil {
		p.attribution = a
		p.line = "page cache attribution on (" + a.Mode() + ")"
		s.Observers = a.Observer
	}
	if p.refused = partly; partly != nil {
		p.line = fmt.Sprintf("no %s: %v%s", strings.Join(missing, ", "), partly, granting(partly))
		log.Warn("the page cache is not seen in full", "missing", strings.Join(missing, ", "), "because", partly, "grant", grant(partly))
	}
	return p, nil
}

// grant is the command that gives what is missing, or "".
func grant(err error) string {
	var r *ebpf.Refusal
	if errors.As(err, &r) {
		return r.Grant
	}
	return ""
}

func granting(err error) string {
	if command := grant(err); command != "" {
		return "; grant it with: " + command
	}
	return ""
}

// close takes the programs away; the cores must have ended.
func (p *pageCache) close() {
	if p.attribution != nil {
		p.attribution.Close()
	}
}
