import java.nio.file.Path;
import java.util.Properties;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.KeyValue;
import org.apache.kafka.streams.StreamsBuilder;
import org.apache.kafka.streams.kstream.Consumed;
import org.apache.kafka.streams.kstream.Grouped;
import org.apache.kafka.streams.kstream.Materialized;
import org.apache.kafka.streams.kstream.Produced;
import org.apache.kafka.streams.state.Stores;

/**
 * Sums amounts by product, exactly once: lines "product amount" from one topic, running sums to another. Regrouping goes over a repartition
 * topic, the sums are in a store with a changelog and a standby. It runs until its input ends.
 */
class Streams {
    public static void main(String[] args) throws Exception {
        String bootstrap = args[0], application = args[1], in = args[2], out = args[3], dir = args[4];
        var strings = Serdes.String();
        var builder = new StreamsBuilder();
        builder.stream(in, Consumed.with(strings, strings))
            .map((key, line) -> KeyValue.pair(line.split(" ")[0], Long.valueOf(line.split(" ")[1])))
            .groupByKey(Grouped.with("by-product", strings, Serdes.Long()))
            .reduce(Long::sum, Materialized.<String, Long>as(Stores.inMemoryKeyValueStore("sums")).withKeySerde(strings).withValueSerde(Serdes.Long()))
            .toStream().mapValues(sum -> sum.toString()).to(out, Produced.with(strings, strings));
        var props = new Properties();
        props.put("bootstrap.servers", bootstrap);
        props.put("application.id", application);
        props.put("state.dir", Path.of(dir).toString());
        props.put("processing.guarantee", "exactly_once_v2");
        props.put("num.standby.replicas", "1");
        props.put("commit.interval.ms", "300");
        props.put("statestore.cache.max.bytes", "0"); // a sum for each line
        props.put("repartition.purge.interval.ms", "500");
        props.put("consumer.auto.offset.reset", "earliest");
        props.put("consumer.session.timeout.ms", "1500");
        props.put("consumer.heartbeat.interval.ms", "200");
        props.put("producer.transaction.timeout.ms", "2000");
        var app = new KafkaStreams(builder.build(), props);
        app.start();
        System.in.transferTo(System.out);
        app.close();
    }
}
