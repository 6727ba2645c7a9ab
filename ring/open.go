package ring

import "fmt"

// Open returns a kernel by name: "linux" (or "") is this package's own binding,
// "giouring" the one over github.com/pawelgaczynski/giouring, which is there when
// the program was built with `-tags giouring -ldflags=-checklinkname=0`.
func Open(name string) (Kernel, error) {
	switch name {
	case "", "linux":
		return NewLinux(), nil
	case "giouring":
		return openGiouring()
	}
	return nil, fmt.Errorf("unknown io_uring binding %q: want linux or giouring", name)
}
