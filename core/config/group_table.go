package config

// GroupKeys are the configs of groups. Those of share and streams groups are judged and kept, as Apache Kafka does while those groups are
// off there (share.version and streams.version 0).
var GroupKeys = newTable("group", groupKeys())

func groupKeys() []Key {
	key := func(name, def string, least float64, doc string) Key {
		return Key{Name: name, Type: Int, Default: text(def), Check: atLeast(least), Importance: Medium, Doc: doc}
	}
	const share, streams = " It is kept, and has no effect yet: there are no share groups.", " It is kept, and has no effect yet: there are no streams groups."
	return []Key{
		key("consumer.assignment.interval.ms", "1000", 0, "The least time between two targets of the consumer group, in milliseconds."),
		key("consumer.heartbeat.interval.ms", "5000", 1, "How often the members of the consumer group are told to heartbeat, in milliseconds."),
		key("consumer.session.timeout.ms", "45000", 1, "After how many milliseconds without a heartbeat a member of the consumer group is out."),
		key("share.assignment.interval.ms", "1000", 0, "The least time between two targets of the share group, in milliseconds."+share),
		{Name: "share.auto.offset.reset", Type: String, Default: text("latest"), Check: shareReset, Importance: Medium, Doc: "Where a new share group begins: earliest, latest or by_duration: with an ISO 8601 duration." + share},
		key("share.delivery.count.limit", "5", 2, "How often a record is delivered to the share group before it is given up."+share),
		key("share.heartbeat.interval.ms", "5000", 1, "How often the members of the share group are told to heartbeat, in milliseconds."+share),
		{Name: "share.isolation.level", Type: String, Default: text("read_uncommitted"), Check: oneOf("read_committed", "read_uncommitted"), Importance: Medium, Doc: "Whether the share group reads records of open and aborted transactions." + share},
		key("share.partition.max.record.locks", "2000", 100, "The most records of a partition that the share group may have locked."+share),
		key("share.record.lock.duration.ms", "30000", 1000, "For how many milliseconds a member of the share group has a record to itself."+share),
		{Name: "share.renew.acknowledge.enable", Type: Boolean, Default: text("true"), Importance: Medium, Doc: "Whether members of the share group may renew their locks." + share},
		key("share.session.timeout.ms", "45000", 1, "After how many milliseconds without a heartbeat a member of the share group is out."+share),
		key("streams.assignment.interval.ms", "1000", 0, "The least time between two targets of the streams group, in milliseconds."+streams),
		key("streams.heartbeat.interval.ms", "5000", 1, "How often the members of the streams group are told to heartbeat, in milliseconds."+streams),
		key("streams.initial.rebalance.delay.ms", "3000", 0, "How long to wait for more members before the streams group's first rebalance, in milliseconds."+streams),
		key("streams.num.standby.replicas", "0", 0, "The number of standby replicas of each task of the streams group."+streams),
		key("streams.session.timeout.ms", "45000", 1, "After how many milliseconds without a heartbeat a member of the streams group is out."+streams),
	}
}
