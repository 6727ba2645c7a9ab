package sim

// CutMode is what a power cut does to what was written and not made durable.
type CutMode int

const (
	CutDrawn CutMode = iota // one of the others, by the seed
	CutTear                 // by the seed, for each name, page, and sector
	CutDrop                 // all of it is lost
	CutKeep                 // all of it is kept
)

// powerCut leaves of the disk what a power cut leaves, and makes that the state
// that everyone sees.
//
// Names: either a journal's state, all changes up to some moment (ext4, XFS), or,
// harsher, any of them, so long as changes of one name keep their order. A rename
// happened or did not.
//
// Sizes: the old one, the new one, or one in between, for the size may reach the
// disk before the data (then zeros are read) and after it.
//
// Pages: each dirty page as it was, as it is, or torn: sector by sector either.
func (d *disk) powerCut(mode CutMode) {
	r := d.w.draws.disk
	if mode == CutDrawn {
		mode = [...]CutMode{CutTear, CutTear, CutTear, CutDrop, CutKeep}[r.IntN(5)]
	}
	d.w.note(traceWorld, "cut", int64(mode), int64(len(d.log)))
	d.cutNames(mode)
	d.used, d.files = 0, nil
	d.settle(d.root, mode, map[*inode]bool{})
}

func (d *disk) cutNames(mode CutMode) {
	r := d.w.draws.disk
	switch {
	case mode == CutKeep:
		d.commit(func(*nameOp) bool { return true })
	case mode == CutTear && r.IntN(2) == 0: // a journal
		n := r.IntN(len(d.log) + 1)
		for i := range d.log[:n] {
			d.log[i].apply()
		}
	case mode == CutTear:
		lost := map[place]bool{}
		for i := range d.log {
			o := &d.log[i]
			if o.touches(lost) || r.IntN(2) == 0 {
				o.addTo(lost)
				continue
			}
			o.apply()
		}
	}
	d.log = nil
}

// settle makes the durable state of a directory, and of all below it, the one that
// is seen.
func (d *disk) settle(dir *inode, mode CutMode, seen map[*inode]bool) {
	seen[dir] = true
	dir.names = map[string]*inode{}
	for _, name := range sorted(dir.durableNames) {
		ino := dir.durableNames[name]
		if seen[ino] {
			// Two names of one inode, of which only a rename's old one can be:
			// the rename's new name was found first.
			delete(dir.durableNames, name)
			continue
		}
		dir.names[name] = ino
		ino.links = 1
		if ino.dir {
			d.settle(ino, mode, seen)
			continue
		}
		seen[ino] = true
		ino.cut(mode)
		d.files = append(d.files, ino)
		d.used += int64(ino.blocks.count)
	}
}

// cut leaves of a file what a power cut leaves.
func (ino *inode) cut(mode CutMode) {
	r := ino.disk.w.draws.disk
	keepOf8 := 0 // of 8 dirty pages, how many were written back whole
	switch mode {
	case CutKeep:
		keepOf8 = 8
	case CutTear:
		keepOf8 = [...]int{0, 8, r.IntN(9), r.IntN(9)}[r.IntN(4)]
	}
	pages := append([]*page(nil), ino.durable...)
	for _, i := range ino.dirtyPages() {
		for len(pages) <= i {
			pages = append(pages, nil)
		}
		switch {
		case r.IntN(8) < keepOf8:
			if at, wrong := ino.misdirected(pages); wrong {
				pages[at] = ino.page(i)
				continue
			}
			pages[i] = ino.page(i)
		case mode == CutTear && keepOf8 > 0 && r.IntN(2) == 0:
			pages[i] = ino.torn(i)
		}
	}
	size := ino.cutSize(mode)
	count := int((size + pageBytes - 1) / pageBytes)
	if len(pages) > count {
		pages = pages[:count]
	}
	if at := size % pageBytes; at != 0 && count <= len(pages) && pages[count-1] != nil {
		last := *pages[count-1]
		clear(last[at:])
		pages[count-1] = &last
	}
	ino.pages, ino.durable = pages, append([]*page(nil), pages...)
	ino.size, ino.durableSize = size, size
	ino.dirty, ino.cached = map[int]bool{}, bitmap{}
	ino.opened, ino.lock, ino.working = 0, nil, nil
	ino.failures, ino.failureSeen = 0, false
	for i, pg := range pages {
		if pg != nil {
			ino.blocks.set(i)
		}
	}
}

// torn is a page of which each sector is the old or the new one.
func (ino *inode) torn(i int) *page {
	r := ino.disk.w.draws.disk
	var old, now page
	if pg := ino.durablePage(i); pg != nil {
		old = *pg
	}
	if pg := ino.page(i); pg != nil {
		now = *pg
	}
	for at := 0; at < pageBytes; at += sectorBytes {
		if r.IntN(2) == 0 {
			copy(old[at:at+sectorBytes], now[at:])
		}
	}
	return &old
}

// cutSize is the size that a power cut leaves.
func (ino *inode) cutSize(mode CutMode) int64 {
	r := ino.disk.w.draws.disk
	low, high := min(ino.size, ino.durableSize), max(ino.size, ino.durableSize)
	switch {
	case mode == CutKeep:
		return ino.size
	case mode == CutDrop || low == high:
		return ino.durableSize
	}
	between := low + r.Int64N(high-low+1)
	switch r.IntN(5) {
	case 0:
		return ino.durableSize
	case 1, 2:
		return ino.size
	case 3:
		return max(between/pageBytes*pageBytes, low)
	}
	return between
}
