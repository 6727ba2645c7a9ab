package storage

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"slipstream/protocol"
	"slipstream/ring"
)

// MetaProperties is meta.properties: whose data directory this is. The file is a Java properties file:
//
//	#
//	#Sat Nov 21 12:51:40 UTC 2026
//	node.id=1
//	directory.id=96lirCpdSCytUsLCJQDeeQ
//	version=1
//	cluster.id=QTeoho8tTMKiRkSdhkJy0A
type MetaProperties struct {
	ClusterID   string
	NodeID      int32
	DirectoryID protocol.UUID // zero: the file, an older one, has none
}

// ReadMetaProperties reads the meta.properties of a data directory. A directory that was never
// formatted has none: fs.ErrNotExist.
func ReadMetaProperties(k ring.Files, dataDir string) (MetaProperties, error) {
	path := dataDir + "/" + metaPropertiesName
	b, err := ReadFile(k, path, 1<<16)
	if err != nil {
		return MetaProperties{}, err
	}
	m, err := decodeMetaProperties(b)
	if err != nil {
		return MetaProperties{}, fmt.Errorf("%s: %w", path, err)
	}
	return m, nil
}

// WriteMetaProperties writes it, durably.
func WriteMetaProperties(k ring.Files, dataDir string, m MetaProperties, nowNanos int64) error {
	return replaceFile(k, dataDir+"/"+metaPropertiesName, m.encode(nowNanos))
}

func (m *MetaProperties) encode(nowNanos int64) []byte {
	var s strings.Builder
	s.WriteString("#\n#" + time.Unix(0, nowNanos).UTC().Format("Mon Jan 02 15:04:05 UTC 2006") + "\n")
	fmt.Fprintf(&s, "node.id=%d\ndirectory.id=%s\nversion=1\ncluster.id=%s\n", m.NodeID, m.DirectoryID, escapeProperty(m.ClusterID))
	return []byte(s.String())
}

func decodeMetaProperties(b []byte) (m MetaProperties, err error) {
	p := parseProperties(string(b))
	if v := p["version"]; v == "" {
		return m, errors.New("it has no version: it is damaged, or something else's")
	} else if v != "1" {
		return m, fmt.Errorf("version %q is not known, only 1", v)
	}
	m.ClusterID = p["cluster.id"]
	if m.ClusterID == "" {
		return m, errors.New("there is no cluster.id")
	}
	id, err := strconv.ParseInt(p["node.id"], 10, 32)
	if err != nil || id < 0 {
		return m, fmt.Errorf("node.id %q is not a node's id", p["node.id"])
	}
	m.NodeID = int32(id)
	if text, ok := p["directory.id"]; ok {
		if m.DirectoryID, err = protocol.ParseUUID(text); err != nil {
			return m, fmt.Errorf("directory.id: %w", err)
		}
	}
	return m, nil
}

// parseProperties reads what Java's Properties.store writes: comments, key=value, backslashes
// before what is not plain. Continued lines do not occur in such files.
func parseProperties(s string) map[string]string {
	m := make(map[string]string)
	for _, line := range strings.FieldsFunc(s, func(r rune) bool { return r == '\n' || r == '\r' }) {
		line = strings.TrimLeft(line, " \t\f")
		if line == "" || line[0] == '#' || line[0] == '!' {
			continue
		}
		if key, value, ok := cutProperty(line); ok {
			m[key] = value
		}
	}
	return m
}

// cutProperty splits a line at its first separator that has no backslash before it.
func cutProperty(line string) (key, value string, ok bool) {
	for i := 0; i < len(line); i++ {
		switch line[i] {
		case '\\':
			i++
		case '=', ':':
			return unescapeProperty(strings.TrimRight(line[:i], " \t")), unescapeProperty(strings.TrimLeft(line[i+1:], " \t")), true
		}
	}
	return "", "", false
}

func unescapeProperty(s string) string {
	if strings.IndexByte(s, '\\') < 0 {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+1 < len(s) {
			i++
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

func escapeProperty(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if strings.IndexByte(`\=:#!`, s[i]) >= 0 || s[i] == ' ' && i == 0 {
			b.WriteByte('\\')
		}
		b.WriteByte(s[i])
	}
	return b.String()
}
