package tidy

import (
	"go/ast"
	"go/token"
	"strings"
	"testing"
)

// selfEvident are methods whose meaning their standard interface gives.
var selfEvident = map[string]bool{"String": true, "Error": true, "Unwrap": true, "Len": true, "Less": true, "Swap": true}

// documentedDirs hold the packages whose exported names carry a comment.
var documentedDirs = []string{"ring", "reactor", "storage", "protocol", "internal/"}

func TestExportedNamesAreDocumented(t *testing.T) {
	excused := newExcuses(undocumented)
	for _, f := range goFiles(t) {
		if f.test || f.ast.Name.Name == "main" || !(permits(documentedDirs, f.dir())) {
			continue
		}
		for _, d := range f.ast.Decls {
			for _, name := range bareNames(d) {
				if !excused.has(f.path + " " + name) {
					t.Errorf("%s:%d: %s is exported and has no comment", f.path, f.line(d), name)
				}
			}
		}
	}
	excused.unused(t)
}

// bareNames are the exported names that a declaration makes without a comment.
func bareNames(d ast.Decl) (names []string) {
	switch d := d.(type) {
	case *ast.FuncDecl:
		public := d.Name.IsExported() && (d.Recv == nil || ast.IsExported(receiver(d.Recv.List[0].Type)))
		if public && d.Doc == nil && !(d.Recv != nil && selfEvident[d.Name.Name]) {
			names = append(names, funcName(d))
		}
	case *ast.GenDecl:
		if d.Tok == token.IMPORT || d.Doc != nil && d.Tok != token.TYPE {
			return nil // a group's comment speaks for its members
		}
		for _, s := range d.Specs {
			names = append(names, bareSpec(s, d)...)
		}
	}
	return names
}

func bareSpec(s ast.Spec, d *ast.GenDecl) (names []string) {
	switch s := s.(type) {
	case *ast.TypeSpec:
		if s.Name.IsExported() && s.Doc == nil && s.Comment == nil && (d.Doc == nil || d.Lparen.IsValid()) {
			names = append(names, s.Name.Name)
		}
	case *ast.ValueSpec:
		for _, n := range s.Names {
			if n.IsExported() && s.Doc == nil && s.Comment == nil {
				names = append(names, n.Name)
			}
		}
	}
	return names
}

// TestPackagesAreDocumented: some file of each package says what it is for.
func TestPackagesAreDocumented(t *testing.T) {
	has := map[string]bool{}
	for _, f := range goFiles(t) {
		if !f.test || strings.HasSuffix(f.ast.Name.Name, "_test") {
			has[f.dir()] = has[f.dir()] || f.ast.Doc != nil
		}
	}
	for dir, ok := range has {
		if !ok {
			t.Errorf("no file of %s has a package comment", dir)
		}
	}
}
