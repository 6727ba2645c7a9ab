package ebpf

import (
	"path/filepath"
	"runtime"
	"testing"

	"github.com/cilium/ebpf/btf"
)

// olderTypes describes a kernel that has pages where the running one has folios, as
// 5.15 has them: the fields that the programs use, at the running kernel's places.
func olderTypes(t *testing.T) *btf.Spec {
	t.Helper()
	kernel, err := btf.LoadKernelSpec()
	if err != nil {
		t.Skip("the kernel does not describe its types: ", err)
	}
	made := map[string]*btf.Struct{}
	for _, name := range []string{"page", "address_space", "inode", "super_block", "task_struct", "file", "fdtable", "files_struct"} {
		made[name] = &btf.Struct{Name: name}
	}
	from := map[string]string{"page": "folio"} // whose fields of the same names lie where the tracepoint's argument has them
	for name, fields := range map[string]map[string]string{
		"page":          {"mapping": "address_space", "index": ""},
		"address_space": {"host": "inode"},
		"inode":         {"i_ino": "", "i_sb": "super_block", "i_mapping": "address_space", "i_nlink": ""},
		"super_block":   {"s_dev": "", "s_magic": ""},
		"task_struct":   {"flags": "", "group_leader": "task_struct", "files": "files_struct", "comm": ""},
		"file":          {"f_mapping": "address_space", "private_data": ""},
		"fdtable":       {"max_fds": "", "fd": ""},
		"files_struct":  {"fdt": "fdtable"},
	} {
		source := name
		if from[name] != "" {
			source = from[name]
		}
		var whole *btf.Struct
		if err := kernel.TypeByName(source, &whole); err != nil {
			t.Fatal(err)
		}
		made[name].Size = whole.Size
		for field, points := range fields {
			offset, kind := fieldOf(t, whole.Members, field)
			if points != "" {
				kind = &btf.Pointer{Target: made[points]}
			}
			made[name].Members = append(made[name].Members, btf.Member{Name: field, Type: kind, Offset: offset})
		}
	}
	made["file"].Members[indexOfMember(made["file"].Members, "private_data")].Type = &btf.Pointer{Target: &btf.Void{}}
	made["fdtable"].Members[indexOfMember(made["fdtable"].Members, "fd")].Type = &btf.Pointer{Target: &btf.Pointer{Target: made["file"]}}
	var flags *btf.Enum
	if err := kernel.TypeByName("pageflags", &flags); err != nil {
		t.Fatal(err)
	}
	types := []btf.Type{flags}
	for _, s := range made {
		types = append(types, s)
	}
	b, err := btf.NewBuilder(types, nil)
	if err != nil {
		t.Fatal(err)
	}
	spec, err := b.Spec()
	if err != nil {
		t.Fatal(err)
	}
	return spec
}

func indexOfMember(members []btf.Member, name string) int {
	for i := range members {
		if members[i].Name == name {
			return i
		}
	}
	return -1
}

// fieldOf finds a field, in nameless structures too.
func fieldOf(t *testing.T, members []btf.Member, name string) (btf.Bits, btf.Type) {
	for _, m := range members {
		if m.Name == name {
			return m.Offset, btf.UnderlyingType(m.Type)
		}
		var inner []btf.Member
		switch s := m.Type.(type) {
		case *btf.Struct:
			inner = s.Members
		case *btf.Union:
			inner = s.Members
		}
		if m.Name == "" {
			if offset, kind := fieldOf(t, inner, name); kind != nil {
				return m.Offset + offset, kind
			}
		}
	}
	return 0, nil
}

// TestOlderTypes: with the types of 5.15 the programs load, know files, and tell
// inserts from one another. Each event is a page to them, as it is there.
func TestOlderTypes(t *testing.T) {
	types := olderTypes(t)
	for _, mode := range modes {
		t.Run(mode, func(t *testing.T) {
			a, err := loadFor(types, 1, Options{}, only(mode))
			need(t, err)
			defer a.Close()
			if a.Mode() != mode || a.identity == nil {
				t.Fatalf("attached by %q", a.Mode())
			}
			runtime.LockOSThread()
			defer runtime.UnlockOSThread()
			r := &rig{t, a, a.observers[0]}
			f := logFile(t, filepath.Join(t.TempDir(), "0.log"), 1<<20)
			file, reader := r.o.File(int(f.Fd()), "log-0", 1<<20), r.o.Reader("log-0", "client")
			drop(t, f)
			r.read(f, file, reader, 0, 0, 1<<20, 1<<16)
			drop(t, f)
			cat(r, f)
			client, own := r.cell("log-0", "client"), r.cell("log-0", "")
			if client.DemandMisses == 0 || client.DemandMisses+client.Readahead > 256 || own.Drops == 0 || own.ForeignInserts == 0 {
				t.Errorf("%+v, %+v", client, own)
			}
		})
	}
}
