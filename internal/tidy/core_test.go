package tidy

import (
	"go/ast"
	"go/token"
	"strings"
	"testing"
)

// coreDirs hold code that runs on a core, or decides for one. What is not
// excused by name may not start goroutines, talk over channels, lock, read a
// clock, touch files or draw from the global random source.
var coreDirs = []string{"reactor", "storage", "internal/broker", "protocol", "internal/metadata", "internal/group", "internal/txn", "internal/regret", "internal/quota"}

// banned names what code on a core may not use of a package; nil is all of it.
var banned = map[string][]string{
	"sync":         nil, // sync/atomic is another package
	"time":         {"Now", "Sleep", "After", "AfterFunc", "Since", "Until", "Tick", "NewTimer", "NewTicker"},
	"os":           nil,
	"io/ioutil":    nil,
	"os/exec":      nil,
	"net":          nil,
	"crypto/rand":  nil,
	"math/rand":    nil,
	"math/rand/v2": nil,
}

// seeded are what may be used of math/rand: a source of one's own.
var seeded = map[string]bool{"New": true, "NewSource": true, "NewPCG": true, "NewChaCha8": true, "Rand": true, "Source": true, "PCG": true, "ChaCha8": true}

func TestCoreCode(t *testing.T) {
	excused := newExcuses(offCore)
	checked := 0
	for _, f := range goFiles(t) {
		if f.test || !onCore(f.dir()) {
			continue
		}
		checked++
		if found := coreViolations(f); len(found) > 0 && !excused.has(f.path) {
			t.Errorf("%s runs on a core, and a core does not:\n\t%s", f.path, strings.Join(found, "\n\t"))
		}
	}
	if checked < 50 {
		t.Fatalf("only %d files of core code found", checked)
	}
	excused.unused(t)
}

func onCore(dir string) bool {
	for _, d := range coreDirs {
		if dir == d {
			return true
		}
	}
	return false
}

func coreViolations(f *goFile) (found []string) {
	imports := f.imports()
	say := func(n ast.Node, what string) {
		found = append(found, f.fset.Position(n.Pos()).String()+": "+what)
	}
	ast.Inspect(f.ast, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.GoStmt:
			say(n, "start goroutines")
		case *ast.ChanType:
			say(n, "have channels")
		case *ast.SelectStmt:
			say(n, "select")
		case *ast.SendStmt:
			say(n, "send to a channel")
		case *ast.UnaryExpr:
			if n.Op == token.ARROW {
				say(n, "receive from a channel")
			}
		case *ast.SelectorExpr:
			if x, ok := n.X.(*ast.Ident); ok && bans(imports[x.Name], n.Sel.Name) {
				say(n, "use "+imports[x.Name]+"."+n.Sel.Name)
			}
		}
		return true
	})
	return found
}

func bans(pkg, name string) bool {
	names, ok := banned[pkg]
	if !ok || strings.HasPrefix(pkg, "math/rand") && seeded[name] {
		return false
	}
	if names == nil {
		return true
	}
	for _, n := range names {
		if n == name {
			return true
		}
	}
	return false
}
