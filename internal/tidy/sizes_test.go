package tidy

import (
	"go/ast"
	"testing"
)

const (
	functionLines     = 70  // of non-test code
	testFunctionLines = 120 // tables and stories are longer than code
	fileLines         = 700 // of non-test code
)

// TestFunctionLengths is a ratchet: what is longer today is listed with its
// length, which may only shrink. Code that is being shortened is not in the way:
// a listed length is to be lowered only once ten lines are gone.
func TestFunctionLengths(t *testing.T) {
	seen := map[string]bool{}
	for _, f := range goFiles(t) {
		for _, d := range f.ast.Decls {
			fn, ok := d.(*ast.FuncDecl)
			if !ok || fn.Body == nil {
				continue
			}
			limit := functionLines
			if f.test {
				limit = testFunctionLines
			}
			key := f.path + " " + funcName(fn)
			lines := f.fset.Position(fn.End()).Line - f.line(fn) + 1
			listed, isListed := longFunctions[key]
			seen[key] = true
			switch {
			case isListed && lines <= limit:
				t.Errorf("%s has %d lines now, and no longer needs its exception: remove it", key, lines)
			case isListed && lines > listed:
				t.Errorf("%s has grown from %d to %d lines; it may only shrink", key, listed, lines)
			case isListed && lines < listed-10:
				t.Errorf("%s has %d lines now: lower its exception from %d", key, lines, listed)
			case !isListed && lines > limit:
				t.Errorf("%s:%d: %s has %d lines, more than %d: a function does one thing", f.path, f.line(fn), funcName(fn), lines, limit)
			}
		}
	}
	for key := range longFunctions {
		if !seen[key] {
			t.Errorf("longFunctions names %s, which is gone: remove it", key)
		}
	}
}

// funcName is a function's name, a method's with its type.
func funcName(fn *ast.FuncDecl) string {
	if fn.Recv == nil || len(fn.Recv.List) == 0 {
		return fn.Name.Name
	}
	return receiver(fn.Recv.List[0].Type) + "." + fn.Name.Name
}

// receiver is the name of a receiver's type.
func receiver(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.StarExpr:
		return receiver(e.X)
	case *ast.IndexExpr:
		return receiver(e.X)
	case *ast.IndexListExpr:
		return receiver(e.X)
	case *ast.Ident:
		return e.Name
	}
	return "?"
}

func TestFileLengths(t *testing.T) {
	for _, f := range goFiles(t) {
		if !f.test && f.lines > fileLines {
			t.Errorf("%s has %d lines, more than %d: one idea a file", f.path, f.lines, fileLines)
		}
	}
}
