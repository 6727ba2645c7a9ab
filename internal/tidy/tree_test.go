package tidy

import (
	"bytes"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// goFile is one tracked Go file of the project, parsed.
type goFile struct {
	path  string // from the root, with slashes
	test  bool
	lines int
	fset  *token.FileSet
	ast   *ast.File
}

func (f *goFile) dir() string { return path.Dir(f.path) }

func (f *goFile) line(n ast.Node) int { return f.fset.Position(n.Pos()).Line }

// imports gives the path behind each name that the file's imports declare. A
// package whose last element is a version is known by the one before.
func (f *goFile) imports() map[string]string {
	names := map[string]string{}
	for _, s := range f.ast.Imports {
		p, _ := strconv.Unquote(s.Path.Value)
		name := path.Base(p)
		if len(name) > 1 && name[0] == 'v' && strings.Trim(name[1:], "0123456789") == "" {
			name = path.Base(path.Dir(p))
		}
		if s.Name != nil {
			name = s.Name.Name
		}
		names[name] = p
	}
	return names
}

const module = "slipstream"

var root = filepath.Join("..", "..")

// tracked lists the project's files: what git tracks and is there, or, without
// git, what lies in the tree outside of what .gitignore names.
var tracked = sync.OnceValues(func() (files []string, err error) {
	out, err := exec.Command("git", "-C", root, "ls-files", "-z").Output()
	if err != nil {
		return walked()
	}
	for _, name := range strings.Split(string(out), "\x00") {
		if info, err := os.Lstat(filepath.Join(root, name)); name != "" && err == nil && info.Mode().IsRegular() {
			files = append(files, name)
		}
	}
	return files, nil
})

func walked() (files []string, err error) {
	err = filepath.WalkDir(root, func(name string, d os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, _ := filepath.Rel(root, name)
		switch rel {
		case ".git", "bin", "data", "build":
			return filepath.SkipDir
		}
		if d.Type().IsRegular() {
			files = append(files, filepath.ToSlash(rel))
		}
		return nil
	})
	return files, err
}

// parsed are the project's Go files.
var parsed = sync.OnceValues(func() (files []*goFile, err error) {
	names, err := tracked()
	if err != nil {
		return nil, err
	}
	fset := token.NewFileSet()
	for _, name := range names {
		if !strings.HasSuffix(name, ".go") {
			continue
		}
		text, err := os.ReadFile(filepath.Join(root, name))
		if err != nil {
			return nil, err
		}
		tree, err := parser.ParseFile(fset, name, text, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			return nil, err
		}
		files = append(files, &goFile{path: name, test: strings.HasSuffix(name, "_test.go"),
			lines: bytes.Count(text, []byte{'\n'}), fset: fset, ast: tree})
	}
	return files, nil
})

// goFiles are the project's Go files; a project of none is a mistake of ours.
func goFiles(t *testing.T) []*goFile {
	t.Helper()
	files, err := parsed()
	if err != nil {
		t.Fatal(err)
	}
	if len(files) < 100 {
		t.Fatalf("only %d Go files found from %s", len(files), root)
	}
	return files
}
