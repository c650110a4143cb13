// A verifier of the sealed record that was written from docs/audit-format.md alone: it shares no code with Ringfence, and checks notes
// and trees by golang.org/x/mod/sumdb.
//
//	audit-verifier verify DIR KEY [CHECKPOINT...]   prints what it finds, one line each; ends with 1 where it found anything
//	audit-verifier proof NAME KEY                   checks NAME.tlog-proof and NAME.block
package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"sort"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

const (
	kindHead       = 1
	kindTime       = 6
	kindIntent     = 7
	kindWhole      = 9
	kindEvent      = 10
	kindCheckpoint = 11
	kindSeal       = 12
	headerBytes    = 80
	// A log signs each second: a longer time at its end that is not signed was not written by it.
	unsignedMsMax = 10_000
)

type head struct {
	Format string `json:"format"`
	Origin string `json:"origin"`
	Key    string `json:"key"`
	Number uint64 `json:"number"`
	Blocks int64  `json:"blocks"`
}

var segmentName = regexp.MustCompile(`^audit-.*-(\d{10})-[^-]*\.sealed$`)

type log struct {
	dir      string
	verifier note.Verifier
	key      string
	findings []string
	stored   []tlog.Hash
	size     int64
	// Of the block that is read.
	content bytes.Buffer
	frames  uint32
	number  uint64
	before  uint64
	// When it began, in milliseconds; 0 where it is not known yet.
	began int64
	// The block before which segments were removed: it may have begun in one of them.
	mayBeCutOff bool
	// What no checkpoint vouches for: when it began, and its last time. The file checkpoint was read before all segments.
	last          tlog.Tree
	hasLast       bool
	wasSigned     bool
	unsignedSince int64
	unsignedUntil int64
}

func (l *log) find(format string, args ...any) {
	l.findings = append(l.findings, fmt.Sprintf(format, args...))
}

// ReadHashes makes the log a tlog.HashReader over the hashes that were read so far.
func (l *log) ReadHashes(indexes []int64) ([]tlog.Hash, error) {
	hashes := make([]tlog.Hash, len(indexes))
	for i, index := range indexes {
		if index >= int64(len(l.stored)) {
			return nil, fmt.Errorf("hash %d is not there", index)
		}
		hashes[i] = l.stored[index]
	}
	return hashes, nil
}

func (l *log) addHash(hash tlog.Hash) {
	hashes, err := tlog.StoredHashesForRecordHash(l.size, hash, l)
	if err != nil {
		panic(err)
	}
	l.stored = append(l.stored, hashes...)
	l.size++
	if l.hasLast && l.last.N == l.size && l.root(l.size) == l.last.Hash {
		l.signed()
	}
}

// All blocks so far are.
func (l *log) signed() {
	l.wasSigned = true
	l.unsignedSince, l.unsignedUntil = 0, l.began
}

func (l *log) root(size int64) tlog.Hash {
	hash, err := tlog.TreeHash(size, l)
	if err != nil {
		panic(err)
	}
	return hash
}

func (l *log) open(text []byte) (tlog.Tree, bool) {
	opened, err := note.Open(text, note.VerifierList(l.verifier))
	if err != nil {
		return tlog.Tree{}, false
	}
	lines := strings.Split(opened.Text, "\n")
	if len(lines) < 3 || lines[0] != l.verifier.Name() {
		return tlog.Tree{}, false
	}
	size, err := strconv.ParseInt(lines[1], 10, 64)
	if err != nil {
		return tlog.Tree{}, false
	}
	root, err := base64.StdEncoding.DecodeString(lines[2])
	if err != nil || len(root) != tlog.HashSize {
		return tlog.Tree{}, false
	}
	return tlog.Tree{N: size, Hash: tlog.Hash(root)}, true
}

// The hash of a block by the tiles; they may be missing.
func (l *log) tileHash(index int64) (tlog.Hash, bool) {
	number := index / 256
	name := fmt.Sprintf("%03d", number%1000)
	for rest := number / 1000; rest > 0; rest /= 1000 {
		name = fmt.Sprintf("x%03d/%s", rest%1000, name)
	}
	path := filepath.Join(l.dir, "tile", "0", name)
	paths, _ := filepath.Glob(path + ".p/*")
	for _, each := range append([]string{path}, paths...) {
		tile, err := os.ReadFile(each)
		at := int(index%256) * tlog.HashSize
		if err == nil && len(tile) >= at+tlog.HashSize {
			return tlog.Hash(tile[at : at+tlog.HashSize]), true
		}
	}
	return tlog.Hash{}, false
}

