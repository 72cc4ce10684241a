package quorum

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"path/filepath"
	"slices"
	"strings"

	pb "go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/proto"
)

// A snapshot file, snapshot-<index>.snap, holds the records of an image (a metadata batch) and its position:
//
//	magic                   8 bytes
//	node id                 4 bytes
//	index, term             8 bytes each
//	length of the members   4 bytes, then raft's ConfState
//	length of the data      8 bytes, then the data
//	CRC-32C of it all       4 bytes
//
// It is written aside, synced and renamed, and the directory is synced: a snapshot that is there is whole.
const (
	snapshotMagic  = "MLDSNAP\x01"
	snapshotPrefix = "snapshot-"
	snapshotSuffix = ".snap"
	maxSnapshot    = 1 << 30
)

func snapshotName(index uint64) string {
	return fmt.Sprintf("%s%020d%s", snapshotPrefix, index, snapshotSuffix)
}

func encodeSnapshot(nodeID int32, s *pb.Snapshot) ([]byte, error) {
	members, err := proto.Marshal(s.GetMetadata().GetConfState())
	if err != nil {
		return nil, fmt.Errorf("encode snapshot: %w", err)
	}
	b := make([]byte, 0, len(s.GetData())+len(members)+64)
	b = append(b, snapshotMagic...)
	b = binary.LittleEndian.AppendUint32(b, uint32(nodeID))
	b = binary.LittleEndian.AppendUint64(b, s.GetMetadata().GetIndex())
	b = binary.LittleEndian.AppendUint64(b, s.GetMetadata().GetTerm())
	b = binary.LittleEndian.AppendUint32(b, uint32(len(members)))
	b = append(b, members...)
	b = binary.LittleEndian.AppendUint64(b, uint64(len(s.GetData())))
	b = append(b, s.GetData()...)
	return binary.LittleEndian.AppendUint32(b, crc32.Checksum(b, castagnoli)), nil
}

// decodeSnapshot reads a snapshot file. The data refers to b.
func decodeSnapshot(b []byte) (nodeID int32, s *pb.Snapshot, err error) {
	const fixed = 8 + 4 + 8 + 8 + 4
	if len(b) < fixed+8+4 || string(b[:8]) != snapshotMagic {
		return 0, nil, fmt.Errorf("%w: not a snapshot", ErrCorrupt)
	}
	sum := binary.LittleEndian.Uint32(b[len(b)-4:])
	b = b[:len(b)-4]
	if crc32.Checksum(b, castagnoli) != sum {
		return 0, nil, fmt.Errorf("%w: wrong checksum", ErrCorrupt)
	}
	nodeID = int32(binary.LittleEndian.Uint32(b[8:]))
	meta := &pb.SnapshotMetadata{
		Index: new(binary.LittleEndian.Uint64(b[12:])), Term: new(binary.LittleEndian.Uint64(b[20:])), ConfState: &pb.ConfState{},
	}
	n := uint64(binary.LittleEndian.Uint32(b[28:]))
	b = b[fixed:]
	if n+8 > uint64(len(b)) {
		return 0, nil, fmt.Errorf("%w: wrong length of the members", ErrCorrupt)
	}
	if err := proto.Unmarshal(b[:n], meta.ConfState); err != nil {
		return 0, nil, fmt.Errorf("%w: members: %w", ErrCorrupt, err)
	}
	b = b[n:]
	if m := binary.LittleEndian.Uint64(b); m != uint64(len(b)-8) {
		return 0, nil, fmt.Errorf("%w: wrong length of the data", ErrCorrupt)
	}
	return nodeID, &pb.Snapshot{Metadata: meta, Data: b[8:]}, nil
}

// writeSnapshot makes the snapshot durable in the directory.
func writeSnapshot(fsys FS, dir string, nodeID int32, s *pb.Snapshot) error {
	b, err := encodeSnapshot(nodeID, s)
	if err != nil {
		return err
	}
	name := filepath.Join(dir, snapshotName(s.GetMetadata().GetIndex()))
	f, err := fsys.Create(name + ".tmp")
	if err != nil {
		return fmt.Errorf("write snapshot: %w", err)
	}
	_, err = f.Write(b)
	if err == nil {
		err = f.Sync()
	}
	err = errors.Join(err, f.Close())
	if err == nil {
		err = fsys.Rename(name+".tmp", name)
	}
	if err == nil {
		err = fsys.SyncDir(dir)
	}
	if err != nil {
		return fmt.Errorf("write snapshot %s: %w", filepath.Base(name), err)
	}
	return nil
}

// loadSnapshot returns the newest snapshot of the directory, nil when there is none, and removes older
// ones and unfinished ones. A damaged snapshot is an error: the log before it may be gone.
func loadSnapshot(fsys FS, dir string, nodeID int32) (*pb.Snapshot, error) {
	names, err := fsys.List(dir)
	if err != nil {
		return nil, fmt.Errorf("load snapshot: %w", err)
	}
	var snaps []string
	for _, n := range names {
		if strings.HasPrefix(n, snapshotPrefix) {
			snaps = append(snaps, n)
		}
	}
	snaps = slices.DeleteFunc(snaps, func(n string) bool {
		if !strings.HasSuffix(n, ".tmp") {
			return false
		}
		err = errors.Join(err, fsys.Remove(filepath.Join(dir, n)))
		return true
	})
	if err != nil {
		return nil, fmt.Errorf("load snapshot: remove unfinished: %w", err)
	}
	if len(snaps) == 0 {
		return nil, nil
	}
	slices.Sort(snaps)
	name := snaps[len(snaps)-1]
	b, err := fsys.ReadFile(filepath.Join(dir, name), maxSnapshot)
	if err != nil {
		return nil, fmt.Errorf("load snapshot: %w", err)
	}
	id, s, err := decodeSnapshot(b)
	if err != nil {
		return nil, fmt.Errorf("load %s: %w; restore the directory from a copy, or remove it and let this node follow the others", name, err)
	}
	if id != nodeID {
		return nil, fmt.Errorf("%s belongs to node %d, this is node %d; set node.id to %d or use another directory", name, id, nodeID, id)
	}
	if snapshotName(s.GetMetadata().GetIndex()) != name {
		return nil, fmt.Errorf("load %s: %w: it is of index %d", name, ErrCorrupt, s.GetMetadata().GetIndex())
	}
	if err := removeSnapshotsBefore(fsys, dir, s.GetMetadata().GetIndex(), snaps); err != nil {
		return nil, err
	}
	return s, nil
}

// removeSnapshotsBefore removes the snapshots among names that are older than the index.
func removeSnapshotsBefore(fsys FS, dir string, index uint64, names []string) error {
	for _, n := range names {
		if strings.HasPrefix(n, snapshotPrefix) && strings.HasSuffix(n, snapshotSuffix) && n < snapshotName(index) {
			if err := fsys.Remove(filepath.Join(dir, n)); err != nil {
				return fmt.Errorf("remove old snapshot: %w", err)
			}
		}
	}
	return nil
}
