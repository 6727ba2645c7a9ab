// Package tidy is the project's style as a test: who may import whom, what code
// that runs on a core may not do, how long functions and files may be, that
// exported names are documented, and that no file knows the machine it was
// written on. What ARCHITECTURE.md and CONTRIBUTING.md say about these is checked
// here; exceptions_test.go lists what is excused, with the reason.
package tidy
