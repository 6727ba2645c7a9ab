package ring

import "syscall"

// Errno is the error in Res, or 0.
func (c *CQE) Errno() syscall.Errno {
	if c.Res >= 0 {
		return 0
	}
	return syscall.Errno(-c.Res)
}

// More tells that the same submission will complete again: its memory and its
// UserData are still in use.
func (c *CQE) More() bool { return c.Flags&CQEFMore != 0 }

// Notif tells that this is the second completion of a zero-copy send: the memory
// it sent from is free.
func (c *CQE) Notif() bool { return c.Flags&CQEFNotif != 0 }

// Buffer is the provided buffer that the completion used, to be given back with
// [BufferRing.Recycle]; false when it used none.
func (c *CQE) Buffer() (id uint16, ok bool) {
	return uint16(c.Flags >> CQEBufferShift), c.Flags&CQEFBuffer != 0
}
