//go:build !giouring

package ring

import "errors"

func openGiouring() (Kernel, error) {
	return nil, errors.New("this binary was built without giouring: build it with -tags giouring -ldflags=-checklinkname=0")
}
