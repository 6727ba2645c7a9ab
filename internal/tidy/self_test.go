package tidy

import (
	"go/ast"
	"go/parser"
	"go/token"
	"slices"
	"strings"
	"testing"
)

// The checks find what they are for: a check that finds nothing proves nothing.

func parseText(t *testing.T, text string) *goFile {
	t.Helper()
	fset := token.NewFileSet()
	tree, err := parser.ParseFile(fset, "x.go", text, parser.ParseComments)
	if err != nil {
		t.Fatal(err)
	}
	return &goFile{path: "reactor/x.go", fset: fset, ast: tree}
}

func TestCoreCheckFinds(t *testing.T) {
	for body, want := range map[string]string{
		"go f()":                          "start goroutines",
		"var c chan int; _ = c":           "have channels",
		"select {}":                       "select",
		"c <- 1":                          "send to a channel",
		"<-c":                             "receive from a channel",
		"var m sync.Mutex; _ = m":         "use sync.Mutex",
		"_ = clock.Now()":                 "use time.Now",
		"_, _ = os.Open(name)":            "use os.Open",
		"_ = rand.IntN(3)":                "use math/rand/v2.IntN",
		"_ = rand.New(rand.NewPCG(1, 2))": "",
		"atomic.AddInt64(&n, 1)":          "",
		"_ = clock.Duration(3)":           "",
	} {
		f := parseText(t, "package x\nimport (\"sync\"; \"sync/atomic\"; \"os\"; clock \"time\"; \"math/rand/v2\")\nfunc g() {\n"+body+"\n}\n")
		found := strings.Join(coreViolations(f), ";")
		if want == "" && found != "" || want != "" && !strings.HasSuffix(found, want) {
			t.Errorf("%s: found %q, want %q", body, found, want)
		}
	}
}

func TestDocumentedCheckFinds(t *testing.T) {
	f := parseText(t, `package x
type Bare struct{}
// Said is said.
type Said struct{}
func (Bare) Method() {}
func (Bare) String() string { return "" }
func (hidden) Method() {}
const Lonely = 1
// Group of constants.
const (
	One = 1
	two = 2
)
var Trailing int // is said
`)
	var names []string
	for _, d := range f.ast.Decls {
		names = append(names, bareNames(d)...)
	}
	if want := []string{"Bare", "Bare.Method", "Lonely"}; !slices.Equal(names, want) {
		t.Errorf("found %v, want %v", names, want)
	}
}

func TestMachinePathCheckFinds(t *testing.T) {
	for text, want := range map[string]bool{
		"cd /wo" + "rk/main":         true,
		"x=/ro" + "ot/go":            true,
		`"/tmp/` + `peer/libs"`:      true,
		"network/working":            false,
		"github.com/a/wo" + "rk/x":   false,
		"`/ho" + "me/someone/thing`": true,
	} {
		if machinePath.MatchString(text) != want {
			t.Errorf("%q: want %v", text, want)
		}
	}
}

func TestRulesNameWhatIsThere(t *testing.T) {
	dirs := map[string]bool{}
	for _, f := range goFiles(t) {
		dirs[f.dir()] = true
	}
	for _, d := range coreDirs {
		if !dirs[d] {
			t.Errorf("coreDirs names %s, which is not there", d)
		}
	}
	if funcName(&ast.FuncDecl{Name: ast.NewIdent("F")}) != "F" {
		t.Error("a function's name")
	}
}
