package tidy

import (
	"slices"
	"strconv"
	"strings"
	"testing"
)

// rule is what the non-test files of a directory may import beside the standard
// library: packages of ours (a trailing slash: and all below), and others'.
type rule struct {
	dir    string
	ours   []string
	others []string
}

// rules are "Layout and import rules" of ARCHITECTURE.md. A directory that none
// names may not exist.
var rules = []rule{
	{"ring", nil, []string{"golang.org/x/sys/unix", "github.com/pawelgaczynski/giouring"}},
	{"reactor", []string{"ring"}, []string{"golang.org/x/sys/unix"}},
	{"protocol", nil, []string{"github.com/klauspost/compress/", "github.com/pierrec/lz4/v4"}},
	{"storage", []string{"ring", "reactor", "protocol"}, []string{"golang.org/x/sys/unix"}},
	{"internal/metadata", []string{"protocol"}, []string{"github.com/twmb/franz-go/pkg/kmsg"}},
	{"internal/txn", []string{"protocol"}, []string{"github.com/twmb/franz-go/pkg/kmsg"}},
	{"internal/group", []string{"protocol"}, []string{"github.com/twmb/franz-go/pkg/kmsg"}},
	{"internal/share", []string{"protocol"}, nil},
	{"internal/config", nil, nil},
	{"internal/regret", nil, nil},
	{"internal/logtool", []string{"ring", "protocol", "storage", "internal/metadata", "internal/group", "internal/txn", "internal/share"}, nil},
	{"internal/quota", nil, nil},
	{"internal/guarantees", nil, nil},
	{"internal/script", nil, nil},
	{"internal/vmstat", nil, nil},
	{"internal/broker", []string{"ring", "reactor", "protocol", "storage", "internal/metadata", "internal/config", "internal/regret", "internal/quota", "internal/group", "internal/share", "internal/txn"},
		[]string{"github.com/twmb/franz-go/pkg/kmsg", "github.com/valyala/bytebufferpool", "golang.org/x/sys/unix"}},
	{"ebpf", []string{"ring", "reactor"}, []string{"github.com/cilium/ebpf", "github.com/cilium/ebpf/", "golang.org/x/sys/unix"}},
	{"internal/metrics", []string{"reactor", "protocol", "storage", "ebpf", "internal/broker", "internal/metadata", "internal/quota", "internal/vmstat"},
		[]string{"github.com/prometheus/", "golang.org/x/sys/unix"}},
	{"internal/sim", []string{"ring"}, []string{"golang.org/x/sys/unix"}},
	{"internal/simtest", []string{"ring", "reactor", "protocol", "storage", "internal/"}, []string{"github.com/twmb/franz-go/"}},
	{"internal/clients", []string{"internal/clients/"}, []string{"github.com/twmb/franz-go/", "github.com/klauspost/compress/", "github.com/pierrec/lz4/v4"}},
	{"internal/kernels", []string{"internal/clients/"}, []string{"github.com/twmb/franz-go/", "golang.org/x/sys/unix"}},
	{"internal/tidy", nil, nil},
	{"cmd/slipstream", []string{"ring", "reactor", "ebpf", "internal/broker", "internal/config", "internal/logtool", "internal/metrics"},
		[]string{"github.com/spf13/cobra", "github.com/twmb/franz-go/", "golang.org/x/sys/unix"}},
	{"bench", []string{"protocol", "ring", "internal/clients/"}, []string{"github.com/HdrHistogram/", "github.com/twmb/franz-go/", "golang.org/x/sys/unix"}},
}

func ruleOf(dir string) *rule {
	for i := range rules {
		if dir == rules[i].dir || strings.HasPrefix(dir, rules[i].dir+"/") {
			return &rules[i]
		}
	}
	return nil
}

// permits says whether path is in list, or below an entry that ends in a slash.
func permits(list []string, path string) bool {
	return slices.ContainsFunc(list, func(e string) bool {
		return path == e || strings.HasSuffix(e, "/") && strings.HasPrefix(path, e)
	})
}

func TestImports(t *testing.T) {
	excused := newExcuses(importExceptions)
	for _, f := range goFiles(t) {
		if f.test {
			continue
		}
		r := ruleOf(f.dir())
		if r == nil {
			t.Errorf("%s: no import rule names the directory %s: add it to ARCHITECTURE.md and to rules", f.path, f.dir())
			continue
		}
		for _, s := range f.ast.Imports {
			imported, _ := strconv.Unquote(s.Path.Value)
			first, rest, _ := strings.Cut(imported, "/")
			ok := !strings.Contains(first, ".")
			if first == module {
				ok = rest == r.dir || strings.HasPrefix(rest, r.dir+"/") || permits(r.ours, rest)
			} else if !ok {
				ok = permits(r.others, imported)
			}
			if !ok && !excused.has(f.path+" "+imported) {
				t.Errorf("%s:%d: %s may not import %s", f.path, f.line(s), r.dir, imported)
			}
		}
	}
	excused.unused(t)
}