func (l *log) segment(name string, first bool) {
	text, err := os.ReadFile(filepath.Join(l.dir, name))
	if err != nil {
		l.find("%s cannot be read", name)
		return
	}
	for at := 0; at+3 <= len(text); {
		length := int(binary.BigEndian.Uint16(text[at:]))
		end := at + 2 + length
		if length == 0 || end > len(text) {
			break
		}
		frame := text[at:end]
		kind, payload := frame[2], frame[3:]
		if at == 0 {
			var said head
			if kind != kindHead || json.Unmarshal(payload, &said) != nil {
				l.find("%s does not begin with a head", name)
				return
			}
			if said.Key != l.key {
				l.find("%s: swap: it is a segment of %s", name, said.Origin)
				return
			}
			if first {
				l.number, l.before = said.Number, said.Number
				l.mayBeCutOff = said.Number > 0
				for l.size < said.Blocks {
					hash, ok := l.tileHash(l.size)
					if !ok {
						l.find("%s: the blocks before it are gone", name)
						return
					}
					l.addHash(hash)
				}
			}
		}
		at = end
		if kind == kindSeal {
			l.seal(name, payload)
			continue
		}
		l.content.Write(frame)
		l.frames++
		switch kind {
		case kindIntent, kindWhole:
			l.number++
		case kindEvent:
			l.number++
			var event struct {
				Seq uint64 `json:"seq"`
			}
			if json.Unmarshal(payload, &event) == nil && event.Seq > 0 {
				l.number = event.Seq
			}
		case kindTime:
			if len(payload) == 6 {
				ms := int64(binary.BigEndian.Uint64(append([]byte{0, 0}, payload...)))
				if l.began == 0 {
					l.began = ms
				}
				l.unsignedUntil = max(l.unsignedUntil, ms)
			}
		case kindCheckpoint:
			tree, ok := l.open(payload)
			if !ok {
				l.find("%s: a checkpoint behind block %d is not signed", name, l.size-1)
			} else if tree.N != l.size || l.root(tree.N) != tree.Hash {
				l.find("%s: edit: a checkpoint behind block %d was signed for other blocks", name, l.size-1)
			} else {
				l.signed()
			}
		}
	}
}

func (l *log) seal(name string, payload []byte) {
	defer func() {
		l.content.Reset()
		l.frames = 0
		l.began = 0
		l.mayBeCutOff = false
		l.before = l.number
	}()
	if len(payload) != 8+headerBytes || payload[8] != 1 {
		l.find("%s: a seal behind block %d has no header", name, l.size-1)
		return
	}
	index := int64(binary.BigEndian.Uint64(payload))
	header := payload[8:]
	where := fmt.Sprintf("%s: block %d", name, index)
	if index > l.size {
		l.find("%s: delete: blocks %d to %d are missing before it", where, l.size, index-1)
	} else if index < l.size {
		l.find("%s: reorder: it stands where block %d should", where, l.size)
	}
	hash := tlog.RecordHash(header)
	tile, isTiled := l.tileHash(index)
	sum := sha256.Sum256(l.content.Bytes())
	if l.mayBeCutOff && index == l.size && isTiled && tile == hash && binary.BigEndian.Uint32(header[4:]) > l.frames {
		fmt.Fprintf(os.Stderr, "%s began in a segment that is not here, and cannot be checked\n", where)
	} else if !bytes.Equal(sum[:], header[48:]) {
		l.find("%s: edit: its %d frames are not the %d that were sealed", where, l.frames, binary.BigEndian.Uint32(header[4:]))
	} else if binary.BigEndian.Uint32(header[4:]) != l.frames || binary.BigEndian.Uint64(header[8:]) != l.before ||
		binary.BigEndian.Uint64(header[16:]) != l.number {
		l.find("%s: its header says what is not so", where)
	}
	if isTiled && tile != hash {
		l.find("%s: edit: it is not the block that was logged", where)
	}
	l.number = binary.BigEndian.Uint64(header[16:])
	if l.unsignedSince == 0 {
		l.unsignedSince = l.began
	}
	for l.size < index {
		missing, ok := l.tileHash(l.size)
		if !ok {
			break
		}
		l.addHash(missing)
	}
	if index >= l.size {
		l.addHash(hash)
	}
}

