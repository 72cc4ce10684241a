package log

import (
	"log/slog"
	"runtime"
	"time"
)

// Options are the settings of a log directory. The zero value of each field takes the default named.
type Options struct {
	FS         FS               // OS
	Logger     *slog.Logger     // discards
	Now        func() time.Time // time.Now
	Durability Durability       // DurabilityFsync; a topic's Config can override it

	// Config gives the configuration of a topic whose logs are found when the directory is opened. Without it those
	// logs get DefaultConfig and are left alone by retention and compaction until UpdateConfig is called, so that
	// defaults never delete what a topic wanted to keep.
	Config func(topic string) (Config, bool)

	// TopicID gives the id that a topic has now, ok is false when there is none of that name. It decides between two logs of one partition
	// that OpenDirs finds.
	TopicID func(topic string) (id [16]byte, ok bool)

	ProducerIDExpiration time.Duration // producer.id.expiration.ms, 24 h
	RecoveryThreads      int           // num.recovery.threads.per.data.dir, 2 for each processor
	MaxOpenFiles         int           // files kept open for reading, 1024, and as many to be written to: more than that only until they are synced
	IndexCacheBytes      int64         // memory for the indexes of sealed segments, 64 MiB
	SyncWorkers          int           // files synced at the same time, 32; fewer where they can be synced together
	CleanerBufferBytes   int64         // log.cleaner.dedupe.buffer.size, 128 MiB; bounds the memory of all compactions
	CleanerThreads       int           // log.cleaner.threads, 1; logs compacted at the same time, of all directories

	RetentionInterval        time.Duration // log.retention.check.interval.ms, 5 min
	CheckpointInterval       time.Duration // log.flush.offset.checkpoint.interval.ms, 60 s
	ProbeInterval            time.Duration // how often a directory is written to, so that one that fails is noticed without traffic, 5 s
	CleanerBackoff           time.Duration // log.cleaner.backoff.ms, 15 s
	ProducerExpirationCheck  time.Duration // producer.id.expiration.check.interval.ms, 10 min
	DisableCleaner           bool          // log.cleaner.enable=false
	MaxDecompressedBatchSize int           // bytes a client's batch may decompress to, batch.MaxDecompressed

	cleaner      *cleaner          // of all directories; nil for one of its own
	treeSyncFrom int               // treeSyncFrom; tests set it
	groupFrom    int               // groupFrom; tests set it
	removeAtOnce int64             // removeAtOnce; tests set it
	removePause  time.Duration     // removePause; tests set it
	room         roomRules         // defaultRoom; tests set it
	zeros        zeroRules         // defaultZeros; tests set it
	writeOut     writeOutRules     // defaultWriteOut; tests set it
	settling     func(what string) // told which settlement is under way, "" when it is over; tests set it

	// OnFail is told, on a goroutine of its own, that a directory has failed.
	OnFail func()
	// OnSync is told of each sync of a partition: its duration and result. It must not block.
	OnSync func(took time.Duration, err error)
}

func (o *Options) setDefaults() {
	def := func(d *time.Duration, v time.Duration) {
		if *d <= 0 {
			*d = v
		}
	}
	if o.FS == nil {
		o.FS = OS
	}
	if f, ok := o.FS.(interface{ tune(o *Options) }); ok {
		f.tune(o) // one of tests, on which all that is done to large files is done to small ones
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Durability == DurabilityDefault {
		o.Durability = DurabilityFsync
	}
	if o.RecoveryThreads <= 0 {
		o.RecoveryThreads = 2 * runtime.GOMAXPROCS(0)
	}
	if o.MaxOpenFiles <= 0 {
		o.MaxOpenFiles = 1024
	}
	if o.IndexCacheBytes <= 0 {
		o.IndexCacheBytes = 64 << 20
	}
	if o.SyncWorkers <= 0 {
		o.SyncWorkers = 32
	}
	if o.groupFrom <= 0 {
		o.groupFrom = groupFrom
	}
	if o.removeAtOnce <= 0 {
		o.removeAtOnce = removeAtOnce
	}
	def(&o.removePause, removePause)
	if o.room == (roomRules{}) {
		o.room = defaultRoom
	}
	if o.zeros == (zeroRules{}) {
		o.zeros = defaultZeros
	}
	if o.writeOut == (writeOutRules{}) {
		o.writeOut = defaultWriteOut
	}
	if o.treeSyncFrom <= 0 {
		o.treeSyncFrom = treeSyncFrom
	}
	if o.CleanerBufferBytes <= 0 {
		o.CleanerBufferBytes = 128 << 20
	}
	if o.CleanerThreads <= 0 {
		o.CleanerThreads = 1
	}
	def(&o.ProducerIDExpiration, 24*time.Hour)
	def(&o.RetentionInterval, 5*time.Minute)
	def(&o.CheckpointInterval, time.Minute)
	def(&o.ProbeInterval, probeInterval)
	def(&o.CleanerBackoff, 15*time.Second)
	def(&o.ProducerExpirationCheck, 10*time.Minute)
}
