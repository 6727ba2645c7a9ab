//go:build giouring

package ring

const testKernelName = "giouring"