func verify(dir, key string, known []string) []string {
	verifier, err := note.NewVerifier(key)
	if err != nil {
		return []string{"no key: " + err.Error()}
	}
	l := &log{dir: dir, verifier: verifier, key: key}
	// Before the segments: of a log that is written on they have all that it was signed for.
	text, err := os.ReadFile(filepath.Join(dir, "checkpoint"))
	hasText := err == nil
	l.last, l.hasLast = l.open(text)
	entries, err := os.ReadDir(dir)
	if err != nil {
		return []string{err.Error()}
	}
	type segment struct{ serial, name string }
	var segments []segment
	for _, entry := range entries {
		if match := segmentName.FindStringSubmatch(entry.Name()); match != nil {
			segments = append(segments, segment{match[1], entry.Name()})
		}
	}
	sort.Slice(segments, func(i, j int) bool { return segments[i].serial < segments[j].serial })
	for at, each := range segments {
		l.segment(each.name, at == 0)
	}
	if !hasText {
		// One that was killed in its first second has none.
		if l.wasSigned {
			l.find("checkpoint: there is none")
		}
	} else if !l.hasLast {
		l.find("checkpoint: it is not signed by the log")
	} else if l.last.N > l.size {
		l.find("checkpoint: truncate: blocks %d to %d are missing at the end", l.size, l.last.N-1)
	} else if l.root(l.last.N) != l.last.Hash {
		l.find("checkpoint: edit: it was signed for other blocks")
	}
	since := l.unsignedSince
	if since == 0 {
		since = l.began
	}
	if since != 0 && l.unsignedUntil-since > unsignedMsMax {
		l.find("checkpoint: edit: the last %d ms are not signed", l.unsignedUntil-since)
	}
	for _, file := range known {
		text, err := os.ReadFile(file)
		tree, ok := l.open(text)
		if err != nil || !ok {
			l.find("%s: it is not signed by the log", file)
		} else if tree.N > l.size {
			l.find("%s: rollback: it is of %d blocks, and %d are here", file, tree.N, l.size)
		} else if l.root(tree.N) != tree.Hash {
			l.find("%s: fork: it was signed for other blocks than the first %d here", file, tree.N)
		}
	}
	return l.findings
}

func proof(name, key string) []string {
	verifier, err := note.NewVerifier(key)
	if err != nil {
		return []string{"no key: " + err.Error()}
	}
	l := &log{verifier: verifier, key: key}
	text, err := os.ReadFile(name + ".tlog-proof")
	if err != nil {
		return []string{err.Error()}
	}
	frames, err := os.ReadFile(name + ".block")
	if err != nil {
		return []string{err.Error()}
	}
	top, checkpoint, found := strings.Cut(string(text), "\n\n")
	lines := strings.Split(top, "\n")
	if !found || len(lines) < 3 || lines[0] != "c2sp.org/tlog-proof@v1" {
		return []string{"it is no proof"}
	}
	header, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(lines[1], "extra "))
	if err != nil || len(header) != headerBytes {
		return []string{"it has no header"}
	}
	index, err := strconv.ParseInt(strings.TrimPrefix(lines[2], "index "), 10, 64)
	if err != nil {
		return []string{"it has no index"}
	}
	var hashes tlog.RecordProof
	for _, line := range lines[3:] {
		hash, err := base64.StdEncoding.DecodeString(line)
		if err != nil || len(hash) != tlog.HashSize {
			return []string{"a hash of it is none"}
		}
		hashes = append(hashes, tlog.Hash(hash))
	}
	tree, ok := l.open([]byte(checkpoint))
	if !ok {
		return []string{"its checkpoint is not signed by the log"}
	}
	if sum := sha256.Sum256(frames); !bytes.Equal(sum[:], header[48:]) {
		return []string{"the block is not the one of the header"}
	}
	if err := tlog.CheckRecord(hashes, tree.N, tree.Hash, index, tlog.RecordHash(header)); err != nil {
		return []string{err.Error()}
	}
	return nil
}

func main() {
	var findings []string
	switch {
	case len(os.Args) >= 4 && os.Args[1] == "verify":
		findings = verify(os.Args[2], os.Args[3], os.Args[4:])
	case len(os.Args) == 4 && os.Args[1] == "proof":
		findings = proof(os.Args[2], os.Args[3])
	default:
		findings = []string{"audit-verifier verify DIR KEY [CHECKPOINT...] | proof NAME KEY"}
	}
	for _, finding := range findings {
		fmt.Println(finding)
	}
	if len(findings) > 0 {
		os.Exit(1)
	}
}
