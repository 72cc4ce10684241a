package config

const noGroupConfigs = "there are no share groups and no streams groups"

// GroupKeys are the configs of groups. Of those of share and streams groups only defaults can be set.
var GroupKeys = newTable("group", groupKeys())

func groupKeys() []Key {
	intKey := func(name, def string) Key {
		return Key{Name: name, Type: Int, Default: text(def), Importance: Medium, Unsupported: noGroupConfigs, Doc: "The group's own value of group." + name + "."}
	}
	consumerKey := func(name, def string, least float64, doc string) Key {
		return Key{Name: name, Type: Int, Default: text(def), Check: atLeast(least), Importance: Medium, Doc: doc}
	}
	return []Key{
		consumerKey("consumer.assignment.interval.ms", "1000", 0, "The least time between two targets of the consumer group, in milliseconds."),
		consumerKey("consumer.heartbeat.interval.ms", "5000", 1, "How often the members of the consumer group are told to heartbeat, in milliseconds."),
		consumerKey("consumer.session.timeout.ms", "45000", 1, "After how many milliseconds without a heartbeat a member of the consumer group is out."),
		intKey("share.assignment.interval.ms", "1000"),
		{Name: "share.auto.offset.reset", Type: String, Default: text("latest"), Importance: Medium, Unsupported: noGroupConfigs, Doc: "Where a new share group begins."},
		intKey("share.delivery.count.limit", "5"),
		intKey("share.heartbeat.interval.ms", "5000"),
		{Name: "share.isolation.level", Type: String, Default: text("read_uncommitted"), Importance: Medium, Unsupported: noGroupConfigs, Doc: "Whether a share group reads records of open and aborted transactions."},
		intKey("share.partition.max.record.locks", "2000"),
		intKey("share.record.lock.duration.ms", "30000"),
		{Name: "share.renew.acknowledge.enable", Type: Boolean, Default: text("true"), Importance: Medium, Unsupported: noGroupConfigs, Doc: "Whether members of a share group may renew their locks."},
		intKey("share.session.timeout.ms", "45000"),
		intKey("streams.assignment.interval.ms", "1000"),
		intKey("streams.heartbeat.interval.ms", "5000"),
		intKey("streams.initial.rebalance.delay.ms", "3000"),
		intKey("streams.num.standby.replicas", "0"),
		intKey("streams.session.timeout.ms", "45000"),
	}
}
