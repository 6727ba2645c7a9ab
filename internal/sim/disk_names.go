package sim

import (
	"path"
	"slices"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// nameOp is one change of names that is not durable yet.
type nameOp struct {
	dir     *inode
	name    string
	inode   *inode // nil: the name goes
	fromDir *inode // a rename: the name that goes at the same moment
	from    string
}

// place is a name's place: what two changes must not be made durable out of order
// about.
type place struct {
	dir  *inode
	name string
}

func (o *nameOp) touches(places map[place]bool) bool {
	return places[place{o.dir, o.name}] || o.fromDir != nil && places[place{o.fromDir, o.from}]
}

func (o *nameOp) addTo(places map[place]bool) {
	places[place{o.dir, o.name}] = true
	if o.fromDir != nil {
		places[place{o.fromDir, o.from}] = true
	}
}

// apply makes the change durable.
func (o *nameOp) apply() {
	if o.fromDir != nil {
		delete(o.fromDir.durableNames, o.from)
	}
	if o.inode == nil {
		delete(o.dir.durableNames, o.name)
	} else {
		o.dir.durableNames[o.name] = o.inode
	}
}

// commit makes the changes that want picks durable, and with each all earlier ones
// about the same names.
func (d *disk) commit(want func(o *nameOp) bool) {
	picked := make([]bool, len(d.log))
	places := map[place]bool{}
	for i := len(d.log) - 1; i >= 0; i-- {
		o := &d.log[i]
		if want(o) || o.touches(places) {
			picked[i] = true
			o.addTo(places)
		}
	}
	var rest []nameOp
	for i := range d.log {
		if picked[i] {
			d.log[i].apply()
		} else {
			rest = append(rest, d.log[i])
		}
	}
	d.log = rest
}

// syncNames makes the names in a directory durable.
func (d *disk) syncNames(dir *inode) {
	d.commit(func(o *nameOp) bool { return o.dir == dir || o.fromDir == dir })
}

// syncOwnNames makes a file's own names durable (Options.LooseNames).
func (d *disk) syncOwnNames(ino *inode) {
	d.commit(func(o *nameOp) bool { return o.inode == ino })
}

const maxNameBytes = 255

// split cleans a path into its names; relative paths start at the root.
func split(p string) ([]string, syscall.Errno) {
	if p == "" {
		return nil, unix.ENOENT
	}
	if strings.IndexByte(p, 0) >= 0 {
		return nil, unix.EINVAL
	}
	p = path.Clean("/" + p)
	if p == "/" {
		return nil, 0
	}
	names := strings.Split(p[1:], "/")
	for _, n := range names {
		if len(n) > maxNameBytes {
			return nil, unix.ENAMETOOLONG
		}
	}
	return names, 0
}

func (d *disk) walk(names []string) (*inode, syscall.Errno) {
	at := d.root
	for _, n := range names {
		if !at.dir {
			return nil, unix.ENOTDIR
		}
		if at = at.names[n]; at == nil {
			return nil, unix.ENOENT
		}
	}
	return at, 0
}

func (d *disk) lookup(p string) (*inode, syscall.Errno) {
	names, errno := split(p)
	if errno != 0 {
		return nil, errno
	}
	return d.walk(names)
}

// parent is the directory that p's last name is in, or is to be in.
func (d *disk) parent(p string) (dir *inode, name string, errno syscall.Errno) {
	names, errno := split(p)
	if errno != 0 {
		return nil, "", errno
	}
	if len(names) == 0 {
		return nil, "", unix.EBUSY // the root
	}
	dir, errno = d.walk(names[:len(names)-1])
	if errno == 0 && !dir.dir {
		errno = unix.ENOTDIR
	}
	return dir, names[len(names)-1], errno
}

// link makes a new file or directory.
func (d *disk) link(dir *inode, name string, isDir bool) *inode {
	ino := d.newInode(isDir)
	ino.links = 1
	dir.names[name] = ino
	dir.touch()
	d.log = append(d.log, nameOp{dir: dir, name: name, inode: ino})
	return ino
}

func (d *disk) mkdir(p string) syscall.Errno {
	dir, name, errno := d.parent(p)
	if errno == unix.EBUSY {
		return unix.EEXIST
	}
	if errno != 0 {
		return errno
	}
	if dir.names[name] != nil {
		return unix.EEXIST
	}
	d.link(dir, name, true)
	return 0
}

func (d *disk) unlink(ino *inode) {
	ino.links--
	ino.reap()
}

// remove removes a file or an empty directory.
func (d *disk) remove(p string) syscall.Errno {
	dir, name, errno := d.parent(p)
	if errno != 0 {
		return errno
	}
	ino := dir.names[name]
	if ino == nil {
		return unix.ENOENT
	}
	if ino.dir && len(ino.names) > 0 {
		return unix.ENOTEMPTY
	}
	delete(dir.names, name)
	dir.touch()
	d.log = append(d.log, nameOp{dir: dir, name: name})
	d.unlink(ino)
	return 0
}

// rename moves a name, over another if need be, at one moment: a power cut leaves
// the old state or the new one.
func (d *disk) rename(from, to string) syscall.Errno {
	fromDir, fromName, errno := d.parent(from)
	if errno != 0 {
		return errno
	}
	ino := fromDir.names[fromName]
	if ino == nil {
		return unix.ENOENT
	}
	toDir, toName, errno := d.parent(to)
	if errno != 0 {
		return errno
	}
	if ino.dir && d.contains(ino, toDir) {
		return unix.EINVAL
	}
	over := toDir.names[toName]
	switch {
	case over == ino:
		return 0
	case over == nil:
	case over.dir && d.contains(over, fromDir):
		return unix.ENOTEMPTY
	case over.dir && !ino.dir:
		return unix.EISDIR
	case !over.dir && ino.dir:
		return unix.ENOTDIR
	case over.dir && len(over.names) > 0:
		return unix.ENOTEMPTY
	}
	delete(fromDir.names, fromName)
	toDir.names[toName] = ino
	ino.path = to
	fromDir.touch()
	toDir.touch()
	d.log = append(d.log, nameOp{dir: toDir, name: toName, inode: ino, fromDir: fromDir, from: fromName})
	if over != nil {
		d.unlink(over)
	}
	return 0
}

// contains tells whether dir is ino or below it.
func (d *disk) contains(ino, dir *inode) bool {
	if ino == dir {
		return true
	}
	for _, child := range ino.names {
		if child.dir && d.contains(child, dir) {
			return true
		}
	}
	return false
}

// sorted is a directory's names in order.
func sorted(names map[string]*inode) []string {
	list := make([]string, 0, len(names))
	for n := range names {
		list = append(list, n)
	}
	slices.Sort(list)
	return list
}
