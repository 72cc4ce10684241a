// Package quorum drives the one Raft group that holds the cluster's metadata (package core/metadata):
// etcd's raft for the protocol, and here what it leaves to its user: a write-ahead log, snapshots, the
// Ready loop, and decisions that are serialised on the leader. One node is a quorum of one on the
// same path and elects itself as soon as it runs.
//
// # The invariants
//
//   - Nothing is sent to a peer, and nothing is applied, before what it rests on is on disk: each Ready is
//     one frame of the log, written and fdatasynced, then messages go out, then entries are applied.
//   - At most one frame is not synced at any time. So a frame that cannot be read at the very end
//     of the log is a write that a crash tore, which nobody was told about: it is cut. A frame that cannot
//     be read anywhere else, or that is all there but wrong, is damage: the node refuses to start,
//     since cutting it would forget what it acknowledged.
//   - After a write or sync that failed the node stops. A kernel may report a failed sync once
//     and forget the pages. A write that finds the disk full is none of these: nothing of it counts, it is taken back and
//     tried again, and whatever is asked for meanwhile is refused with ErrFull.
//   - A decision sees the newest committed image plus the decisions before it in its batch, and is
//     answered only when everything it saw is committed. Batches are one entry, so they are atomic, and
//     one batch is in flight at a time: concurrent callers share an fsync.
//   - A leader decides nothing before it has applied an entry of its own term, since until then its
//     image may miss entries that earlier leaders committed.
//
// The type member is all of it without goroutines, clocks or sockets, so that a test can drive several of
// them through crashes and lost messages from one seed; [Node] adds those.
package quorum
